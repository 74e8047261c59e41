//! A pipe by which bytes go from a socket to a file within the kernel; see splice(2).

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};

use reactor::SocketReader;
use rustix::pipe::fcntl_setpipe_size;

use crate::memory::PIECE;

/// Bytes on their way from a socket to a file. They stay in the memory in which they arrived until they are copied to that of
/// the file, which is one copy less than by way of ours.
#[derive(Debug)]
pub(crate) struct Pipe {
    from: PipeReader,
    to: PipeWriter,
    held: usize,
}

impl Pipe {
    /// A pipe with nothing in it. `None`: no descriptor is left for it, or its user may not have one of this size, and a smaller
    /// one gains nothing.
    pub(crate) fn new() -> Option<Self> {
        let (from, to) = io::pipe().ok()?;
        fcntl_setpipe_size(&to, CAPACITY).ok()?;
        Some(Self { from, to, held: 0 })
    }

    /// Takes what has come, at most `most` bytes, and says how many; as [`SocketReader::splice_to`].
    pub(crate) fn fill(&mut self, socket: &mut SocketReader, most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(CAPACITY);
        let count = socket.splice_to(&self.to, most)?;
        self.held += count;
        Ok(count)
    }

    /// Has `splice` take what it holds, given where that is and how much, which says how much it took.
    ///
    /// # Errors
    /// Those of `splice`. What it did not take is still here.
    pub(crate) fn drain(
        &mut self,
        mut splice: impl FnMut(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<()> {
        while self.held > 0 {
            match splice(self.from.as_fd(), self.held)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.held -= count,
            }
        }
        Ok(())
    }

    /// Appends what it holds, and says how much that is.
    pub(crate) fn take_rest(self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.from.take(self.held as u64).read_to_end(bytes)
    }
}

/// How many bytes it is asked to hold: as many as who is not root may ask for. The 64 KiB that a pipe has by itself gain nothing.
const CAPACITY: usize = PIECE;
