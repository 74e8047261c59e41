//! What the simulation has found, each as small as it could be made.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Faults, Peer, Sim};
use reactor::{ConnId, Context, EventLoop, Handler, Input, Limits, ListenOptions, Result};

/// Answers whatever comes with so many bytes, and closes.
struct LastWords(usize);

impl Handler for LastWords {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.send(vec![7; self.0])?;
        cx.close_after_flush()
    }
}

/// A loop with one connection, whose peer has not asked yet and will read 10 bytes.
fn slow_reader(sim: &Sim, words: usize) -> (EventLoop, Peer) {
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), move |_peer| LastWords(words)).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.set_receive_buffer(10);
    peer.stop_reading();
    (event_loop, peer)
}

#[test]
fn a_connection_that_closes_waits_for_a_slow_reader_asleep() {
    let sim = Sim::new(0);
    // A bit more than a socket's buffer takes.
    let (mut event_loop, mut peer) = slow_reader(&sim, 150_000);
    peer.send(b"?");
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let turns = event_loop.metrics().turns;
    let end = sim.now() + Duration::from_secs(1);
    while sim.now() < end {
        event_loop.turn(Some(end - sim.now())).unwrap();
        assert!(event_loop.metrics().turns - turns < 5, "the loop spins");
    }
    peer.resume_reading();
    peer.set_receive_buffer(1 << 20);
    sim.run_until(&mut event_loop, || peer.is_over()).unwrap();
    assert_eq!(peer.received_len(), 150_000);
}

#[test]
fn bytes_that_left_before_an_error_count_as_sent() {
    let mut faults = Faults::none();
    faults.short_write = 1.0;
    for seed in 0..50 {
        let sim = Sim::with_faults(seed, faults.clone());
        let (mut event_loop, mut peer) = slow_reader(&sim, 150_000);
        peer.send(b"?");
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        // Some of what waits may leave until the reset arrives.
        peer.resume_reading();
        peer.set_receive_buffer(1 << 20);
        let mut slow = faults.clone();
        (slow.delay, slow.longest_delay) = (1.0, Duration::from_micros(3));
        sim.set_faults(slow);
        peer.reset();
        while event_loop.metrics().open > 0 {
            event_loop.turn(None).unwrap();
        }
        assert_eq!(event_loop.metrics().buffered, 0, "seed {seed}");
    }
}

/// Answers the first bytes with more than a socket takes, and listens on.
struct Talker {
    words: usize,
    drained: Rc<Cell<u32>>,
}

impl Handler for Talker {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.send(vec![7; std::mem::take(&mut self.words)])
    }

    fn on_drained(&mut self, _cx: &mut Context<'_>) -> Result {
        self.drained.set(self.drained.get() + 1);
        Ok(())
    }
}

#[test]
fn a_slow_reader_that_sends_on_is_not_told_of_room_again_and_again() {
    let (sim, drained) = (Sim::new(0), Rc::new(Cell::new(0)));
    let mut event_loop = EventLoop::new(()).unwrap();
    let counted = Rc::clone(&drained);
    let make = move |_: &_| Talker { words: 150_000, drained: Rc::clone(&counted) };
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), make).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.set_receive_buffer(10);
    peer.stop_reading();
    let end = sim.now() + Duration::from_secs(1);
    for bytes in [b"?", b"!"] {
        peer.send(bytes);
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let turns = event_loop.metrics().turns;
    while sim.now() < end {
        event_loop.turn(Some(end - sim.now())).unwrap();
        assert!(event_loop.metrics().turns - turns < 10, "the loop spins");
    }
    assert!(drained.get() <= 2, "on_drained was called {} times", drained.get());
}

/// Relayed to the one that came before it.
struct Relayed;

impl Handler<Option<ConnId>> for Relayed {
    fn on_open(&mut self, cx: &mut Context<'_, Option<ConnId>>) -> Result {
        let me = cx.id();
        match cx.state().replace(me) {
            Some(other) => cx.relay_to(other),
            None => Ok(()),
        }
    }

    fn on_data(&mut self, _cx: &mut Context<'_, Option<ConnId>>, _input: &mut Input<'_>) -> Result {
        unreachable!("nobody sends before both are there")
    }
}

#[test]
fn a_relay_whose_two_marks_are_one_waits_for_slow_readers_asleep() {
    let sim = Sim::new(0);
    let mut limits = Limits::default();
    (limits.low_mark, limits.high_mark) = (1000, 1000);
    let mut event_loop = EventLoop::with_limits(limits, None).unwrap();
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_peer| Relayed).unwrap();
    let mut peers = [sim.connect("127.0.0.1:7"), sim.connect("127.0.0.1:7")];
    event_loop.turn(None).unwrap();
    for peer in &mut peers {
        peer.set_receive_buffer(10);
        peer.stop_reading();
        peer.send(&[7; 300_000]);
    }
    sim.run_for(&mut event_loop, Duration::from_secs(1)).unwrap();
    let turns = event_loop.metrics().turns;
    let end = sim.now() + Duration::from_secs(1);
    while sim.now() < end {
        event_loop.turn(Some(end - sim.now())).unwrap();
        assert!(event_loop.metrics().turns - turns < 5, "the loop spins");
    }
    for peer in &mut peers {
        peer.resume_reading();
        peer.set_receive_buffer(1 << 20);
    }
    sim.run_until(&mut event_loop, || peers.iter().all(|peer| peer.received_len() == 300_000)).unwrap();
}

/// Takes the first bytes and pauses.
struct Pausing;

impl Handler for Pausing {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.pause();
        Ok(())
    }
}

#[test]
fn a_reset_that_comes_with_the_bytes_at_which_a_handler_pauses_is_told() {
    let sim = Sim::new(0);
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_peer| Pausing).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.send(b"?");
    peer.reset();
    sim.run_for(&mut event_loop, Duration::from_secs(1)).unwrap();
    let metrics = event_loop.metrics();
    assert_eq!((metrics.bytes_in, metrics.open, metrics.closed.error), (1, 0, 1));
}

/// Takes what comes, and keeps the connection when the peer has ended its side.
struct HalfOpen;

impl Handler for HalfOpen {
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_eof(&mut self, _cx: &mut Context<'_>) -> Result {
        Ok(())
    }
}

#[test]
fn a_reset_that_comes_before_the_end_of_stream_is_read_is_told() {
    let sim = Sim::new(0);
    let mut limits = Limits::default();
    limits.read_per_turn = 3;
    let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
    event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_peer| HalfOpen).unwrap();
    let mut peer = sim.connect("127.0.0.1:7");
    peer.send(&[7; 100]);
    peer.shutdown_write();
    while event_loop.metrics().bytes_in == 0 {
        event_loop.turn(None).unwrap();
    }
    peer.reset();
    sim.run_until(&mut event_loop, || !sim.has_traffic()).unwrap();
    sim.run_for(&mut event_loop, Duration::from_secs(1)).unwrap();
    assert_eq!((event_loop.metrics().bytes_in, event_loop.metrics().open), (100, 0));
}
