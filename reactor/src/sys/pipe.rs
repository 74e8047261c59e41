//! Pipes, and moving bytes between them and sockets without a copy; see pipe(2) and splice(2).

use std::io;
use std::ptr;

use libc::{c_int, c_uint};

#[cfg(feature = "chaos")]
use super::chaos::{self, Direction};
use super::fd::{Fd, FdRef};
use super::{check, check_count, retry};

/// Makes a pipe: where it is read, and where it is written.
pub(crate) fn create() -> io::Result<(Fd, Fd)> {
    #[cfg(feature = "sim")]
    if let Some(made) = crate::sim::calls::pipe() {
        return made.map(|(read, write)| (Fd::made(read), Fd::made(write)));
    }
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: the kernel writes two numbers to `ends`, which has room for two.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    Ok((Fd::made(ends[0]), Fd::made(ends[1])))
}

/// Asks that the pipe hold so many bytes, and answers how many it does hold; see `F_SETPIPE_SZ` in fcntl(2). Who may not have
/// so much keeps what there is.
pub(crate) fn set_capacity(pipe: FdRef<'_>, bytes: c_int) -> io::Result<usize> {
    simulated!(pipe, crate::sim::calls::set_pipe_capacity(pipe.as_raw_fd(), bytes.cast_unsigned() as usize));
    // SAFETY: the call takes integers and touches no memory of ours.
    let asked = check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) });
    let capacity = asked.or_else(|_| {
        // SAFETY: the call takes integers and touches no memory of ours.
        check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) })
    })?;
    Ok(usize::try_from(capacity).unwrap_or(0))
}

/// Moves up to `count` bytes that a socket has received into a pipe; `Ok(0)` is the end of the stream, `WouldBlock` says that
/// nothing waits, or that the pipe is full.
pub(crate) fn from_socket(socket: FdRef<'_>, pipe: FdRef<'_>, count: usize) -> io::Result<usize> {
    simulated!(socket, retry(|| crate::sim::calls::splice_in(socket.as_raw_fd(), pipe.as_raw_fd(), count)));
    retry(|| {
        #[cfg(feature = "chaos")]
        let count = chaos::before_moving(Direction::Recv, socket, count).map_err(io::Error::from_raw_os_error)?;
        splice(socket, pipe, count, FLAGS)
    })
}

/// Moves up to `count` bytes of a pipe into a socket, perhaps only the first of them. `more` tells that something is to follow at
/// once, so that a short segment waits for it.
///
/// splice(2) takes no `MSG_NOSIGNAL`: on a socket whose peer is gone it raises SIGPIPE, which the Rust runtime ignores.
pub(crate) fn to_socket(pipe: FdRef<'_>, socket: FdRef<'_>, count: usize, more: bool) -> io::Result<usize> {
    simulated!(socket, retry(|| crate::sim::calls::splice_out(pipe.as_raw_fd(), socket.as_raw_fd(), count)));
    retry(|| {
        #[cfg(feature = "chaos")]
        let count = chaos::before_moving(Direction::Send, socket, count).map_err(io::Error::from_raw_os_error)?;
        splice(pipe, socket, count, if more { FLAGS | libc::SPLICE_F_MORE } else { FLAGS })
    })
}

const FLAGS: c_uint = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;

fn splice(from: FdRef<'_>, to: FdRef<'_>, count: usize, flags: c_uint) -> io::Result<usize> {
    // SAFETY: both descriptors are open, and without offsets the kernel touches no memory of ours.
    check_count(unsafe {
        libc::splice(from.as_raw_fd(), ptr::null_mut(), to.as_raw_fd(), ptr::null_mut(), count, flags)
    })
}
