//! Making, binding, accepting and connecting sockets; see socket(7).

use std::io;
use std::net::SocketAddr;

use libc::c_int;

use crate::address::SocketAddress;

use super::fd::{Fd, FdRef};
use super::sockaddr::RawAddress;
use super::{check, check_fd, retry};

/// Makes a stream socket of the family that `address` needs; see socket(2).
pub(crate) fn stream(address: &SocketAddress) -> io::Result<Fd> {
    simulated_creation!(crate::sim::calls::socket(address));
    of_type(libc::SOCK_STREAM, address)
}

/// Makes a datagram socket of the family that `address` needs; see socket(2).
pub(crate) fn datagram(address: &SocketAddress) -> io::Result<Fd> {
    simulated_creation!(crate::sim::calls::datagram_socket(address));
    of_type(libc::SOCK_DGRAM, address)
}

fn of_type(kind: c_int, address: &SocketAddress) -> io::Result<Fd> {
    let family = match address {
        SocketAddress::Inet(SocketAddr::V4(_)) => libc::AF_INET,
        SocketAddress::Inet(SocketAddr::V6(_)) => libc::AF_INET6,
        SocketAddress::Unix(_) => libc::AF_UNIX,
    };
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes three integers and touches no memory of ours.
    check_fd(unsafe { libc::socket(family, kind, 0) })
}

/// Gives the socket its local address; see bind(2).
pub(crate) fn bind(fd: FdRef<'_>, address: &SocketAddress) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::bind(fd.as_raw_fd(), address));
    let raw = RawAddress::encode(address)?;
    // SAFETY: `raw` holds `raw.length()` bytes of address, which the kernel only reads.
    check(unsafe { libc::bind(fd.as_raw_fd(), raw.as_ptr(), raw.length()) })?;
    Ok(())
}

/// Makes the socket accept connections, `backlog` of which may wait (the kernel cuts it at `somaxconn`); see listen(2).
pub(crate) fn listen(fd: FdRef<'_>, backlog: u32) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::listen(fd.as_raw_fd(), backlog));
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    // SAFETY: the call takes two integers and touches no memory of ours.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(())
}

/// Takes the next connection from the backlog; see accept4(2).
pub(crate) fn accept(fd: FdRef<'_>) -> io::Result<(Fd, SocketAddress)> {
    simulated!(fd, {
        let (socket, peer) = retry(|| crate::sim::calls::accept(fd.as_raw_fd()))?;
        Ok((Fd::made(socket), peer))
    });
    let mut peer = RawAddress::unset();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let socket = retry(|| {
        #[cfg(feature = "chaos")]
        super::chaos::before_accept(fd)?;
        let (bytes, length) = peer.out_pointers();
        // SAFETY: the kernel writes at most `length` bytes of address, which `peer` has room for.
        check_fd(unsafe { libc::accept4(fd.as_raw_fd(), bytes, length, flags) })
    })?;
    Ok((socket, peer.decode()?))
}

/// Begins a connection; `Ok(false)` says that it is under way and the socket will turn writable; see connect(2).
///
/// An interrupted connect goes on in the kernel, so `EINTR` counts as under way and is not retried.
pub(crate) fn connect(fd: FdRef<'_>, address: &SocketAddress) -> io::Result<bool> {
    simulated!(fd, crate::sim::calls::connect(fd.as_raw_fd(), address));
    let raw = RawAddress::encode(address)?;
    // SAFETY: `raw` holds `raw.length()` bytes of address, which the kernel only reads.
    match check(unsafe { libc::connect(fd.as_raw_fd(), raw.as_ptr(), raw.length()) }) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends the sending direction: the peer reads end of stream after what was sent; see shutdown(2).
pub(crate) fn shutdown_write(fd: FdRef<'_>) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::shutdown_write(fd.as_raw_fd()));
    // SAFETY: the call takes two integers and touches no memory of ours.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) })?;
    Ok(())
}

/// The address the socket is bound to; see getsockname(2).
pub(crate) fn local_address(fd: FdRef<'_>) -> io::Result<SocketAddress> {
    simulated!(fd, crate::sim::calls::local_address(fd.as_raw_fd()));
    let mut raw = RawAddress::unset();
    let (bytes, length) = raw.out_pointers();
    // SAFETY: the kernel writes at most `length` bytes of address, which `raw` has room for.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), bytes, length) })?;
    raw.decode()
}

/// The address of the other end; see getpeername(2).
pub(crate) fn peer_address(fd: FdRef<'_>) -> io::Result<SocketAddress> {
    simulated!(fd, crate::sim::calls::peer_address(fd.as_raw_fd()));
    let mut raw = RawAddress::unset();
    let (bytes, length) = raw.out_pointers();
    // SAFETY: the kernel writes at most `length` bytes of address, which `raw` has room for.
    check(unsafe { libc::getpeername(fd.as_raw_fd(), bytes, length) })?;
    raw.decode()
}
