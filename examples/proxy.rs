//! A TCP proxy: each client gets a connection to the target, and a relay between the two.
//!
//! The trap: two sockets, each of which may be faster than the other, end before it, or fail. Who reads from one and writes to the other
//! without looking keeps in memory whatever the slower one does not take; who closes both at the first end of stream cuts off the
//! answer; who turns a reset into an end tells the other side that half a file was all of it. Here connecting does not wait, and
//! `relay_to` moves bytes both ways with back-pressure, half-closes and resets, and without a copy where much comes at once.
//!
//! Try, with a web server such as `python3 -m http.server 8000` running:
//!
//!     cargo run -p examples --example proxy -- 127.0.0.1:7777 127.0.0.1:8000
//!     curl http://127.0.0.1:7777/
//!
//! You see what the web server itself would answer. Any stream will do: hosts by name, `unix:/path` on either side.

#![forbid(unsafe_code)]

use std::io;

use clap::Parser;
use reactor::net::Target;
use reactor::{Address, ConnectOptions, Context, Handler, Input, Result, Server};

/// Passes connections on to another address.
#[derive(Parser)]
struct Options {
    /// Where to listen, such as 127.0.0.1:7777.
    listen: Address,
    /// Where each connection is passed on to.
    target: Address,
    /// Threads, each with a loop of its own.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// A client, and what is connected to the target for it, of which there is nothing more to say: a relay shows no data.
struct Side(Option<Target>);

impl Handler for Side {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        let Some(target) = self.0.take() else { return Ok(()) };
        let other = cx.connect(target, &ConnectOptions::default(), Side(None))?;
        cx.relay_to(other)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        unreachable!("what comes is relayed")
    }
}

fn main() -> Result {
    let options = Options::parse();
    let target = Target::try_from(options.target).map_err(io::Error::from)?;
    let proxy = Server::builder().threads(options.threads);
    examples::serve(proxy.listen(options.listen, move |_peer| Side(Some(target.clone())))?)
}
