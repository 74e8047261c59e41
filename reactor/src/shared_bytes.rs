//! Bytes that many connections send and nobody copies.

use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

/// Bytes with one allocation and any number of owners, on any thread: a clone is a reference, and so is a part.
///
/// What is sent from it by [`Context::send_shared`](crate::Context::send_shared) is not copied, however many connections send it
/// and however slowly their peers read.
///
/// ```
/// use reactor::SharedBytes;
///
/// let page = SharedBytes::from(b"hello world".to_vec());
/// let world = page.slice(6..);
/// assert_eq!(&*world, b"world");
/// ```
#[derive(Clone)]
pub struct SharedBytes {
    bytes: Arc<[u8]>,
    start: usize,
    end: usize,
}

impl SharedBytes {
    /// A part of the bytes, with the same allocation behind it.
    ///
    /// # Panics
    /// When the range begins behind its end or ends behind the bytes.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        assert!(from <= to && to <= self.len(), "bytes {from} to {to} of {}", self.len());
        Self { bytes: Arc::clone(&self.bytes), start: self.start + from, end: self.start + to }
    }

    /// Takes bytes away from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "the kernel took more than it was given");
        self.start += count;
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Arc<[u8]>> for SharedBytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        let end = bytes.len();
        Self { bytes, start: 0, end }
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl From<&[u8]> for SharedBytes {
    fn from(bytes: &[u8]) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl From<String> for SharedBytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for SharedBytes {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_part_has_the_same_allocation() {
        let all = SharedBytes::from("hello world");
        let part = all.slice(2..=8).slice(1..);
        assert_eq!(&*part, b"lo wor");
        assert_eq!(Arc::strong_count(&all.bytes), 2);
        assert!(all.slice(11..).is_empty());
    }

    #[test]
    fn every_form_of_range_and_of_bytes_is_taken() {
        let all = SharedBytes::from("hello world".to_owned());
        assert_eq!(all.slice(..5).as_ref(), b"hello");
        assert_eq!(&*all.slice((Bound::Excluded(5), Bound::Unbounded)), b"world");
        assert_eq!(all.slice(..).len(), 11);
        assert_eq!(format!("{all:?}"), "SharedBytes(11 bytes)");
    }

    #[test]
    #[should_panic(expected = "bytes 3 to 12 of 11")]
    fn a_part_beyond_the_end_is_refused() {
        let _ = SharedBytes::from("hello world").slice(3..12);
    }
}
