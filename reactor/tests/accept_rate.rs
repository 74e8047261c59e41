//! A listener accepts so many connections a second and from one address so many at once; the others wait, or are turned away.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Echo, TestLoop, Transport, any_port};
use reactor::{Balance, Limits, ListenOptions, RateLimit, Server, Sharing};

/// Asserts that so many clients are served, and no faster than the rate allows.
fn assert_paced(address: &reactor::SocketAddress, count: u32, rate: u32, burst: u32) {
    let before = Instant::now();
    let mut clients: Vec<_> = (0..count).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send("hello");
        client.expect("hello");
    }
    let least = Duration::from_secs(1) * (count - burst) / rate;
    assert!(before.elapsed() >= least, "{count} clients within {:?}, of {least:?} at least", before.elapsed());
}

#[test]
fn connections_are_accepted_at_the_rate_and_the_others_wait() {
    for transport in Transport::ALL {
        let server = TestLoop::start(Limits::default(), move |event_loop| {
            let options = ListenOptions::default().accept_rate(RateLimit::per_second(100).burst(5));
            event_loop.listen(&*transport.address(), &options, |_| Echo).unwrap();
        });
        assert_paced(server.address(), 30, 100, 5);
        assert_eq!(server.metrics().accepted, 30);
        server.assert_quiet();
    }
}

#[test]
fn the_loops_of_a_server_keep_the_rate_together() {
    let sharings = [Sharing::Exclusive, Sharing::ReusePort, Sharing::Handover(Balance::RoundRobin)];
    for sharing in sharings {
        let options = ListenOptions::default().accept_rate(RateLimit::per_second(100).burst(4));
        let server =
            Server::builder().threads(2).listen_with(any_port(), &options, sharing, |_| Echo).unwrap().start().unwrap();
        // SO_REUSEPORT may lead all of them to one loop, which takes longer.
        assert_paced(&server.local_addresses()[0], 30, 100, 4);
    }
}

#[test]
fn a_drain_takes_in_who_waits_whatever_the_rate_is() {
    let server = TestLoop::start(Limits::default(), |event_loop| {
        let options = ListenOptions::default().accept_rate(RateLimit::per_second(1).burst(1));
        event_loop.listen(any_port(), &options, |_| Echo).unwrap();
    });
    let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send("hello"));
    server.eventually("one is accepted", |metrics| metrics.accepted == 1);
    let report = thread::spawn(move || server.shut_down(common::DEADLINE));
    for client in &mut clients {
        client.expect("hello");
        client.end();
    }
    assert_eq!(report.join().unwrap().cut, 0);
}

#[test]
fn an_address_has_so_many_connections_at_once() {
    let server = TestLoop::start(Limits::default(), |event_loop| {
        let options = ListenOptions::default().max_per_address(2);
        event_loop.listen(any_port(), &options, |_| Echo).unwrap();
    });
    let mut clients: Vec<_> = (0..2).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("hello");
        client.expect("hello");
    }
    let mut third = server.client();
    third.expect_end();
    assert_eq!(server.metrics().refused, 1);
    clients.pop();
    server.eventually("its place is free", |metrics| metrics.open == 1);
    let mut fourth = server.client();
    fourth.send("hello");
    fourth.expect("hello");
    clients[0].send("still here");
    clients[0].expect("still here");
}

#[test]
fn the_peers_of_a_unix_socket_are_not_counted() {
    let server = TestLoop::start(Limits::default(), |event_loop| {
        let options = ListenOptions::default().max_per_address(1);
        event_loop.listen(&*Transport::Unix.address(), &options, |_| Echo).unwrap();
    });
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("hello");
        client.expect("hello");
    }
}
