//! A server that was built with chaos and started with `REACTOR_CHAOS` fails in every way it is told to, and still loses no
//! byte but those of the connections it resets.

#![cfg(feature = "chaos")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod load_support;
#[path = "common/streams.rs"]
mod streams;

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::{DEADLINE, PROGRAM, Server, assert_echoes, read_some, wait_for};
use streams::{assert_many_stream, assert_pattern, pattern};

/// Every fault that a stream survives.
const ALL_BUT_RESETS: &str = "short=0.3,eagain=0.2,eintr=0.1,emfile=0.1,abort=0.2,delay=0.01,shuffle=0.3";

fn start(plan: &str, arguments: &[&str]) -> Server {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "tcp://127.0.0.1:0"]).args(arguments).env("REACTOR_CHAOS", plan);
    Server::start_command(&mut command, 1)
}

#[test]
fn streams_survive_every_fault_but_resets() {
    for seed in 1..=5 {
        for sharing in ["exclusive", "round-robin", "reuse-port"] {
            let server = start(&format!("{seed}:{ALL_BUT_RESETS}"), &["--threads", "2", "--sharing", sharing]);
            assert_many_stream(server.tcp_address(), 8, 200_000);
            assert_eq!(server.stop().0, Some(0));
        }
    }
}

#[test]
fn small_messages_survive_every_fault_but_resets() {
    let server = start(&format!("9:{ALL_BUT_RESETS}"), &["--threads", "2", "--idle-timeout", "20s"]);
    let target = server.tcp_address().to_string();
    load_support::report(&target, &["--connections", "16", "--depth", "4", "--messages", "5000"]);
    load_support::report(&target, &["--connections", "8", "--churn", "--messages", "200"]);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn every_fault_has_really_happened() {
    let plan = format!("3:{ALL_BUT_RESETS},reset=0.01,enospc=0.2");
    // A line of each fault is far more than the console keeps for a slow reader, but some of each kind will do.
    let mut server = start(&plan, &["--threads", "1", "--log-level", "off,reactor::sys::chaos=trace"]);
    let target = server.tcp_address();
    let mut missing = vec![
        "Recv on ",
        "Send on ",
        "bytes instead of",
        "accept",
        "epoll_ctl",
        "epoll_wait: errno 4",
        "in another order",
        "errno 4",
        "errno 11",
        "errno 24",
        "errno 103",
        "errno 104",
        "errno 28",
    ];
    while !missing.is_empty() {
        let clients: Vec<_> = (0..8).filter_map(|_| TcpStream::connect(target).ok()).collect();
        clients.iter().for_each(|mut client| drop(client.write_all(b"hello")));
        let line = server.wait_for_line(|line| line.contains("reactor::sys::chaos"));
        missing.retain(|kind| !line.contains(kind));
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn what_comes_before_a_reset_is_right() {
    let server = start(&format!("5:{ALL_BUT_RESETS},reset=0.02,enospc=0.1"), &["--threads", "1"]);
    let mut whole = 0;
    for seed in 0..60 {
        let Ok(mut client) = TcpStream::connect(server.tcp_address()) else { continue };
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let sent = pattern(seed, 0, 2000);
        let mut bytes = vec![0; 2000];
        let mut received = 0;
        if client.write_all(&sent).is_ok() {
            while let Ok(count @ 1..) = read_some(&mut client, &mut bytes) {
                assert_pattern(seed, received, &bytes[..count]);
                received += count as u64;
                if received == 2000 {
                    whole += 1;
                    break;
                }
            }
        }
    }
    assert!((1..60).contains(&whole), "{whole} of 60 were whole");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_plan_that_cannot_be_read_stops_the_start() {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0"]).env("REACTOR_CHAOS", "42:shrt=0.1").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(wait_for(&mut child).code(), Some(1));
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("echo-server: cannot start: REACTOR_CHAOS: \"shrt\" is no fault"), "{said}");
}

#[test]
fn without_a_plan_nothing_fails() {
    let server = start("", &["--threads", "1"]);
    assert_echoes(&mut server.connect(), b"hello");
    let (code, stderr) = server.stop();
    assert_eq!(code, Some(0));
    assert!(!stderr.iter().any(|line| line.contains("on purpose")), "{stderr:?}");
}

#[test]
fn the_log_says_that_faults_are_on_purpose() {
    let mut server = start("6:eintr=0.9", &["--threads", "1"]);
    assert_echoes(&mut server.connect(), b"hello");
    server.wait_for_line(|line| line.ends_with("calls fail on purpose, as REACTOR_CHAOS=6:eintr=0.9 says"));
    assert_eq!(server.stop().0, Some(0));
}
