//! Few descriptors, from the start or from some moment on: who is in is served, who waits gets in when there is room.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/streams.rs"]
mod streams;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{DEADLINE, PROGRAM, Server, assert_echoes, expect_end, has_tool, is_readable, read_some};
use rustix::process::{Resource, Rlimit, prlimit};
use streams::{assert_many_stream, join, start_streams};

/// Starts with a limit of open files, one loop.
fn start_with(limit: u32, arguments: &[&str]) -> Option<Server> {
    if !has_tool("prlimit") {
        return None;
    }
    let mut command = Command::new("prlimit");
    // Only the soft limit, so that it can be raised again without privileges.
    command.arg(format!("--nofile={limit}:1024")).arg(PROGRAM);
    command.args(["--listen", "tcp://127.0.0.1:0", "--threads", "1"]).args(arguments);
    Some(Server::start_command(&mut command, 1))
}

/// Changes the limit of a server that runs.
fn limit(server: &Server, files: u64) {
    let limit = Rlimit { current: Some(files), maximum: Some(1024) };
    prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
}

/// A client that has been answered, or one that is not within a moment, or was turned away.
fn ask(server: &Server) -> Result<TcpStream, TcpStream> {
    let mut client = server.connect();
    let mut answer = [0; 5];
    let sent = client.write_all(b"hello");
    if sent.is_err() || !is_readable(&client, A_MOMENT) || client.read_exact(&mut answer).is_err() {
        return Err(client);
    }
    assert_eq!(&answer, b"hello");
    Ok(client)
}

/// Clients that are in, as many as there is room for, and the one that waits.
fn fill(server: &Server) -> (Vec<TcpStream>, TcpStream) {
    let mut inside = Vec::new();
    loop {
        match ask(server) {
            Ok(client) => inside.push(client),
            Err(waiting) => return (inside, waiting),
        }
        assert!(inside.len() < 100, "there is no limit");
    }
}

fn expect_answer(mut waiting: TcpStream) {
    let mut answer = [0; 5];
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

#[test]
fn who_waits_gets_in_when_somebody_leaves() {
    let Some(server) = start_with(24, &[]) else { return };
    let (mut inside, waiting) = fill(&server);
    assert!(inside.len() >= 8, "{} got in", inside.len());
    inside.iter_mut().for_each(|client| assert_echoes(client, b"still here"));
    drop(inside.pop());
    expect_answer(waiting);
    inside.iter_mut().for_each(|client| assert_echoes(client, b"still here"));
    drop(inside);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_limit_that_is_lowered_and_raised_live_costs_nobody_a_byte() {
    let server = Server::on_tcp(&[]);
    let streams = start_streams(server.tcp_address(), 4, 8 << 20);
    let mut stays = server.connect();
    // It came last, so the streams are in too.
    assert_echoes(&mut stays, b"hello");
    for _ in 0..3 {
        // Below what is open already.
        limit(&server, 3);
        let waiting = ask(&server).unwrap_err();
        assert_echoes(&mut stays, b"still here");
        limit(&server, 1024);
        expect_answer(waiting);
    }
    join(streams);
    drop(stays);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn who_waits_for_too_long_is_turned_away_and_the_next_ones_get_in() {
    let Some(server) = start_with(24, &[]) else { return };
    let (inside, mut waiting) = fill(&server);
    // Reset or ended: either way it knows now, and goes elsewhere.
    match read_some(&mut waiting, &mut [0; 8]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    drop(inside);
    let end = Instant::now() + DEADLINE;
    while ask(&server).is_err() {
        assert!(Instant::now() < end, "nobody gets in");
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn more_clients_than_descriptors_are_served_one_after_another() {
    let Some(server) = start_with(20, &[]) else { return };
    assert_many_stream(server.tcp_address(), 40, 50_000);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_drain_in_a_shortage_ends() {
    let Some(server) = start_with(24, &["--shutdown-timeout", "1h"]) else { return };
    let (inside, waiting) = fill(&server);
    server.signal(rustix::process::Signal::TERM);
    for mut client in inside {
        expect_end(&mut client);
    }
    drop(waiting);
    let mut server = server;
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_start_with_too_few_says_so() {
    if !has_tool("prlimit") {
        return;
    }
    let mut told = 0;
    for limit in 3..16 {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(PROGRAM).args(["--listen", "127.0.0.1:0", "--threads", "2"]);
        let mut server = Server::start_command(&mut command, 0);
        let line = server.wait_for_line(|_| true);
        if line.starts_with("listening on ") {
            assert_eq!(server.stop().0, Some(0));
        } else if server.wait().code() == Some(1) {
            assert!(
                line.starts_with("echo-server: cannot ") && line.contains("Too many open files"),
                "{limit}: {line}"
            );
            told += 1;
        } else {
            // The dynamic linker needs some too.
            assert!(line.contains("error while loading shared libraries"), "{limit}: {line}");
        }
    }
    assert!(told > 0, "no number was too few for the server");
}

/// Longer than an answer takes on a busy machine, and less than clients wait before they are turned away.
const A_MOMENT: Duration = Duration::from_millis(1500);
