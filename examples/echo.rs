//! The smallest server: what comes in goes out.
//!
//! The trap: `write` takes less than it is given when the peer reads slowly. A blocking server then waits for this one client and
//! serves nobody else; a careless nonblocking one drops the rest. Here [`Context::send`] takes all of it: what the kernel has no
//! room for waits in the connection's queue, and while much waits there the connection is not read.
//!
//! Try:
//!
//!     cargo run -p examples --example echo
//!     nc 127.0.0.1 7777
//!
//! Each line that you type into `nc` comes back. Ctrl-C ends either.

#![forbid(unsafe_code)]

use clap::Parser;
use reactor::{Context, Handler, Input, Result, Server};

/// Sends back what it is sent.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

fn main() -> Result {
    let options = Options::parse();
    examples::serve(Server::builder().listen(options.address, |_peer| Echo)?)
}
