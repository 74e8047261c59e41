//! Signals that are not for the server change nothing, however many come, and a process that was stopped goes on as if it
//! had not been.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/streams.rs"]
mod streams;

use std::io::{Read, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{PROGRAM, Server, assert_echoes, expect_end, is_readable};
use rustix::process::Signal;
use streams::{join, start_streams};

/// Starts with signals ignored that would kill it otherwise, as a shell does for what it starts with nohup(1).
fn start_ignoring(signals: &str) -> Server {
    let mut command = Command::new("env");
    command.arg(format!("--ignore-signal={signals}")).arg(PROGRAM);
    command.args(["--listen", "tcp://127.0.0.1:0", "--threads", "2", "--idle-timeout", "20s"]);
    Server::start_command(&mut command, 1)
}

/// Sends signals for as long as the streams last, and so many of each at least.
fn storm(server: &Server, signals: &[Signal], at_least: usize) {
    let streams = start_streams(server.tcp_address(), 4, 4 << 20);
    let mut rounds = 0;
    while rounds < at_least || streams.iter().any(|stream| !stream.is_finished()) {
        signals.iter().for_each(|signal| server.signal(*signal));
        rounds += 1;
    }
    join(streams);
}

#[test]
fn a_storm_of_signals_costs_no_byte() {
    let server = start_ignoring("USR2,ALRM");
    // A program in Rust ignores SIGPIPE; SIGWINCH and SIGURG are ignored by default.
    storm(&server, &[Signal::WINCH, Signal::USR2, Signal::ALARM, Signal::PIPE, Signal::URG], 3000);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_storm_of_stops_costs_no_byte() {
    let server = start_ignoring("USR2");
    storm(&server, &[Signal::STOP, Signal::CONT], 1000);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_process_that_was_stopped_closes_no_busy_connection() {
    const IDLE: Duration = Duration::from_secs(3);
    let server = Server::on_tcp(&["--idle-timeout", "3s"]);
    let (mut busy, mut quiet) = (server.connect(), server.connect());
    assert_echoes(&mut busy, b"hello");
    assert_echoes(&mut quiet, b"hello");
    server.signal(Signal::STOP);
    server.wait_until_stopped();
    busy.write_all(b"sent meanwhile").unwrap();
    // The timeouts of both pass while nobody can look.
    thread::sleep(IDLE + Duration::from_millis(500));
    server.signal(Signal::CONT);
    let mut answer = [0; 14];
    busy.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"sent meanwhile");
    assert!(!is_readable(&busy, Duration::ZERO), "it was closed all the same");
    assert_echoes(&mut busy, b"still here");
    expect_end(&mut quiet);
    drop(busy);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_drain_goes_on_after_a_stop() {
    let mut server = Server::on_tcp(&[]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"hello");
    server.signal(Signal::STOP);
    client.write_all(b"the last").unwrap();
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"the last");
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}
