//! Pipes through which relayed bytes and lent pages pass without a copy, kept for the next who needs one.

use std::io;
use std::sync::Arc;

use crate::shared_bytes::SharedBytes;
use crate::sys::fd::{Fd, FdRef};
use crate::sys::pipe;

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: Fd,
    write: Fd,
    len: u32,
    capacity: u32,
    /// By it the pool counts its pipes, those that were dropped with their connection no longer.
    _counted: Arc<()>,
}

/// The pipes of one loop.
#[derive(Debug)]
pub(crate) struct PipePool {
    #[allow(clippy::vec_box, reason = "a queue of output takes a pipe boxed, as it is")]
    idle: Vec<Box<Pipe>>,
    max: usize,
    counted: Arc<()>,
    /// The pipe by which pages are lent, made when it is first needed.
    lender: Option<Pipe>,
}

impl Pipe {
    fn new(counted: Arc<()>, capacity: i32) -> io::Result<Self> {
        let (read, write) = pipe::create()?;
        let capacity = pipe::set_capacity(write.as_fd(), capacity)?;
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        Ok(Self { read, write, len: 0, capacity, _counted: counted })
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Moves up to `most` bytes that the socket has received into the empty pipe; see [`pipe::from_socket`].
    pub(crate) fn fill(&mut self, socket: FdRef<'_>, most: usize) -> io::Result<usize> {
        debug_assert_eq!(self.len, 0, "a full pipe and an empty socket answer alike");
        let count = pipe::from_socket(socket, self.write.as_fd(), most.min(self.capacity as usize))?;
        self.len += count as u32;
        Ok(count)
    }

    /// Puts references to the pages of the first bytes, `most` at most, into the empty pipe, and says to how many.
    pub(crate) fn lend(&mut self, bytes: &SharedBytes, most: usize) -> io::Result<usize> {
        debug_assert_eq!(self.len, 0, "what is lent goes out next");
        let count = bytes.lend(most.min(self.capacity as usize), self.write.as_fd())?;
        self.len += count as u32;
        Ok(count)
    }

    /// Moves all of it into the socket, or as much as that takes: says how many bytes, and how it ended. `more`: others follow.
    pub(crate) fn drain_all(&mut self, socket: FdRef<'_>, more: bool) -> (usize, io::Result<()>) {
        let full = self.len();
        while self.len > 0 {
            if let Err(error) = self.drain(socket, self.len(), more) {
                return (full - self.len(), Err(error));
            }
        }
        (full, Ok(()))
    }

    /// Moves up to `most` of its bytes into the socket. `more`: others follow them.
    pub(crate) fn drain(&mut self, socket: FdRef<'_>, most: usize, more: bool) -> io::Result<usize> {
        match pipe::to_socket(self.read.as_fd(), socket, most.min(self.len()), more)? {
            // It would be tried for ever.
            0 if self.len > 0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                self.len -= count as u32;
                Ok(count)
            }
        }
    }
}

impl PipePool {
    /// A pool of at most `max` pipes, of which none is made yet.
    pub(crate) fn new(max: usize) -> Self {
        Self { idle: Vec::new(), max, counted: Arc::default(), lender: None }
    }

    /// An empty pipe; `None` if as many are in use as there may be, or none can be had.
    pub(crate) fn take(&mut self) -> Option<Box<Pipe>> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        let made = Arc::strong_count(&self.counted) - 1;
        if made >= self.max {
            return None;
        }
        Pipe::new(Arc::clone(&self.counted), CAPACITY).map(Box::new).ok()
    }

    /// The empty pipe by which pages are lent; `None` if it cannot be had.
    pub(crate) fn take_lender(&mut self) -> Option<Pipe> {
        self.lender.take().or_else(|| Pipe::new(Arc::default(), LENDER_CAPACITY).ok())
    }

    /// Takes that pipe back. One with something in it is closed, which costs less than to empty it.
    pub(crate) fn give_lender(&mut self, pipe: Pipe) {
        if pipe.len == 0 {
            self.lender = Some(pipe);
        }
    }

    /// Takes a pipe back, to keep it or to close it.
    pub(crate) fn give(&mut self, pipe: Box<Pipe>) {
        if pipe.len == 0 && self.idle.len() < KEPT {
            self.idle.push(pipe);
        }
    }
}

/// What a pipe is asked to hold, in bytes: as much as may wait on a connection by default. Against the 64 KiB that it holds at
/// first it takes a third off the processor time of a stream; four times as much takes off no more that can be measured, and a
/// user has only so many pages in pipes (`/proc/sys/fs/pipe-user-pages-soft`).
const CAPACITY: i32 = 256 << 10;

/// What the pipe is asked to hold by which pages are lent, of which a loop has one: the most that may be asked for by everybody
/// (`/proc/sys/fs/pipe-max-size`). Against a quarter of it it takes a seventh off the processor time of 1 MiB.
const LENDER_CAPACITY: i32 = 1 << 20;

/// Pipes that are kept while nobody needs them. In a turn each relay gives its pipe back before the next takes one, unless the
/// other side is slow, so a few serve many.
const KEPT: usize = 8;

// Miri knows no splice(2).
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_pass_through_and_are_counted() {
        let (mut sender, from) = UnixStream::pair().unwrap();
        let (to, mut receiver) = UnixStream::pair().unwrap();
        let mut pipe = PipePool::new(1).take().unwrap();
        sender.write_all(b"through").unwrap();
        assert_eq!(pipe.fill(from.as_fd().into(), 100).unwrap(), 7);
        assert_eq!((pipe.drain(to.as_fd().into(), 3, false).unwrap(), pipe.len()), (3, 4));
        assert_eq!((pipe.drain(to.as_fd().into(), 100, false).unwrap(), pipe.len()), (4, 0));
        drop(sender);
        assert_eq!(pipe.fill(from.as_fd().into(), 100).unwrap(), 0);
        drop(to);
        let mut received = String::new();
        receiver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "through");
    }

    #[test]
    fn the_pool_is_bounded_and_a_pipe_that_is_dropped_leaves_its_place() {
        let mut pool = PipePool::new(2);
        let pipes = [pool.take().unwrap(), pool.take().unwrap()];
        assert!(pool.take().is_none());
        let [given, dropped] = pipes;
        pool.give(given);
        assert!(pool.take().is_some());
        drop(dropped);
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_not_kept() {
        let (mut sender, from) = UnixStream::pair().unwrap();
        let mut pool = PipePool::new(1);
        let mut pipe = pool.take().unwrap();
        sender.write_all(b"left").unwrap();
        pipe.fill(from.as_fd().into(), 100).unwrap();
        pool.give(pipe);
        assert_eq!(pool.take().unwrap().len(), 0);
    }
}
