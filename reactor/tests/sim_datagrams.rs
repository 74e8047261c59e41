//! Datagrams under the simulated kernel: whatever it does that a kernel may do, each one that arrives is shown once and whole, each
//! answer leaves once or is counted as dropped, and nothing is forgotten while the loop sleeps.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{DatagramPeer, Faults, Random, Seeds, Sim};
use reactor::{
    CloseReason, DatagramContext, DatagramError, DatagramHandler, DatagramOptions, EventLoop, Limits, Result,
    SocketAddress,
};

/// What the handler has met.
#[derive(Default)]
struct Ledger {
    shown: u64,
    errors: Vec<Option<SocketAddress>>,
    closes: u64,
}

/// Sends back what comes, some of it later, and checks that no callback comes after the last one.
struct Echo {
    ledger: Rc<RefCell<Ledger>>,
    random: Random,
}

impl Echo {
    fn new(ledger: &Rc<RefCell<Ledger>>, sim: &mut Sim) -> Self {
        Self { ledger: Rc::clone(ledger), random: sim.random() }
    }

    fn note(&self, note: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger.borrow_mut();
        assert_eq!(ledger.closes, 0, "a callback after the last one");
        note(&mut ledger);
    }
}

impl DatagramHandler for Echo {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, from: &SocketAddress, bytes: &[u8]) -> Result {
        self.note(|ledger| ledger.shown += 1);
        if self.random.chance(0.3) {
            // From the task of a later turn, and not as an answer.
            let (id, from, bytes) = (cx.id(), from.clone(), bytes.to_vec());
            return cx
                .run_after(Duration::from_millis(self.random.magnitude(50)), move |cx| {
                    if let Some(mut socket) = cx.datagram(id) {
                        socket.send_to(&from, &bytes).unwrap();
                    }
                })
                .map(drop);
        }
        cx.reply(bytes)
    }

    fn on_error(&mut self, _cx: &mut DatagramContext<'_>, error: &DatagramError) -> Result {
        self.note(|ledger| ledger.errors.push(error.destination.clone()));
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut DatagramContext<'_>, _reason: &CloseReason) {
        self.note(|ledger| ledger.closes += 1);
    }
}

/// Small budgets at times, so that turns end before all is read.
fn limits(sim: &mut Sim) -> Limits {
    let (mut limits, mut random) = (Limits::default(), sim.random());
    if random.chance(0.5) {
        limits.datagrams_per_turn = 1 + random.index(10);
        limits.datagrams_per_call = 1 + random.index(4);
    }
    limits
}

/// One loop with an echoing socket, and peers outside.
struct World {
    event_loop: EventLoop,
    server: SocketAddress,
    peers: Vec<DatagramPeer>,
    ledger: Rc<RefCell<Ledger>>,
    /// What each peer has sent, and how often it has come back.
    sent: BTreeMap<(usize, Vec<u8>), u64>,
    count: u64,
}

impl World {
    fn new(sim: &mut Sim) -> io::Result<Self> {
        let limits = limits(sim);
        Self::with_limits(sim, limits)
    }

    fn with_limits(sim: &mut Sim, limits: Limits) -> io::Result<Self> {
        let ledger = Rc::default();
        let mut event_loop = EventLoop::with_limits(limits, ())?;
        let echo = Echo::new(&ledger, sim);
        event_loop.bind_datagram("udp://10.0.0.1:7", &DatagramOptions::default(), echo)?;
        let peers =
            (1..=sim.random().index(4) + 1).map(|number| sim.datagram_peer(format!("udp://192.0.2.{number}:5000")));
        let peers = peers.collect();
        let server = "udp://10.0.0.1:7".parse::<reactor::Address>().unwrap();
        let server = server.resolve()?.swap_remove(0);
        Ok(Self { event_loop, server, peers, ledger, sent: BTreeMap::new(), count: 0 })
    }

    /// A peer sends a datagram that no other is like.
    fn send(&mut self, random: &mut Random) {
        let peer = random.index(self.peers.len());
        let mut bytes = self.count.to_le_bytes().to_vec();
        bytes.resize(8 + random.index(1400), 7);
        self.peers[peer].send_to(&self.server, &bytes);
        self.sent.insert((peer, bytes), 0);
        self.count += 1;
    }

    /// Takes in what has come back: bytes that were sent, from the address they were sent to.
    fn receive(&mut self) {
        for (index, peer) in self.peers.iter_mut().enumerate() {
            for (from, bytes) in peer.take() {
                assert_eq!(from, self.server);
                *self.sent.get_mut(&(index, bytes)).expect("nobody else sends") += 1;
            }
        }
    }

    /// Lets random things happen, some of them at once.
    fn play(&mut self, sim: &mut Sim) -> io::Result<()> {
        let mut random = sim.random();
        for _ in 0..1 + random.index(30) {
            for _ in 0..random.index(40) {
                self.send(&mut random);
            }
            let pause = Duration::from_micros(random.magnitude(300_000));
            sim.run_for(&mut self.event_loop, pause)?;
        }
        // Later than anything takes: a delay, a squeezed kernel, a task.
        sim.run_for(&mut self.event_loop, Duration::from_secs(10))?;
        self.receive();
        Ok(())
    }

    fn close(mut self) {
        let metrics = self.event_loop.metrics().datagrams;
        self.event_loop.context().shutdown(Duration::from_secs(5));
        self.event_loop.run().unwrap();
        assert_eq!(self.ledger.borrow().closes, 1);
        assert_eq!(metrics.sockets, 1);
        assert_eq!(self.event_loop.metrics().datagrams.sockets, 0);
    }
}

#[test]
fn each_datagram_is_shown_once_and_each_answer_comes_once() {
    Seeds::first(300).check(&Faults::default(), |sim| {
        let mut world = World::new(sim)?;
        let before = sim.progress();
        world.play(sim)?;
        assert_eq!(world.ledger.borrow().shown, world.count);
        let metrics = world.event_loop.metrics().datagrams;
        assert_eq!((metrics.received, metrics.sent, metrics.dropped), (world.count, world.count, 0));
        assert!(world.sent.values().all(|times| *times == 1), "{:?}", world.sent.values());
        let calls = sim.progress() - before;
        assert!(calls <= 12 * world.count + 200, "{calls} calls for {} datagrams", world.count);
        world.close();
        Ok(())
    });
}

#[test]
fn what_finds_no_room_in_the_queue_is_dropped_and_counted() {
    let mut faults = Faults::default();
    faults.send_would_block = 0.5;
    let mut dropped = 0;
    Seeds::first(200).from(1000).check(&faults, |sim| {
        let mut limits = limits(sim);
        limits.max_datagram_queue = 8 << 10;
        let mut world = World::with_limits(sim, limits)?;
        world.play(sim)?;
        let metrics = world.event_loop.metrics().datagrams;
        assert_eq!(metrics.received, world.count);
        assert_eq!(metrics.sent + metrics.dropped, world.count);
        assert!(world.sent.values().all(|times| *times <= 1));
        assert_eq!(world.sent.values().sum::<u64>(), metrics.sent);
        dropped += metrics.dropped;
        world.close();
        Ok(())
    });
    assert!(dropped > 0 || std::env::var_os("REACTOR_SEED").is_some(), "the queue was never full");
}

#[test]
fn loss_and_doubles_are_the_networks_business() {
    Seeds::first(200).from(2000).check(&Faults::harsh(), |sim| {
        // Descriptors may be short as the loop is made.
        let Ok(mut world) = World::new(sim) else { return Ok(()) };
        world.play(sim)?;
        let metrics = world.event_loop.metrics().datagrams;
        assert_eq!(world.ledger.borrow().shown, metrics.received);
        assert_eq!(metrics.received, metrics.sent + metrics.dropped);
        world.close();
        Ok(())
    });
}

#[test]
fn a_peer_that_is_gone_is_told_and_the_others_are_served() {
    Seeds::first(200).from(3000).check(&Faults::default(), |sim| {
        let mut world = World::new(sim)?;
        let mut gone = sim.datagram_peer("udp://192.0.2.200:5000");
        let address = gone.address().clone();
        gone.send_to(&world.server, b"who hears the answer?");
        drop(gone);
        world.play(sim)?;
        assert_eq!(world.ledger.borrow().errors, [Some(address)]);
        assert!(world.sent.values().all(|times| *times == 1));
        assert_eq!(world.event_loop.metrics().datagrams.errors, 1);
        world.close();
        Ok(())
    });
}
