//! A nonblocking connection: its socket, and what its peer has not taken yet.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::socket;

/// While bytes are pending nothing is received: a peer that does not read costs one buffer at most.
pub(super) struct Connection {
    socket: OwnedFd,
    pending: Vec<u8>,
}

/// How an attempt to echo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// The buffer was filled: there may be more.
    Full,
    /// Less than the buffer was there, which was all.
    Short,
    /// Nothing was there.
    Empty,
    /// The peer does not take what it is sent.
    Blocked,
    /// The stream has ended, or failed.
    Ended,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, pending: Vec::new() }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether bytes wait for the peer.
    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Receives once and sends that once; call it when nothing is pending.
    #[inline]
    pub(super) fn echo(&mut self, buffer: &mut [u8]) -> Echo {
        let received = match socket::receive(&self.socket, buffer) {
            Ok(0) => return Echo::Ended,
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Echo::Empty,
            Err(_) => return Echo::Ended,
        };
        match self.send(&buffer[..received]) {
            Ok(sent) if sent < received => {
                self.pending.extend_from_slice(&buffer[sent..received]);
                Echo::Blocked
            }
            Ok(_) if received < buffer.len() => Echo::Short,
            Ok(_) => Echo::Full,
            Err(_) => Echo::Ended,
        }
    }

    /// Sends what is pending; afterwards [`is_blocked`](Self::is_blocked) says whether some still is.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let sent = self.send(&self.pending)?;
        self.pending.drain(..sent);
        if self.pending.is_empty() {
            // An idle connection holds no memory.
            self.pending = Vec::new();
        }
        Ok(())
    }

    /// Sends once; the kernel takes 0 bytes when it has no room.
    #[inline]
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match socket::send(&self.socket, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}

/// Bytes received by one call.
pub(super) const BUFFER: usize = 64 << 10;

/// Whether an `accept` that failed with this says something about one client alone, so that the next may be taken.
pub(super) fn is_clients_fault(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ConnectionAborted
}
