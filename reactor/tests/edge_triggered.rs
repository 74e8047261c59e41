//! Whatever stops reading before the kernel has no more, nothing is lost and the loop does not spin.

mod common;

use std::thread;
use std::time::Duration;

use common::{Echo, Event, Events, Log, Logged, Silent, TestLoop, Transport, assert_pattern, pattern};
use reactor::{ConnId, Context, Handler, Input, Limits, LoopContext, Result, TimerId};

/// A loop that stops reading as often as it can.
fn tight() -> Limits {
    let mut limits = Limits::default();
    limits.scratch_min = 64;
    limits.scratch_max = 64;
    limits.read_per_turn = 100;
    limits.calls_per_turn = 3;
    limits
}

/// Takes all that is shown, then pauses.
struct PausesAfterEach;

impl Handler for PausesAfterEach {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.pause();
        Ok(())
    }
}

fn paused_server(log: Log) -> TestLoop {
    TestLoop::serve(move || Logged::new(&log, PausesAfterEach))
}

fn resume(server: &TestLoop, id: ConnId) {
    server.on_loop(move |cx| cx.peer(id).expect("it is open").resume());
}

#[test]
fn a_budget_that_ends_loses_nothing() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(tight(), transport, || Echo);
        let mut client = server.client();
        let mut writer = client.twin();
        let sent = 256 << 10;
        let writing = thread::spawn(move || {
            writer.send(pattern(0, sent));
            writer.end();
        });
        let received = client.receive_to_end();
        writing.join().unwrap();
        assert_eq!(received.len(), sent);
        assert_pattern(0, &received);
    }
}

#[test]
fn a_budget_of_one_byte_still_moves() {
    let mut limits = tight();
    limits.read_per_turn = 1;
    limits.calls_per_turn = 1;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let mut client = server.client();
    client.send(pattern(0, 500));
    assert_pattern(0, &client.receive(500));
    server.assert_quiet();
}

#[test]
fn bytes_behind_a_pause_are_shown_after_it() {
    let (log, events) = Events::new();
    let server = paused_server(log);
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    client.send("one");
    events.expect(&Event::Data(b"one".to_vec()));
    client.send("two");
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
    resume(&server, id);
    events.expect(&Event::Data(b"two".to_vec()));
}

#[test]
fn the_end_behind_a_pause_is_told_after_it() {
    let (log, events) = Events::new();
    let server = paused_server(log);
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    client.send("one");
    events.expect(&Event::Data(b"one".to_vec()));
    client.end();
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
    resume(&server, id);
    events.expect(&Event::Eof);
    events.expect_close("eof");
}

#[test]
fn bytes_and_end_behind_a_pause_are_both_told_after_it() {
    let (log, events) = Events::new();
    let server = paused_server(log);
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    client.send("one");
    events.expect(&Event::Data(b"one".to_vec()));
    client.send("two");
    client.end();
    server.on_loop(|_| ());
    resume(&server, id);
    events.expect(&Event::Data(b"two".to_vec()));
    resume(&server, id);
    events.expect(&Event::Eof);
}

/// Pauses after each callback, and resumes when a timer fires.
#[derive(Default)]
struct Stutters {
    stutters: usize,
}

impl Handler for Stutters {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.stutters += 1;
        cx.pause();
        cx.set_timer(Duration::ZERO)?;
        cx.send(input.take())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _timer: TimerId) -> Result {
        cx.resume();
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>) -> Result {
        cx.send(format!("|{}", self.stutters))?;
        cx.close_after_flush()
    }
}

#[test]
fn a_pause_in_the_middle_of_what_waits_loses_nothing() {
    for strict_drain in [false, true] {
        let mut limits = tight();
        limits.strict_drain = strict_drain;
        let server = TestLoop::serve_with(limits, Transport::Tcp, Stutters::default);
        let mut client = server.client();
        client.send(pattern(0, 5000));
        client.end();
        let received = client.receive_to_end();
        assert_pattern(0, &received[..5000]);
        let stutters = str::from_utf8(&received[5001..]).unwrap().parse::<usize>().unwrap();
        assert!(stutters >= 5000 / 64, "{stutters}");
    }
}

#[test]
fn reading_that_rests_above_the_high_mark_goes_on_without_a_new_edge() {
    let mut limits = tight();
    limits.high_mark = 20_000;
    limits.low_mark = 5_000;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let mut client = server.client();
    let mut writer = client.twin();
    let total = 8 << 20;
    let writing = thread::spawn(move || writer.send(pattern(0, total)));
    server.eventually("reading rests", |metrics| metrics.buffered > 20_000);
    server.assert_quiet();
    let mut received = 0;
    while received < total {
        let part = client.receive((total - received).min(100_000));
        assert_pattern(received, &part);
        received += part.len();
    }
    writing.join().unwrap();
    server.assert_quiet();
}

/// Takes one byte at a time, and asks to be shown the rest next turn.
struct Nibbles;

impl Handler for Nibbles {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.pause();
        cx.send(input.take_exact(1).expect("no empty input is shown"))?;
        cx.resume();
        Ok(())
    }
}

#[test]
fn a_resume_in_the_callback_that_paused_shows_what_it_leaves() {
    let server = TestLoop::serve(|| Nibbles);
    let mut client = server.client();
    client.send("abcdef");
    client.expect("abcdef");
}

#[test]
fn a_resume_of_what_is_not_paused_changes_nothing() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Silent));
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    for _ in 0..100 {
        resume(&server, id);
    }
    server.assert_quiet();
    client.send("x");
    events.expect(&Event::Data(b"x".to_vec()));
}

#[test]
fn a_pause_in_on_open_holds() {
    struct PausesFirst;
    impl Handler for PausesFirst {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
            cx.pause();
            Ok(())
        }
        fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
            input.take();
            Ok(())
        }
    }
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, PausesFirst));
    let mut client = server.client();
    client.send("early");
    let id = events.expect(&Event::Open);
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
    resume(&server, id);
    events.expect(&Event::Data(b"early".to_vec()));
}

#[test]
fn a_reset_reaches_a_paused_connection() {
    let (log, events) = Events::new();
    let server = paused_server(log);
    let mut client = server.client();
    events.expect(&Event::Open);
    client.send("one");
    events.expect(&Event::Data(b"one".to_vec()));
    client.reset();
    events.expect_close("error");
    server.assert_quiet();
}

#[test]
fn a_reset_that_comes_with_the_bytes_reaches_who_pauses_on_them() {
    let (log, events) = Events::new();
    let server = paused_server(log);
    let mut client = server.client();
    events.expect(&Event::Open);
    // The loop is busy meanwhile, so one event tells of both.
    server.on_loop(move |_| {
        client.send("one");
        client.reset();
    });
    events.expect(&Event::Data(b"one".to_vec()));
    events.expect_close("error");
    server.assert_quiet();
}

#[test]
fn idle_connections_cost_no_turns() {
    let server = TestLoop::serve(|| Echo);
    let mut clients = (0..100).map(|_| server.client()).collect::<Vec<_>>();
    for client in &mut clients {
        client.send("x");
        client.expect("x");
    }
    server.assert_quiet();
}

#[test]
fn the_last_of_many_pauses_and_resumes_holds() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Echo));
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    for round in 0..20 {
        let pauses_last = round % 2 == 0;
        server.hold_up(|| {
            client.send("x");
            let toggle = move |cx: &mut LoopContext<'_>| {
                let mut peer = cx.peer(id).unwrap();
                peer.resume();
                peer.pause();
                peer.pause();
                peer.resume();
                if pauses_last {
                    peer.pause();
                }
            };
            server.handle.execute(toggle).unwrap();
        });
        if pauses_last {
            // What the loop had seen before it was paused may have been served.
            server.assert_quiet();
            events.so_far();
            client.receive_waiting();
            client.send("y");
            server.assert_quiet();
            assert_eq!(events.so_far(), [], "it is paused");
            server.on_loop(move |cx| cx.peer(id).unwrap().resume());
        }
        events.wait_for(|event| matches!(event, Event::Data(_)));
        server.assert_quiet();
        events.so_far();
        client.receive_waiting();
    }
}
