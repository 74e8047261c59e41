//! Frames of one length.

use crate::codec::Codec;
use crate::codec::frame_error::FrameError;
use crate::input::Input;

/// Frames that all have one length.
///
/// ```
/// use reactor::Input;
/// use reactor::codec::{Codec, FixedLength};
///
/// let mut input = Input::new(b"abcdefg");
/// assert_eq!(FixedLength::new(3).decode(&mut input), Ok(Some(&b"abc"[..])));
/// assert_eq!(input.as_slice(), b"defg");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FixedLength {
    length: usize,
}

impl FixedLength {
    /// Frames of `length` bytes.
    ///
    /// # Panics
    /// When `length` is 0: there would be frames without end.
    #[must_use]
    pub const fn new(length: usize) -> Self {
        assert!(length > 0, "a frame has at least one byte");
        Self { length }
    }
}

impl Codec for FixedLength {
    fn decode<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        Ok(input.take_exact(self.length))
    }

    fn encode(&self, frame: &[u8], into: &mut Vec<u8>) -> Result<(), FrameError> {
        if frame.len() != self.length {
            return Err(FrameError::WrongLength { expected: self.length });
        }
        into.extend_from_slice(frame);
        Ok(())
    }
}
