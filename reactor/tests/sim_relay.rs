//! Relays in the simulated kernel, under many seeds: bytes are exact both ways, ends are passed on, edges are not lost, and the loop
//! does not spin.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Answer, Faults, Peer, PeerState, Random, Seeds, Sim};
use reactor::{CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, Limits, ListenOptions, Result};

const FRONT: &str = "127.0.0.1:7";
const TARGET: &str = "10.0.0.1:80";

/// Why each connection ended.
type Reasons = Rc<RefCell<Vec<&'static str>>>;

/// A client, or what is connected to the target for it.
struct Side {
    is_client: bool,
    idle_timeout: Option<Duration>,
    reasons: Reasons,
}

impl Handler for Side {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        if !self.is_client {
            return Ok(());
        }
        let options = ConnectOptions::default().idle_timeout(self.idle_timeout);
        let other = Self { is_client: false, idle_timeout: None, reasons: Rc::clone(&self.reasons) };
        let other = cx.connect(TARGET, &options, other)?;
        cx.relay_to(other)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        unreachable!("what comes is relayed")
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        self.reasons.borrow_mut().push(reason.name());
    }
}

fn relay(limits: Limits, idle_timeout: Option<Duration>) -> (EventLoop, Reasons) {
    let reasons = Reasons::default();
    let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
    let of_clients = Rc::clone(&reasons);
    let options = ListenOptions::default().idle_timeout(idle_timeout);
    let make = move |_: &_| Side { is_client: true, idle_timeout, reasons: Rc::clone(&of_clients) };
    event_loop.listen(FRONT, &options, make).unwrap();
    (event_loop, reasons)
}

fn random_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if random.chance(0.5) {
        limits.scratch_min = 1 + random.below(300) as usize;
        limits.scratch_max = limits.scratch_min * 2;
        limits.low_mark = random.below(500) as usize;
        limits.high_mark = limits.low_mark + 1 + random.below(1000) as usize;
        limits.max_output = limits.high_mark;
        limits.read_per_turn = 1 + random.below(2000) as usize;
        limits.calls_per_turn = 1 + random.below(4) as usize;
    }
    limits.strict_drain = random.chance(0.2);
    limits
}

/// One end of a relay, what it has to say, and what it has heard.
struct End {
    peer: Peer,
    to_say: Vec<u8>,
    said: usize,
    heard: Vec<u8>,
}

impl End {
    fn new(peer: Peer, random: &mut Random) -> Self {
        Self::with_up_to(20_000, peer, random)
    }

    fn with_up_to(most: u64, peer: Peer, random: &mut Random) -> Self {
        let length = random.below(most);
        let to_say = (0..length).map(|_| random.bits().to_le_bytes()[0]).collect();
        Self { peer, to_say, said: 0, heard: Vec::new() }
    }

    /// Says a little more, or pauses, or goes on.
    fn act(&mut self, random: &mut Random) {
        self.act_by(4000, random);
    }

    fn act_by(&mut self, most: u64, random: &mut Random) {
        match random.below(6) {
            0 => self.peer.stop_reading(),
            1 => self.peer.resume_reading(),
            _ => {
                let count = (random.below(most) as usize).min(self.to_say.len() - self.said);
                self.peer.send(&self.to_say[self.said..self.said + count]);
                self.said += count;
            }
        }
        if self.said == self.to_say.len() {
            self.peer.shutdown_write();
        }
        self.heard.extend(self.peer.take());
    }

    fn has_ended(&self) -> bool {
        self.peer.state() == PeerState::Ended
    }
}

/// Runs on, and fails if turns are made in which nothing happens.
fn run(sim: &Sim, event_loop: &mut EventLoop, random: &mut Random) {
    let before = (sim.progress(), event_loop.handle().metrics().turns);
    sim.run_for(event_loop, Duration::from_millis(random.below(50))).unwrap();
    let (progress, turns) = (sim.progress() - before.0, event_loop.handle().metrics().turns - before.1);
    assert!(turns <= 20 + 4 * progress, "the loop spins: {turns} turns and {progress} calls");
}

#[test]
fn bytes_and_ends_pass_both_ways() {
    Seeds::first(100).check(&Faults::default(), |sim| {
        let mut random = sim.random();
        let (mut event_loop, reasons) = relay(random_limits(&mut random), None);
        let remote = sim.listen(TARGET);
        let client = sim.connect(FRONT);
        let mut client = End::new(client, &mut random);
        // The client need not wait until the target is connected.
        for _ in 0..random.below(3) {
            client.act(&mut random);
            run(sim, &mut event_loop, &mut random);
        }
        let mut accepted = None;
        sim.run_until(&mut event_loop, || {
            accepted = remote.accept();
            accepted.is_some()
        })?;
        let mut far = End::new(accepted.expect("it was accepted"), &mut random);
        while client.said < client.to_say.len() || far.said < far.to_say.len() {
            let end = if random.chance(0.5) { &mut client } else { &mut far };
            end.act(&mut random);
            run(sim, &mut event_loop, &mut random);
        }
        for end in [&mut client, &mut far] {
            end.peer.shutdown_write();
            end.peer.resume_reading();
        }
        sim.run_until(&mut event_loop, || client.has_ended() && far.has_ended())?;
        client.heard.extend(client.peer.take());
        far.heard.extend(far.peer.take());
        assert!(client.heard == far.to_say, "{} bytes of {}", client.heard.len(), far.to_say.len());
        assert!(far.heard == client.to_say, "{} bytes of {}", far.heard.len(), client.to_say.len());
        sim.run_until(&mut event_loop, || reasons.borrow().len() == 2)?;
        assert_eq!(*reasons.borrow(), ["eof", "eof"]);
        assert_eq!(event_loop.handle().metrics().buffered, 0);
        Ok(())
    });
}

#[test]
fn much_passes_through_pipes() {
    let mut faults = Faults::default();
    // Through a buffer of a few bytes much takes long, and a pipe is of no use.
    faults.small_buffers = 0.02;
    faults.split = 0.1;
    let mut spliced = (0, 0);
    Seeds::first(40).from(3000).check(&faults, |sim| {
        let mut random = sim.random();
        let mut limits = Limits::default();
        let pipes = random.index(3);
        limits.relay_pipes = pipes;
        if random.chance(0.3) {
            limits.high_mark = 1 + random.index(100_000);
            limits.low_mark = random.index(limits.high_mark);
        }
        limits.strict_drain = random.chance(0.2);
        let (mut event_loop, reasons) = relay(limits, None);
        let remote = sim.listen(TARGET);
        let mut client = End::with_up_to(300_000, sim.connect(FRONT), &mut random);
        let mut accepted = None;
        sim.run_until(&mut event_loop, || {
            accepted = remote.accept();
            accepted.is_some()
        })?;
        let mut far = End::with_up_to(300_000, accepted.expect("it was accepted"), &mut random);
        while client.said < client.to_say.len() || far.said < far.to_say.len() {
            let end = if random.chance(0.5) { &mut client } else { &mut far };
            end.act_by(200_000, &mut random);
            run(sim, &mut event_loop, &mut random);
        }
        for end in [&mut client, &mut far] {
            end.peer.shutdown_write();
            end.peer.resume_reading();
        }
        sim.run_until(&mut event_loop, || client.has_ended() && far.has_ended())?;
        client.heard.extend(client.peer.take());
        far.heard.extend(far.peer.take());
        assert!(client.heard == far.to_say, "{} bytes of {}", client.heard.len(), far.to_say.len());
        assert!(far.heard == client.to_say, "{} bytes of {}", far.heard.len(), client.to_say.len());
        sim.run_until(&mut event_loop, || reasons.borrow().len() == 2)?;
        assert_eq!(*reasons.borrow(), ["eof", "eof"]);
        spliced.0 += sim.progress_of("splice in");
        spliced.1 += sim.progress_of("splice out");
        assert!(pipes > 0 || sim.progress_of("splice in") == 0);
        Ok(())
    });
    let one_seed = std::env::var_os("REACTOR_SEED").is_some();
    assert!(one_seed || spliced.0 > 40 && spliced.1 > 40, "{spliced:?}");
}

#[test]
fn whatever_happens_both_end_once_and_what_is_heard_was_said() {
    Seeds::first(100).from(1000).check(&Faults::harsh(), |sim| {
        let mut random = sim.random();
        let (mut event_loop, reasons) = relay(random_limits(&mut random), Some(Duration::from_secs(60)));
        let remote = sim.listen(TARGET);
        remote.answer(*random.pick(&[Answer::Accept, Answer::Accept, Answer::Accept, Answer::Refuse, Answer::Silence]));
        let mut client = End::new(sim.connect(FRONT), &mut random);
        let mut far = None;
        for _ in 0..40 {
            match &mut far {
                None => far = remote.accept().map(|peer| End::new(peer, &mut random)),
                Some(far) if random.chance(0.5) => End::act(far, &mut random),
                Some(_) => {}
            }
            client.act(&mut random);
            if random.chance(0.02) {
                client.peer.reset();
            }
            run(sim, &mut event_loop, &mut random);
        }
        // The rest is silence.
        sim.run_for(&mut event_loop, Duration::from_secs(1000))?;
        let metrics = event_loop.handle().metrics();
        assert_eq!((metrics.open, metrics.lingering, metrics.buffered), (0, 0, 0), "{}", sim.dump());
        let closed = metrics.closed.total();
        assert_eq!(reasons.borrow().len() as u64, closed);
        if let Some(far) = &mut far {
            far.peer.resume_reading();
            far.heard.extend(far.peer.take());
            assert!(client.to_say.starts_with(&far.heard));
        }
        Ok(())
    });
}

#[test]
fn idle_timeouts_count_on_both_sides() {
    Seeds::first(50).check(&Faults::default(), |sim| {
        let (mut event_loop, reasons) = relay(Limits::default(), Some(Duration::from_secs(3600)));
        let remote = sim.listen(TARGET);
        let mut client = sim.connect(FRONT);
        let mut far = None;
        sim.run_until(&mut event_loop, || {
            far = remote.accept();
            far.is_some()
        })?;
        let far = far.expect("it was accepted");
        // One direction alone keeps both sides.
        for hour in 1..=48 {
            sim.run_for(&mut event_loop, Duration::from_secs(1800))?;
            client.send(b"still here");
            sim.run_until(&mut event_loop, || far.received_len() == 10 * hour)?;
        }
        assert_eq!(*reasons.borrow(), Vec::<&str>::new());
        sim.run_for(&mut event_loop, Duration::from_secs(3610))?;
        assert_eq!(reasons.borrow().len(), 2);
        assert!(reasons.borrow().contains(&"timeout"));
        Ok(())
    });
}
