//! Bytes in pages on their way out: the kernel is lent the pages by way of a pipe, and copies nothing.

use std::io;

use crate::pipe_pool::PipePool;
use crate::shared_bytes::SharedBytes;
use crate::sys::fd::FdRef;
use crate::sys::stream;

/// What of shared bytes in pages is still to be sent.
#[derive(Debug)]
pub(crate) struct Lent {
    bytes: SharedBytes,
    /// How many to lend at once. What the socket does not take of them was lent for nothing.
    step: usize,
}

impl Lent {
    pub(crate) fn new(bytes: SharedBytes) -> Self {
        Self { bytes, step: usize::MAX }
    }

    /// Bytes still to be sent.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sends at most `most` bytes by way of a pipe, or a copy of them without one: says how many bytes the kernel took, also before an
    /// error. `more`: other bytes follow these at once.
    pub(crate) fn send(
        &mut self,
        socket: FdRef<'_>,
        most: usize,
        more: bool,
        pipes: &mut PipePool,
    ) -> (usize, io::Result<()>) {
        let Some(mut pipe) = pipes.take_lender() else { return self.send_now(socket, most) };
        let Ok(count) = pipe.lend(&self.bytes, most.min(self.step)) else {
            pipes.give_lender(pipe);
            return self.send_now(socket, most);
        };
        let (sent, result) = pipe.drain_all(socket, more || count < self.len());
        self.bytes.consume(sent);
        if sent < count {
            self.step = (2 * sent).max(LEAST_STEP);
        }
        pipes.give_lender(pipe);
        (sent, result)
    }

    fn send_now(&mut self, socket: FdRef<'_>, most: usize) -> (usize, io::Result<()>) {
        match self.send_copy(socket, most) {
            Ok(sent) => (sent, Ok(())),
            Err(error) => (0, Err(error)),
        }
    }

    /// Sends a copy of at most `most` bytes.
    pub(crate) fn send_copy(&mut self, socket: FdRef<'_>, most: usize) -> io::Result<usize> {
        let sent = stream::send(socket, &self.bytes[..self.len().min(most)])?;
        self.bytes.consume(sent);
        Ok(sent)
    }
}

/// So many bytes are lent to the slowest reader too.
const LEAST_STEP: usize = 64 << 10;
