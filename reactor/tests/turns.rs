//! A turn waits for no longer than it was asked to, and not at all for what was left to do between two turns.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use reactor::{CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, Limits, Result};

/// What has happened to the one connection.
#[derive(Default)]
struct Seen {
    opened: bool,
    closed: bool,
}

struct Client;

impl Handler<Seen> for Client {
    fn on_open(&mut self, cx: &mut Context<'_, Seen>) -> Result {
        cx.state().opened = true;
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_, Seen>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Seen>, _reason: &CloseReason) {
        cx.state().closed = true;
    }
}

#[test]
#[cfg_attr(miri, ignore = "a turn takes longer than that")]
fn a_turn_that_spins_waits_no_longer_than_asked() {
    let wait = Duration::from_millis(100);
    let mut limits = Limits::default();
    limits.spin = wait;
    let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
    // A busy machine may hold a turn up, but not each of so many.
    let ends_in_time = (0..20).any(|_| {
        let start = Instant::now();
        event_loop.turn(Some(wait)).unwrap();
        let elapsed = start.elapsed();
        assert!(elapsed >= wait, "{elapsed:?}");
        elapsed < 2 * wait
    });
    assert!(ends_in_time, "each turn waited twice: spinning, and then asleep");
}

#[test]
fn what_is_sent_between_turns_leaves_without_an_event() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut event_loop = EventLoop::new(Seen::default()).unwrap();
    let target = listener.local_addr().unwrap();
    let id = event_loop.context().connect(target, &ConnectOptions::default(), Client).unwrap();
    while !event_loop.state().opened {
        event_loop.turn(Some(LONG)).unwrap();
    }
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    assert!(event_loop.context().send_to(id, "x"));
    let start = Instant::now();
    event_loop.turn(Some(LONG)).unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed < LONG / 2, "the byte left after {elapsed:?}");
    let mut byte = [0];
    assert_eq!(server.read(&mut byte).expect("the turn ended and the byte has left"), 1);
}

#[test]
fn what_is_closed_between_turns_is_told_without_an_event() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut event_loop = EventLoop::new(Seen::default()).unwrap();
    let target = listener.local_addr().unwrap();
    let id = event_loop.context().connect(target, &ConnectOptions::default(), Client).unwrap();
    while !event_loop.state().opened {
        event_loop.turn(Some(LONG)).unwrap();
    }
    let mut context = event_loop.context();
    context.peer(id).unwrap().close();
    let start = Instant::now();
    event_loop.turn(Some(LONG)).unwrap();
    assert!(event_loop.state().closed);
    let elapsed = start.elapsed();
    assert!(elapsed < LONG / 2, "told after {elapsed:?}");
}

/// Longer than anything here takes, unless it waits for an event that does not come.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_turn_of_an_empty_loop_ends_at_once_if_asked() {
    let mut event_loop = EventLoop::new(()).unwrap();
    let start = Instant::now();
    for _ in 0..100 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(start.elapsed() < LONG / 2);
    assert_eq!((event_loop.metrics().turns, event_loop.metrics().events), (100, 0));
}

#[test]
fn a_loop_that_has_ended_ends_again_at_once() {
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.context().stop();
    let report = event_loop.run().unwrap();
    assert_eq!(event_loop.run().unwrap(), report);
}
