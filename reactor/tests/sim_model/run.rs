//! One run of the model: what the clients do, the loop's turns, and what must hold after each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reactor::sim::{Answer, Faults, Peer, PeerState, Random, Remote, Sim};
use reactor::{
    ConnId, EventLoop, Limits, ListenOptions, LoopContext, Metrics, RateLimit, Rates, ReadProgress, SocketAddress,
    Timeouts,
};

use crate::ledger::{Bounds, Ledger};
use crate::pattern::Pattern;
use crate::subject::{Role, Shared, Subject};

/// A client, and what it has done.
struct Client {
    peer: Peer,
    stream: Pattern,
    sent: usize,
    received: usize,
    /// It has done nothing that could cost it output: no reset, no close before the end.
    polite: bool,
    /// It sends no more.
    ended: bool,
    /// It has sent an urgent byte. Of two, the first might become a byte like others.
    urgent: bool,
}

pub(crate) struct Run<'a> {
    sim: &'a Sim,
    random: Random,
    faults: Faults,
    limits: Limits,
    event_loop: EventLoop<Shared>,
    ledger: Rc<RefCell<Ledger>>,
    /// The clients that are expected, by address.
    expected: Rc<RefCell<BTreeMap<String, usize>>>,
    /// The connection of each client, once it is made.
    fronts: Rc<RefCell<BTreeMap<usize, usize>>>,
    clients: Vec<Client>,
    remote: Remote,
    backs: Vec<Peer>,
    posted: u64,
    done: Arc<AtomicU64>,
    /// Turns in a row in which nothing was done.
    idle_turns: u32,
}

impl<'a> Run<'a> {
    pub(crate) fn new(sim: &'a Sim, mut random: Random, faults: Faults) -> io::Result<Self> {
        sim.set_faults(faults.clone());
        let limits = limits(&mut random);
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        ledger.borrow_mut().bounds = bounds(&limits);
        let remote = sim.listen("198.51.100.1:80");
        let shared = Shared {
            ledger: Rc::clone(&ledger),
            lonely: None,
            low_mark: limits.low_mark,
            remote: remote.address().clone(),
        };
        let event_loop = EventLoop::with_limits(limits.clone(), shared)?;
        let mut run = Self {
            sim,
            random,
            faults,
            limits,
            event_loop,
            ledger,
            expected: Rc::default(),
            fronts: Rc::default(),
            clients: Vec::new(),
            remote,
            backs: Vec::new(),
            posted: 0,
            done: Arc::default(),
            idle_turns: 0,
        };
        run.listen()?;
        Ok(run)
    }

    fn listen(&mut self) -> io::Result<()> {
        let (ledger, expected, fronts) = (Rc::clone(&self.ledger), Rc::clone(&self.expected), Rc::clone(&self.fronts));
        let mut random = Random::new(self.random.bits());
        let make = move |peer: &SocketAddress| {
            let client = expected.borrow()[&peer.to_string()];
            let role = match random.below(10) {
                0..5 => Role::Echo,
                5..7 => Role::Producer(random.magnitude(50_000) as usize),
                7..9 => Role::Relay,
                _ => Role::Proxy,
            };
            let output = if let Role::Producer(_) = role { Pattern(client + 1000) } else { Pattern(client) };
            let number = ledger.borrow_mut().open(Pattern(client), output);
            fronts.borrow_mut().insert(client, number);
            Subject::new(number, role, Random::new(random.bits()), &ledger)
        };
        let idle = self.random.chance(0.2).then(|| Duration::from_millis(self.random.magnitude(60_000)));
        let mut options = ListenOptions::default().idle_timeout(idle);
        options.rates = rates(&mut self.random, 50_000);
        options.timeouts = timeouts(&mut self.random);
        options.accept_rate = self.random.chance(0.2).then(|| RateLimit::per_second(1 + self.random.below(100)));
        options.max_per_address = self.random.chance(0.1).then(|| 1 + self.random.index(10));
        self.event_loop.listen("0.0.0.0:7", &options, make).map(drop)
    }

    /// Lets the clients do things, turn by turn.
    pub(crate) fn play(&mut self, steps: usize) -> io::Result<()> {
        for _ in 0..steps {
            self.act();
            let longest = *self.random.pick(&[0, 1_000, 1_000_000, 1_000_000_000]);
            let wait = Duration::from_nanos(self.random.below(longest + 1));
            self.turn(wait)?;
        }
        Ok(())
    }

    fn act(&mut self) {
        if self.clients.is_empty() || self.clients.len() < 10 && self.random.chance(0.15) {
            return self.connect();
        }
        match self.random.below(40) {
            0..3 => self.post(),
            3 => self.answer(),
            _ => self.act_as_client(),
        }
    }

    fn connect(&mut self) {
        let peer = self.sim.connect("127.0.0.1:7");
        let address = peer.address().expect("it was made just now").to_string();
        let stream = Pattern(self.clients.len());
        self.expected.borrow_mut().insert(address, self.clients.len());
        self.clients.push(Client { peer, stream, sent: 0, received: 0, polite: true, ended: false, urgent: false });
    }

    fn answer(&mut self) {
        let answers = [Answer::Accept, Answer::Accept, Answer::Accept, Answer::Refuse, Answer::Silence];
        self.remote.answer(*self.random.pick(&answers));
    }

    fn act_as_client(&mut self) {
        let index = self.random.index(self.clients.len());
        let (client, random) = (&mut self.clients[index], &mut self.random);
        match random.below(24) {
            0 => client.peer.stop_reading(),
            1 | 2 => client.peer.resume_reading(),
            3 => client.peer.set_receive_buffer(random.magnitude(5000) as usize),
            4 | 5 => {
                client.peer.shutdown_write();
                client.ended = true;
            }
            6 if random.chance(0.4) => client.leave(Peer::close),
            7 if random.chance(0.4) => client.leave(Peer::reset),
            8 if random.chance(0.4) => client.leave(Peer::vanish),
            9 if !client.ended && !client.urgent => {
                client.peer.send_urgent(b'!');
                client.urgent = true;
            }
            _ if !client.ended => client.send(random.magnitude(30_000) as usize),
            _ => {}
        }
    }

    /// Posts something to the loop, as another thread would.
    fn post(&mut self) {
        let done = Arc::clone(&self.done);
        let target = self.random.index(self.clients.len());
        let front = self.fronts.borrow().get(&target).copied();
        let (pauses, delay) = (self.random.chance(0.5), Duration::from_micros(self.random.magnitude(500_000)));
        let posted = self.event_loop.handle().execute(move |cx| {
            done.fetch_add(1, Ordering::Relaxed);
            let Some(number) = front else { return };
            let ledger = Rc::clone(&cx.state().ledger);
            let id = ledger.borrow().accounts[number].id;
            let Some(id) = id else { return };
            if pauses {
                pause(cx, id, number, delay);
            } else if let Some(mut peer) = cx.peer(id) {
                peer.want_drained();
            }
        });
        self.posted += u64::from(posted.is_ok());
    }

    /// A turn of the loop, and all that must hold after it.
    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        let (began, before) = (self.sim.now(), (self.sim.progress(), self.ledger.borrow().callbacks));
        self.ledger.borrow_mut().turn += 1;
        self.event_loop.turn(Some(wait))?;
        self.ledger.borrow_mut().end_turn();
        self.ledger.borrow().check_timers(began);
        let after = self.event_loop.metrics();
        assert_eq!(after.panics, self.ledger.borrow().panics_on_purpose, "a callback failed");
        let worked = before != (self.sim.progress(), self.ledger.borrow().callbacks);
        let waited = wait.is_zero() || self.sim.now() - began >= wait.min(Duration::from_millis(1));
        self.idle_turns = if worked || waited { 0 } else { self.idle_turns + 1 };
        assert!(
            self.idle_turns < 20,
            "the loop spins: {} turns in a row without work\n{}",
            self.idle_turns,
            self.sim.dump()
        );
        self.check_bounds(&after);
        self.serve_backs();
        self.receive();
        Ok(())
    }

    fn check_bounds(&mut self, metrics: &Metrics) {
        let held = metrics.open + metrics.lingering;
        assert!(held <= self.limits.connections as u64, "{held} connections are more than {}", self.limits.connections);
        let most = (held * (self.limits.max_input + self.limits.max_output) as u64).min(self.limits.memory_hard as u64);
        assert!(metrics.buffered <= most, "{} bytes wait, of {most} at most", metrics.buffered);
        let ledger = Rc::clone(&self.ledger);
        for (number, account) in ledger.borrow().accounts.iter().enumerate() {
            let Some(id) = account.id.filter(|_| account.closed.is_none()) else { continue };
            let queued = self.event_loop.context().peer(id).map_or(0, |peer| peer.queued());
            let marked = self.limits.high_mark + account.largest;
            let most = if account.echoes { self.limits.max_output.min(marked) } else { self.limits.max_output };
            assert!(queued <= most, "{queued} bytes of output of connection {number} wait, of {most} at most");
        }
    }

    /// The programs that proxies connect to send back what they get.
    fn serve_backs(&mut self) {
        self.backs.extend(std::iter::from_fn(|| self.remote.accept()));
        for back in &mut self.backs {
            let bytes = back.take();
            if !bytes.is_empty() {
                back.send(&bytes);
            }
            if back.state() == PeerState::Ended {
                back.close();
            }
        }
        self.backs.retain(|back| !back.is_over());
    }

    /// What clients have received is what their connections have sent.
    fn receive(&mut self) {
        let ledger = self.ledger.borrow();
        for (index, client) in self.clients.iter_mut().enumerate() {
            let bytes = client.peer.take();
            let Some(&number) = self.fronts.borrow().get(&index) else {
                assert!(bytes.is_empty(), "client {index} hears from nobody");
                continue;
            };
            let (output, offered) = (ledger.accounts[number].output, ledger.accounts[number].offered);
            output.check(client.received, &bytes, "output");
            client.received += bytes.len();
            assert!(client.received <= offered, "client {index} got {} bytes of {offered}", client.received);
        }
    }

    /// Nothing goes wrong any more and everybody reads: whatever waits must come to its end.
    pub(crate) fn calm(&mut self) -> io::Result<()> {
        self.sim.set_faults(Faults::none());
        self.remote.answer(Answer::Accept);
        for client in &mut self.clients {
            client.peer.resume_reading();
            client.peer.set_receive_buffer(1 << 20);
        }
        let end = self.sim.now() + Duration::from_secs(300);
        while self.sim.now() < end {
            self.turn(end - self.sim.now())?;
        }
        self.check_all_served();
        Ok(())
    }

    fn check_all_served(&self) {
        assert_eq!(self.done.load(Ordering::Relaxed), self.posted, "a message was lost");
        let metrics = self.event_loop.metrics();
        let full = metrics.open + metrics.lingering >= self.limits.connections as u64
            || metrics.buffered >= self.limits.memory_soft as u64;
        assert!(full || self.sim.waiting_clients() == 0, "somebody waits to be accepted, and there is room");
        let ledger = self.ledger.borrow();
        for (index, client) in self.clients.iter().enumerate() {
            let state = client.peer.state();
            let Some(&number) = self.fronts.borrow().get(&index) else { continue };
            let account = &ledger.accounts[number];
            let reads = account.opened && account.closed.is_none() && !account.paused && !account.eof;
            if reads && state != PeerState::Closed {
                let (unread, dump) = (client.peer.unread(), self.sim.dump());
                assert_eq!(
                    unread, 0,
                    "nobody reads what client {index} has sent: a lost edge
{account:?}
{dump}"
                );
            }
            let told = account.eof || account.finished || !reads || !client.ended || !client.polite;
            assert!(told, "client {index} has ended, and its connection was not told: {account:?}");
            let reason = account.closed.as_deref().unwrap_or("eof");
            let failed = matches!(state, PeerState::Failed(_)) && self.faults.reset > 0.0;
            if account.finished && client.polite && !failed && matches!(reason, "eof" | "closed" | "shutdown") {
                // A client that sends on may be reset once it has everything.
                assert_eq!(
                    client.received,
                    account.sent,
                    "client {index} lost output ({reason}, {state:?})\n{account:?} {:?}\n{}",
                    client.peer,
                    self.sim.dump()
                );
                assert!(client.peer.is_over(), "client {index} is not told that this is all");
            }
            let blameless = client.polite && !account.failed && self.faults.reset == 0.0 && account.echoes;
            // For want of memory anybody may be closed.
            let crowded = reason == "overflow" && self.limits.memory_hard < SMALL_MEMORY;
            let broken = matches!(reason, "error" | "overflow" | "panic") && blameless && !crowded;
            assert!(!broken || account.panics, "connection {number} failed for no reason ({reason}): {account:?}");
            if reason == "eof" && account.closed.is_some() {
                assert_eq!(account.shown, client.sent, "client {index} lost input");
            }
        }
    }

    /// The loop drains and ends, in time, and leaves nothing behind.
    pub(crate) fn drain(mut self) -> io::Result<()> {
        self.sim.set_faults(self.faults.clone());
        let grace = Duration::from_millis(self.random.magnitude(20_000));
        self.event_loop.handle().shutdown(grace).expect("the loop has not ended");
        let began = self.sim.now();
        self.ledger.borrow_mut().bounds = Bounds { bytes_per_turn: usize::MAX, calls_per_turn: usize::MAX };
        let report = self.event_loop.run()?;
        let took = self.sim.now() - began;
        let late = self.faults.longest_stall + Duration::from_millis(30);
        assert!(took <= grace + late, "the drain took {took:?} of {grace:?}");
        let open =
            self.ledger.borrow().accounts.iter().filter(|account| account.opened && account.closed.is_none()).count();
        assert_eq!(open, 0, "connections are open after the end of the loop: {report:?}");
        self.receive();
        let metrics = self.event_loop.metrics();
        assert_eq!((metrics.open, metrics.lingering, metrics.buffered), (0, 0, 0), "{metrics:?}");
        drop(self.event_loop);
        assert_eq!(self.sim.descriptors(), 0, "a descriptor is left open");
        Ok(())
    }
}

impl Client {
    fn send(&mut self, count: usize) {
        self.peer.send(&self.stream.bytes(self.sent, count));
        self.sent += count;
    }

    fn leave(&mut self, how: fn(&mut Peer)) {
        how(&mut self.peer);
        (self.polite, self.ended) = (false, true);
    }
}

/// Pauses a connection from outside of its callbacks, and resumes it so after a while.
fn pause(cx: &mut LoopContext<'_, Shared>, id: ConnId, number: usize, delay: Duration) {
    if let Some(mut peer) = cx.peer(id) {
        peer.pause();
    }
    cx.state().ledger.borrow_mut().accounts[number].paused = true;
    let resume = move |cx: &mut LoopContext<'_, Shared>| {
        cx.state().ledger.borrow_mut().accounts[number].paused = false;
        if let Some(mut peer) = cx.peer(id) {
            peer.resume();
        }
    };
    cx.run_after(delay, resume).expect("the loop has room for tasks");
}

/// Bounds small enough to be met.
fn limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    limits.connections = if random.chance(0.2) { 1 + random.index(8) } else { 1000 };
    limits.events_per_wait = if random.chance(0.2) { 1 + random.index(4) } else { 64 };
    limits.read_per_turn = random.magnitude(100_000) as usize;
    limits.calls_per_turn = 1 + random.index(16);
    limits.accepts_per_turn = 1 + random.index(4);
    limits.mail_per_turn = 1 + random.index(4);
    limits.max_output = 1 << 20;
    limits.high_mark = random.magnitude(50_000) as usize;
    limits.low_mark = random.index(limits.high_mark + 1);
    limits.max_input = 1 << 16;
    limits.scratch_min = 1 + random.index(20_000);
    limits.scratch_max = limits.scratch_min.max(40_000);
    limits.linger = Duration::from_secs(3600);
    if random.chance(0.2) {
        limits.memory_soft = random.magnitude(200_000) as usize;
        limits.memory_hard = limits.memory_soft + random.index(SMALL_MEMORY - limits.memory_soft);
    }
    limits.rates = rates(random, 500_000);
    limits.strict_drain = random.chance(0.3);
    limits
}

/// Rates at which all that clients send passes within the calm.
pub(crate) fn rates(random: &mut Random, least: u64) -> Rates {
    let mut rate = || {
        let rate = least + random.magnitude(1_000_000);
        random.chance(0.2).then(|| RateLimit::per_second(rate).burst(1 + random.magnitude(rate)))
    };
    Rates::default().input(rate()).output(rate())
}

pub(crate) fn timeouts(random: &mut Random) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let duration = |random: &mut Random| Duration::from_millis(random.magnitude(60_000));
    if random.chance(0.1) {
        timeouts.read = Some(ReadProgress::at_least(random.magnitude(10_000), duration(random)));
    }
    if random.chance(0.1) {
        timeouts.write = Some(duration(random));
    }
    if random.chance(0.1) {
        timeouts.lifetime = Some(duration(random));
    }
    timeouts
}

/// Less than this is met.
const SMALL_MEMORY: usize = 400_000;

/// What a connection gets in one turn: one budget, and one more if it is served again; with small batches of events, one for each
/// of up to eight.
fn bounds(limits: &Limits) -> Bounds {
    let budgets = if limits.events_per_wait < 64 { 10 } else { 2 };
    Bounds { bytes_per_turn: budgets * limits.read_per_turn, calls_per_turn: budgets * limits.calls_per_turn }
}
