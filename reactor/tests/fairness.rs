//! A source gets at most its budget of a turn; then the next one has its turn.

mod common;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{any_port, pattern};
use reactor::{ConnId, Context, EventLoop, Handler, Input, Limits, ListenOptions, Result};

/// What the handlers of a loop have taken so far.
#[derive(Default)]
struct Served {
    /// Bytes of the connections that never stop.
    bulk_bytes: usize,
    bulk_reads: usize,
    bulk_by_connection: HashMap<ConnId, usize>,
    pings: usize,
}

/// Echoes what begins with a `p`, and takes the rest in bulk.
struct Mixed;

impl Handler<Served> for Mixed {
    fn on_data(&mut self, cx: &mut Context<'_, Served>, input: &mut Input<'_>) -> Result {
        let bytes = input.take();
        if bytes.starts_with(b"p") {
            cx.state().pings += 1;
            return cx.send(bytes);
        }
        let id = cx.id();
        let served = cx.state();
        served.bulk_bytes += bytes.len();
        served.bulk_reads += 1;
        *served.bulk_by_connection.entry(id).or_default() += bytes.len();
        Ok(())
    }
}

const BUDGET: usize = 8192;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.scratch_min = 1024;
    limits.scratch_max = 1024;
    limits.read_per_turn = BUDGET;
    limits.calls_per_turn = 1000;
    limits
}

fn listening(limits: Limits) -> EventLoop<Served> {
    let mut event_loop = EventLoop::with_limits(limits, Served::default()).expect("the limits are sound");
    event_loop.listen(any_port(), &ListenOptions::default(), |_| Mixed).expect("port 0 is free");
    event_loop
}

/// A client whose connection the loop has accepted, and that never blocks.
fn client(event_loop: &mut EventLoop<Served>) -> TcpStream {
    let address = event_loop.local_addresses()[0].as_inet().expect("it is TCP");
    let stream = TcpStream::connect(address).expect("the loop listens");
    stream.set_nodelay(true).expect("the option is known");
    stream.set_nonblocking(true).expect("the option is known");
    let accepted = event_loop.metrics().accepted;
    turns_until(event_loop, "the connection is accepted", |event_loop| event_loop.metrics().accepted > accepted);
    stream
}

/// Makes turns until the condition holds; fails after so many that it cannot be patience that lacks.
fn turns_until(event_loop: &mut EventLoop<Served>, what: &str, holds: impl Fn(&mut EventLoop<Served>) -> bool) {
    for _ in 0..1000 {
        if holds(event_loop) {
            return;
        }
        event_loop.turn(Some(Duration::from_millis(10))).expect("the loop goes on");
    }
    panic!("not within 1000 turns: {what}");
}

/// Sends until the kernel takes no more.
fn fill_up(stream: &mut TcpStream) {
    let bytes = vec![b'x'; 65_536];
    loop {
        match stream.write(&bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_firehose_gets_its_budget_and_then_the_ping_is_answered() {
    let mut event_loop = listening(limits());
    let mut hoses = (0..3).map(|_| client(&mut event_loop)).collect::<Vec<_>>();
    let mut pinger = client(&mut event_loop);
    for round in 1..=100 {
        hoses.iter_mut().for_each(fill_up);
        let before = event_loop.state().bulk_bytes;
        pinger.write_all(b"ping").unwrap();
        turns_until(&mut event_loop, "the ping is served", |event_loop| event_loop.state().pings >= round);
        let meanwhile = event_loop.state().bulk_bytes - before;
        // The budget of the turn in which the ping was seen, and of one before at most.
        assert!(meanwhile <= 2 * hoses.len() * BUDGET, "{meanwhile} bytes were served before ping {round}");
        let mut answer = [0; 4];
        pinger.read_exact(&mut answer).unwrap();
    }
    assert!(event_loop.state().bulk_bytes > 0);
}

#[test]
fn no_turn_reads_more_bytes_of_a_connection_than_its_budget() {
    let mut event_loop = listening(limits());
    let mut hose = client(&mut event_loop);
    fill_up(&mut hose);
    for turn in 0..50 {
        let before = event_loop.state().bulk_bytes;
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let read = event_loop.state().bulk_bytes - before;
        assert!(read <= BUDGET, "turn {turn} read {read} bytes of one connection");
        fill_up(&mut hose);
    }
}

#[test]
fn no_turn_makes_more_reads_of_a_connection_than_its_budget() {
    let mut limits = limits();
    limits.scratch_min = 16;
    limits.scratch_max = 16;
    limits.calls_per_turn = 4;
    let mut event_loop = listening(limits);
    let mut hose = client(&mut event_loop);
    hose.write_all(&vec![b'x'; 16 * 100]).unwrap();
    for turn in 0..25 {
        let before = event_loop.state().bulk_reads;
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let reads = event_loop.state().bulk_reads - before;
        assert!(reads <= 4, "turn {turn} made {reads} reads of one connection");
    }
    turns_until(&mut event_loop, "all is read", |event_loop| event_loop.state().bulk_bytes == 1600);
}

#[test]
fn connections_that_never_stop_are_served_alike() {
    let mut event_loop = listening(limits());
    let mut hoses = (0..4).map(|_| client(&mut event_loop)).collect::<Vec<_>>();
    hoses.iter_mut().for_each(fill_up);
    // The kernel may take a moment to carry the first bytes over.
    turns_until(&mut event_loop, "each is served", |event_loop| event_loop.state().bulk_by_connection.len() == 4);
    event_loop.state_mut().bulk_by_connection.clear();
    for turn in 1..=50 {
        hoses.iter_mut().for_each(fill_up);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let shares = event_loop.state().bulk_by_connection.values().copied().collect::<Vec<_>>();
        assert_eq!(shares.len(), 4, "each is served in each turn");
        let most = shares.iter().max().unwrap();
        assert!(*most <= turn * BUDGET, "after {turn} turns one has had {most} bytes");
    }
    let least = *event_loop.state().bulk_by_connection.values().min().unwrap();
    assert!(least >= 25 * BUDGET, "one has had {least} bytes in 50 turns");
}

/// Sends without end.
struct Source;

impl Handler<Served> for Source {
    fn on_open(&mut self, cx: &mut Context<'_, Served>) -> Result {
        cx.want_drained();
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_, Served>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Served>) -> Result {
        cx.state().bulk_bytes += 1024;
        cx.want_drained();
        cx.send(pattern(0, 1024))
    }
}

#[test]
fn a_handler_that_produces_without_end_gets_one_callback_of_a_turn() {
    let mut event_loop = EventLoop::with_limits(limits(), Served::default()).unwrap();
    event_loop.listen(any_port(), &ListenOptions::default(), |_| Source).unwrap();
    let mut reader = client(&mut event_loop);
    for turn in 0..100 {
        let before = event_loop.state().bulk_bytes;
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let produced = event_loop.state().bulk_bytes - before;
        assert!(produced <= 1024, "turn {turn} produced {produced} bytes");
    }
    let mut bytes = [0; 65_536];
    assert!(reader.read(&mut bytes).unwrap() > 0);
}
