//! Connections to a server, made one after another.

use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::options;

/// Connects `count` times. What comes back is nonblocking, with the [options] that all sockets have here.
///
/// # Errors
/// The server refuses, or descriptors or ports run out.
pub fn connect(server: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| connect_once(server)).collect()
}

fn connect_once(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    options::set(&stream)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
