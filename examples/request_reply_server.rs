//! A server that logs each message of its clients and answers "ok".
//!
//! The trap: TCP carries bytes, not messages. What one `send` sent may arrive in two pieces, and two messages in one, so a server
//! that takes each `recv` for a message works on the loopback interface until the day it is busy: then it logs half a message, or
//! two as one and answers one "ok" for both, and the client waits for the second for ever. A UTF-8 character cut in two is no
//! text at all. Here each message travels behind its length, and the codec answers whole ones only, however the bytes came:
//!
//! ```text
//!  ┌──────────────────────────┬───────────────────┐
//!  │ length, 4 bytes, big end │ text in UTF-8     │
//!  └──────────────────────────┴───────────────────┘
//! ```
//!
//! Try:
//!
//!     cargo run -p examples --example request_reply_server
//!     cargo run -p examples --example request_reply_client -- --count 3
//!
//! The server says `127.0.0.1:41234: message 1: "1 of 3: Grüße, 世界"` and so on, and at the end how many there were.

#![forbid(unsafe_code)]

use std::io;

use clap::Parser;
use examples::say;
use reactor::codec::{Codec, LengthPrefixed};
use reactor::{CloseReason, Context, Handler, Input, Result, Server, SocketAddress};

/// Logs each message of its clients and answers "ok".
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

/// A message that claims to be longer than 64 KiB ends its connection before the rest of it is waited for.
const FRAMES: LengthPrefixed = LengthPrefixed::big_endian(4, 64 << 10);

struct Clerk {
    peer: SocketAddress,
    frames: LengthPrefixed,
    count: u64,
}

impl Handler for Clerk {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let mut answers = Vec::new();
        while let Some(message) = self.frames.decode(input)? {
            let text = std::str::from_utf8(message).map_err(io::Error::other)?;
            self.count += 1;
            // As a literal: what a stranger sends may hold anything, and the terminal should not obey it.
            say!("{}: message {}: {text:?}", self.peer, self.count);
            self.frames.encode(b"ok", &mut answers)?;
        }
        cx.send(answers)
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        say!("{}: {} messages, then: {reason}", self.peer, self.count);
    }
}

fn main() -> Result {
    let options = Options::parse();
    let make = |peer: &SocketAddress| Clerk { peer: peer.clone(), frames: FRAMES, count: 0 };
    examples::serve(Server::builder().listen(options.address, make)?)
}
