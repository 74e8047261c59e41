//! Where one message ends and the next begins: lines, delimiters, fixed lengths and length prefixes.
//!
//! A [`Codec`] cuts whole frames off the front of the bytes that have arrived, and puts frames into the form in which
//! they travel. It is a pure function over bytes: it holds no bytes, makes no call, and knows no loop, so it serves as well
//! on a blocking socket or in a test.
//!
//! - A frame is a slice of the input: nothing is copied, and nothing is allocated for a length that a peer only claims.
//! - However the bytes arrive in pieces, the frames are the same.
//! - No byte is searched twice, so a peer that sends byte by byte costs no more than one that sends all at once.
//! - A frame beyond the limit is an error as soon as that is certain, before the rest of it is waited for.
//!
//! | codec               | a frame ends                                                              |
//! |---------------------|---------------------------------------------------------------------------|
//! | [`Lines`]           | at a line feed, with or without a carriage return                         |
//! | [`Delimited`]       | at a sequence of bytes of your choice                                     |
//! | [`FixedLength`]     | after so many bytes                                                       |
//! | [`LengthPrefixed`]  | after as many bytes as the number before it says                          |
//!
//! # In a handler
//!
//! What the codec does not take stays in the input, and the loop shows it again in front of what arrives next. So the limit
//! of the codec must lie below [`Limits::max_input`](crate::Limits::max_input), which bounds what may stay.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use reactor::codec::{Codec, LengthPrefixed};
//! use reactor::{Context, Handler, Input, Result, Server};
//!
//! /// Answers each message with the same in capitals.
//! struct Shouter {
//!     codec: LengthPrefixed,
//!     answers: Vec<u8>,
//! }
//!
//! impl Handler for Shouter {
//!     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
//!         while let Some(message) = self.codec.decode(input)? {
//!             self.codec.encode(&message.to_ascii_uppercase(), &mut self.answers)?;
//!         }
//!         cx.send(&self.answers)?;
//!         self.answers.clear();
//!         Ok(())
//!     }
//! }
//!
//! let codec = LengthPrefixed::big_endian(2, 1024);
//! let make = move |_peer: &_| Shouter { codec, answers: Vec::new() };
//! let server = Server::builder().listen("127.0.0.1:0", make)?.start()?;
//!
//! let mut client = TcpStream::connect(server.local_addresses()[0].as_inet().unwrap())?;
//! client.write_all(b"\0\x05hello\0\x05there")?;
//! let mut answers = [0; 14];
//! client.read_exact(&mut answers)?;
//! assert_eq!(&answers, b"\0\x05HELLO\0\x05THERE");
//! # Result::Ok(())
//! ```
//!
//! # Without a loop
//!
//! ```
//! use reactor::Input;
//! use reactor::codec::{Codec, Lines};
//!
//! let (mut lines, mut input) = (Lines::new(80), Input::new(b"one\r\ntwo\nthr"));
//! assert_eq!(lines.decode(&mut input), Ok(Some(&b"one"[..])));
//! assert_eq!(lines.decode(&mut input), Ok(Some(&b"two"[..])));
//! assert_eq!(lines.decode(&mut input), Ok(None));
//! assert_eq!(input.as_slice(), b"thr");
//! ```

pub(crate) mod delimited;
pub(crate) mod fixed_length;
pub(crate) mod frame_error;
pub(crate) mod length_prefixed;
pub(crate) mod lines;

use crate::input::Input;

pub use delimited::Delimited;
pub use fixed_length::FixedLength;
pub use frame_error::FrameError;
pub use length_prefixed::{LengthPrefixed, Parts};
pub use lines::Lines;

/// A way to cut a stream of bytes into frames.
pub trait Codec {
    /// Takes the next whole frame off the front of the input; `None`, and nothing taken, while it is not whole.
    ///
    /// A codec may remember how much of the input it has looked at. So what it left must be at the front of the input of
    /// the next call, as a loop has it.
    ///
    /// # Errors
    /// The bytes are no frame, or one beyond the limit. They stay in the input: the stream cannot be made sense of any
    /// more, and another call answers with the same error.
    fn decode<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError>;

    /// [`decode`](Self::decode) when nothing more will come: in [`Handler::on_eof`](crate::Handler::on_eof), for what
    /// [`Context::take_unread`](crate::Context::take_unread) answers.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); and [`FrameError::Truncated`] if the stream ended within a frame.
    fn decode_end<'a>(&mut self, input: &mut Input<'a>) -> Result<Option<&'a [u8]>, FrameError> {
        match self.decode(input)? {
            None if !input.is_empty() => Err(FrameError::Truncated),
            frame => Ok(frame),
        }
    }

    /// Appends a frame to `into` in the form in which it travels.
    ///
    /// # Errors
    /// [`decode`](Self::decode) would not give this frame back. Nothing is appended.
    fn encode(&self, frame: &[u8], into: &mut Vec<u8>) -> Result<(), FrameError>;
}
