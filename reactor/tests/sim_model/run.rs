//! One run of the model: what the clients do, the loop's turns, and what must hold after each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reactor::sim::{Answer, Faults, Random, Remote, Sim};
use reactor::{ConnId, EventLoop, Limits, LoopContext, Metrics, SocketAddress};

use crate::bounds;
use crate::far_end::FarEnd;
use crate::files;
use crate::ledger::{Bounds, Ledger};
use crate::pattern::Pattern;
use crate::room;
use crate::subject::{Role, Shared, Subject};

/// As many clients come at the most.
pub(crate) const CLIENTS: usize = 10;

pub(crate) struct Run<'a> {
    pub(crate) sim: &'a Sim,
    random: Random,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) event_loop: EventLoop<Shared>,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    /// The clients that are expected, by address.
    expected: Rc<RefCell<BTreeMap<String, usize>>>,
    /// The connection of each client, once it is made.
    pub(crate) fronts: Rc<RefCell<BTreeMap<usize, usize>>>,
    pub(crate) clients: Vec<FarEnd>,
    remotes: Vec<Remote>,
    /// What proxies have connected to, each with its client, in the order of connections.
    pub(crate) backs: Vec<(usize, FarEnd)>,
    pub(crate) posted: u64,
    pub(crate) done: Arc<AtomicU64>,
    /// Turns in a row in which nothing was done.
    idle_turns: u32,
}

impl<'a> Run<'a> {
    pub(crate) fn new(sim: &'a Sim, mut random: Random, faults: Faults) -> io::Result<Self> {
        sim.set_faults(faults.clone());
        let limits = bounds::limits(&mut random);
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        ledger.borrow_mut().bounds = bounds::of_a_turn(&limits);
        let remotes: Vec<_> =
            (0..CLIENTS).map(|client| sim.listen(format!("198.51.100.1:{}", 1000 + client))).collect();
        let shared = Shared {
            ledger: Rc::clone(&ledger),
            lonely: None,
            low_mark: limits.low_mark,
            remotes: remotes.iter().map(|remote| remote.address().clone()).collect(),
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
            remotes,
            backs: Vec::new(),
            posted: 0,
            done: Arc::default(),
            idle_turns: 0,
        };
        run.listen("0.0.0.0:7")?;
        run.listen("0.0.0.0:8")?;
        Ok(run)
    }

    fn listen(&mut self, address: &str) -> io::Result<()> {
        let (ledger, expected, fronts) = (Rc::clone(&self.ledger), Rc::clone(&self.expected), Rc::clone(&self.fronts));
        let mut random = Random::new(self.random.bits());
        let make = move |peer: &SocketAddress| {
            let client = expected.borrow()[&peer.to_string()];
            let role = match random.below(13) {
                0..5 => Role::Echo,
                5 => Role::Producer(random.magnitude(files::LONGEST as u64) as usize),
                6 => Role::Producer(files::LONGEST),
                7..10 => Role::Relay,
                10..12 => Role::Proxy,
                _ => Role::Member,
            };
            let output = match role {
                Role::Producer(_) => files::stream(client),
                Role::Member => room::STREAM,
                _ => Pattern(client),
            };
            let number = ledger.borrow_mut().open(Pattern(client), output);
            fronts.borrow_mut().insert(client, number);
            Subject::new(number, role, Random::new(random.bits()), &ledger)
        };
        let options = bounds::listen_options(&mut self.random);
        self.event_loop.listen(address, &options, make).map(drop)
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
        if self.clients.is_empty() || self.clients.len() < CLIENTS && self.random.chance(0.15) {
            return self.connect();
        }
        match self.random.below(40) {
            0..3 => self.post(),
            3 => self.answer(),
            4..6 if !self.backs.is_empty() => {
                let index = self.random.index(self.backs.len());
                self.backs[index].1.act_as_echo(&mut self.random);
            }
            _ => {
                let index = self.random.index(self.clients.len());
                self.clients[index].act(&mut self.random);
            }
        }
    }

    fn connect(&mut self) {
        let peer = self.sim.connect(*self.random.pick(&["127.0.0.1:7", "127.0.0.1:8"]));
        let address = peer.address().expect("it was made just now").to_string();
        let client = self.clients.len();
        self.expected.borrow_mut().insert(address, client);
        self.clients.push(FarEnd::new(peer, Pattern(client)));
    }

    fn answer(&mut self) {
        let answers = [Answer::Accept, Answer::Accept, Answer::Accept, Answer::Refuse, Answer::Silence];
        let answer = *self.random.pick(&answers);
        self.random.pick(&self.remotes).answer(answer);
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
                room::broadcast(cx, 100);
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
            let Limits { low_mark, high_mark, max_output, .. } = self.limits;
            let most = match account.relayed_to {
                Some(_) => high_mark.max(account.queued_before),
                None if account.echoes => max_output.min(high_mark + account.largest),
                // Of a file that is sent, and of pages that are lent, nothing is in memory of the connection.
                None => max_output.max(low_mark + files::LONGEST),
            };
            assert!(queued <= most, "{queued} bytes of output of {number} wait, of {most} at most: {account:?}");
        }
    }

    /// The programs that proxies connect to send back what they get.
    fn serve_backs(&mut self) {
        for &client in &self.ledger.borrow().proxied {
            let accepted = std::iter::from_fn(|| self.remotes[client].accept());
            self.backs.extend(accepted.map(|peer| (client, FarEnd::new(peer, Pattern(client)))));
        }
        for (client, back) in &mut self.backs {
            back.echo(self.clients[*client].sent);
        }
    }

    /// What clients have received is what their connections have sent.
    fn receive(&mut self) {
        for index in 0..self.clients.len() {
            let bytes = self.clients[index].peer.take();
            let Some(&number) = self.fronts.borrow().get(&index) else {
                assert!(bytes.is_empty(), "client {index} hears from nobody");
                continue;
            };
            let (output, first, offered) = self.expects(number);
            let client = &mut self.clients[index];
            output.check(first + client.received, &bytes, "output");
            client.received += bytes.len();
            assert!(client.received <= offered, "client {index} got {} bytes of {offered}", client.received);
        }
    }

    /// The stream that a connection sends, where in it, and how many bytes of it there are.
    fn expects(&self, number: usize) -> (Pattern, usize, usize) {
        let ledger = self.ledger.borrow();
        let account = &ledger.accounts[number];
        let relayed = account.relayed_to.and_then(|other| self.far_end(other)).map_or(0, |far| far.sent);
        (account.output, account.first, account.offered.max(relayed))
    }

    /// What is at the other end of a connection.
    pub(crate) fn far_end(&self, number: usize) -> Option<&FarEnd> {
        let ledger = self.ledger.borrow();
        let account = &ledger.accounts[number];
        let client = account.input.0;
        if self.fronts.borrow().get(&client) == Some(&number) {
            return self.clients.get(client);
        }
        // Of several attempts to connect the last one counts.
        self.backs.iter().rfind(|(of, _)| *of == client && account.opened).map(|(_, far)| far)
    }

    /// Nothing goes wrong any more and everybody reads: whatever waits must come to its end.
    pub(crate) fn calm(&mut self) -> io::Result<()> {
        self.sim.set_faults(Faults::none());
        self.remotes.iter().for_each(|remote| remote.answer(Answer::Accept));
        self.clients.iter_mut().for_each(FarEnd::calm);
        self.backs.iter_mut().for_each(|(_, back)| back.calm());
        let end = self.sim.now() + Duration::from_secs(300);
        while self.sim.now() < end {
            // What is sent back to a proxy wakes the loop, and is sent between two turns.
            self.turn((end - self.sim.now()).min(Duration::from_secs(50)))?;
        }
        self.clients.iter_mut().for_each(FarEnd::note_end);
        self.check_all_served();
        Ok(())
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
