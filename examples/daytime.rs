//! Daytime (RFC 867): a server that says what time it is and closes.
//!
//! The trap: `send` then `close` looks right and loses the answer of a client that has sent something itself: closing a socket with
//! unread bytes resets the connection, and the reset overtakes the answer. Here [`Context::close_after_flush`] ends the sending
//! direction once all is sent, and goes on discarding what still comes until the client has seen the end.
//!
//! Try:
//!
//!     cargo run -p examples --example daytime
//!     echo 'what time is it?' | nc 127.0.0.1 7777
//!
//! `nc` shows a line such as `2026-11-21T14:00:00Z` and ends.

#![forbid(unsafe_code)]

use std::time::SystemTime;

use clap::Parser;
use reactor::{Context, Handler, Input, Result, Server};

/// Says what time it is and closes.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

struct Daytime;

impl Handler for Daytime {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.send(format!("{}\r\n", humantime::format_rfc3339_seconds(SystemTime::now())))?;
        cx.close_after_flush()
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

fn main() -> Result {
    let options = Options::parse();
    examples::serve(Server::builder().listen(options.address, |_peer| Daytime)?)
}
