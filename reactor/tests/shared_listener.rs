//! Loops that do not know of each other accept from one socket, as processes do that have inherited it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Client, Echo, TestLoop, any_port};
use reactor::{Limits, ListenOptions, Listener};

/// A loop that accepts from a socket that others accept from.
fn sharing(listener: &Listener, connections: usize) -> TestLoop {
    let listener = listener.clone();
    let mut limits = Limits::default();
    limits.connections = connections;
    TestLoop::start(limits, move |event_loop| {
        event_loop.listen_on(listener, &ListenOptions::default().shared(true), |_| Echo).unwrap();
    })
}

#[track_caller]
fn assert_served(client: &mut Client) {
    client.send("hello");
    client.expect("hello");
}

#[test]
fn a_loop_that_is_full_leaves_the_socket_to_the_others_and_sleeps() {
    let listener = Listener::bind(any_port(), &ListenOptions::default()).unwrap();
    let small = sharing(&listener, 1);
    let mut first = small.client();
    assert_served(&mut first);
    // It looks once more, and finds itself full.
    small.on_loop(|_| ());
    let large = sharing(&listener, 100);
    let turns = small.metrics().turns;
    let mut others: Vec<_> = (0..20).map(|_| large.client()).collect();
    others.iter_mut().for_each(assert_served);
    large.eventually("it has served them all", |metrics| metrics.accepted == 20);
    // The turn in which it was asked may have been counted late.
    assert!(small.metrics().turns <= turns + 1, "a loop without room was woken");
}

#[test]
fn a_loop_that_has_room_again_takes_part_again() {
    let listener = Listener::bind(any_port(), &ListenOptions::default()).unwrap();
    let (one, other) = (sharing(&listener, 1), sharing(&listener, 1));
    for _ in 0..10 {
        let mut clients = [one.client(), one.client()];
        clients.iter_mut().for_each(assert_served);
        one.eventually("one client is its own", |metrics| metrics.open == 1);
        other.eventually("one client is its own", |metrics| metrics.open == 1);
        drop(clients);
        one.eventually("it has room", |metrics| metrics.open == 0);
        other.eventually("it has room", |metrics| metrics.open == 0);
    }
}
