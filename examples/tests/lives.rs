//! What happens in the life of a connection: idle for too long, handed over, told that the server ends; and timers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use common::{LineClient, Program, assert_echoes, connect, expect_end, is_readable};
use rustix::process::Signal;

#[test]
fn a_silent_connection_is_closed_and_a_busy_one_is_not() {
    let (mut server, address) = Program::serve("idle_timeout", &["127.0.0.1:0", "--timeout", "2s"]);
    let mut busy = connect(address);
    let mut silent = connect(address);
    while !is_readable(&silent, std::time::Duration::from_millis(10)) {
        assert_echoes(&mut busy, b"still here\n");
    }
    expect_end(&mut silent);
    assert_echoes(&mut busy, b"still here\n");
    let local = silent.local_addr().unwrap();
    assert_eq!(server.stdout.next(), format!("{local}: idle for too long"));
}

#[test]
fn what_came_with_the_last_line_is_the_other_protocols() {
    let (_server, address) = Program::serve("upgrade", &["127.0.0.1:0"]);
    let mut client = connect(address);
    client.write_all(b"hello\nupgrade\n\0\x05frame\0").unwrap();
    let mut answer = String::new();
    let mut piece = [0; 1];
    while !answer.ends_with("FRAME") {
        client.read_exact(&mut piece).unwrap();
        answer.push(piece[0].into());
    }
    assert_eq!(answer, "you said \"hello\"\nframes of two bytes of length from here on\n\0\x05FRAME");
    client.write_all(b"\x04rest").unwrap();
    common::expect_bytes(&mut client, b"\0\x04REST");
    // It is no line any more.
    client.write_all(b"\xff\xff").unwrap();
    expect_end(&mut client);
}

#[test]
fn the_metronome_is_never_early_and_the_watchdog_barks_last() {
    let mut program = Program::start("timers", &["--every", "20ms", "--count", "5"]);
    for tick in 1..=5 {
        let line = program.stdout.next();
        assert!(
            line.starts_with(&format!("tick {tick} at {} ms, ", tick * 20)) && line.ends_with(" ms late"),
            "{line}"
        );
    }
    assert_eq!(program.stdout.next(), "watchdog: no tick for 50 ms");
    program.succeed();
}

#[test]
fn what_is_under_way_is_finished_before_the_end() {
    let (mut server, address) = Program::serve("graceful_stop", &["127.0.0.1:0", "--work", "500ms", "--grace", "30s"]);
    let mut client = LineClient::connect(address);
    let idle = connect(address);
    client.say("report");
    assert_eq!(server.stdout.next(), "working: report");
    server.signal(Signal::TERM);
    server.stdout.wait_for("ending with 1 jobs under way, within ");
    // The listener is gone: whoever comes now is refused.
    common::wait_until("nobody listens", || TcpStream::connect(address).is_err());
    client.say("too late");
    client.expect("not done: too late");
    client.expect("done: report");
    assert_eq!(client.hear(), None);
    assert_eq!(server.stdout.wait_for("connections:"), "connections: 2 ended by themselves, 0 were cut");
    server.succeed();
    drop(idle);
}

#[test]
fn what_is_not_finished_in_time_is_cut() {
    let (mut server, address) = Program::serve("graceful_stop", &["127.0.0.1:0", "--work", "10m", "--grace", "100ms"]);
    let mut client = LineClient::connect(address);
    client.say("report");
    assert_eq!(server.stdout.next(), "working: report");
    server.signal(Signal::INT);
    assert_eq!(server.stdout.wait_for("connections:"), "connections: 0 ended by themselves, 1 were cut");
    server.succeed();
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let (mut server, address) = Program::serve("graceful_stop", &["127.0.0.1:0", "--work", "10m", "--grace", "10m"]);
    let mut client = LineClient::connect(address);
    client.say("report");
    assert_eq!(server.stdout.next(), "working: report");
    server.signal(Signal::TERM);
    server.stdout.wait_for("ending with 1 jobs");
    server.signal(Signal::TERM);
    server.succeed();
}

#[test]
fn an_end_of_input_does_not_end_the_work() {
    let (_server, address) = Program::serve("graceful_stop", &["127.0.0.1:0", "--work", "20ms"]);
    let mut client = LineClient::connect(address);
    client.say("one");
    client.say("two");
    client.stream.shutdown(Shutdown::Write).unwrap();
    client.expect("done: one");
    client.expect("done: two");
    assert_eq!(client.hear(), None);
}
