//! Lines of text.

use crate::codec::Codec;
use crate::codec::frame_error::FrameError;
use crate::input::Input;
use crate::search::find_byte;

/// Lines: a frame ends at a line feed, and a carriage return before that belongs to the end too.
///
/// Lines are bytes; whether they are UTF-8 is for their reader to find out. An empty line is an empty frame. When the
/// stream ends, what stands behind the last line feed is a line as well: see [`decode_end`](Codec::decode_end).
///
/// ```
/// use reactor::Input;
/// use reactor::codec::{Codec, Lines};
///
/// let (mut lines, mut input) = (Lines::new(1024), Input::new(b"HELO example.org\r\nQUIT"));
/// assert_eq!(lines.decode(&mut input), Ok(Some(&b"HELO example.org"[..])));
/// assert_eq!(lines.decode(&mut input), Ok(None));
/// assert_eq!(lines.decode_end(&mut input), Ok(Some(&b"QUIT"[..])));
///
/// let mut bytes = Vec::new();
/// lines.crlf().encode(b"250 OK", &mut bytes)?;
/// assert_eq!(bytes, b"250 OK\r\n");
/// # Ok::<(), reactor::codec::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    limit: usize,
    crlf: bool,
    /// Bytes at the front of the input that are known to hold no line feed.
    searched: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes, what ends them not counted.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, crlf: false, searched: 0 }
    }

    /// Encodes with a carriage return before the line feed, as most protocols of the Internet want it.
    #[must_use]
    pub const fn crlf(mut self) -> Self {
        self.crlf = true;
        self
    }

    fn check(self, line: &[u8]) -> Result<&[u8], FrameError> {
        if line.len() > self.limit { Err(FrameError::TooLong { limit: self.limit }) } else { Ok(line) }
    }
}

impl Codec for Lines {
    fn decode<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        let bytes = input.as_slice();
        let longest = self.limit.saturating_add(2);
        let window = &bytes[..bytes.len().min(longest)];
        let from = self.searched.min(window.len());
        let Some(found) = find_byte(&window[from..], b'\n') else {
            self.searched = window.len();
            return if bytes.len() < longest { Ok(None) } else { Err(FrameError::TooLong { limit: self.limit }) };
        };
        let end = from + found;
        let line = &window[..end];
        let line = self.check(line.strip_suffix(b"\r").unwrap_or(line))?;
        self.searched = 0;
        input.consume(end + 1);
        Ok(Some(line))
    }

    fn decode_end<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        match self.decode(input)? {
            None if !input.is_empty() => {
                let line = self.check(input.as_slice())?;
                input.take();
                self.searched = 0;
                Ok(Some(line))
            }
            line => Ok(line),
        }
    }

    fn encode(&self, frame: &[u8], into: &mut Vec<u8>) -> Result<(), FrameError> {
        self.check(frame)?;
        let hides_its_end = !self.crlf && frame.ends_with(b"\r");
        if hides_its_end || find_byte(frame, b'\n').is_some() {
            return Err(FrameError::ContainsDelimiter);
        }
        into.extend_from_slice(frame);
        into.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
        Ok(())
    }
}
