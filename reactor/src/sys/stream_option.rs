//! Options of stream sockets beyond the basic ones; see socket(7) and tcp(7).

use std::io;

use libc::{c_int, c_uint, socklen_t};

use super::check;
use super::fd::FdRef;
use super::option::{set, set_int};
#[cfg(feature = "sim")]
use crate::sim::calls::SocketOption;

/// `TCP_KEEPIDLE`: seconds of silence before the first keep-alive probe.
pub(crate) fn set_keepalive_idle(fd: FdRef<'_>, seconds: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_KEEPIDLE, seconds)
}

/// `TCP_KEEPINTVL`: seconds between two probes.
pub(crate) fn set_keepalive_interval(fd: FdRef<'_>, seconds: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_KEEPINTVL, seconds)
}

/// `TCP_KEEPCNT`: probes without an answer before the connection is given up.
pub(crate) fn set_keepalive_count(fd: FdRef<'_>, probes: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_KEEPCNT, probes)
}

/// `TCP_USER_TIMEOUT`: milliseconds for which what was sent may stay unacknowledged.
pub(crate) fn set_user_timeout(fd: FdRef<'_>, ms: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_USER_TIMEOUT, ms)
}

/// `TCP_NOTSENT_LOWAT`: bytes not sent yet above which the socket is not writable.
pub(crate) fn set_notsent_lowat(fd: FdRef<'_>, bytes: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// `TCP_FASTOPEN`: how many connections that came with data may wait on a listener.
pub(crate) fn set_fastopen_queue(fd: FdRef<'_>, connections: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_FASTOPEN, connections)
}

/// `TCP_FASTOPEN_CONNECT`: what is sent first goes with the request to connect, where the server is known to take it.
pub(crate) fn set_fastopen_connect(fd: FdRef<'_>, on: bool) -> io::Result<()> {
    set_tcp(fd, libc::TCP_FASTOPEN_CONNECT, on.into())
}

/// `TCP_DEFER_ACCEPT`: seconds for which a listener waits for the first bytes before it tells of a connection.
pub(crate) fn set_defer_accept(fd: FdRef<'_>, seconds: u32) -> io::Result<()> {
    set_tcp(fd, libc::TCP_DEFER_ACCEPT, seconds)
}

/// `TCP_CONGESTION`: the congestion control, by name.
pub(crate) fn set_congestion(fd: FdRef<'_>, name: &str) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::set_option(fd.as_raw_fd(), SocketOption::Other));
    let too_long = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let length = socklen_t::try_from(name.len()).map_err(too_long)?;
    let bytes = name.as_ptr().cast();
    // SAFETY: the kernel reads `length` bytes at `bytes`, which is what `name` has; it needs no NUL behind them.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, bytes, length) })?;
    Ok(())
}

/// `SO_MARK`: the mark of what is sent, by which it can be routed and filtered.
pub(crate) fn set_mark(fd: FdRef<'_>, mark: u32) -> io::Result<()> {
    set::<c_uint>(fd, libc::SOL_SOCKET, libc::SO_MARK, &mark)
}

/// `SO_PRIORITY`: the class of what is sent in the queues of the interface.
pub(crate) fn set_priority(fd: FdRef<'_>, priority: u32) -> io::Result<()> {
    set::<c_uint>(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, &priority)
}

/// `SO_INCOMING_CPU`: the processor whose connections a listener that shares its port is to get.
pub(crate) fn set_incoming_cpu(fd: FdRef<'_>, cpu: u32) -> io::Result<()> {
    set::<c_uint>(fd, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, &cpu)
}

/// `SO_BUSY_POLL`: microseconds for which a read that would block asks the interface itself.
pub(crate) fn set_busy_poll(fd: FdRef<'_>, us: u32) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, c_int::try_from(us).unwrap_or(c_int::MAX))
}

/// What the kernel takes for a C int it may take for too large, and says so.
fn set_tcp(fd: FdRef<'_>, name: c_int, value: u32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, name, c_int::try_from(value).unwrap_or(c_int::MAX))
}

/// What getsockopt(2) says of an option that is a C int.
#[cfg(all(test, not(miri)))]
pub(crate) fn read_back(fd: FdRef<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    super::option::int(fd, level, name)
}
