//! Nothing passes faster than it may, for one and for all together, and all of it passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Read;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use common::{Program, connect, expect_end};

/// All that a client gets.
fn fetch(address: SocketAddr) -> usize {
    let mut bytes = Vec::new();
    connect(address).read_to_end(&mut bytes).unwrap();
    bytes.len()
}

#[test]
fn a_client_gets_all_and_not_faster_than_its_rate() {
    let (mut server, address) =
        Program::serve("rate_limited", &["127.0.0.1:0", "--rate", "1000000", "--size", "400000"]);
    let began = Instant::now();
    assert_eq!(fetch(address), 400_000);
    // A tenth of a second's worth passes at once.
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    let line = server.stdout.next();
    assert!(line.contains(" had 400000 bytes in ") && line.ends_with(" s"), "{line}");
}

#[test]
fn all_together_are_not_faster_than_the_total() {
    let (_server, address) = Program::serve("rate_limited", &["127.0.0.1:0", "--total", "1000000", "--size", "200000"]);
    let began = Instant::now();
    let clients: Vec<_> = (0..3).map(|_| thread::spawn(move || fetch(address))).collect();
    clients.into_iter().for_each(|client| assert_eq!(client.join().unwrap(), 200_000));
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn one_client_too_many_of_an_address_is_turned_away() {
    let slow = ["127.0.0.1:0", "--rate", "1000", "--per-address", "1"];
    let (_server, address) = Program::serve("rate_limited", &slow);
    let mut first = connect(address);
    first.read_exact(&mut [0; 1]).unwrap();
    expect_end(&mut connect(address));
    first.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_client_that_takes_nothing_is_not_waited_for() {
    // More than the kernel holds for one connection.
    let (mut server, address) =
        Program::serve("rate_limited", &["127.0.0.1:0", "--size", "100000000", "--patience", "200ms"]);
    let client = connect(address);
    assert!(server.stdout.next().ends_with(" s, then: no output taken for too long"));
    drop(client);
}
