//! Runs one of the peers as a process of its own, for whoever measures from outside.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::Context;
use benches::descriptors;
use benches::listener;
use benches::peers::{self, Peer};
use clap::Parser;
use clap::builder::PossibleValue;

/// Runs an echo server until it is killed.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Which server.
    #[arg(value_parser = names())]
    name: String,
    /// Where it listens; port 0 is one of the kernel's choice.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Answer each 64 bytes by a send of its own; not every server can.
    #[arg(long)]
    answers: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let peer = Peer::named(&options.name).context("there is no such server")?;
    let serve = match options.answers {
        true => peer.answer.with_context(|| format!("{} does not answer in pieces", peer.name))?,
        false => peer.serve,
    };
    descriptors::raise();
    let listener =
        listener::listen_on(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    writeln!(io::stderr(), "listening on tcp://{}", listener.local_addr()?)?;
    serve(listener).with_context(|| format!("{} failed", peer.name))
}

fn names() -> Vec<PossibleValue> {
    peers::ALL.iter().map(|peer| PossibleValue::new(peer.name).help(peer.about)).collect()
}
