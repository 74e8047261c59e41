//! A queue of bytes: appended at the end, consumed from the front, never shifted byte by byte.

/// Bytes that wait, contiguous, so that a parser sees them as one slice.
///
/// Consuming moves an offset; the room in front is used again when the buffer has to grow, so the cost a byte is constant
/// however it is fed and eaten. An empty buffer that never held a byte has no allocation.
///
/// ```
/// use reactor::buffer::Buffer;
///
/// let mut buffer = Buffer::new();
/// buffer.append(b"hello world");
/// buffer.consume(6);
/// assert_eq!(buffer.as_slice(), b"world");
/// ```
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// A buffer without an allocation.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0 }
    }

    /// The bytes that wait.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes wait.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether none waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that fit at the end before the buffer allocates or moves what it holds.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        if bytes.len() > self.room() && self.start >= self.len() {
            self.compact();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes bytes away from the front.
    ///
    /// # Panics
    /// When `count` is more than [`len`](Self::len).
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} bytes of {}", self.len());
        self.start += count;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Moves the bytes to the front of the allocation. It happens only when as many were consumed, so each byte moves
    /// at most once for each time the buffer's length passes by.
    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), start: 0 }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }
}

impl From<Buffer> for Vec<u8> {
    fn from(mut buffer: Buffer) -> Self {
        buffer.compact();
        buffer.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn an_unused_buffer_owns_nothing() {
        assert_eq!(Buffer::new().room(), 0);
    }

    #[test]
    #[should_panic(expected = "consumed 2 bytes of 1")]
    fn consuming_more_than_there_is_panics() {
        Buffer::from(&b"x"[..]).consume(2);
    }

    #[test]
    fn a_steady_stream_does_not_grow_it() {
        let mut buffer = Buffer::new();
        buffer.append(&[0; 100]);
        for _ in 0..if cfg!(miri) { 100 } else { 10_000 } {
            buffer.append(&[0; 100]);
            buffer.consume(100);
        }
        assert!(buffer.bytes.capacity() <= 1024, "{}", buffer.bytes.capacity());
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn behaves_as_a_queue(steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), 0..100_usize), 0..50)) {
            let (mut buffer, mut model) = (Buffer::new(), VecDeque::new());
            for (bytes, eaten) in steps {
                buffer.append(&bytes);
                model.extend(bytes);
                let eaten = eaten.min(model.len());
                buffer.consume(eaten);
                model.drain(..eaten);
                prop_assert_eq!(buffer.as_slice(), &*model.make_contiguous());
            }
            prop_assert_eq!(Vec::from(buffer), Vec::from(model));
        }
    }
}
