//! What one read of a connection brings, and what it means when it brings nothing.

use std::io;

use super::{Connection, Flag};
use crate::clock::Clock;
use crate::limits::Limits;
use crate::sys::fd_passing::{self, Received};
use crate::sys::stream::{self, Moved};

/// What reading once brought.
pub(crate) enum Fill {
    /// So many bytes.
    Data(usize),
    /// Nothing: the kernel has no more.
    Empty,
    /// The end of the stream.
    End,
    Failed(io::Error),
}

impl Connection {
    /// Reads once. A short read counts as the last, unless `strict_drain` or something else than bytes was
    /// announced.
    pub(crate) fn fill(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits) -> Fill {
        if self.has(Flag::RECEIVES_FDS) {
            return self.fill_with_fds(into, clock, limits);
        }
        let moved = self.fill_once(into, clock, limits);
        moved.any().map_or_else(|| self.fill_nothing(into, clock, limits, moved), Fill::Data)
    }

    /// [`fill`](Self::fill) in one call; if it brought no bytes, [`fill_nothing`](Self::fill_nothing) is to follow.
    #[inline(always)]
    pub(crate) fn fill_once(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits) -> Moved {
        let moved = stream::recv_once(self.fd.as_fd(), into);
        if let Some(count) = moved.any() {
            if count < into.len() && !self.has(Flag::TO_EAGAIN) && !limits.strict_drain {
                self.clear(Flag::READABLE);
            }
            self.last_activity = clock.stamp();
        }
        moved
    }

    /// A read brought no bytes: that has a meaning, or a signal interrupted it and it is made again.
    #[cold]
    pub(crate) fn fill_nothing(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits, moved: Moved) -> Fill {
        let result = moved.result();
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            return self.fill(into, clock, limits);
        }
        self.note_no_bytes(result)
    }

    /// [`fill`](Self::fill) where descriptors may come. The kernel ends a read behind bytes that came with some, so a short one
    /// proves nothing.
    #[cold]
    fn fill_with_fds(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits) -> Fill {
        if self.unread() == 0 {
            // The handler has taken all the bytes, and left these.
            self.take_passed();
        }
        let waiting = self.passed();
        match fd_passing::receive(self.fd.as_fd(), into) {
            Ok(Received { lost: true, .. }) => self.note_no_bytes(Err(lost_fds())),
            Ok(Received { passed, .. }) if waiting + passed.len() > limits.fds_per_connection => {
                self.note_no_bytes(Err(too_many_fds()))
            }
            Ok(Received { count: 0, .. }) => self.note_no_bytes(Ok(0)),
            Ok(Received { count, passed, .. }) => {
                self.last_activity = clock.stamp();
                self.keep_passed(passed);
                Fill::Data(count)
            }
            Err(error) => self.note_no_bytes(Err(error)),
        }
    }

    /// Looks at what it means that no bytes came.
    fn note_no_bytes(&mut self, result: io::Result<usize>) -> Fill {
        match result {
            Ok(_) => {
                self.note_end();
                Fill::End
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.note_nothing();
                Fill::Empty
            }
            Err(error) => {
                self.clear(Flag::READABLE);
                self.set(Flag::BROKEN);
                Fill::Failed(error)
            }
        }
    }

    /// The peer's end of stream was read.
    pub(crate) fn note_end(&mut self) {
        self.clear(Flag::READABLE);
        self.set(Flag::EOF);
    }

    /// The kernel has said that there is no more for now.
    pub(crate) fn note_nothing(&mut self) {
        self.clear(Flag::READABLE);
        self.clear(Flag::TO_EAGAIN);
    }
}

fn too_many_fds() -> io::Error {
    let message = "more descriptors have come than Limits::fds_per_connection allows to wait";
    io::Error::new(io::ErrorKind::QuotaExceeded, message)
}

fn lost_fds() -> io::Error {
    io::Error::other("descriptors that were sent here are lost, for the process has as many open as it may")
}
