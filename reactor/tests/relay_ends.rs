//! How one of two relayed connections ends the other hears of, honestly: an end as an end, a reset as a reset.

#![cfg(not(miri))]

mod common;
#[path = "common/more.rs"]
mod more;
#[path = "common/relays.rs"]
mod relays;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use common::{Client, Event, Events, Logged, TestLoop, Transport, Vacant};
use more::Script;
use reactor::{ConnId, ConnectOptions, Limits, ListenOptions};
use relays::{Relays, Side, send_until_it_stands};
use rustix::io::Errno;

fn relays() -> Relays {
    Relays::start(Transport::Tcp, Limits::default())
}

/// The reasons of the two sides. No more is told of them.
#[track_caller]
fn reasons(events: &Events) -> Vec<&'static str> {
    let mut closed = BTreeMap::new();
    while closed.len() < 2 {
        let record = events.next();
        if let Some(reason) = record.event.close_reason() {
            assert_eq!(closed.insert(record.id.to_string(), reason), None, "on_close is called once");
        }
    }
    let mut reasons: Vec<_> = closed.into_values().collect();
    reasons.sort_unstable();
    reasons
}

/// Both have told why they ended, and the loop has nothing more to do or to tell.
#[track_caller]
fn expect_over(relays: &Relays, expected: [&str; 2]) {
    assert_eq!(reasons(&relays.events), expected);
    relays.server.eventually("both are gone", |metrics| metrics.open == 0 && metrics.lingering == 0);
    assert_eq!((relays.events.so_far(), relays.server.metrics().buffered), (vec![], 0));
    relays.server.assert_quiet();
}

#[test]
fn the_clients_end_is_passed_on_and_the_answer_still_comes() {
    for transport in Transport::ALL {
        let relays = Relays::start(transport, Limits::default());
        let (mut client, mut far) = relays.pair();
        client.send("question");
        client.end();
        assert_eq!(far.receive_to_end(), b"question");
        far.send("a long answer, ");
        client.expect("a long answer, ");
        far.send("in pieces");
        far.end();
        assert_eq!(client.receive_to_end(), b"in pieces");
        expect_over(&relays, ["eof", "eof"]);
    }
}

#[test]
fn the_targets_end_is_passed_on_and_the_client_can_still_send() {
    let relays = relays();
    let (mut client, mut far) = relays.pair();
    far.send("greeting");
    far.end();
    assert_eq!(client.receive_to_end(), b"greeting");
    client.send("it is heard");
    far.expect("it is heard");
    client.end();
    far.expect_end();
    expect_over(&relays, ["eof", "eof"]);
}

#[test]
fn both_end_without_a_word() {
    let relays = relays();
    let (mut client, mut far) = relays.pair();
    client.end();
    far.end();
    client.expect_end();
    far.expect_end();
    expect_over(&relays, ["eof", "eof"]);
}

#[test]
fn a_reset_is_passed_on() {
    for from_client in [true, false] {
        let relays = relays();
        let (mut client, mut far) = relays.pair();
        client.send("to and ");
        far.expect("to and ");
        far.send("fro");
        client.expect("fro");
        let (resets, mut hears) = if from_client { (client, far) } else { (far, client) };
        resets.reset();
        assert_eq!(hears.expect_reset(), 0);
        expect_over(&relays, ["aborted", "error"]);
    }
}

#[test]
fn a_reset_is_noticed_while_nothing_is_read() {
    let relays = relays();
    let (mut client, far) = relays.pair();
    // The target reads nothing, so in the end the client is read no more.
    send_until_it_stands(&mut client);
    far.reset();
    assert_eq!(reasons(&relays.events), ["aborted", "error"]);
    let relays = self::relays();
    let (mut client, far) = relays.pair();
    send_until_it_stands(&mut client);
    client.reset();
    assert_eq!(reasons(&relays.events), ["aborted", "error"]);
    drop(far);
}

#[test]
fn a_target_that_cannot_be_reached_resets_the_client() {
    let nobody = Vacant::new();
    let target = nobody.address;
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let (client, other) = (log.clone(), log.clone());
        let script = Script::new().open(move |cx| {
            let other = Logged::new(&other, Side { target: None });
            let other = cx.connect(target, &ConnectOptions::default(), other)?;
            cx.relay_to(other)
        });
        Logged::new(&client, script)
    });
    // The reset may come before the client knows that it is connected.
    match Client::try_connect(server.address()) {
        Ok(mut client) => assert_eq!(client.expect_reset(), 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let client_id = events.expect(&Event::Open);
    let failed = events.expect_close("connect_failed");
    assert!(matches!(failed.event, Event::Close { errno, .. } if errno == Some(Errno::CONNREFUSED.raw_os_error())));
    assert_eq!(events.expect_close("aborted").id, client_id);
    assert_eq!(events.so_far(), []);
}

#[test]
fn a_last_word_can_be_said_to_the_other() {
    let nobody = Vacant::new();
    let target = nobody.address;
    let server = TestLoop::serve(move || {
        Script::new().open(move |cx| {
            let client = cx.id();
            let other = Script::new().close(move |cx, reason| {
                let mut client = cx.peer(client).expect("it is told after this");
                client.send(format!("502 {}", reason.name())).expect("it is open");
                client.close_after_flush();
            });
            let other = cx.connect(target, &ConnectOptions::default(), other)?;
            cx.relay_to(other)
        })
    });
    assert_eq!(server.client().receive_to_end(), b"502 connect_failed");
}

/// The name of the side that is connected to the target.
fn other_side(relays: &Relays) -> ConnId {
    // The handler that is logged comes after the client's `on_open`, so the other one's alone is told.
    let other = relays.events.expect(&Event::Open);
    let peer = relays.server.on_loop(move |cx| cx.peer(other).expect("it is open").peer_address());
    assert_eq!(peer.expect("it is connected"), relays.target.address());
    other
}

#[test]
fn closing_one_on_purpose_closes_the_other_with_all_that_was_sent() {
    let relays = relays();
    let (mut client, mut far) = relays.pair();
    let other = other_side(&relays);
    far.send("farewell");
    client.expect("farewell");
    relays.server.on_loop(move |cx| cx.peer(other).expect("it is open").close_after_flush());
    far.expect_end();
    client.expect_end();
    expect_over(&relays, ["closed", "closed"]);
}

#[test]
fn resetting_one_resets_the_other() {
    let relays = relays();
    let (mut client, mut far) = relays.pair();
    let other = other_side(&relays);
    relays.server.on_loop(move |cx| cx.peer(other).expect("it is open").abort());
    far.expect_reset();
    client.expect_reset();
    expect_over(&relays, ["aborted", "aborted"]);
}

#[test]
fn no_more_is_sent_to_one_whose_direction_was_ended_here() {
    let relays = relays();
    let (mut client, mut far) = relays.pair();
    let other = other_side(&relays);
    relays.server.on_loop(move |cx| cx.peer(other).expect("it is open").shutdown_write());
    far.expect_end();
    far.send("the other direction goes on");
    client.expect("the other direction goes on");
    // It is the second end, for nothing more can pass to the target.
    far.end();
    client.expect_end();
    relays.server.eventually("both are gone", |metrics| metrics.open == 0);
}

#[test]
fn an_idle_side_ends_both() {
    let target = relays::Target::new(Transport::Tcp);
    let address = target.address();
    let (log, events) = Events::new();
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let options = ListenOptions::default().idle_timeout(Duration::from_millis(20));
        let make = move |_: &_| {
            let other = Logged::new(&log, Side { target: None });
            let (mut other, address) = (Some(other), address.clone());
            let script = Script::new().open(move |cx| {
                let other = other.take().expect("it opens once");
                let other = cx.connect(address.clone(), &ConnectOptions::default(), other)?;
                cx.relay_to(other)
            });
            Logged::new(&log, script)
        };
        event_loop.listen(common::any_port(), &options, make).expect("port 0 is free");
    });
    let mut client = server.client();
    let mut far = target.accept();
    client.expect_end();
    far.expect_end();
    assert_eq!(reasons(&events), ["closed", "timeout"]);
}

/// A relay through which bytes have passed both ways.
fn busy() -> (Relays, Client, Client) {
    let relays = relays();
    let (mut client, mut far) = relays.pair();
    client.send("up");
    far.expect("up");
    far.send("down");
    client.expect("down");
    (relays, client, far)
}

#[test]
fn in_a_drain_both_go_on_until_they_end() {
    let (relays, mut client, mut far) = busy();
    relays.server.handle.shutdown(Duration::from_secs(60)).expect("the loop runs");
    // The connecting side and the client are told one by one.
    for _ in 0..2 {
        relays.events.wait_for(|event| *event == Event::Shutdown);
    }
    for _ in 0..10 {
        client.send("still up");
        far.expect("still up");
        far.send("still down");
        client.expect("still down");
    }
    client.end();
    far.expect_end();
    far.send("last");
    far.end();
    assert_eq!(client.receive_to_end(), b"last");
    let report = relays.server.wait();
    assert_eq!((report.clean, report.cut), (2, 0));
}

#[test]
fn at_the_deadline_of_a_drain_both_are_cut() {
    let (relays, client, far) = busy();
    let report = relays.server.shut_down(Duration::from_millis(20));
    assert_eq!((report.clean, report.cut), (0, 2));
    assert_eq!(reasons(&relays.events), ["cut", "cut"]);
    drop((client, far));
}

#[test]
fn a_loop_that_stops_closes_each_once() {
    let (relays, client, far) = busy();
    relays.server.handle.stop().expect("the loop runs");
    relays.server.wait();
    assert_eq!(reasons(&relays.events), ["cut", "cut"]);
    assert_eq!(relays.events.so_far(), []);
    drop((client, far));
}
