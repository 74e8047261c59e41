//! A loop that ends serves what the kernel had acknowledged, flushes, closes, and cuts only what is open at its deadline.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use common::{Client, Echo, Event, Events, Full, Log, Logged, TestLoop, Transport, any_port};
use more::{Script, hold};
use reactor::{ConnectOptions, DrainReport, EventLoop, Limits, ListenOptions};

/// Longer than any test takes.
const AMPLE: Duration = Duration::from_secs(60);

fn report(clean: u64, cut: u64, unsent: u64) -> (u64, u64, u64) {
    (clean, cut, unsent)
}

fn figures(report: DrainReport) -> (u64, u64, u64) {
    (report.clean, report.cut, report.unsent)
}

/// A loop whose connections stay open in a drain.
fn staying(log: Log) -> TestLoop {
    TestLoop::serve(move || Logged::new(&log, Script::new().echo().stays()))
}

#[test]
fn a_loop_without_connections_ends_at_once() {
    let server = TestLoop::serve(|| Echo);
    let address = server.address().clone();
    assert_eq!(figures(server.shut_down(AMPLE)), report(0, 0, 0));
    assert_eq!(Client::try_connect(&address).expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_listener_closes_as_the_drain_begins() {
    let (log, events) = Events::new();
    let server = staying(log);
    let mut client = server.client();
    events.expect(&Event::Open);
    server.handle.shutdown(AMPLE).expect("the loop runs");
    events.expect(&Event::Shutdown);
    let error = Client::try_connect(server.address()).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    // Who is connected is served on.
    client.send("still here");
    client.expect("still here");
    drop(client);
    assert_eq!(figures(server.wait()), report(1, 0, 0));
}

#[test]
fn an_idle_connection_is_closed_in_good_order() {
    for transport in Transport::ALL {
        let (log, events) = Events::new();
        let server = TestLoop::serve_with(Limits::default(), transport, move || Logged::new(&log, Echo));
        let mut client = server.client();
        events.expect(&Event::Open);
        server.handle.shutdown(AMPLE).expect("the loop runs");
        client.expect_end();
        drop(client);
        assert_eq!(figures(server.wait()), report(1, 0, 0));
        events.expect(&Event::Shutdown);
        events.expect_close("shutdown");
        assert_eq!(events.so_far(), []);
    }
}

#[test]
fn handlers_are_told_the_deadline() {
    let (log, events) = Events::new();
    let grace = Duration::from_secs(100);
    let server = TestLoop::serve(move || {
        let log = log.clone();
        Script::new().shutdown(move |cx, deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // The loop counts whole milliseconds.
            let told = left <= grace + Duration::from_millis(1) && left > grace / 2;
            log.note(cx.id(), if told { "as asked for" } else { "another one" });
            cx.finish()
        })
    });
    let mut client = server.client();
    client.send("x");
    server.eventually("it is read", |metrics| metrics.bytes_in == 1);
    assert_eq!(figures(server.shut_down(grace)), report(1, 0, 0));
    events.expect(&Event::Note("as asked for".into()));
}

#[test]
fn what_had_arrived_is_answered() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Echo);
        let mut client = server.client();
        client.send("a");
        client.expect("a");
        let held = hold(&server.handle);
        let message = common::pattern(0, 100_000);
        client.send(&message);
        server.handle.shutdown(AMPLE).expect("the loop runs");
        drop(held);
        let answer = client.receive_to_end();
        common::assert_pattern(0, &answer);
        assert_eq!(answer.len(), message.len());
        drop(client);
        assert_eq!(figures(server.wait()), report(1, 0, 0));
    }
}

#[test]
fn everybody_in_the_backlog_is_served() {
    let mut one_by_one = Limits::default();
    one_by_one.accepts_per_turn = 1;
    for limits in [Limits::default(), one_by_one] {
        let budget = limits.accepts_per_turn;
        let (log, events) = Events::new();
        let server = TestLoop::serve_with(limits, Transport::Tcp, move || Logged::new(&log, Echo));
        let held = hold(&server.handle);
        let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| client.send("hello"));
        server.handle.shutdown(AMPLE).expect("the loop runs");
        drop(held);
        for client in &mut clients {
            let mut answer = Vec::new();
            let end = client.read_to_end(&mut answer);
            assert!(end.is_ok() && answer == b"hello", "{end:?} with {budget} accepted a turn");
        }
        drop(clients);
        assert_eq!(figures(server.wait()), report(5, 0, 0));
        let told = events.so_far().into_iter().filter(|record| record.event == Event::Shutdown).count();
        assert_eq!(told, 5);
    }
}

#[test]
fn output_that_waits_is_flushed() {
    let server = TestLoop::serve(|| Script::new().open(|cx| cx.send(common::pattern(0, 8 << 20))));
    let mut client = server.client();
    server.eventually("it is open", |metrics| metrics.buffered > 0);
    server.handle.shutdown(AMPLE).expect("the loop runs");
    let received = client.receive_to_end();
    assert_eq!(received.len(), 8 << 20);
    common::assert_pattern(0, &received);
    drop(client);
    assert_eq!(figures(server.wait()), report(1, 0, 0));
}

#[test]
fn the_deadline_cuts_and_the_report_says_what() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Script::new().open(|cx| cx.send(vec![0; 8 << 20])).stays()));
    let _stalled = server.client();
    events.expect(&Event::Open);
    server.eventually("output waits", |metrics| metrics.buffered > 0);
    let (start, handle) = (Instant::now(), server.handle.clone());
    // Long enough for the loop to come to it on any machine, or the handler would not be told before the cut.
    let grace = Duration::from_secs(1);
    let outcome = server.shut_down(grace);
    assert!(start.elapsed() >= grace);
    // What the kernel took meanwhile has left.
    assert_eq!(figures(outcome), report(0, 1, (8 << 20) - handle.metrics().bytes_out));
    assert!(outcome.unsent > 0);
    events.expect(&Event::Shutdown);
    events.expect_close("cut");
    assert_eq!(events.so_far(), []);
}

#[test]
fn clean_and_cut_are_told_apart() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let inner = Script::new().shutdown(move |cx, _| {
            let stays = cx.peer_address()?.as_inet().is_some_and(|address| address.port() % 2 == 0);
            if stays { Ok(()) } else { cx.finish() }
        });
        Logged::new(&log, inner)
    });
    let clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    clients.iter().for_each(|_| drop(events.next()));
    let port = |client: &Client| {
        if let Client::Tcp(stream) = client { stream.local_addr().expect("it is bound").port() } else { 0 }
    };
    let stay = clients.iter().filter(|client| port(client) % 2 == 0).count() as u64;
    server.handle.shutdown(AMPLE).expect("the loop runs");
    server.eventually("the others have closed", |metrics| metrics.closed.shutdown == 20 - stay);
    server.handle.stop().expect("the loop runs");
    assert_eq!(figures(server.wait()), report(20 - stay, stay, 0));
}

#[test]
fn a_second_call_shortens_the_grace_and_never_lengthens_it() {
    let (log, events) = Events::new();
    let server = staying(log);
    let _client = server.client();
    events.expect(&Event::Open);
    server.handle.shutdown(AMPLE).expect("the loop runs");
    events.expect(&Event::Shutdown);
    server.handle.shutdown(Duration::from_millis(10)).expect("the loop runs");
    server.handle.shutdown(AMPLE).expect("the loop runs");
    assert_eq!(figures(server.wait()), report(0, 1, 0));
    events.expect_close("cut");
}

#[test]
fn stopping_cuts_everybody_at_once() {
    for drains in [false, true] {
        let (log, events) = Events::new();
        let server = staying(log);
        let _clients = [server.client(), server.client()];
        events.expect(&Event::Open);
        events.expect(&Event::Open);
        if drains {
            server.handle.shutdown(AMPLE).expect("the loop runs");
            events.expect(&Event::Shutdown);
            events.expect(&Event::Shutdown);
        }
        server.handle.stop().expect("the loop runs");
        assert_eq!(figures(server.wait()), report(0, 2, 0));
        events.wait_for_close("cut");
        events.wait_for_close("cut");
        assert_eq!(events.so_far(), []);
    }
}

#[test]
fn a_handler_in_the_middle_of_something_stays_until_it_is_done() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().stays().data(|cx, input| match input.take() {
            b"first half" => cx.send("go on"),
            _ => {
                cx.send("done")?;
                cx.finish()
            }
        });
        Logged::new(&log, script)
    });
    let mut client = server.client();
    client.send("first half");
    client.expect("go on");
    server.handle.shutdown(AMPLE).expect("the loop runs");
    events.wait_for(|event| *event == Event::Shutdown);
    client.send("second half");
    client.expect("done");
    client.expect_end();
    drop(client);
    assert_eq!(figures(server.wait()), report(1, 0, 0));
}

#[test]
fn a_grace_without_end_is_none_too_long() {
    let (log, events) = Events::new();
    let server = staying(log);
    let client = server.client();
    events.expect(&Event::Open);
    server.handle.shutdown(Duration::MAX).expect("the loop runs");
    events.expect(&Event::Shutdown);
    server.assert_quiet();
    drop(client);
    assert_eq!(figures(server.wait()), report(1, 0, 0));
}

#[test]
fn an_attempt_to_connect_is_given_up() {
    let full = Full::new();
    let address = full.address;
    let (log, events) = Events::new();
    let server = TestLoop::serve(|| Echo);
    server.on_loop(move |cx| {
        cx.connect(address, &ConnectOptions::default().deadline(AMPLE), Logged::new(&log, Echo))
            .expect("it can be tried");
    });
    server.handle.shutdown(AMPLE).expect("the loop runs");
    server.wait();
    events.expect_close("shutdown");
    assert_eq!(events.so_far(), []);
}

#[test]
fn a_draining_loop_connects_no_more() {
    let (log, events) = Events::new();
    let server = staying(log);
    let address = server.address().clone();
    let client = server.client();
    events.expect(&Event::Open);
    server.handle.shutdown(AMPLE).expect("the loop runs");
    events.expect(&Event::Shutdown);
    let error =
        server.on_loop(move |cx| cx.connect(address, &ConnectOptions::default(), Echo).map(drop).expect_err("it ends"));
    assert!(error.to_string().contains("shutting down"), "{error}");
    drop(client);
    server.wait();
}

#[test]
fn a_loop_ends_from_within() {
    let server = TestLoop::serve(|| {
        Script::new().data(|cx, input| {
            cx.shutdown(AMPLE);
            cx.send(input.take())
        })
    });
    let mut client = server.client();
    client.send("goodbye");
    assert_eq!(client.receive_to_end(), b"goodbye");
    drop(client);
    assert_eq!(figures(server.wait()), report(1, 0, 0));
}

#[test]
fn listening_options_do_not_outlive_a_loop_that_never_ran() {
    let mut event_loop = EventLoop::new(()).expect("a loop can be made");
    event_loop.listen(any_port(), &ListenOptions::default(), |_| Echo).expect("port 0 is free");
    let address = event_loop.local_addresses()[0].clone();
    let mut waiting = Client::connect(&address);
    drop(event_loop);
    waiting.expect_reset();
    Client::try_connect(&address).expect_err("nobody listens");
}

#[test]
fn a_loop_ended_by_the_first_of_many_in_the_backlog_serves_them_all() {
    let server = TestLoop::serve(|| {
        let script = Script::new().open(|cx| {
            cx.shutdown(AMPLE);
            Ok(())
        });
        script.echo()
    });
    let held = hold(&server.handle);
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send("hello"));
    drop(held);
    for client in &mut clients {
        assert_eq!(client.receive_to_end(), b"hello");
    }
    drop(clients);
    assert_eq!(figures(server.wait()), report(20, 0, 0));
}

#[test]
fn a_loop_stopped_by_the_first_of_many_in_the_backlog_ends_at_once() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().open(|cx| {
            cx.stop();
            Ok(())
        });
        Logged::new(&log, script)
    });
    let held = hold(&server.handle);
    let clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    drop(held);
    let report = server.wait();
    let records = events.so_far();
    let opened = records.iter().filter(|record| record.event == Event::Open).count() as u64;
    let cut = records.iter().filter(|record| record.event.close_reason() == Some("cut")).count() as u64;
    assert!(opened > 0 && (opened, opened) == (cut, report.cut), "{opened} opened, {cut} cut, {report:?}");
    // Who was let in reads an end, and who was not, a reset.
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }
}
