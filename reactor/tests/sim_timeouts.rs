//! Deadlines under the simulated clock: none is early, none is late, whoever keeps them lives for thousands of hours, and what has
//! arrived wins over a deadline that passed meanwhile.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{self, Faults, Peer, PeerState, Seeds, Sim};
use reactor::{
    CloseReason, Context, EventLoop, Handler, Input, Limits, ListenOptions, ReadProgress, Result, Timeout, Timeouts,
};

/// What a connection saw, and when.
#[derive(Default)]
struct Seen {
    opened: Option<Duration>,
    input: Vec<(Duration, usize)>,
    closed: Option<(Duration, Option<Timeout>)>,
}

type Diary = Rc<RefCell<Seen>>;

/// Writes down what it sees. Of what comes it sends back so many times as much.
struct Witness {
    diary: Diary,
    answers: usize,
}

impl Handler for Witness {
    fn on_open(&mut self, _cx: &mut Context<'_>) -> Result {
        self.diary.borrow_mut().opened = Some(sim::now());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let bytes = input.take();
        self.diary.borrow_mut().input.push((sim::now(), bytes.len()));
        (0..self.answers).try_for_each(|_| cx.send(bytes))
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        let timeout = if let CloseReason::Timeout(timeout) = reason { Some(*timeout) } else { None };
        self.diary.borrow_mut().closed = Some((sim::now(), timeout));
    }
}

/// A loop with one connection that is held to these deadlines.
fn serve(sim: &Sim, timeouts: Timeouts, answers: usize) -> (EventLoop, Peer, Diary) {
    let diary = Diary::default();
    let mut event_loop = EventLoop::new(()).unwrap();
    let seen = Rc::clone(&diary);
    let make = move |_: &_| Witness { diary: Rc::clone(&seen), answers };
    event_loop.listen("127.0.0.1:7", &ListenOptions::default().timeouts(timeouts), make).unwrap();
    let peer = sim.connect("127.0.0.1:7");
    sim.run_until(&mut event_loop, || diary.borrow().opened.is_some()).unwrap();
    (event_loop, peer, diary)
}

fn closed(diary: &Diary) -> Option<(Duration, Option<Timeout>)> {
    diary.borrow().closed
}

/// A deadline is looked at within so long.
const SLACK: Duration = Duration::from_millis(3);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_peer_that_trickles_is_closed_in_time_and_for_a_reason() {
    Seeds::first(300).check(&Faults::none(), |sim| {
        let mut random = sim.random();
        let period = Duration::from_millis(1 + random.below(20_000));
        let least = 1 + random.below(1000);
        let timeouts = Timeouts::default().read(ReadProgress::at_least(least, period));
        let (mut event_loop, mut peer, diary) = serve(sim, timeouts, 0);
        // It sends for a while, more or less of what is wanted, and then nothing.
        let pieces = random.below(40);
        let mut last = sim.now();
        for _ in 0..pieces {
            sim.run_for(&mut event_loop, Duration::from_nanos(random.below(period.as_nanos() as u64)))?;
            if closed(&diary).is_some() {
                break;
            }
            peer.send(&vec![7; 1 + random.below(least) as usize]);
            last = sim.now();
        }
        sim.run_until(&mut event_loop, || closed(&diary).is_some())?;
        let (at, timeout) = closed(&diary).unwrap();
        assert_eq!(timeout, Some(Timeout::Read));
        let seen = diary.borrow();
        let within = |from: Duration, to: Duration| -> u64 {
            seen.input.iter().filter(|(when, _)| from < *when && *when <= to).map(|(_, count)| *count as u64).sum()
        };
        assert!(at >= seen.opened.unwrap() + period, "closed after less than a period");
        assert!(within(at - period, at) < least, "closed although enough had come within {period:?}");
        assert!(at <= last + 2 * (period + SLACK), "closed {:?} after the last byte of {period:?}", at - last);
        // Any two periods in a row have a whole one among them.
        let long = 2 * (period + SLACK);
        for (when, _) in &seen.input {
            let end = *when + long;
            assert!(end >= at || within(*when, end) >= least, "it lived on with too little");
        }
        Ok(())
    });
}

#[test]
fn a_peer_that_delivers_in_time_lives_for_thousands_of_hours() {
    let sim = Sim::new(1);
    let period = Duration::from_secs(600);
    let timeouts = Timeouts::default().read(ReadProgress::at_least(10, period)).write(period).lifetime(2001 * HOUR);
    let (mut event_loop, mut peer, diary) = serve(&sim, timeouts, 1);
    let began = sim.now();
    while sim.now() - began < 2000 * HOUR {
        peer.send(&[7; 10]);
        sim.run_for(&mut event_loop, period / 2).unwrap();
        assert_eq!((closed(&diary), peer.take().len()), (None, 10));
    }
    // A period takes a few turns, not one for each byte or millisecond.
    let turns = event_loop.metrics().turns;
    assert!(turns < 30 * 2000 * 6, "{turns} turns");
    sim.run_until(&mut event_loop, || closed(&diary).is_some()).unwrap();
    assert_eq!(closed(&diary).unwrap().1, Some(Timeout::Read));
}

#[test]
fn all_within_a_deadline_is_not_moved_by_bytes() {
    Seeds::first(50).check(&Faults::none(), |sim| {
        let mut random = sim.random();
        let deadline = Duration::from_millis(1 + random.below(100_000));
        let timeouts = Timeouts::default().read(ReadProgress::all_within(deadline));
        let (mut event_loop, mut peer, diary) = serve(sim, timeouts, 0);
        while closed(&diary).is_none() {
            peer.send(&[7]);
            sim.run_for(&mut event_loop, deadline / (1 + random.below(20) as u32))?;
        }
        let (at, timeout) = closed(&diary).unwrap();
        let lived = at - diary.borrow().opened.unwrap();
        assert_eq!(timeout, Some(Timeout::Read));
        assert!(lived >= deadline && lived <= deadline + SLACK, "{lived:?} of {deadline:?}");
        Ok(())
    });
}

#[test]
fn a_lifetime_ends_in_time_whatever_happens() {
    Seeds::first(100).check(&Faults::default(), |sim| {
        let mut random = sim.random();
        let lifetime = Duration::from_millis(1 + random.magnitude(1000 * 3_600_000));
        let (mut event_loop, mut peer, diary) = serve(sim, Timeouts::default().lifetime(lifetime), 1);
        while closed(&diary).is_none() {
            peer.send(&[7; 100]);
            sim.run_for(&mut event_loop, lifetime / 10 + Duration::from_millis(1))?;
        }
        let (at, timeout) = closed(&diary).unwrap();
        let lived = at - diary.borrow().opened.unwrap();
        assert_eq!(timeout, Some(Timeout::Lifetime));
        // Faults delay a wait now and then.
        let late = SLACK + Faults::default().longest_stall;
        assert!(lived >= lifetime && lived <= lifetime + late, "{lived:?} of {lifetime:?}");
        Ok(())
    });
}

#[test]
fn a_peer_that_takes_nothing_is_closed_in_time() {
    Seeds::first(100).check(&Faults::none(), |sim| {
        let mut random = sim.random();
        let patience = Duration::from_millis(1 + random.magnitude(3_600_000));
        let (mut event_loop, mut peer, diary) = serve(sim, Timeouts::default().write(patience), 20);
        // While nothing waits, nothing is to be taken.
        sim.run_for(&mut event_loop, 3 * patience)?;
        assert_eq!(closed(&diary), None);
        peer.set_receive_buffer(1000);
        peer.stop_reading();
        peer.send(&[7; 20_000]);
        let sent = sim.now();
        sim.run_until(&mut event_loop, || closed(&diary).is_some())?;
        let (at, timeout) = closed(&diary).unwrap();
        assert_eq!(timeout, Some(Timeout::Write));
        assert!(at >= sent + patience && at <= sent + patience + SLACK, "{:?} of {patience:?}", at - sent);
        Ok(())
    });
}

#[test]
fn a_peer_that_reads_now_and_then_is_not_closed() {
    let sim = Sim::new(1);
    let patience = Duration::from_secs(60);
    let (mut event_loop, mut peer, diary) = serve(&sim, Timeouts::default().write(patience), 100);
    peer.set_receive_buffer(100_000);
    peer.stop_reading();
    for _ in 0..100 {
        peer.send(&[7; 1000]);
    }
    let mut received = 0;
    while received < 100 * 100 * 1000 {
        sim.run_for(&mut event_loop, patience * 9 / 10).unwrap();
        peer.resume_reading();
        sim.run_for(&mut event_loop, Duration::from_millis(10)).unwrap();
        peer.stop_reading();
        assert_eq!(closed(&diary), None, "after {received} bytes");
        received += peer.take().len();
    }
    // All is out, and nothing is to be taken any more.
    sim.run_for(&mut event_loop, 10 * patience).unwrap();
    assert_eq!(closed(&diary), None);
}

#[test]
fn a_deadline_for_output_holds_while_closing() {
    struct Goodbye;
    impl Handler for Goodbye {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
            input.take();
            cx.send(vec![7; 1 << 20])?;
            cx.close_after_flush()
        }
    }
    let sim = Sim::new(1);
    let mut event_loop = EventLoop::new(()).unwrap();
    let options = ListenOptions::default().timeouts(Timeouts::default().write(HOUR));
    event_loop.listen("127.0.0.1:7", &options, |_| Goodbye).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.set_receive_buffer(1000);
    peer.stop_reading();
    peer.send(b"?");
    sim.run_for(&mut event_loop, HOUR / 2).unwrap();
    assert_eq!(event_loop.metrics().open, 1);
    sim.run_for(&mut event_loop, HOUR / 2 + SLACK).unwrap();
    assert_eq!((event_loop.metrics().open, event_loop.metrics().closed.timeout), (0, 1));
}

#[test]
fn what_has_arrived_wins_over_a_deadline_that_passed_meanwhile() {
    let sim = Sim::new(1);
    let timeouts = Timeouts::default().read(ReadProgress::at_least(5, HOUR)).write(HOUR);
    let (mut event_loop, mut peer, diary) = serve(&sim, timeouts, 0);
    peer.send(b"12345");
    // The process stands still for ten hours.
    sim.sleep(10 * HOUR);
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!((closed(&diary), diary.borrow().input.len()), (None, 1));
    let began = sim.now();
    sim.run_until(&mut event_loop, || closed(&diary).is_some()).unwrap();
    assert!(sim.now() - began >= HOUR, "the next period is a whole one");
}

#[test]
fn input_before_the_end_of_a_lifetime_is_served() {
    let sim = Sim::new(1);
    let (mut event_loop, mut peer, diary) = serve(&sim, Timeouts::default().lifetime(HOUR), 1);
    peer.send(b"last words");
    sim.sleep(10 * HOUR);
    sim.run_until(&mut event_loop, || peer.is_over()).unwrap();
    assert_eq!(peer.take(), b"last words");
    assert_eq!(closed(&diary).unwrap().1, Some(Timeout::Lifetime));
}

/// Pauses for three hours as it opens.
struct Napper(Witness);

impl Handler for Napper {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.pause();
        cx.set_timer(3 * HOUR)?;
        self.0.on_open(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _timer: reactor::TimerId) -> Result {
        cx.resume();
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.0.on_data(cx, input)
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        self.0.on_close(cx, reason);
    }
}

#[test]
fn a_pause_is_not_held_against_the_peer() {
    let sim = Sim::new(1);
    let diary = Diary::default();
    let mut event_loop = EventLoop::new(()).unwrap();
    let options = ListenOptions::default().timeouts(Timeouts::default().read(ReadProgress::at_least(1, HOUR)));
    let seen = Rc::clone(&diary);
    event_loop
        .listen("127.0.0.1:7", &options, move |_| Napper(Witness { diary: Rc::clone(&seen), answers: 0 }))
        .unwrap();
    let _peer = sim.connect("127.0.0.1:7");
    sim.run_until(&mut event_loop, || closed(&diary).is_some()).unwrap();
    let lived = closed(&diary).unwrap().0 - diary.borrow().opened.unwrap();
    assert!(lived >= 4 * HOUR && lived <= 4 * HOUR + 2 * SLACK, "{lived:?}");
}

/// Reads requests of one line, each of which has a minute from its first byte on.
struct Lines(bool);

impl Handler for Lines {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = input.take_until(b'\n') {
            cx.send(line)?;
            self.0 = false;
        }
        let begins = !input.is_empty();
        if begins && !self.0 {
            cx.expect_input(ReadProgress::all_within(Duration::from_secs(60)));
        } else if !begins {
            cx.expect_input(None);
        }
        self.0 = begins;
        Ok(())
    }
}

#[test]
fn a_handler_says_when_input_is_expected() {
    let sim = Sim::new(1);
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_| Lines(false)).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    for _ in 0..100 {
        peer.send(b"GET");
        sim.run_for(&mut event_loop, Duration::from_secs(59)).unwrap();
        peer.send(b" /\n");
        // Between two requests it may be silent.
        sim.run_for(&mut event_loop, 10 * HOUR).unwrap();
        assert_eq!(peer.take(), b"GET /");
    }
    for _ in 0..70 {
        peer.send(b"x");
        sim.run_for(&mut event_loop, Duration::from_secs(1)).unwrap();
    }
    assert_eq!((event_loop.metrics().open, event_loop.metrics().closed.timeout), (0, 1));
    assert_eq!(event_loop.metrics().timers, 0);
}

/// Answers the first bytes, and closes.
struct Answers;

impl Handler for Answers {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())?;
        cx.close_after_flush()
    }
}

#[test]
fn a_closed_connection_is_kept_until_the_peer_has_all_and_no_longer() {
    let sim = Sim::new(0);
    let mut slow = Faults::none();
    (slow.delay, slow.longest_delay) = (1.0, Duration::from_millis(30));
    sim.set_faults(slow);
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_peer| Answers).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.send(b"?");
    sim.run_until(&mut event_loop, || peer.received_len() == 1).unwrap();
    let answered = sim.now();
    assert_eq!(peer.state(), PeerState::Open);
    // The peer keeps its end open, as one does that looks at it only before its next request.
    while event_loop.metrics().lingering > 0 {
        event_loop.turn(None).unwrap();
    }
    assert!(sim.now() - answered < Duration::from_millis(500), "kept for {:?}", sim.now() - answered);
}

#[test]
fn idle_connections_whose_time_is_over_together_leave_room_for_others_between_them() {
    let sim = Sim::new(0);
    let mut limits = Limits::default();
    limits.deadlines_per_turn = 10;
    let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
    let options = ListenOptions::default().idle_timeout(Duration::from_secs(10));
    event_loop.listen("127.0.0.1:7", &options, |_peer| Answers).unwrap();
    let _peers: Vec<_> = (0..100).map(|_| sim.connect("127.0.0.1:7")).collect();
    sim.run_until(&mut event_loop, || sim.waiting_clients() == 0).unwrap();
    let mut before = event_loop.metrics().open;
    assert_eq!(before, 100);
    while before > 0 {
        event_loop.turn(None).unwrap();
        let open = event_loop.metrics().open;
        assert!(before - open <= 10, "{} were closed in one turn", before - open);
        before = open;
    }
    assert!(sim.now() < Duration::from_secs(13), "closed at {:?}", sim.now());
}
