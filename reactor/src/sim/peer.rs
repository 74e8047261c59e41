//! What is on the other side of the network, as the test plays it.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::address::SocketAddress;
use crate::sim::kernel::Kernel;
use crate::sim::remote::Answer;
use crate::sim::stream::{Owner, Phase, Side};
use crate::sim::words::{Id, error};
use crate::sim::world::World;

/// The far end of a connection of the loop: a client of the server under test, or a server that it connects to.
///
/// Every call returns at once. What is sent is on its way from then on and arrives when virtual time passes. Dropping a peer
/// closes it.
///
/// ```
/// use reactor::sim::Sim;
/// # use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Result};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
/// #         cx.send(input.take())
/// #     }
/// # }
///
/// let sim = Sim::new(1);
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_peer| Echo)?;
///
/// let mut peer = sim.connect("127.0.0.1:7");
/// peer.send(b"hello");
/// sim.run_until(&mut event_loop, || peer.received_len() == 5)?;
/// assert_eq!(peer.take(), b"hello");
/// # Result::Ok(())
/// ```
pub struct Peer {
    world: Arc<World>,
    stream: Id,
    side: Side,
}

/// How a [`Peer`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// The connection is being made. The loop's host may have a full backlog.
    Connecting,
    /// It is open in both directions, as far as the peer knows.
    Open,
    /// The other side has ended its direction: all that it sent is here.
    Ended,
    /// It was refused, reset, or nobody answered; this is the `errno`.
    Failed(i32),
    /// The peer has closed it, or reset it.
    Closed,
}

impl Peer {
    pub(super) fn new(world: Arc<World>, stream: Id, side: Side) -> Self {
        Self { world, stream, side }
    }

    /// Sends bytes. There is no bound: what the loop does not read waits on the way.
    pub fn send(&mut self, bytes: &[u8]) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer sends", bytes.len(), |kernel| {
            if let Some(end) = kernel.end_mut(stream, side)
                && end.phase != Phase::Dead
                && !end.write_ended
            {
                end.outgoing.extend(bytes);
                kernel.transmit(stream, side);
            }
        });
    }

    /// Sends a byte of urgent data (`MSG_OOB`), of which a reader sees nothing but the gap; see tcp(7).
    pub fn send_urgent(&mut self, byte: u8) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer sends urgently", 1, |kernel| kernel.send_urgent(stream, side, byte));
    }

    /// All that has been received and not [taken](Self::take).
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.look(|kernel| {
            kernel.stream(self.stream).map(|stream| stream.end(self.side).taken.clone()).unwrap_or_default()
        })
    }

    /// How many bytes [`received`](Self::received) has.
    #[must_use]
    pub fn received_len(&self) -> usize {
        self.look(|kernel| kernel.stream(self.stream).map_or(0, |stream| stream.end(self.side).taken.len()))
    }

    /// Takes what has been received.
    pub fn take(&mut self) -> Vec<u8> {
        if self.received_len() == 0 {
            return Vec::new();
        }
        let (stream, side) = (self.stream, self.side);
        self.call("peer takes", 0, |kernel| {
            kernel.end_mut(stream, side).map(|end| std::mem::take(&mut end.taken)).unwrap_or_default()
        })
    }

    /// Bytes that were sent and have not arrived.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.look(|kernel| kernel.stream(self.stream).map_or(0, |stream| stream.end(self.side).outgoing.len()))
    }

    /// Bytes that were sent and that the other side's program has not read, wherever they are.
    #[must_use]
    pub fn unread(&self) -> usize {
        let other = self.side.other();
        let arrived = |kernel: &Kernel| kernel.stream(self.stream).map_or(0, |stream| stream.end(other).readable());
        self.unsent() + self.look(arrived)
    }

    /// Reads no more: what arrives fills the receive buffer, and then the other side's send buffer.
    pub fn stop_reading(&mut self) {
        self.set_reading(false);
    }

    /// Reads again, what has arrived meanwhile first.
    pub fn resume_reading(&mut self) {
        self.set_reading(true);
    }

    fn set_reading(&mut self, reads: bool) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer reads", usize::from(reads), |kernel| kernel.set_reading(stream, side, reads));
    }

    /// Sets how many bytes may wait to be read: the size of the receive buffer.
    pub fn set_receive_buffer(&mut self, bytes: usize) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer's buffer", bytes, |kernel| {
            if let Some(end) = kernel.end_mut(stream, side) {
                end.receive_buffer = bytes.max(1);
                kernel.transmit(stream, side.other());
            }
        });
    }

    /// Ends the sending direction, after what was sent.
    pub fn shutdown_write(&mut self) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer ends", 0, |kernel| {
            if let Some(end) = kernel.end_mut(stream, side) {
                // While it connects, the end of stream follows the connection.
                end.write_ended = true;
                kernel.transmit(stream, side);
            }
        });
    }

    /// Closes, after what was sent. What is received from now on makes a reset, and so does what was not read.
    pub fn close(&mut self) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer closes", 0, |kernel| kernel.close_peer(stream, side, false));
    }

    /// Resets the connection. What is on its way may be lost.
    pub fn reset(&mut self) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer resets", 0, |kernel| kernel.close_peer(stream, side, true));
    }

    /// The peer's machine loses power: nothing comes any more, no end, no reset, no acknowledgement.
    pub fn vanish(&mut self) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer vanishes", 0, |kernel| kernel.vanish(stream, side));
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> PeerState {
        self.look(|kernel| {
            let Some(end) = kernel.stream(self.stream).map(|stream| stream.end(self.side)) else {
                return PeerState::Closed;
            };
            match end.phase {
                _ if end.owner == Owner::Nobody => PeerState::Closed,
                Phase::Connecting => PeerState::Connecting,
                _ if end.error.is_some() => PeerState::Failed(end.error.unwrap_or(libc::ECONNRESET)),
                _ if end.read_ended => PeerState::Ended,
                Phase::Open => PeerState::Open,
                Phase::Dead => PeerState::Failed(libc::ECONNRESET),
            }
        })
    }

    /// Whether nothing more will be received: ended, failed or closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self.state(), PeerState::Connecting | PeerState::Open)
    }

    /// The address the other side sees.
    ///
    /// # Errors
    /// The connection is no more.
    pub fn address(&self) -> io::Result<SocketAddress> {
        let address = |kernel: &Kernel| kernel.stream(self.stream).map(|stream| stream.end(self.side).address.clone());
        self.look(address).ok_or_else(|| error(libc::ENOTCONN))
    }

    fn call<T>(&self, what: &'static str, result: usize, make: impl FnOnce(&mut Kernel) -> T) -> T {
        self.world.call_as_current(|kernel| {
            kernel.note(what, self.stream.cast_signed(), result);
            make(kernel)
        })
    }

    fn look<T>(&self, look: impl FnOnce(&Kernel) -> T) -> T {
        look(&self.world.lock().kernel)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let (stream, side) = (self.stream, self.side);
        self.call("peer is dropped", 0, |kernel| {
            if let Some(end) = kernel.end_mut(stream, side) {
                end.held = false;
                if end.owner == Owner::Nobody {
                    return kernel.forget_if_gone(stream);
                }
                kernel.close_peer(stream, side, false);
            }
        });
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("stream", &self.stream).field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Kernel {
    fn set_reading(&mut self, stream: Id, side: Side, reads: bool) {
        let Some(end) = self.end_mut(stream, side) else { return };
        if let Owner::Peer { reads: before } = &mut end.owner {
            *before = reads;
            if reads {
                end.take_all();
                self.read_made_room(stream, side);
            }
        }
    }

    fn close_peer(&mut self, stream: Id, side: Side, resets: bool) {
        if self.end_mut(stream, side).is_some_and(|end| end.owner != Owner::Nobody) {
            self.close_end(stream, side, resets);
        }
    }
}

/// A host outside the simulated machine that the loop can connect to.
pub struct Remote {
    world: Arc<World>,
    address: SocketAddress,
}

impl Remote {
    pub(super) fn new(world: Arc<World>, address: SocketAddress) -> Self {
        world.call_as_current(|kernel| kernel.remotes.add(address.clone()));
        Self { world, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &SocketAddress {
        &self.address
    }

    /// What becomes of connections from now on, unless [`Faults::connect_failure`](super::Faults::connect_failure) strikes. At
    /// first they are accepted.
    pub fn answer(&self, answer: Answer) {
        self.world.call_as_current(|kernel| kernel.remotes.answer(&self.address, answer));
    }

    /// The next connection that was made.
    #[must_use]
    pub fn accept(&self) -> Option<Peer> {
        let stream = self.world.call_as_current(|kernel| kernel.remotes.take(&self.address))?;
        Some(Peer::new(Arc::clone(&self.world), stream, Side::Server))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.world.call_as_current(|kernel| {
            for stream in kernel.remotes.remove(&self.address) {
                if let Some(end) = kernel.end_mut(stream, Side::Server) {
                    end.held = false;
                }
                kernel.close_peer(stream, Side::Server, true);
            }
        });
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.address).finish_non_exhaustive()
    }
}
