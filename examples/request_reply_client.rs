//! A client that sends numbered messages one after another, and waits for the "ok" of each.
//!
//! The trap: a client that blocks in `recv` waits for ever for a server that has died without a word, and one that reads "ok" as two
//! bytes of whatever arrives falls out of step at the first answer that comes in two pieces. Here connecting has a deadline, a server
//! that says nothing for ten seconds ends the connection, and the answers are framed as the messages are; see `request_reply_server`.
//!
//! Try:
//!
//!     cargo run -p examples --example request_reply_server
//!     cargo run -p examples --example request_reply_client -- --count 3
//!
//! It says `message 1 of 3: ok` and so on, and ends with exit code 0; with a server that is not there it ends with 1 and the reason.

#![forbid(unsafe_code)]

use std::io;
use std::mem;
use std::time::Duration;

use clap::Parser;
use examples::say;
use reactor::codec::{Codec, LengthPrefixed};
use reactor::{CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, Result};

/// Sends numbered messages and waits for the "ok" of each.
#[derive(Parser)]
struct Options {
    /// Where the server is.
    #[arg(default_value = "127.0.0.1:7777")]
    server: String,
    /// How many messages.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

const FRAMES: LengthPrefixed = LengthPrefixed::big_endian(4, 64 << 10);

struct Asker {
    frames: LengthPrefixed,
    sent: u64,
    count: u64,
}

impl Asker {
    fn ask(&mut self, cx: &mut Context<'_, Result>) -> Result {
        self.sent += 1;
        let mut message = Vec::new();
        self.frames.encode(format!("{} of {}: Grüße, 世界", self.sent, self.count).as_bytes(), &mut message)?;
        cx.send(message)
    }
}

/// The state of the loop is how the whole went.
impl Handler<Result> for Asker {
    fn on_open(&mut self, cx: &mut Context<'_, Result>) -> Result {
        self.ask(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_, Result>, input: &mut Input<'_>) -> Result {
        while let Some(answer) = self.frames.decode(input)? {
            if answer != b"ok" {
                return Err(io::Error::other(format!("the answer is {:?}", String::from_utf8_lossy(answer))));
            }
            say!("message {} of {}: ok", self.sent, self.count);
            if self.sent == self.count {
                return cx.close_after_flush();
            }
            self.ask(cx)?;
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Result>, reason: &CloseReason) {
        if !matches!(reason, CloseReason::Closed) {
            *cx.state() =
                Err(io::Error::other(format!("{} answers are missing: {reason}", self.count + 1 - self.sent)));
        }
        cx.stop();
    }
}

fn main() -> Result {
    let Options { server, count } = Options::parse();
    let mut event_loop = EventLoop::new(Ok(()))?;
    let patience = ConnectOptions::default().deadline(Duration::from_secs(5)).idle_timeout(Duration::from_secs(10));
    event_loop.connect(server, &patience, Asker { frames: FRAMES, sent: 0, count })?;
    event_loop.run()?;
    mem::replace(event_loop.state_mut(), Ok(()))
}
