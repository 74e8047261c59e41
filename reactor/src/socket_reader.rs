//! The receiving direction of a connection, as another thread has it for a while.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::{pipe, stream};

/// Reads what a connection receives on another thread: a job of the worker pool can take a large body to where it goes without
/// a detour over the loop. It comes from [`Context::lend_input`](crate::Context::lend_input).
///
/// It never blocks; to wait, poll(2) it. As long as it is there the socket stays open, even if the connection has ended.
///
/// ```
/// use std::io;
/// use reactor::{Context, Handler, Input, LoopContext, Result};
///
/// /// Counts what comes, on another thread.
/// struct Count(u64);
///
/// impl Handler for Count {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
///         self.0 += input.take().len() as u64;
///         let mut reader = cx.lend_input()?;
///         let job = move || {
///             let mut bytes = Vec::new();
///             while reader.append_to(&mut bytes, 65_536).is_ok_and(|count| count > 0) {
///                 bytes.clear();
///             }
///             reader
///         };
///         cx.spawn_blocking(job, |cx, reader| {
///             let id = cx.id();
///             let reader = reader?;
///             cx.with(id, |count: &mut Count, _| count.0 += reader.taken());
///             // The loop reads again; it finds the end, too, and an error.
///             cx.take_back_input(reader)
///         })
///     }
/// }
/// ```
#[derive(Debug)]
pub struct SocketReader {
    socket: OwnedFd,
    taken: u64,
}

impl SocketReader {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, taken: 0 }
    }

    /// Appends what has arrived, at most `most` bytes, and says how many; 0 is the end of the stream. See recv(2).
    ///
    /// # Errors
    /// `WouldBlock`: nothing has arrived. Or the connection has failed; the loop finds out by itself.
    pub fn append_to(&mut self, bytes: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let count = stream::recv_append(self.socket.as_fd().into(), bytes, most)?;
        self.taken += count as u64;
        Ok(count)
    }

    /// Moves what has arrived into a pipe, at most `most` bytes, and says how many; 0 is the end of the stream. The bytes are not
    /// copied: the pipe holds the memory in which they arrived, each piece of which takes one of its pages. See splice(2).
    ///
    /// # Errors
    /// `WouldBlock`: nothing has arrived, or the pipe is full, or urgent data is next, at which splice(2) stops:
    /// [`append_to`](Self::append_to) passes over it. `InvalidInput`: that is no pipe, or such a socket cannot be spliced. Or the
    /// connection has failed; the loop finds out by itself.
    pub fn splice_to(&mut self, pipe: impl AsFd, most: usize) -> io::Result<usize> {
        let count = pipe::from_socket(self.socket.as_fd().into(), pipe.as_fd().into(), most)?;
        self.taken += count as u64;
        Ok(count)
    }

    /// How many bytes were read.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

impl AsFd for SocketReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
