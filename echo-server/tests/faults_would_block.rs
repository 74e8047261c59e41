//! A call may answer `EAGAIN` although there is something to do: the loop waits for the next edge, and then no byte is
//! lost, doubled or moved.
//!
//! Strace makes the call fail without making it, so here the kernel owes no edge, as it does after an `EAGAIN` of its own.
//! The clients bring one about: whoever waits for too long sends more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{DEADLINE, assert_echoes, is_readable, read_some};
use strace::Faulty;
use streams::{assert_pattern, pattern};

/// Longer than an echo takes as a rule. Who waits for too short a time only sends more.
const PATIENCE: Duration = Duration::from_millis(10);

const SIZE: usize = 1000;

/// Sends messages of a stream and wants them back; sends the next one also when the one before does not come.
fn assert_nudged_echoes(stream: &mut TcpStream, seed: u64, messages: usize) {
    let (mut sent, mut received) = (0, 0);
    let mut bytes = [0; 16 * SIZE];
    let end = Instant::now() + DEADLINE;
    while received < messages * SIZE || received < sent {
        stream.write_all(&pattern(seed, sent as u64, SIZE)).unwrap();
        sent += SIZE;
        while received < sent && is_readable(&*stream, PATIENCE) {
            let count = read_some(stream, &mut bytes).unwrap();
            assert!(count > 0, "the server closed after {received} bytes of {sent}");
            assert_pattern(seed, received as u64, &bytes[..count]);
            received += count;
        }
        assert!(Instant::now() < end, "{received} bytes of {sent} came back");
    }
}

fn assert_survives(faults: &[&str], calls: &[&str]) {
    let Some(faulty) = Faulty::start(faults, &[]) else { return };
    let mut clients: Vec<_> = (0..4).map(|_| faulty.server.connect()).collect();
    for seed in 0..3 {
        clients.iter_mut().for_each(|client| assert_nudged_echoes(client, seed, 20));
    }
    drop(clients);
    faulty.stop(calls);
}

#[test]
fn input_that_the_kernel_denies_comes_with_the_next_edge() {
    assert_survives(&["recvfrom:error=EAGAIN:when=3+5"], &["recvfrom"]);
}

#[test]
fn output_that_the_kernel_refuses_leaves_with_the_next_edge() {
    assert_survives(&["sendto:error=EAGAIN:when=3+5", "sendmsg:error=EAGAIN:when=1+3"], &["sendto"]);
}

#[test]
fn both_directions_are_denied_in_turn() {
    assert_survives(&["recvfrom:error=EAGAIN:when=2+7", "sendto:error=EAGAIN:when=3+5"], &["recvfrom", "sendto"]);
}

#[test]
fn who_waits_in_the_backlog_is_accepted_with_the_next_client() {
    let Some(faulty) = Faulty::start(&["accept4:error=EAGAIN:when=1+3"], &[]) else { return };
    let mut clients = Vec::new();
    let end = Instant::now() + DEADLINE;
    while clients.len() < 30 {
        let mut client = faulty.server.connect();
        client.write_all(b"hello").unwrap();
        clients.push(client);
    }
    // The one that comes last may have to wait for another.
    while !clients.iter().all(|client| is_readable(client, PATIENCE)) {
        let mut client = faulty.server.connect();
        client.write_all(b"hello").unwrap();
        clients.push(client);
        assert!(Instant::now() < end, "somebody is left in the backlog");
    }
    for client in &mut clients {
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        assert_echoes(client, b"once more");
    }
    drop(clients);
    faulty.stop(&["accept4"]);
}
