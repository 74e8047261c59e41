//! Why bytes are no frame, or a frame cannot become bytes.

use std::fmt;
use std::io;

/// Why bytes are no frame, or a frame cannot become bytes.
///
/// As an [`io::Error`] its kind is `InvalidData` for what a peer sent, `UnexpectedEof` for a stream that ended too early, and
/// `InvalidInput` for a frame that cannot be encoded.
///
/// ```
/// use reactor::Input;
/// use reactor::codec::{Codec, FrameError, Lines};
///
/// let error = Lines::new(8).decode(&mut Input::new(b"far too long")).unwrap_err();
/// assert_eq!(error, FrameError::TooLong { limit: 8 });
/// assert_eq!(error.to_string(), "a frame is longer than the limit of 8 bytes");
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidData);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is longer than the codec's limit.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The length prefix holds a number that is no length: below zero once adjusted, or more than 64 bits. Or a frame is to
    /// be encoded whose length does not fit the prefix.
    BadLength,
    /// The stream ended within a frame.
    Truncated,
    /// A frame that is to be encoded contains what would end it, or ends in a part of that.
    ContainsDelimiter,
    /// A frame that is to be encoded has not the one length that frames have.
    WrongLength {
        /// The length that frames have, in bytes.
        expected: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit } => write!(f, "a frame is longer than the limit of {limit} bytes"),
            Self::BadLength => f.write_str("the length prefix of a frame cannot hold its length"),
            Self::Truncated => f.write_str("the stream ended within a frame"),
            Self::ContainsDelimiter => f.write_str("a frame contains what would end it"),
            Self::WrongLength { expected } => write!(f, "a frame has not the length of {expected} bytes"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        let kind = match error {
            FrameError::TooLong { .. } | FrameError::BadLength => io::ErrorKind::InvalidData,
            FrameError::Truncated => io::ErrorKind::UnexpectedEof,
            FrameError::ContainsDelimiter | FrameError::WrongLength { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_an_error_of_io_it_says_whose_fault_it_is() {
        for (error, kind, word) in [
            (FrameError::TooLong { limit: 8 }, io::ErrorKind::InvalidData, "8 bytes"),
            (FrameError::BadLength, io::ErrorKind::InvalidData, "length prefix"),
            (FrameError::Truncated, io::ErrorKind::UnexpectedEof, "ended"),
            (FrameError::ContainsDelimiter, io::ErrorKind::InvalidInput, "contains"),
            (FrameError::WrongLength { expected: 7 }, io::ErrorKind::InvalidInput, "7 bytes"),
        ] {
            let told = io::Error::from(error);
            assert_eq!((told.kind(), told.to_string().contains(word)), (kind, true), "{told}");
        }
    }
}
