//! The system calls as `sys` makes them of a simulated descriptor; each is described there.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::address::SocketAddress;
use crate::sim::datagram::Datagram;
use crate::sim::kernel::{FIRST_DESCRIPTOR, Kernel, Object};
use crate::sim::socket::{Role, Socket};
use crate::sim::stream::Stream;
use crate::sim::trace::Traced;
use crate::sim::words::error;
use crate::sim::world;

/// Whether the number is that of a simulated descriptor.
#[inline]
pub(crate) fn is_simulated(fd: i32) -> bool {
    fd >= FIRST_DESCRIPTOR
}

/// Makes a call and keeps it in the trace.
fn traced<T: Traced>(what: &'static str, fd: i32, make: impl FnOnce(&mut Kernel) -> io::Result<T>) -> io::Result<T> {
    let result = world::call(|kernel| {
        let result = make(kernel);
        if result.is_ok() {
            kernel.progress += 1;
            *kernel.succeeded.entry(what).or_default() += 1;
        }
        kernel.note(what, (fd - FIRST_DESCRIPTOR).into(), result)
    });
    result.expect("a simulated descriptor is used by threads of its simulation only: start them with Sim::spawn")
}

/// A call that makes a descriptor, where there is no simulated one yet that says whose it is: `None` outside of a simulation.
fn creating(what: &'static str, make: impl FnOnce(&mut Kernel) -> io::Result<i32>) -> Option<io::Result<i32>> {
    world::is_current().then(|| traced(what, FIRST_DESCRIPTOR, make))
}

/// A signal may interrupt the call.
fn interrupted(kernel: &mut Kernel) -> io::Result<()> {
    if kernel.fails(|faults| faults.interrupt) { Err(error(libc::EINTR)) } else { Ok(()) }
}

pub(crate) fn close(fd: i32) {
    // What outlives its simulation is closed already.
    world::call(|kernel| {
        kernel.close(fd);
        kernel.note("close", (fd - FIRST_DESCRIPTOR).into(), ());
    });
}

/// See `F_DUPFD` in fcntl(2).
pub(crate) fn duplicate(fd: i32) -> io::Result<i32> {
    traced("F_DUPFD", fd, |kernel| kernel.duplicate(fd))
}

pub(crate) fn epoll() -> Option<io::Result<i32>> {
    creating("epoll_create", Kernel::create_epoll)
}

pub(crate) fn eventfd() -> Option<io::Result<i32>> {
    creating("eventfd", |kernel| kernel.open(Object::Event(0)))
}

pub(crate) fn signalfd(set: u64) -> Option<io::Result<i32>> {
    creating("signalfd", |kernel| kernel.open(Object::Signals(set)))
}

pub(crate) fn socket(address: &SocketAddress) -> Option<io::Result<i32>> {
    creating("socket", |kernel| kernel.create_socket(address))
}

pub(crate) fn datagram_socket(address: &SocketAddress) -> Option<io::Result<i32>> {
    creating("socket", |kernel| kernel.create_datagram_socket(address))
}

pub(crate) fn is_datagram(fd: i32) -> io::Result<bool> {
    traced("SO_TYPE", fd, |kernel| Ok(matches!(kernel.socket(fd)?.role, Role::Datagram(_))))
}

pub(crate) fn receive_datagram(fd: i32) -> io::Result<Datagram> {
    let received = traced("recvmsg", fd, |kernel| {
        interrupted(kernel)?;
        let datagram = kernel.receive_datagram(fd)?;
        Ok((datagram.bytes.len(), datagram))
    });
    received.map(|(_, datagram)| datagram)
}

/// Where a datagram was going that was not delivered, and which `errno` says so.
pub(crate) fn receive_undelivered(fd: i32) -> io::Result<(SocketAddress, i32)> {
    let told = traced("recvmsg ERRQUEUE", fd, |kernel| {
        let (to, errno) = kernel.receive_undelivered(fd)?;
        Ok((errno, to))
    });
    told.map(|(errno, to)| (to, errno))
}

pub(crate) fn send_datagram(
    fd: i32,
    to: Option<&SocketAddress>,
    source: Option<IpAddr>,
    bytes: &[u8],
) -> io::Result<()> {
    traced("sendmsg", fd, |kernel| {
        interrupted(kernel)?;
        kernel.send_datagram(fd, to, source, bytes)
    })
}

pub(crate) fn add(epoll: i32, fd: i32, events: u32, word: u64) -> io::Result<()> {
    traced("epoll_ctl ADD", fd, |kernel| kernel.watch(epoll, fd, events, word))
}

pub(crate) fn modify(epoll: i32, fd: i32, events: u32, word: u64) -> io::Result<()> {
    traced("epoll_ctl MOD", fd, |kernel| kernel.watch_anew(epoll, fd, events, word))
}

pub(crate) fn delete(epoll: i32, fd: i32) -> io::Result<()> {
    traced("epoll_ctl DEL", fd, |kernel| kernel.unwatch(epoll, fd))
}

/// What stands for getrandom(2); `None` outside of a simulation.
pub(crate) fn random_word() -> Option<u64> {
    world::call(|kernel| kernel.random.bits())
}

/// Whether timeouts in nanoseconds are known.
pub(crate) fn is_precise() -> bool {
    world::call(|kernel| kernel.precise).unwrap_or(false)
}

pub(crate) fn signal_event(fd: i32) -> io::Result<()> {
    let result = traced("write", fd, |kernel| kernel.signal_event(fd, 1));
    world::unpark();
    result
}

/// See read(2), of what has bytes to read.
pub(crate) fn read(fd: i32, into: &mut [u8]) -> io::Result<usize> {
    traced("read", fd, |kernel| {
        interrupted(kernel)?;
        match *kernel.object(fd)? {
            Object::Pipe(..) => kernel.read_pipe(fd, into),
            Object::Inotify(_) => kernel.read_file_events(fd, into),
            Object::Event(_) => {
                let room = into.first_chunk_mut().ok_or_else(|| error(libc::EINVAL))?;
                *room = kernel.take_count(fd)?.to_ne_bytes();
                Ok(room.len())
            }
            Object::Socket(_) => {
                let (stream, side) = kernel.end_of(fd)?;
                kernel.receive(stream, side, into)
            }
            _ => Err(error(libc::EINVAL)),
        }
    })
}

/// See write(2), to what takes bytes.
pub(crate) fn write(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    traced("write", fd, |kernel| {
        interrupted(kernel)?;
        match *kernel.object(fd)? {
            Object::Pipe(..) => kernel.write_pipe(fd, bytes),
            Object::Event(_) => {
                let count = bytes.first_chunk().ok_or_else(|| error(libc::EINVAL))?;
                kernel.signal_event(fd, u64::from_ne_bytes(*count))?;
                Ok(count.len())
            }
            Object::Socket(_) => {
                let (stream, side) = kernel.end_of(fd).map_err(|_| error(libc::EPIPE))?;
                kernel.send(stream, side, bytes)
            }
            _ => Err(error(libc::EINVAL)),
        }
    })
}

/// A pipe: where it is read, and where it is written.
pub(crate) fn pipe() -> Option<io::Result<(i32, i32)>> {
    world::is_current().then(|| traced("pipe", FIRST_DESCRIPTOR, Kernel::create_pipe))
}

pub(crate) fn set_pipe_capacity(fd: i32, bytes: usize) -> io::Result<usize> {
    traced("F_SETPIPE_SZ", fd, |kernel| kernel.set_pipe_capacity(fd, bytes))
}

/// See splice(2), from a socket into a pipe.
pub(crate) fn splice_in(socket: i32, pipe: i32, count: usize) -> io::Result<usize> {
    traced("splice in", socket, |kernel| {
        interrupted(kernel)?;
        kernel.splice_in(socket, pipe, count)
    })
}

/// See splice(2), from a pipe into a socket.
pub(crate) fn splice_out(pipe: i32, socket: i32, count: usize) -> io::Result<usize> {
    traced("splice out", socket, |kernel| {
        interrupted(kernel)?;
        kernel.splice_out(pipe, socket, count)
    })
}

/// How a process ended that now is gone, if it has.
pub(crate) fn wait_for_process(fd: i32) -> io::Result<Option<i32>> {
    traced("waitid", fd, |kernel| {
        let status = kernel.wait_for_process(fd)?;
        Ok((status.unwrap_or(-1), status))
    })
    .map(|(_, status)| status)
}

/// Has somebody else wait for a process.
pub(crate) fn await_process(fd: i32) -> io::Result<()> {
    traced("waitid elsewhere", fd, |kernel| kernel.await_process(fd))
}

pub(crate) fn signal_process(fd: i32, signal: i32) -> io::Result<()> {
    traced("pidfd_send_signal", fd, |kernel| kernel.signal_process(fd, signal))
}

pub(crate) fn inotify() -> Option<io::Result<i32>> {
    creating("inotify_init", Kernel::create_inotify)
}

pub(crate) fn watch_file(fd: i32, path: &Path, mask: u32) -> io::Result<i32> {
    traced("inotify_add_watch", fd, |kernel| kernel.watch_file(fd, path, mask))
}

pub(crate) fn unwatch_file(fd: i32, watch: i32) -> io::Result<()> {
    traced("inotify_rm_watch", fd, |kernel| kernel.unwatch_file(fd, watch))
}

pub(crate) fn read_signal(fd: i32) -> io::Result<i32> {
    traced("read", fd, |kernel| kernel.read_signal(fd))
}

pub(crate) fn bind(fd: i32, address: &SocketAddress) -> io::Result<()> {
    traced("bind", fd, |kernel| kernel.bind(fd, address))
}

pub(crate) fn listen(fd: i32, backlog: u32) -> io::Result<()> {
    traced("listen", fd, |kernel| kernel.listen(fd, backlog))
}

pub(crate) fn accept(fd: i32) -> io::Result<(i32, SocketAddress)> {
    traced("accept", fd, |kernel| {
        interrupted(kernel)?;
        kernel.accept(fd)
    })
}

pub(crate) fn connect(fd: i32, address: &SocketAddress) -> io::Result<bool> {
    traced("connect", fd, |kernel| kernel.connect(fd, address))
}

pub(crate) fn shutdown_write(fd: i32) -> io::Result<()> {
    traced("shutdown", fd, |kernel| {
        let unix = kernel.socket(fd)?.local.is_unix();
        match kernel.end_of(fd).and_then(|(stream, side)| kernel.end_writing(stream, side)) {
            // The real one does not mind.
            Err(_) if unix => Ok(()),
            result => result,
        }
    })
}

pub(crate) fn local_address(fd: i32) -> io::Result<SocketAddress> {
    let address = traced("getsockname", fd, |kernel| Ok((0, kernel.socket(fd)?.local.clone())))?;
    Ok(address.1)
}

pub(crate) fn peer_address(fd: i32) -> io::Result<SocketAddress> {
    let address = traced("getpeername", fd, |kernel| Ok((0, kernel.peer_address(fd)?)))?;
    Ok(address.1)
}

pub(crate) fn recv(fd: i32, into: &mut [u8]) -> io::Result<usize> {
    traced("recv", fd, |kernel| {
        interrupted(kernel)?;
        let (stream, side) = kernel.end_of(fd)?;
        kernel.receive(stream, side, into)
    })
}

pub(crate) fn send(fd: i32, bytes: &[u8]) -> io::Result<usize> {
    traced("send", fd, |kernel| {
        interrupted(kernel)?;
        let (stream, side) = kernel.end_of(fd).map_err(|_| error(libc::EPIPE))?;
        kernel.send(stream, side, bytes)
    })
}

/// The options that change something here; the others are taken and have no effect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SocketOption {
    ReusePort,
    ReceiveBuffer(u32),
    SendBuffer(u32),
    ResetOnClose,
    Other,
}

pub(crate) fn set_option(fd: i32, option: SocketOption) -> io::Result<()> {
    traced("setsockopt", fd, |kernel| {
        let socket: &mut Socket = kernel.socket(fd)?;
        match option {
            SocketOption::ReusePort => socket.reuse_port = true,
            // The real one doubles what it is asked for.
            SocketOption::ReceiveBuffer(bytes) => socket.receive_buffer = Some(2 * bytes as usize),
            SocketOption::SendBuffer(bytes) => socket.send_buffer = Some(2 * bytes as usize),
            SocketOption::ResetOnClose => socket.reset_on_close = true,
            SocketOption::Other => {}
        }
        Ok(())
    })
}

pub(crate) fn take_error(fd: i32) -> io::Result<i32> {
    traced("SO_ERROR", fd, |kernel| kernel.take_error(fd))
}

pub(crate) fn is_listening(fd: i32) -> io::Result<bool> {
    traced("SO_ACCEPTCONN", fd, |kernel| Ok(matches!(kernel.socket(fd)?.role, Role::Listening { .. })))
}

#[cfg(test)]
pub(crate) fn send_urgent(fd: i32, byte: u8) -> io::Result<usize> {
    traced("send OOB", fd, |kernel| {
        let (stream, side) = kernel.end_of(fd)?;
        kernel.send_urgent(stream, side, byte);
        Ok(1)
    })
}

pub(crate) fn unread(fd: i32) -> io::Result<usize> {
    traced("SIOCINQ", fd, |kernel| {
        match *kernel.object(fd)? {
            Object::Pipe(pipe, _) => return Ok(kernel.unread_in_pipe(pipe)),
            Object::Inotify(ref inotify) => return Ok(inotify.len()),
            _ => {}
        }
        let (stream, side) = kernel.end_of(fd)?;
        Ok(kernel.stream(stream).map_or(0, |stream| stream.end(side).arrived.len()))
    })
}

pub(crate) fn unacknowledged(fd: i32) -> io::Result<usize> {
    traced("SIOCOUTQ", fd, |kernel| {
        let (stream, side) = kernel.end_of(fd)?;
        Ok(kernel.stream(stream).map_or(0, |stream: &Stream| stream.unacknowledged(side)))
    })
}
