//! Discard (RFC 863): a server that reads all and keeps nothing.
//!
//! The trap: to throw away is still to read. A server that does not read what it does not want fills its receive buffer, then the
//! window, and the client's `write` blocks for ever; one that closes with unread bytes answers with a reset. Here taking the input is
//! all there is to it: nothing is kept, and an idle connection owns no buffer.
//!
//! Try:
//!
//!     cargo run -p examples --example discard
//!     head -c 100000000 /dev/zero | nc -N 127.0.0.1 7777
//!
//! The server says `127.0.0.1:41234 threw 100000000 bytes away: the peer closed`.

#![forbid(unsafe_code)]

use clap::Parser;
use examples::say;
use reactor::{CloseReason, Context, Handler, Input, Result, Server, SocketAddress};

/// Reads all and keeps nothing.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

struct Discard {
    peer: SocketAddress,
    bytes: usize,
}

impl Handler for Discard {
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.bytes += input.take().len();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        say!("{} threw {} bytes away: {reason}", self.peer, self.bytes);
    }
}

fn main() -> Result {
    let options = Options::parse();
    let make = |peer: &SocketAddress| Discard { peer: peer.clone(), bytes: 0 };
    examples::serve(Server::builder().listen(options.address, make)?)
}
