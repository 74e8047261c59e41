//! One protocol hands a connection over to another: lines first, then frames behind their length.
//!
//! The trap: the first bytes of the second protocol often come in the same segment as the last line of the first. A buffered reader of
//! lines has them in its buffer when the socket is handed on, and they are lost, or the connection waits for bytes that have
//! come already: now and then, when the peer is fast. Here what a handler leaves in its input is shown to the next one.
//!
//! Try:
//!
//!     cargo run -p examples --example upgrade
//!     printf 'hello\nupgrade\n\0\5frame' | nc -N 127.0.0.1 7777
//!
//! `nc` shows `you said "hello"`, `frames of two bytes of length from here on`, and `FRAME` behind its length (`| xxd` shows that too).

#![forbid(unsafe_code)]

use clap::Parser;
use reactor::codec::{Codec, LengthPrefixed, Lines};
use reactor::{Context, Handler, Input, Result, Server};

/// Speaks in lines, and after the line "upgrade" in frames.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

/// The first protocol.
struct LineTalk {
    lines: Lines,
}

impl Handler for LineTalk {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = self.lines.decode(input)? {
            if line == b"upgrade" {
                cx.send("frames of two bytes of length from here on\n")?;
                // What is left of the input is the other protocol's.
                cx.replace_handler(FrameTalk { frames: LengthPrefixed::big_endian(2, LONGEST) });
                return Ok(());
            }
            cx.send(format!("you said {:?}\n", String::from_utf8_lossy(line)))?;
        }
        Ok(())
    }
}

/// The second: answers each frame with the same in capitals.
struct FrameTalk {
    frames: LengthPrefixed,
}

impl Handler for FrameTalk {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let mut answers = Vec::new();
        while let Some(frame) = self.frames.decode(input)? {
            self.frames.encode(&frame.to_ascii_uppercase(), &mut answers)?;
        }
        cx.send(answers)
    }
}

fn main() -> Result {
    let options = Options::parse();
    examples::serve(Server::builder().listen(options.address, |_peer| LineTalk { lines: Lines::new(LONGEST) })?)
}

/// Bytes of a line or of a frame.
const LONGEST: usize = 4096;
