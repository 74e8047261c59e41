//! Frames with a sequence of bytes between them.

use crate::codec::Codec;
use crate::codec::frame_error::FrameError;
use crate::input::Input;
use crate::search::find;

/// Frames that end at a sequence of bytes, the delimiter, which is not part of the frame.
///
/// Two delimiters in a row have an empty frame between them. A stream that ends without a delimiter ends within a frame.
///
/// ```
/// use reactor::Input;
/// use reactor::codec::{Codec, Delimited};
///
/// let (mut heads, mut input) = (Delimited::new(b"\r\n\r\n", 8192), Input::new(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"));
/// assert_eq!(heads.decode(&mut input), Ok(Some(&b"GET / HTTP/1.1\r\nHost: a"[..])));
/// assert_eq!(heads.decode(&mut input), Ok(None));
/// ```
#[derive(Clone, Debug)]
pub struct Delimited {
    delimiter: Box<[u8]>,
    limit: usize,
    /// Places at the front of the input at which no delimiter begins, as is known.
    searched: usize,
}

impl Delimited {
    /// Frames of at most `limit` bytes, the delimiter not counted. A few bytes of delimiter are meant: in the worst case
    /// each byte of input is compared with all of them.
    ///
    /// # Panics
    /// When the delimiter is empty.
    #[must_use]
    pub fn new(delimiter: impl AsRef<[u8]>, limit: usize) -> Self {
        let delimiter: Box<[u8]> = delimiter.as_ref().into();
        assert!(!delimiter.is_empty(), "a delimiter has at least one byte");
        Self { delimiter, limit, searched: 0 }
    }
}

impl Codec for Delimited {
    fn decode<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        let bytes = input.as_slice();
        let longest = self.limit.saturating_add(self.delimiter.len());
        let window = &bytes[..bytes.len().min(longest)];
        let Some(end) = find(window, &self.delimiter, self.searched) else {
            // One may have begun in the last bytes.
            self.searched = (window.len() + 1).saturating_sub(self.delimiter.len());
            return if bytes.len() < longest { Ok(None) } else { Err(FrameError::TooLong { limit: self.limit }) };
        };
        self.searched = 0;
        input.consume(end + self.delimiter.len());
        Ok(Some(&window[..end]))
    }

    fn encode(&self, frame: &[u8], into: &mut Vec<u8>) -> Result<(), FrameError> {
        if frame.len() > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        let start = into.len();
        into.extend_from_slice(frame);
        into.extend_from_slice(&self.delimiter);
        // One that begins in the frame and ends in its delimiter would end the frame too early.
        if find(&into[start..], &self.delimiter, 0) != Some(frame.len()) {
            into.truncate(start);
            return Err(FrameError::ContainsDelimiter);
        }
        Ok(())
    }
}
