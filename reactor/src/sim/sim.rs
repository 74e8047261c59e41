//! The simulation as a test sees it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::event_loop::EventLoop;
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::sim::datagram_peer::DatagramPeer;
use crate::sim::faults::Faults;
use crate::sim::kernel::Kernel;
use crate::sim::peer::{Peer, Remote};
use crate::sim::random::Random;
use crate::sim::stream::{Owner, Side};
use crate::sim::thread::SimThread;
use crate::sim::world::World;

/// A simulated machine with a network and a clock of its own, for the thread that made it and for those that are started under
/// it.
///
/// As long as it lives, every [`EventLoop`](crate::EventLoop), [`Server`](crate::Server) and [`Listener`](crate::Listener) made by
/// these threads is a simulated one. When all threads sleep, the clock jumps to what comes next.
pub struct Sim {
    pub(super) world: Arc<World>,
    random: Random,
    seed: u64,
}

impl Sim {
    /// A machine on which nothing goes wrong: [`Faults::none`]. The seed decides what is left to chance, such as whose turn it
    /// is.
    ///
    /// # Panics
    /// The calling thread is part of a simulation already.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::none())
    }

    /// A machine on which this goes wrong.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        let mut random = Random::new(!seed);
        let world = World::enter(random.bits() ^ seed, faults);
        world.lock().kernel.seed = seed;
        Self { world, random, seed }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Numbers for the test itself, decided by the seed too; each call gives new ones.
    #[must_use]
    pub fn random(&mut self) -> Random {
        Random::new(self.random.bits())
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.world.lock().kernel.faults = faults;
    }

    /// Virtual time since some moment before the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.world.lock().kernel.now)
    }

    /// Connects to a listener of the machine, from outside.
    ///
    /// # Panics
    /// The address is none: it is malformed, or a host name.
    pub fn connect<A>(&self, address: A) -> Peer
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        self.connect_to(&resolve(address))
    }

    /// [`connect`](Self::connect) to an address as [`local_addresses`](crate::EventLoop::local_addresses) tells it.
    pub fn connect_to(&self, address: &SocketAddress) -> Peer {
        let stream = self.world.call_as_current(|kernel| {
            let from = kernel.address_outside(address);
            let stream = kernel.begin_stream(from, address.clone(), Owner::Peer { reads: true });
            if let Some(end) = kernel.end_mut(stream, Side::Client) {
                end.held = true;
            }
            kernel.send_knock(stream);
            stream
        });
        Peer::new(Arc::clone(&self.world), stream, Side::Client)
    }

    /// A host outside the machine, which its loops can connect to.
    ///
    /// # Panics
    /// The address is none: it is malformed, or a host name.
    pub fn listen<A>(&self, address: A) -> Remote
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        Remote::new(Arc::clone(&self.world), resolve(address))
    }

    /// A datagram socket outside the machine, at this address.
    ///
    /// # Panics
    /// The address is none: it is malformed, or a host name.
    pub fn datagram_peer<A>(&self, address: A) -> DatagramPeer
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        DatagramPeer::new(Arc::clone(&self.world), resolve(address))
    }

    /// Sends a signal to the process, for [`EventLoop::on_signals`](crate::EventLoop::on_signals). One that nobody waits for has
    /// no effect.
    pub fn raise(&self, signal: i32) {
        self.world.call_as_current(|kernel| kernel.raise(signal));
    }

    /// Limits how many descriptors may be open at once (`RLIMIT_NOFILE`).
    pub fn limit_descriptors(&self, limit: usize) {
        self.world.lock().kernel.descriptor_limit = limit;
    }

    /// How many descriptors are open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.world.lock().kernel.open_descriptors()
    }

    /// Connections that wait in backlogs to be accepted.
    #[must_use]
    pub fn waiting_clients(&self) -> usize {
        self.world.lock().kernel.waiting_clients()
    }

    /// Whether bytes, ends, resets or connections are on their way.
    #[must_use]
    pub fn has_traffic(&self) -> bool {
        self.world.lock().kernel.has_traffic()
    }

    /// System calls made so far, those of the test's own peers included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world.lock().kernel.calls
    }

    /// System calls of the machine's programs that did something: those that failed (`EAGAIN`, say) do not count, nor do waits. A loop
    /// that makes calls without progress spins.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.world.lock().kernel.progress
    }

    /// How many of the [calls that did something](Self::progress) were of this name, as the trace of a failure names them: `"recv"`,
    /// say, or `"splice in"`. A test shows by it that what it is about has happened.
    #[must_use]
    pub fn progress_of(&self, call: &str) -> u64 {
        self.world.lock().kernel.succeeded.get(call).copied().unwrap_or(0)
    }

    /// All that has happened as one number: two runs that have the same one went the same way.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.world.lock().kernel.trace.hash()
    }

    /// Runs a loop on the calling thread until `holds`; it is looked at after each turn, and when something has reached a peer.
    ///
    /// # Errors
    /// As [`EventLoop::turn`].
    ///
    /// # Panics
    /// It will never hold: the loop sleeps, and nothing is on its way. The message has the seed, how everything stands, and what
    /// happened last.
    pub fn run_until<S>(&self, event_loop: &mut EventLoop<S>, mut holds: impl FnMut() -> bool) -> io::Result<()> {
        while !holds() {
            self.world.step(|| event_loop.turn(None))?;
        }
        Ok(())
    }

    /// Runs a loop on the calling thread for so much virtual time.
    ///
    /// # Errors
    /// As [`EventLoop::turn`].
    pub fn run_for<S>(&self, event_loop: &mut EventLoop<S>, time: Duration) -> io::Result<()> {
        let end = self.now().saturating_add(time);
        loop {
            event_loop.turn(Some(end.saturating_sub(self.now())))?;
            if self.now() >= end {
                return Ok(());
            }
        }
    }

    /// Sleeps in virtual time, while the other threads of the simulation run.
    ///
    /// # Panics
    /// The simulation has come to its end meanwhile: see [`wait_until`](Self::wait_until).
    pub fn sleep(&self, duration: Duration) {
        self.world.sleep(duration);
    }

    /// Lets the other threads run until `holds`; it is looked at whenever all of them sleep, before the clock jumps.
    ///
    /// # Panics
    /// It will never hold: everybody sleeps, and nothing is on its way. The message has the seed, how everything stands, and what
    /// happened last.
    pub fn wait_until(&self, holds: impl FnMut() -> bool) {
        self.world.watch(holds);
    }

    /// Starts a thread of the simulation, such as one that posts to a loop. Threads run one at a time; one hands over where it
    /// waits, and where it [sleeps](SimThread).
    ///
    /// # Panics
    /// The system has no thread left.
    pub fn spawn<T: Send + 'static>(&self, name: &str, run: impl FnOnce() -> T + Send + 'static) -> SimThread<T> {
        SimThread::start(name, run)
    }

    /// How everything stands, and what happened last.
    #[must_use]
    pub fn dump(&self) -> String {
        self.world.lock().dump()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.world.leave();
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Sleeps in virtual time, on any thread of a simulation.
///
/// # Panics
/// The calling thread is not part of a simulation, or the simulation has come to its end.
pub fn sleep(duration: Duration) {
    crate::sim::world::sleep_here(duration);
}

/// The time of [`Sim::now`], on any thread of a simulation: in a handler, say.
///
/// # Panics
/// The calling thread is not part of a simulation.
#[must_use]
pub fn now() -> Duration {
    Duration::from_nanos(crate::sim::world::now_ns().expect("the calling thread is part of a simulation"))
}

impl Kernel {
    /// The address of a client outside.
    fn address_outside(&mut self, target: &SocketAddress) -> SocketAddress {
        let outside = match target {
            SocketAddress::Inet(inet) if inet.is_ipv4() => "192.0.2.1:0",
            SocketAddress::Inet(_) => "[2001:db8::1]:0",
            SocketAddress::Unix(_) => return crate::address::UnixName::Unnamed.into(),
        };
        let outside: std::net::SocketAddr = outside.parse().expect("the addresses above are ones");
        self.with_port(&outside.into())
    }
}

fn resolve<A>(address: A) -> SocketAddress
where
    A: TryInto<Address>,
    A::Error: Into<AddressError>,
{
    let address = address.try_into().map_err(Into::<AddressError>::into);
    let resolved = address.map_err(io::Error::from).and_then(|address| address.resolve());
    resolved.expect("the address is one").swap_remove(0)
}
