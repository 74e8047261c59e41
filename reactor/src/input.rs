//! Received bytes, as a callback sees them: take what is understood, leave the rest.

use crate::search::find_byte;

/// The bytes that a connection has received and its handler has not taken yet.
///
/// Taken bytes are borrowed from the loop's buffer, so nothing is copied. What is left when the callback returns is kept.
///
/// ```
/// use reactor::Input;
///
/// let mut input = Input::new(b"GET /\nHo");
/// assert_eq!(input.take_until(b'\n'), Some(&b"GET /"[..]));
/// assert_eq!(input.take_until(b'\n'), None);
/// assert_eq!(input.as_slice(), b"Ho");
/// assert_eq!(input.take(), b"Ho");
/// assert!(input.is_empty());
/// ```
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Input of these bytes; handlers are tested with it.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes not taken yet.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes are not taken yet.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all is taken.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all.
    #[inline]
    pub fn take(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Takes `count` bytes, or none and says `None` while there are fewer.
    pub fn take_exact(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    /// Takes the bytes before the first `delimiter`, and the delimiter, which is not in the answer; `None` and nothing
    /// taken while there is no delimiter.
    pub fn take_until(&mut self, delimiter: u8) -> Option<&'a [u8]> {
        let end = find_byte(self.bytes, delimiter)?;
        let taken = &self.bytes[..end];
        self.bytes = &self.bytes[end + 1..];
        Some(taken)
    }

    /// Takes `count` bytes without a look at them, for parsers that say how much they have understood.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} bytes of {}", self.len());
        self.bytes = &self.bytes[count..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_count_is_all_or_nothing() {
        let mut input = Input::new(b"abc");
        assert_eq!(input.take_exact(4), None);
        assert_eq!(input.take_exact(2), Some(&b"ab"[..]));
        assert_eq!(input.as_slice(), b"c");
    }

    #[test]
    fn a_delimiter_is_taken_and_not_answered() {
        let mut input = Input::new(b"\n\nx");
        assert_eq!(input.take_until(b'\n'), Some(&b""[..]));
        assert_eq!(input.take_until(b'\n'), Some(&b""[..]));
        assert_eq!(input.take_until(b'\n'), None);
        assert_eq!(input.len(), 1);
    }
}
