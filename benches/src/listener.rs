//! The listening socket that every server is given, so that all start from the same options.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use crate::options;

/// Binds and listens, with a long backlog and the [options] that all sockets have here.
///
/// # Errors
/// As bind(2) and listen(2).
pub fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    options::set(&socket)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Binds a port of the kernel's choice on the loopback interface.
///
/// # Errors
/// As [`listen_on`].
pub fn listen_locally() -> io::Result<TcpListener> {
    listen_on(SocketAddr::from(([127, 0, 0, 1], 0)))
}

const BACKLOG: i32 = 4096;
