//! Echo servers as textbooks write them, on the bare system calls: what a loop costs without a library, and where each ends.

pub mod blocking;
pub mod epoll_edge;
pub mod epoll_level;
pub mod fork;
pub mod poll;
pub mod select;
pub mod thread;

mod connection;
mod epoll;
mod socket;

use std::io::{self, Write};
use std::net::TcpListener;

use clap::{CommandFactory, FromArgMatches, Parser};

/// What a textbook server may be told.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

/// Binds the address given as the first argument, says so, and serves it; `about` is what `--help` says.
///
/// # Errors
/// The address cannot be bound, or the server failed as a whole.
pub fn run(about: &'static str, serve: fn(TcpListener) -> io::Result<()>) -> io::Result<()> {
    let arguments = Options::command().about(about).get_matches();
    let options = Options::from_arg_matches(&arguments).unwrap_or_else(|error| error.exit());
    let listener = TcpListener::bind(&options.address)?;
    writeln!(io::stderr(), "listening on tcp://{}", listener.local_addr()?)?;
    serve(listener)
}
