//! Rate limits under the simulated clock: exact over minutes, fair between connections, and few turns of the loop.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Faults, Peer, Seeds, Sim};
use reactor::{Context, EventLoop, Handler, Input, Limits, ListenOptions, RateLimit, Rates, Result};

/// Counts what comes to each connection, and sends without end if it is to.
struct Meter {
    index: usize,
    counts: Rc<RefCell<Vec<u64>>>,
    sends: bool,
}

impl Meter {
    fn produce(&self, cx: &mut Context<'_>) -> Result {
        if self.sends {
            while cx.queued() <= 64 << 10 {
                cx.send([7; 5000])?;
            }
            cx.want_drained();
        }
        Ok(())
    }
}

impl Handler for Meter {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.produce(cx)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.counts.borrow_mut()[self.index] += input.take().len() as u64;
        Ok(())
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) -> Result {
        self.produce(cx)
    }
}

struct Bench {
    event_loop: EventLoop,
    peers: Vec<Peer>,
    /// Bytes that came to each connection.
    counts: Rc<RefCell<Vec<u64>>>,
    /// What peers have ready to send at any time.
    ahead: usize,
}

impl Bench {
    fn new(sim: &Sim, limits: Limits, rates: Rates, sends: bool, connections: usize) -> Self {
        let counts: Rc<RefCell<Vec<u64>>> = Rc::default();
        let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
        let theirs = Rc::clone(&counts);
        let make = move |_: &_| {
            theirs.borrow_mut().push(0);
            Meter { index: theirs.borrow().len() - 1, counts: Rc::clone(&theirs), sends }
        };
        event_loop.listen("127.0.0.1:7", &ListenOptions::default().rates(rates), make).unwrap();
        let peers = (0..connections).map(|_| sim.connect("127.0.0.1:7")).collect();
        sim.run_until(&mut event_loop, || counts.borrow().len() == connections).unwrap();
        Self { event_loop, peers, counts, ahead: 200_000 }
    }

    /// Lets time pass in which the peers send all they can, and read all they get. Answers what each got.
    fn run(&mut self, sim: &Sim, time: Duration) -> Vec<u64> {
        let mut received = vec![0; self.peers.len()];
        let end = sim.now() + time;
        while sim.now() < end {
            for peer in &mut self.peers {
                if peer.unsent() < self.ahead {
                    peer.send(&vec![7; self.ahead]);
                }
            }
            let step = Duration::from_millis(100).min(end.saturating_sub(sim.now()));
            sim.run_for(&mut self.event_loop, step).unwrap();
            for (peer, received) in self.peers.iter_mut().zip(&mut received) {
                *received += peer.take().len() as u64;
            }
        }
        received
    }
}

/// As long as rates are watched.
const MINUTES: Duration = Duration::from_secs(60);

/// Asserts that so many bytes passed in some minutes as the limit says: no more, and at most 20 ms' worth less.
fn assert_exact(passed: u64, limit: RateLimit, share: u64) {
    let of_rate = limit.per_second * MINUTES.as_secs();
    let (least, most) = (of_rate - of_rate / 3000 - 1, of_rate + limit.burst + limit.per_second / 1000 + 1);
    let passed = passed * share;
    assert!((least..=most).contains(&passed), "{passed} bytes passed, of {least} to {most}");
}

fn random_limit(random: &mut reactor::sim::Random) -> RateLimit {
    let rate = 100 + random.below(1_000_000);
    RateLimit::per_second(rate).burst((rate / 40).max(2) + random.below(rate))
}

#[test]
fn what_a_connection_receives_keeps_its_rate() {
    Seeds::first(3).check(&Faults::none(), |sim| {
        let limit = random_limit(&mut sim.random());
        let mut bench = Bench::new(sim, Limits::default(), Rates::default().input(limit), false, 1);
        let turns = bench.event_loop.metrics().turns;
        bench.run(sim, MINUTES);
        assert_exact(bench.counts.borrow()[0], limit, 1);
        let turns = bench.event_loop.metrics().turns - turns;
        assert!(turns < 400 * MINUTES.as_secs(), "{turns} turns");
        Ok(())
    });
}

#[test]
fn what_a_connection_sends_keeps_its_rate() {
    Seeds::first(3).check(&Faults::none(), |sim| {
        let limit = random_limit(&mut sim.random());
        let mut bench = Bench::new(sim, Limits::default(), Rates::default().output(limit), true, 1);
        let turns = bench.event_loop.metrics().turns;
        bench.ahead = 0;
        let received = bench.run(sim, MINUTES);
        assert_exact(received[0], limit, 1);
        let turns = bench.event_loop.metrics().turns - turns;
        assert!(turns < 600 * MINUTES.as_secs(), "{turns} turns");
        Ok(())
    });
}

#[test]
fn the_rate_of_a_loop_is_shared_fairly_in_both_directions() {
    Seeds::first(3).check(&Faults::none(), |sim| {
        let mut random = sim.random();
        let (input, output) = (200_000 + random.below(1_000_000), 200_000 + random.below(1_000_000));
        let [input, output] = [input, output].map(RateLimit::per_second);
        let mut limits = Limits::default();
        limits.rates = Rates::default().input(input).output(output);
        let count = 1 + random.index(20);
        let mut bench = Bench::new(sim, limits, Rates::default(), true, count);
        let received = bench.run(sim, MINUTES);
        for (counts, limit) in [(&received, output), (&*bench.counts.borrow(), input)] {
            assert_exact(counts.iter().sum(), limit, 1);
            let fair = counts.iter().sum::<u64>() / count as u64;
            let uneven = counts.iter().find(|got| got.abs_diff(fair) > fair / 10);
            assert_eq!(uneven, None, "of {count} connections each is to get {fair}: {counts:?}");
        }
        Ok(())
    });
}

#[test]
fn a_connection_has_its_own_rate_within_that_of_the_loop() {
    let sim = Sim::new(3);
    let mut limits = Limits::default();
    limits.rates = Rates::default().input(RateLimit::per_second(1_000_000));
    let slow = RateLimit::per_second(10_000);
    let mut bench = Bench::new(&sim, limits, Rates::default().input(slow), false, 10);
    bench.run(&sim, MINUTES);
    bench.counts.borrow().iter().for_each(|count| assert_exact(*count, slow, 1));
}

#[test]
fn nobody_who_closes_or_pauses_holds_up_those_who_wait() {
    Seeds::first(6).check(&Faults::default(), |sim| {
        let mut random = sim.random();
        let limit = RateLimit::per_second(500_000);
        let mut limits = Limits::default();
        limits.rates = Rates::default().input(limit).output(limit);
        let mut bench = Bench::new(sim, limits, Rates::default(), true, 10);
        for _ in 0..100 {
            bench.run(sim, Duration::from_millis(100));
            let victim = random.index(bench.peers.len());
            match random.below(4) {
                0 if bench.peers.len() > 5 => bench.peers.swap_remove(victim).reset(),
                1 if bench.peers.len() > 5 => bench.peers.swap_remove(victim).close(),
                2 => bench.peers[victim].stop_reading(),
                _ => bench.peers[victim].resume_reading(),
            }
        }
        bench.peers.iter_mut().for_each(Peer::resume_reading);
        sim.set_faults(Faults::none());
        let before: u64 = bench.counts.borrow().iter().sum();
        let received = bench.run(sim, Duration::from_secs(20));
        let passed = bench.counts.borrow().iter().sum::<u64>() - before;
        // Both directions run at full speed.
        assert!(passed > 9_000_000, "{passed} bytes came in");
        assert!(received.iter().sum::<u64>() > 9_000_000, "{received:?} went out");
        Ok(())
    });
}

#[test]
fn an_idle_timeout_does_not_hit_who_waits_for_tokens() {
    let sim = Sim::new(5);
    let mut event_loop = EventLoop::new(()).unwrap();
    let counts: Rc<RefCell<Vec<u64>>> = Rc::new(RefCell::new(vec![0]));
    let theirs = Rc::clone(&counts);
    // A byte in ten seconds would be a tenth of this rate: nothing slower than one a second can be asked for.
    let rates = Rates::default().input(RateLimit::per_second(1).burst(1));
    let options = ListenOptions::default().rates(rates).idle_timeout(Duration::from_millis(300));
    event_loop
        .listen("127.0.0.1:7", &options, move |_| Meter { index: 0, counts: Rc::clone(&theirs), sends: false })
        .unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.send(&[7; 20]);
    sim.run_for(&mut event_loop, Duration::from_secs(15)).unwrap();
    assert_eq!(event_loop.metrics().open, 1);
    assert!((14..=17).contains(&counts.borrow()[0]), "{:?}", counts.borrow());
    sim.run_until(&mut event_loop, || peer.is_over()).unwrap();
    assert_eq!(counts.borrow()[0], 20);
    assert_eq!(event_loop.metrics().closed.timeout, 1);
}

#[test]
fn live_connections_change_their_rates() {
    let sim = Sim::new(6);
    let mut bench = Bench::new(&sim, Limits::default(), Rates::default(), false, 1);
    let id = Rc::new(RefCell::new(None));
    // The one connection is the first that the loop made after its listener.
    let made = Rc::clone(&id);
    struct Named(Rc<RefCell<Option<reactor::ConnId>>>, Rc<RefCell<Vec<u64>>>);
    impl Handler for Named {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
            *self.0.borrow_mut() = Some(cx.id());
            Ok(())
        }

        fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
            self.1.borrow_mut()[0] += input.take().len() as u64;
            Ok(())
        }
    }
    let counts = Rc::clone(&bench.counts);
    bench
        .event_loop
        .listen("127.0.0.1:8", &ListenOptions::default(), move |_| Named(Rc::clone(&made), Rc::clone(&counts)))
        .unwrap();
    bench.peers = vec![sim.connect("127.0.0.1:8")];
    sim.run_until(&mut bench.event_loop, || id.borrow().is_some()).unwrap();
    let id = id.borrow().unwrap();
    let slow = RateLimit::per_second(10_000);
    bench.event_loop.context().peer(id).unwrap().set_rates(Rates::default().input(slow));
    bench.run(&sim, MINUTES);
    assert_exact(bench.counts.borrow()[0], slow, 1);
    let before = bench.counts.borrow()[0];
    bench.event_loop.context().peer(id).unwrap().set_rates(Rates::default());
    bench.run(&sim, Duration::from_secs(1));
    assert!(bench.counts.borrow()[0] - before > 1_000_000, "it goes as fast as it can again");
}

#[test]
fn connections_are_accepted_at_their_rate() {
    Seeds::first(20).check(&Faults::none(), |sim| {
        let mut random = sim.random();
        // At least what comes in 20 ms, without which the rate is not reached.
        let rate = 1 + random.below(200);
        let burst = 2 + rate / 50 + random.below(50);
        let mut event_loop = EventLoop::new(())?;
        let limit = RateLimit::per_second(rate).burst(burst);
        let make = |_: &_| Meter { index: 0, counts: Rc::default(), sends: false };
        event_loop.listen("127.0.0.1:7", &ListenOptions::default().accept_rate(limit), make)?;
        let peers: Vec<_> = (0..1500).map(|_| sim.connect("127.0.0.1:7")).collect();
        sim.run_for(&mut event_loop, Duration::from_secs(5))?;
        let accepted = event_loop.metrics().accepted;
        let (least, most) = ((5 * rate).max(burst) - 1, burst + 5 * rate);
        assert!((least..=most).contains(&accepted), "{accepted} of {least} to {most}, {limit:?}");
        assert_eq!(accepted as usize + sim.waiting_clients(), peers.len());
        Ok(())
    });
}

/// Takes all and counts nothing.
struct Sink;

impl Handler for Sink {
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

#[test]
fn who_is_idle_is_closed_though_others_take_all_the_tokens() {
    Seeds::first(20).from(500).check(&Faults::none(), |sim| {
        let mut limits = Limits::default();
        limits.rates = Rates::default().input(RateLimit::per_second(1000));
        let mut event_loop = EventLoop::with_limits(limits, ())?;
        let options = ListenOptions::default().idle_timeout(Duration::from_secs(1));
        event_loop.listen("127.0.0.1:7", &options, |_| Sink)?;
        let mut busy: Vec<Peer> = (0..3).map(|_| sim.connect("127.0.0.1:7")).collect();
        busy.iter_mut().for_each(|peer| peer.send(&[7; 100_000]));
        let idle = sim.connect("127.0.0.1:7");
        sim.run_for(&mut event_loop, Duration::from_secs(10))?;
        assert!(idle.is_over(), "it has waited for tokens that it has no use for");
        assert!(busy.iter().all(|peer| !peer.is_over()));
        Ok(())
    });
}
