//! Socket options; see socket(7), tcp(7) and ipv6(7).

use std::io;

use libc::{c_int, socklen_t};

use super::check;
use super::fd::FdRef;
#[cfg(feature = "sim")]
use crate::sim::calls::SocketOption;

/// `SO_REUSEADDR`: binding succeeds while old connections of the port are in TIME-WAIT.
pub(crate) fn set_reuse_address(fd: FdRef<'_>) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)
}

/// `SO_REUSEPORT`: several sockets bind one port and the kernel spreads connections over them.
pub(crate) fn set_reuse_port(fd: FdRef<'_>) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::set_option(fd.as_raw_fd(), SocketOption::ReusePort));
    set_int(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)
}

/// `IPV6_V6ONLY`: an IPv6 socket leaves IPv4 alone.
pub(crate) fn set_v6_only(fd: FdRef<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, on.into())
}

/// `TCP_NODELAY`: small writes leave at once.
pub(crate) fn set_nodelay(fd: FdRef<'_>, on: bool) -> io::Result<()> {
    if cfg!(miri) {
        // Miri knows it on connected sockets only, not on a listener that passes it on.
        return Ok(());
    }
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, on.into())
}

/// `TCP_QUICKACK`: what has arrived is acknowledged now, and so is what comes next, until the kernel finds otherwise.
pub(crate) fn set_quickack(fd: FdRef<'_>) -> io::Result<()> {
    if cfg!(miri) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1)
}

/// `SO_KEEPALIVE`: a silent peer is asked from time to time whether it is still there.
pub(crate) fn set_keepalive(fd: FdRef<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, on.into())
}

/// `SO_RCVBUF`: bytes of receive buffer (the kernel doubles it, and stops tuning it).
pub(crate) fn set_receive_buffer(fd: FdRef<'_>, bytes: u32) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::set_option(fd.as_raw_fd(), SocketOption::ReceiveBuffer(bytes)));
    set_int(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, c_int::try_from(bytes).unwrap_or(c_int::MAX))
}

/// `SO_SNDBUF`: bytes of send buffer (the kernel doubles it, and stops tuning it).
pub(crate) fn set_send_buffer(fd: FdRef<'_>, bytes: u32) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::set_option(fd.as_raw_fd(), SocketOption::SendBuffer(bytes)));
    set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, c_int::try_from(bytes).unwrap_or(c_int::MAX))
}

/// `SO_LINGER` of zero seconds: closing sends a reset and drops what waits.
pub(crate) fn set_reset_on_close(fd: FdRef<'_>) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::set_option(fd.as_raw_fd(), SocketOption::ResetOnClose));
    set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// `SO_ERROR`: takes the error that waits on the socket, such as the outcome of a connect.
pub(crate) fn take_error(fd: FdRef<'_>) -> io::Result<Option<io::Error>> {
    simulated!(fd, {
        let code = crate::sim::calls::take_error(fd.as_raw_fd())?;
        Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
    });
    let code = int(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// `SO_ACCEPTCONN`: whether the socket listens.
pub(crate) fn is_listening(fd: FdRef<'_>) -> io::Result<bool> {
    simulated!(fd, crate::sim::calls::is_listening(fd.as_raw_fd()));
    Ok(int(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}

/// `SO_TYPE`: whether it is a stream socket.
pub(crate) fn is_stream(fd: FdRef<'_>) -> io::Result<bool> {
    Ok(int(fd, libc::SOL_SOCKET, libc::SO_TYPE)? == libc::SOCK_STREAM)
}

/// `SO_PEERCRED`: the process, user and group at the other end of a Unix socket.
pub(crate) fn peer_credentials(fd: FdRef<'_>) -> io::Result<(u32, u32, u32)> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = socklen_t::try_from(size_of::<libc::ucred>()).expect("it is a few bytes");
    let into = (&raw mut peer).cast();
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `peer`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, into, &raw mut length) })?;
    Ok((peer.pid.cast_unsigned(), peer.uid, peer.gid))
}

/// Makes a descriptor that came from elsewhere nonblocking and close-on-exec; see fcntl(2).
pub(crate) fn set_nonblocking(fd: FdRef<'_>) -> io::Result<()> {
    simulated!(fd, Ok(()));
    // SAFETY: the call takes integers and touches no memory of ours.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: the call takes integers and touches no memory of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    // SAFETY: the call takes integers and touches no memory of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

/// Bytes received that were not read; see tcp(7).
pub(crate) fn unread(fd: FdRef<'_>) -> io::Result<usize> {
    simulated!(fd, crate::sim::calls::unread(fd.as_raw_fd()));
    if cfg!(miri) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD, which is SIOCINQ on a socket, writes one C int, and `bytes` is one.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Bytes sent that the peer's kernel has not acknowledged (or, on a Unix socket, that the peer has not read); see tcp(7).
pub(crate) fn unacknowledged(fd: FdRef<'_>) -> io::Result<usize> {
    simulated!(fd, crate::sim::calls::unacknowledged(fd.as_raw_fd()));
    if cfg!(miri) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut bytes: c_int = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ on a socket, writes one C int, and `bytes` is one.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

pub(super) fn set_int(fd: FdRef<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(fd, level, name, &value)
}

pub(super) fn set<T: Copy>(fd: FdRef<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::set_option(fd.as_raw_fd(), SocketOption::Other));
    let length = socklen_t::try_from(size_of::<T>()).expect("an option value is a few bytes");
    let bytes = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `length` bytes at `bytes`, and `value` has that many.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, bytes, length) })?;
    Ok(())
}

pub(super) fn int(fd: FdRef<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = socklen_t::try_from(size_of::<c_int>()).expect("a C int is a few bytes");
    let into = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `value`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, into, &raw mut length) })?;
    Ok(value)
}
