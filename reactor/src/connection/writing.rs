//! How bytes leave a connection: past an empty queue, or from it.

use std::io::{self, IoSlice};

use super::{Connection, Flag};
use crate::lent::Lent;
use crate::output::Piece;
use crate::pipe_pool::PipePool;
use crate::sys::stream::{self, Moved};

impl Connection {
    /// Sends bytes past an empty queue and says how many the kernel took; it stops at `EAGAIN`.
    pub(crate) fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first = self.send_once(bytes);
        if first.is(bytes.len()) { Ok(bytes.len()) } else { self.send_rest(bytes, first) }
    }

    /// Sends bytes past an empty queue in one call; if the kernel did not take all, [`send_rest`](Self::send_rest) is to
    /// follow.
    #[inline]
    pub(crate) fn send_once(&mut self, bytes: &[u8]) -> Moved {
        stream::send_once(self.fd.as_fd(), bytes)
    }

    /// The kernel took less than all. Only `EAGAIN` proves that it takes no more and will tell when it does.
    #[cold]
    pub(crate) fn send_rest(&mut self, bytes: &[u8], first: Moved) -> io::Result<usize> {
        let mut sent = self.sent(first.result())?;
        while sent < bytes.len() && self.has(Flag::WRITABLE) {
            let result = stream::send(self.fd.as_fd(), &bytes[sent..]);
            sent += self.sent(result)?;
        }
        Ok(sent)
    }

    /// Sends two slices past an empty queue in one call and says how many bytes the kernel took.
    pub(crate) fn send_both(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let result = stream::send_vectored(self.fd.as_fd(), &slices, false);
        self.sent(result)
    }

    /// Sends bytes past an empty queue, and pages behind them in the same segment: says how many bytes the kernel took, also before
    /// an error.
    pub(crate) fn send_and_lend(
        &mut self,
        first: &[u8],
        lent: &mut Lent,
        pipes: &mut PipePool,
    ) -> (usize, io::Result<()>) {
        let mut total = 0;
        if !first.is_empty() {
            let result = stream::send_vectored(self.fd.as_fd(), &[IoSlice::new(first)], true);
            match self.sent(result) {
                Ok(sent) if sent == first.len() => total = sent,
                Ok(sent) => return (sent, Ok(())),
                Err(error) => return (0, Err(error)),
            }
        }
        let (sent, result) = lent.send(self.fd.as_fd(), usize::MAX, false, pipes);
        (total + sent, self.sent(result.map(|()| 0)).map(|_| ()))
    }

    /// Sends from the queue, at most `calls` times and, of files and lent pages, `most` bytes; says how many bytes the kernel took,
    /// also before an error. Pages are lent by a pipe of the pool.
    pub(crate) fn flush(&mut self, calls: usize, most: usize, pipes: &mut PipePool) -> (usize, io::Result<()>) {
        let mut total = 0;
        for _ in 0..calls {
            let Some(extra) = &mut self.extra else { break };
            if extra.output.is_empty() || !self.has(Flag::WRITABLE) || total >= most {
                break;
            }
            let left = most - total;
            let result = match &mut self.extra {
                Some(extra) if extra.output.begins_with_lent() => {
                    let (sent, result) = extra.output.send_lent(self.fd.as_fd(), left, pipes);
                    total += sent;
                    result.map(|()| 0)
                }
                Some(extra) => extra.output.send(self.fd.as_fd(), left),
                None => Ok(0),
            };
            match self.sent(result) {
                Ok(sent) => total += sent,
                Err(error) => return (total, Err(error)),
            }
        }
        self.drop_idle_extra();
        (total, Ok(()))
    }

    /// [`flush`](Self::flush) of at most `most` bytes, whether they are of files or not.
    #[cold]
    pub(crate) fn flush_some(&mut self, calls: usize, most: usize) -> (usize, io::Result<()>) {
        let mut total = 0;
        for _ in 0..calls {
            let Some(extra) = &mut self.extra else { break };
            if extra.output.is_empty() || !self.has(Flag::WRITABLE) || total >= most {
                break;
            }
            let result =
                self.extra.as_mut().map_or(Ok(0), |extra| extra.output.send_some(self.fd.as_fd(), most - total));
            match self.sent(result) {
                Ok(sent) => total += sent,
                Err(error) => return (total, Err(error)),
            }
        }
        (total, Ok(()))
    }

    /// Looks at how a send went: `EAGAIN` is zero bytes and a bit.
    #[inline]
    fn sent(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear(Flag::WRITABLE);
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => {
                self.set(Flag::BROKEN);
                Err(error)
            }
            sent => sent,
        }
    }

    /// Puts bytes behind what waits.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.extra().output.push(bytes);
        }
    }

    /// Puts a piece behind what waits.
    pub(crate) fn queue_piece(&mut self, piece: Piece) {
        self.extra().output.push_piece(piece);
        self.drop_idle_extra();
    }
}
