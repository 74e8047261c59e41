//! An echo server that closes connections on which nothing moves.
//!
//! The trap: a peer whose cable was pulled is connected for ever, and enough of them use up the descriptors. A timer that each message
//! sets anew costs more than the message; a scan of all connections every second costs in proportion to those that are fine. And a
//! timeout of *reading* alone closes a client in the middle of a long answer. Here a message stores a number, and the loop looks
//! at a connection when its time may have come; both directions count, and what has arrived meanwhile wins.
//!
//! Try:
//!
//!     cargo run -p examples --example idle_timeout -- --timeout 5s
//!     nc 127.0.0.1 7777
//!
//! Type now and then and it stays; say nothing for five seconds and `nc` ends, and the server says `127.0.0.1:41234: idle for too long`.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Parser;
use examples::say;
use reactor::{CloseReason, Context, Handler, Input, ListenOptions, Result, Server, Sharing, SocketAddress};

/// Echoes, and closes connections on which nothing moves.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// How long nothing may move, such as 500ms or 1m.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "5s")]
    timeout: Duration,
}

struct Echo {
    peer: SocketAddress,
}

impl Handler for Echo {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        // For this connection alone: `cx.set_idle_timeout(...)`, for example a longer one after a login.
        cx.send(input.take())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        say!("{}: {reason}", self.peer);
    }
}

fn main() -> Result {
    let options = Options::parse();
    let listen_options = ListenOptions::default().idle_timeout(options.timeout);
    let make = |peer: &SocketAddress| Echo { peer: peer.clone() };
    examples::serve(Server::builder().listen_with(options.address, &listen_options, Sharing::default(), make)?)
}
