//! What one connection has yet to send, in order, in pieces that leave together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::buffer::Buffer;
use crate::sys::fd::FdRef;
use crate::sys::stream;

/// A queue of bytes for one socket.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Buffer>,
    queued: usize,
}

impl Output {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.queued
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Queues a copy of the bytes: into the last piece where they fit, else as a piece of their own.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.queued += bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.room() >= bytes.len() || last.len() + bytes.len() <= PIECE => last.append(bytes),
            _ => self.pieces.push_back(Buffer::from(bytes)),
        }
    }

    /// Sends in one call what one call takes, and forgets what the kernel took.
    pub(crate) fn send(&mut self, fd: FdRef<'_>) -> io::Result<usize> {
        let sent = match self.pieces.len() {
            0 => return Ok(0),
            1 => stream::send(fd, self.pieces[0].as_slice())?,
            count => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                    *slice = IoSlice::new(piece.as_slice());
                }
                stream::send_vectored(fd, &slices[..count.min(SLICES)])?
            }
        };
        self.forget(sent);
        Ok(sent)
    }

    fn forget(&mut self, mut sent: usize) {
        self.queued -= sent;
        while let Some(first) = self.pieces.front_mut() {
            if sent < first.len() {
                first.consume(sent);
                return;
            }
            sent -= first.len();
            self.pieces.pop_front();
        }
    }
}

/// Small sends are gathered into pieces of up to this many bytes.
const PIECE: usize = 16 << 10;

/// Pieces that leave in one call; of small sends that is 1 MiB, more than a socket buffer takes.
const SLICES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn small_sends_share_a_piece() {
        let mut output = Output::default();
        (0..100).for_each(|_| output.push(&[7; 64]));
        assert_eq!((output.pieces.len(), output.len()), (1, 6400));
    }

    #[test]
    fn pieces_leave_in_order_through_a_small_socket() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut output = Output::default();
        bytes.chunks(23_456).for_each(|chunk| output.push(chunk));
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            match output.send(ours.as_fd().into()) {
                Ok(sent) => assert!(sent > 0 || output.is_empty()),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            let mut part = [0; 65_536];
            let count = theirs.read(&mut part).unwrap();
            received.extend_from_slice(&part[..count]);
        }
        assert!(output.is_empty() && received == bytes);
    }
}
