//! Over a wire that drops, delays, swaps, doubles and flips, every byte comes back once, in order and right.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;
mod load_support;
#[path = "common/streams.rs"]
mod streams;
mod wire;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, PROGRAM, Server, assert_echoes, connect, expect_end};
use rustix::process::Signal;
use streams::{receive, send};
use wire::{Namespace, Rates, Wire};

/// Starts a server at its end of the wire.
fn serve(wire: &Wire, arguments: &[&str]) -> Server {
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    wire.server.run(move || {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", &format!("tcp://{}:0", wire::SERVER), "--threads", "2"]).args(arguments);
        Server::start_command(&mut command, 1)
    })
}

fn connect_from(namespace: &Namespace, address: SocketAddr) -> TcpStream {
    namespace.run(move || connect(address))
}

/// A counter of the namespace, such as `Tcp InCsumErrors`; see proc_net(5) and snmp_counter in the kernel's documentation.
fn counter(namespace: &Namespace, protocol: &'static str, name: &'static str) -> u64 {
    let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{protocol}: ")));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.split(' ').position(|other| other == name).unwrap();
    values.split(' ').nth(place).unwrap().parse().unwrap()
}

/// Bytes that the client's kernel has and the server's has not acknowledged; see proc_net_tcp in the kernel's documentation.
fn unacknowledged(namespace: &Namespace, client: &TcpStream) -> u64 {
    let port = format!(":{:04X} ", client.local_addr().unwrap().port());
    let table = namespace.run(|| fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
    let line = table.lines().find(|line| line.contains(&port)).unwrap();
    let queues = line.split_whitespace().nth(4).unwrap();
    u64::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
}

#[test]
fn many_streams_come_back_as_they_went() {
    let Some(wire) = Wire::lay(Rates::BAD) else { return };
    let server = serve(&wire, &[]);
    let target = server.tcp_address().to_string();
    let load = |arguments: &'static [&str]| {
        let target = target.clone();
        let report = wire.client.run(move || load_support::report(&target, arguments));
        println!("{:.1} MiB/s, p99 {} us", report["mib_per_s"].as_f64().unwrap(), report["latency"]["p99_us"]);
    };
    load(&["--connections", "16", "--size", "4KiB", "--depth", "8", "--messages", "2000", "--connect-timeout", "30s"]);
    load(&["--connections", "8", "--size", "1KiB", "--churn", "--messages", "100", "--connect-timeout", "30s"]);
    let tally = wire.tally();
    println!("{tally:?}");
    // Each of them has really happened, and the kernels have seen the flipped bits.
    assert!([tally.lost, tally.doubled, tally.flipped, tally.held_back].iter().all(|count| *count > 10), "{tally:?}");
    let wrong = [&wire.server, &wire.client].map(|namespace| counter(namespace, "Tcp", "InCsumErrors"));
    assert!(wrong.iter().sum::<u64>() > 0, "no checksum was wrong");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_drain_brings_back_all_that_was_acknowledged() {
    const LENGTH: u64 = 200_000;
    let Some(wire) = Wire::lay(Rates::BAD) else { return };
    let mut server = serve(&wire, &["--shutdown-timeout", "30s"]);
    let mut clients: Vec<_> = (0..8).map(|_| connect_from(&wire.client, server.tcp_address())).collect();
    for (seed, client) in clients.iter_mut().enumerate() {
        send(client, seed as u64, 0..LENGTH);
    }
    let end = Instant::now() + DEADLINE;
    while clients.iter().any(|client| unacknowledged(&wire.client, client) > 0) {
        assert!(Instant::now() < end, "the server does not take it all");
        thread::sleep(Duration::from_millis(5));
    }
    server.signal(Signal::TERM);
    for (seed, client) in clients.iter_mut().enumerate() {
        receive(client, seed as u64, 0..LENGTH);
        expect_end(client);
    }
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.rest_of_stderr().iter().any(|line| line.starts_with("cut ")));
}

#[test]
fn a_wire_that_is_cut_for_a_while_loses_nothing() {
    let Some(wire) = Wire::lay(Rates::BAD) else { return };
    let server = serve(&wire, &[]);
    let streams: Vec<_> = (0..4)
        .map(|seed| {
            let client = connect_from(&wire.client, server.tcp_address());
            thread::spawn(move || streams::assert_streams(client, seed, 1 << 20))
        })
        .collect();
    for _ in 0..3 {
        let before = wire.tally().offered;
        while wire.tally().offered < before + 200 && streams.iter().any(|stream| !stream.is_finished()) {
            thread::sleep(Duration::from_millis(1));
        }
        wire.cut(true);
        thread::sleep(Duration::from_millis(150));
        wire.cut(false);
    }
    streams::join(streams);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_peer_that_vanishes_is_given_up_after_the_idle_timeout() {
    let Some(wire) = Wire::lay(Rates { lost: 0, ..Rates::BAD }) else { return };
    let mut server = serve(&wire, &["--idle-timeout", "1s", "--log-level", "debug"]);
    let mut client = connect_from(&wire.client, server.tcp_address());
    assert_echoes(&mut client, b"hello");
    wire.cut(true);
    server.wait_for_line(|line| line.contains(" ended: "));
    assert_eq!(server.stop().0, Some(0));
}
