//! A place outside the simulated machine that exchanges datagrams with it, as the test plays it.

use std::fmt;
use std::sync::Arc;

use crate::address::SocketAddress;
use crate::sim::datagram::{Datagram, Outside};
use crate::sim::world::World;

/// A program on another machine with a datagram socket: a client of the one under test, or what that sends to.
///
/// Every call returns at once. What is sent is on its way from then on, and arrives, or is lost, when virtual time passes.
/// Dropping it closes the socket: what is sent there then is answered with an error, as by ICMP.
///
/// ```
/// use reactor::sim::Sim;
/// use reactor::{DatagramContext, DatagramHandler, DatagramOptions, EventLoop, Result, SocketAddress};
///
/// struct Echo;
///
/// impl DatagramHandler for Echo {
///     fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _from: &SocketAddress, bytes: &[u8]) -> Result {
///         cx.reply(bytes)
///     }
/// }
///
/// let sim = Sim::new(1);
/// let mut event_loop = EventLoop::new(())?;
/// let id = event_loop.bind_datagram("udp://127.0.0.1:7", &DatagramOptions::default(), Echo)?;
/// let server = event_loop.context().datagram(id).unwrap().local_address();
///
/// let mut peer = sim.datagram_peer("udp://192.0.2.1:5000");
/// peer.send_to(&server, b"hello");
/// sim.run_until(&mut event_loop, || peer.count() == 1)?;
/// assert_eq!(peer.take()[0].1, b"hello");
/// # Result::Ok(())
/// ```
pub struct DatagramPeer {
    world: Arc<World>,
    address: SocketAddress,
}

impl DatagramPeer {
    pub(super) fn new(world: Arc<World>, address: SocketAddress) -> Self {
        world.lock().kernel.outside.push(Outside { address: address.clone(), received: Vec::new() });
        Self { world, address }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &SocketAddress {
        &self.address
    }

    /// Sends a datagram to a socket of the machine. Nobody tells if there is none.
    pub fn send_to(&mut self, to: &SocketAddress, bytes: &[u8]) {
        let datagram = Datagram { from: self.address.clone(), to: to.clone(), bytes: bytes.to_vec() };
        self.world.call_as_current(|kernel| kernel.put_on_its_way(None, datagram));
    }

    /// How many datagrams have come and were not [taken](Self::take).
    #[must_use]
    pub fn count(&self) -> usize {
        let world = self.world.lock();
        world.kernel.outside.iter().find(|place| place.address == self.address).map_or(0, |place| place.received.len())
    }

    /// Takes the datagrams that have come, each with the address it came from, in the order of their arrival.
    pub fn take(&mut self) -> Vec<(SocketAddress, Vec<u8>)> {
        let mut world = self.world.lock();
        let place = world.kernel.outside.iter_mut().find(|place| place.address == self.address);
        let received = place.map(|place| std::mem::take(&mut place.received)).unwrap_or_default();
        received.into_iter().map(|datagram| (datagram.from, datagram.bytes)).collect()
    }
}

impl Drop for DatagramPeer {
    fn drop(&mut self) {
        self.world.lock().kernel.outside.retain(|place| place.address != self.address);
    }
}

impl fmt::Debug for DatagramPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramPeer").field("address", &self.address).finish_non_exhaustive()
    }
}
