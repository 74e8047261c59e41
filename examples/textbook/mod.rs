//! Echo servers as textbooks write them, on the bare system calls: what a loop costs without a library, and where each ends.

pub mod epoll_edge;
pub mod poll;
pub mod select;
pub mod thread;

mod connection;
mod socket;

use std::env;
use std::io::{self, Write};
use std::net::TcpListener;

/// Binds the address given as the first argument, says so, and serves it.
///
/// # Errors
/// The address cannot be bound, or the server failed as a whole.
pub fn run(serve: fn(TcpListener) -> io::Result<()>) -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let listener = TcpListener::bind(&address)?;
    writeln!(io::stderr(), "listening on tcp://{}", listener.local_addr()?)?;
    serve(listener)
}
