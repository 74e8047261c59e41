//! The loops of a server work together under the simulated kernel: nobody is forgotten between them, no message and no wake-up is
//! lost, whatever they share and whoever runs first.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reactor::sim::{Faults, Peer, Random, Seeds, Sim};
use reactor::{
    Balance, ConnId, ConnectOptions, Context, Handler, Input, Limits, ListenOptions, LoopHandle, MemoryBudget, Metrics,
    Result, Server, Sharing,
};

/// Echoes, and sends what is posted to it between.
struct Echo {
    names: Arc<Names>,
}

/// The connections that are open, as other threads may know them.
#[derive(Default)]
struct Names(std::sync::Mutex<Vec<ConnId>>);

impl Handler for Echo {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.names.0.lock().unwrap().push(cx.id());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

const WAYS: [Sharing; 4] = [
    Sharing::Exclusive,
    Sharing::Handover(Balance::RoundRobin),
    Sharing::Handover(Balance::FewestConnections),
    Sharing::ReusePort,
];

/// What one run is made of.
struct Plan {
    sharing: Sharing,
    threads: usize,
    clients: usize,
    /// Connections that all loops together may have; fewer than clients, they come one after another.
    room: usize,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let (threads, clients) = (1 + random.index(3), 1 + random.index(8));
        let room = if random.chance(0.4) { threads * (1 + random.index(2)) } else { 1000 };
        Self { sharing: *random.pick(&WAYS), threads, clients, room }
    }

    fn start(&self, names: &Arc<Names>) -> io::Result<Server> {
        let names = Arc::clone(names);
        let mut limits = Limits::default();
        limits.mail_per_turn = 2;
        limits.accepts_per_turn = 2;
        let builder = Server::builder().threads(self.threads).limits(limits).max_connections(self.room);
        let make = move |_: &_| Echo { names: Arc::clone(&names) };
        builder.listen_with("127.0.0.1:7", &ListenOptions::default(), self.sharing, make)?.start()
    }
}

/// A thread that posts to the loops, with pauses, and answers how many messages went in.
fn poster(seed: u64, loops: &[LoopHandle], done: &Arc<AtomicU64>) -> u64 {
    let mut random = Random::new(seed);
    for _ in 0..20 {
        let done = Arc::clone(done);
        let count = move |_: &mut reactor::LoopContext<'_>| {
            done.fetch_add(1, Ordering::Relaxed);
        };
        loops[random.index(loops.len())].execute(count).unwrap();
        if random.chance(0.5) {
            reactor::sim::sleep(Duration::from_nanos(random.magnitude(50_000_000)));
        }
    }
    20
}

fn life(seed: u64, faults: &Faults) -> io::Result<()> {
    let mut sim = Sim::with_faults(seed, faults.clone());
    let mut random = sim.random();
    let plan = Plan::new(&mut random);
    let (names, done) = (Arc::default(), Arc::new(AtomicU64::new(0)));
    let server = plan.start(&names)?;
    let loops = server.handle().loops().to_vec();
    let posters: Vec<_> = (0..2)
        .map(|_| {
            let (seed, loops, done) = (random.bits(), loops.clone(), Arc::clone(&done));
            sim.spawn("poster", move || poster(seed, &loops, &done))
        })
        .collect();
    serve_clients(&sim, &mut random, &plan);
    let posted: u64 = posters.into_iter().map(|poster| poster.join().unwrap()).sum();
    sim.wait_until(|| done.load(Ordering::Relaxed) == posted);
    // By name, from outside of the loops.
    let (mut last, before) = (sim.connect("127.0.0.1:7"), names.0.lock().unwrap().len());
    sim.wait_until(|| names.0.lock().unwrap().len() > before);
    let name = *names.0.lock().unwrap().last().unwrap();
    loops[name.loop_index()].send(name, "by name").unwrap();
    sim.wait_until(|| last.received_len() == 7);
    assert_eq!(last.take(), b"by name");
    // A handle keeps its loop's mailbox.
    drop(loops);
    drain(&sim, server, &mut random, faults, last);
    Ok(())
}

/// All clients come at once; each is served in the end, though there may be room for some only at a time.
fn serve_clients(sim: &Sim, random: &mut Random, plan: &Plan) {
    let mut clients: Vec<(Peer, Vec<u8>)> = Vec::new();
    for _ in 0..plan.clients {
        let mut peer = sim.connect("127.0.0.1:7");
        let bytes: Vec<u8> = (0..random.magnitude(300)).map(|_| random.bits().to_le_bytes()[0]).collect();
        peer.send(&bytes);
        clients.push((peer, bytes));
        if random.chance(0.3) {
            sim.sleep(Duration::from_nanos(random.magnitude(100_000_000)));
        }
    }
    while !clients.is_empty() {
        sim.wait_until(|| clients.iter().any(|(peer, bytes)| peer.received_len() == bytes.len()));
        let (served, waiting) = clients.into_iter().partition(|(peer, bytes)| peer.received_len() == bytes.len());
        clients = waiting;
        let served: Vec<(Peer, Vec<u8>)> = served;
        for (mut peer, bytes) in served {
            assert_eq!(peer.take(), bytes);
            peer.close();
        }
    }
}

/// A drain ends when the last client has gone, and within its grace if it has not.
fn drain(sim: &Sim, server: Server, random: &mut Random, faults: &Faults, mut last: Peer) {
    let (handle, began) = (server.handle(), sim.now());
    let grace = Duration::from_millis(random.magnitude(5000));
    if random.chance(0.5) {
        last.close();
    }
    let report = handle.shutdown(grace).unwrap();
    let took = sim.now() - began;
    assert!(
        took <= grace + 2 * faults.longest_stall + Duration::from_millis(30),
        "the drain took {took:?} of {grace:?}"
    );
    assert!(report.cut <= 1, "{report:?}");
    let metrics: Metrics = handle.metrics();
    assert_eq!((metrics.open, metrics.lingering, metrics.buffered), (0, 0, 0), "{metrics:?}");
    drop((server, handle));
    assert_eq!(sim.descriptors(), 0, "{}", sim.dump());
}

#[test]
fn nobody_is_forgotten_between_the_loops() {
    Seeds::first(SEEDS).for_each(|seed| life(seed, &Faults::none()));
}

#[test]
fn nobody_is_forgotten_whatever_the_kernel_does() {
    let mut faults = Faults::default();
    (faults.stall, faults.longest_stall) = (0.005, Duration::from_millis(200));
    Seeds::first(SEEDS).from(1_000_000).for_each(|seed| life(seed, &faults));
}

#[test]
fn nobody_is_forgotten_when_descriptors_are_short() {
    let mut faults = Faults::default();
    (faults.shortage, faults.longest_shortage, faults.connection_aborted) = (0.05, Duration::from_secs(2), 0.0);
    Seeds::first(SEEDS).from(2_000_000).for_each(|seed| life_in_shortage(seed, &faults));
}

/// The server is made before the shortage.
fn life_in_shortage(seed: u64, faults: &Faults) -> io::Result<()> {
    let mut sim = Sim::with_faults(seed, Faults::default());
    let mut random = sim.random();
    let plan = Plan::new(&mut random);
    let server = plan.start(&Arc::default())?;
    sim.set_faults(faults.clone());
    let mut clients = Vec::new();
    for _ in 0..plan.clients {
        clients.push(sim.connect("127.0.0.1:7"));
        sim.sleep(Duration::from_nanos(random.magnitude(1_000_000_000)));
    }
    sim.set_faults(Faults::default());
    for client in &mut clients {
        client.send(b"x");
    }
    // Who was refused is told; the others are served, one after another if there is little room.
    while !clients.is_empty() {
        sim.wait_until(|| clients.iter().any(|client| client.received_len() == 1 || client.is_over()));
        clients.retain(|client| client.received_len() == 0 && !client.is_over());
    }
    drop(server);
    assert_eq!(sim.descriptors(), 0, "{}", sim.dump());
    Ok(())
}

/// Waits for what it is never told.
struct Waiting;

impl Handler for Waiting {
    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        Ok(())
    }
}

#[test]
fn a_loop_that_is_full_of_its_own_connections_leaves_clients_to_the_others() {
    Seeds::first(SEEDS).from(3_000_000).check(&Faults::default(), |sim| {
        let remote = sim.listen("198.51.100.1:80");
        let plan = Plan { sharing: Sharing::Exclusive, threads: 3, clients: 0, room: 6 };
        let server = plan.start(&Arc::default())?;
        let full = sim.random().index(3);
        for _ in 0..2 {
            let target = remote.address().clone();
            let connect = move |cx: &mut reactor::LoopContext<'_>| {
                cx.connect(target, &ConnectOptions::default(), Waiting).expect("there is room");
            };
            server.handle().loops()[full].execute(connect)?;
        }
        sim.wait_until(|| server.handle().metrics().connected == 2);
        for _ in 0..10 {
            let mut client = sim.connect("127.0.0.1:7");
            client.send(b"x");
            sim.wait_until(|| client.received_len() == 1);
        }
        Ok(())
    });
}

/// For each test here. `REACTOR_SEEDS` says otherwise.
const SEEDS: u64 = 50;

/// Answers each byte by so many KiB.
struct Generous;

impl Handler for Generous {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take().iter().try_for_each(|&kibibytes| cx.send(vec![7; usize::from(kibibytes) << 10]))
    }
}

/// Loops tell each other of so many bytes at a time.
const GRANULE: u64 = 64 << 10;

/// Slow readers ask for more than the loops may keep together.
fn life_in_want_of_memory(seed: u64, faults: &Faults) -> io::Result<()> {
    let mut sim = Sim::with_faults(seed, faults.clone());
    let mut random = sim.random();
    let (sharing, threads) = (*random.pick(&WAYS), 1 + random.index(3));
    let soft = GRANULE * (1 + random.below(10));
    let hard = soft + random.below(GRANULE);
    let budget = MemoryBudget::new(soft as usize, hard as usize);
    let mut options = ListenOptions::default();
    options.socket.send_buffer = Some(4096);
    let builder = Server::builder().threads(threads).memory(&budget);
    let server = builder.listen_with("127.0.0.1:7", &options, sharing, |_peer| Generous)?.start()?;
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..40 {
        if peers.is_empty() || random.chance(0.3) {
            peers.push(sim.connect("127.0.0.1:7"));
        }
        let index = random.index(peers.len());
        match random.below(6) {
            0 => peers[index].resume_reading(),
            1 | 2 => peers[index].stop_reading(),
            _ => peers[index].send(&[random.below(256) as u8]),
        }
        // So many that a loop is woken by another one, and has its turn.
        sim.sleep(Duration::from_millis(1 + random.below(100)));
        let buffered = server.handle().metrics().buffered;
        assert!(buffered <= hard + threads as u64 * GRANULE, "{buffered} bytes wait in {threads} loops, of {hard}");
    }
    everybody_leaves(&sim, &server, &budget, peers);
    drop(server);
    assert_eq!((budget.in_use(), sim.descriptors()), (0, 0), "{}", sim.dump());
    Ok(())
}

/// All read what there is, so nobody is kept waiting; when all have gone, nothing is counted.
fn everybody_leaves(sim: &Sim, server: &Server, budget: &MemoryBudget, mut peers: Vec<Peer>) {
    for peer in &mut peers {
        peer.set_receive_buffer(1 << 20);
        peer.resume_reading();
    }
    sim.wait_until(|| sim.waiting_clients() == 0 && server.handle().metrics().buffered == 0);
    let mut late = sim.connect("127.0.0.1:7");
    late.send(&[1]);
    sim.wait_until(|| late.received_len() == 1024);
    peers.push(late);
    peers.iter_mut().for_each(Peer::close);
    sim.wait_until(|| server.handle().metrics().open == 0);
    sim.wait_until(|| budget.in_use() == 0);
    assert_eq!(server.handle().metrics().buffered, 0);
}

#[test]
fn loops_keep_a_budget_of_memory_together() {
    Seeds::first(SEEDS).from(3_000_000).for_each(|seed| life_in_want_of_memory(seed, &Faults::none()));
    // With few bytes at a time it would take long.
    let mut faults = Faults::default();
    faults.small_buffers = 0.0;
    Seeds::first(SEEDS).from(4_000_000).for_each(|seed| life_in_want_of_memory(seed, &faults));
}
