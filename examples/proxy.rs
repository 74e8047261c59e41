//! A TCP proxy: each client gets a connection to the target, and a relay between the two.
//!
//! It shows `connect`, which does not wait, and `relay_to`, which moves bytes both ways, with back-pressure and half-close, and
//! without a copy where much comes at once. Try, with a web server such as `python3 -m http.server 8000` running:
//!
//! ```text
//! cargo run -p examples --example proxy -- 127.0.0.1:7000 127.0.0.1:8000
//! curl http://127.0.0.1:7000/
//! ```
//!
//! Expect what the web server itself would answer. Any stream will do: hosts by name, `unix:/path` on either side.

use std::io::{self, Write};

use clap::Parser;
use reactor::net::Target;
use reactor::{Address, ConnectOptions, Context, Handler, Input, Result, Server};

/// Passes connections on to another address.
#[derive(Parser)]
struct Options {
    /// Where to listen, such as 127.0.0.1:7000.
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
    let proxy = Server::builder()
        .threads(options.threads)
        .listen(options.listen, move |_peer| Side(Some(target.clone())))?
        .start()?;
    writeln!(io::stderr(), "listening on tcp://{}", proxy.local_addresses()[0])?;
    proxy.wait().map(drop)
}
