//! A simulated stream and its two ends; see tcp(7) and unix(7).

use std::collections::VecDeque;

use crate::address::SocketAddress;
use crate::sim::words::{Id, bits};

/// Which of the two ends: the one that connected is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A connection, and the attempt to make one.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) client: End,
    pub(super) server: End,
    /// A Unix domain socket: what is sent is there at once, and counts as sent until it is read.
    pub(super) unix: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) address: SocketAddress,
    pub(super) owner: Owner,
    pub(super) phase: Phase,
    /// Bytes that have arrived and were not read.
    pub(super) arrived: VecDeque<u8>,
    /// The place of an urgent byte in what has arrived.
    pub(super) urgent: Option<usize>,
    /// What a program outside the simulated machine has read.
    pub(super) taken: Vec<u8>,
    /// Bytes that were sent and have not arrived.
    pub(super) outgoing: VecDeque<u8>,
    /// The place of an urgent byte in what was sent.
    pub(super) urgent_outgoing: Option<usize>,
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
    /// The other end's end of stream has arrived.
    pub(super) read_ended: bool,
    /// Our end of stream follows what was sent.
    pub(super) write_ended: bool,
    /// Our end of stream has arrived.
    pub(super) end_arrived: bool,
    pub(super) error: Option<i32>,
    /// The kernel takes nothing for now, and will tell when it does.
    pub(super) squeezed: bool,
    /// Something was sent, or found, that the kernel did not take: an edge is owed when it does.
    pub(super) wants_room: bool,
    /// The arrival of what was sent is on the timeline.
    pub(super) in_transit: bool,
    /// The other end's machine is gone: nothing comes from it, no acknowledgement either.
    pub(super) unreachable: bool,
    /// The test has a [`Peer`](crate::sim::Peer) of it, and may look at it when it is closed too.
    pub(super) held: bool,
}

/// Who has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A socket of the simulated machine.
    Socket(Id),
    /// The backlog of this listener.
    Backlog(Id),
    /// A program outside the simulated machine, which the test plays; it reads all at once, or not.
    Peer { reads: bool },
    /// It was closed; what was sent is still on its way.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// Reset, or never connected.
    Dead,
}

impl End {
    pub(super) fn new(address: SocketAddress, owner: Owner) -> Self {
        Self {
            address,
            owner,
            phase: Phase::Connecting,
            arrived: VecDeque::new(),
            urgent: None,
            taken: Vec::new(),
            outgoing: VecDeque::new(),
            urgent_outgoing: None,
            receive_buffer: BUFFER,
            send_buffer: BUFFER,
            read_ended: false,
            write_ended: false,
            end_arrived: false,
            error: None,
            squeezed: false,
            wants_room: false,
            in_transit: false,
            unreachable: false,
            held: false,
        }
    }

    /// Bytes that one read can bring. Alone the urgent byte, which is left out, is nothing to read.
    pub(super) fn readable(&self) -> usize {
        match self.urgent {
            Some(0) => self.arrived.len() - 1,
            _ => self.arrived.len(),
        }
    }

    /// A read has come to the urgent byte, and leaves it out.
    pub(super) fn skip_urgent(&mut self) {
        if self.urgent == Some(0) {
            self.arrived.pop_front();
            self.urgent = None;
        }
    }

    /// Takes bytes out of what has arrived; a read ends at an urgent byte.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.arrived.len()).min(self.urgent.unwrap_or(usize::MAX));
        let (front, back) = self.arrived.as_slices();
        let first = count.min(front.len());
        into[..first].copy_from_slice(&front[..first]);
        into[first..count].copy_from_slice(&back[..count - first]);
        drop(self.arrived.drain(..count));
        self.urgent = self.urgent.map(|place| place - count);
        count
    }

    /// A program outside reads all that has arrived.
    pub(super) fn take_all(&mut self) {
        self.taken.extend(self.arrived.drain(..));
        self.urgent = None;
    }

    pub(super) fn is_gone(&self) -> bool {
        let closed = self.phase == Phase::Dead || self.outgoing.is_empty() && self.end_arrived;
        self.owner == Owner::Nobody && !self.held && closed
    }
}

impl Stream {
    pub(super) fn new(client: End, server: End, unix: bool) -> Self {
        Self { client, server, unix }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// The connection is made, and the server's end has an owner.
    pub(super) fn open(&mut self, server: Owner) {
        self.client.phase = Phase::Open;
        self.server.phase = Phase::Open;
        self.server.owner = server;
    }

    pub(super) fn both(&mut self, side: Side) -> (&mut End, &mut End) {
        match side {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        }
    }

    /// Bytes of the send buffer in use. On a Unix socket these are what the other end has not read.
    pub(super) fn in_use(&self, side: Side) -> usize {
        let waiting = if self.unix { self.end(side.other()).arrived.len() } else { 0 };
        self.end(side).outgoing.len() + waiting
    }

    /// What tcp(7) calls `SIOCOUTQ`: an end of stream on its way counts as a byte.
    pub(super) fn unacknowledged(&self, side: Side) -> usize {
        let end = self.end(side);
        self.in_use(side) + usize::from(end.write_ended && !end.end_arrived && !self.unix)
    }

    /// Whether there is room enough for `EPOLLOUT`: TCP wants half as much free as is in use, Unix sockets three quarters.
    pub(super) fn has_room(&self, side: Side) -> bool {
        let (end, used) = (self.end(side), self.in_use(side));
        let free = end.send_buffer.saturating_sub(used);
        !end.squeezed && if self.unix { used * 4 <= end.send_buffer } else { free >= used / 2 && free > 0 }
    }

    /// The bits of epoll(7). Finding no room counts as wanting it.
    pub(super) fn readiness(&mut self, side: Side) -> u32 {
        let (room, end) = (self.has_room(side), self.end_mut(side));
        let (dead, connecting) = (end.phase == Phase::Dead, end.phase == Phase::Connecting);
        let mut told = if end.error.is_some() { bits(libc::EPOLLERR) } else { 0 };
        if connecting {
            return told;
        }
        let mut tell = |bit, holds: bool| told |= if holds { bits(bit) } else { 0 };
        tell(libc::EPOLLIN, end.readable() > 0 || end.read_ended || dead);
        tell(libc::EPOLLRDHUP, end.read_ended || dead);
        tell(libc::EPOLLHUP, end.read_ended && end.write_ended || dead);
        tell(libc::EPOLLOUT, room || end.write_ended || dead);
        tell(libc::EPOLLPRI, end.urgent.is_some());
        end.wants_room |= !room;
        told
    }
}

/// The key of a change of state: whoever watches is told, whatever for.
pub(super) const ANYTHING: u32 = u32::MAX;

/// The size of a socket's buffers unless told otherwise: about what Linux begins with.
pub(super) const BUFFER: usize = 128 << 10;
