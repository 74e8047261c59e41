//! A simulated datagram socket, and datagrams; see udp(7) and unix(7).

use std::collections::VecDeque;
use std::io;

use crate::address::SocketAddress;
use crate::sim::words::{bits, error};

/// What a datagram socket has beside what every socket has.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    pub(super) peer: Option<SocketAddress>,
    pub(super) arrived: VecDeque<Datagram>,
    /// Datagrams that were sent to where nobody is, and which `errno` says so.
    pub(super) undelivered: VecDeque<(SocketAddress, i32)>,
    /// The last of these errors, which the next call answers with.
    pub(super) error: Option<i32>,
    /// The kernel takes nothing for now, and will tell when it does.
    pub(super) squeezed: bool,
}

/// One datagram, on its way or arrived.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddress,
    pub(crate) to: SocketAddress,
    pub(crate) bytes: Vec<u8>,
}

/// A place outside the machine that datagrams go to, which the test plays.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) address: SocketAddress,
    pub(super) received: Vec<Datagram>,
}

impl Datagrams {
    pub(super) fn readiness(&self) -> u32 {
        let mut told = 0;
        if !self.arrived.is_empty() {
            told |= bits(libc::EPOLLIN);
        }
        if !self.squeezed {
            told |= bits(libc::EPOLLOUT);
        }
        if self.error.is_some() || !self.undelivered.is_empty() {
            told |= bits(libc::EPOLLERR);
        }
        told
    }

    pub(super) fn held(&self) -> usize {
        self.arrived.iter().map(|datagram| datagram.bytes.len() + OVERHEAD).sum()
    }

    /// Whether it takes what comes from there: a connected socket hears its peer alone.
    pub(super) fn hears(&self, from: &SocketAddress) -> bool {
        self.peer.as_ref().is_none_or(|peer| peer == from)
    }

    pub(super) fn take_error(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |errno| Err(error(errno)))
    }
}

/// What `net.core.rmem_default` is by default, and as much may wait at the sender's.
pub(crate) const RECEIVE_BUFFER: usize = 212_992;

/// The kernel's own bytes of each datagram that waits.
const OVERHEAD: usize = 512;
