//! Chargen (RFC 864): a server that sends lines of characters for as long as its client reads.
//!
//! The trap: output without end. A server that writes in a loop serves one client and nobody else; one that queues what the kernel
//! does not take grows until it is killed by a client that does not read. Here [`Context::want_drained`] asks to be called whenever
//! little waits: each turn sends some lines, other connections have their turn in between, and a client that stops reading stops
//! its own lines and nothing else.
//!
//! Try:
//!
//!     cargo run -p examples --example chargen
//!     nc 127.0.0.1 7777 | head -n 3
//!
//! You see three lines of 72 characters, each one character further than the line before.

#![forbid(unsafe_code)]

use clap::Parser;
use examples::say;
use reactor::{CloseReason, Context, Handler, Input, Result, Server, SocketAddress};

/// Sends lines of characters for as long as its client reads.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

struct Chargen {
    peer: SocketAddress,
    lines: usize,
}

impl Chargen {
    /// Sends the next lines, and asks to be called when most of them have left.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Result {
        let mut text = Vec::with_capacity(LINES_AT_ONCE * (WIDTH + 2));
        for _ in 0..LINES_AT_ONCE {
            text.extend((b' '..=b'~').cycle().skip(self.lines % PRINTABLE).take(WIDTH));
            text.extend_from_slice(b"\r\n");
            self.lines += 1;
        }
        cx.send(text)?;
        cx.want_drained();
        Ok(())
    }
}

impl Handler for Chargen {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.go_on(cx)
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) -> Result {
        self.go_on(cx)
    }

    /// What a client says is of no interest here, but has to be read.
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        say!("{} was sent {} lines: {reason}", self.peer, self.lines);
    }
}

fn main() -> Result {
    let options = Options::parse();
    let make = |peer: &SocketAddress| Chargen { peer: peer.clone(), lines: 0 };
    examples::serve(Server::builder().listen(options.address, make)?)
}

/// Characters of a line, as the RFC shows them.
const WIDTH: usize = 72;

/// Characters from the space to the tilde.
const PRINTABLE: usize = 95;

/// Some 16 KiB.
const LINES_AT_ONCE: usize = 220;
