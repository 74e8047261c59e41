//! A signal drains: what has arrived is served, the deadline cuts, a second signal does so at once; all end with 0.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{DEADLINE, Server, assert_echoes};
use rustix::process::Signal;

/// A client that sends and does not read, until the server has stopped reading from it.
fn stuck_client(server: &Server) -> TcpStream {
    let mut client = server.connect();
    // A server that is only slow takes something in such a time.
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let block = vec![0x55; 1 << 20];
    loop {
        match client.write(&block) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return client,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn both_signals_drain_and_end_with_zero() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::on_tcp(&[]);
        let mut client = server.connect();
        assert_echoes(&mut client, b"hello");
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert!(server.rest_of_stderr().iter().any(|line| line.ends_with("draining")));
    }
}

#[test]
fn what_was_sent_before_the_signal_comes_back() {
    for threads in ["1", "3"] {
        let mut server = Server::start(&["--listen", "127.0.0.1:0", "--threads", threads]);
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        let message = vec![0xa5; 100_000];
        // Who is not accepted yet counts too: the kernel has told it "connected", and has its bytes.
        clients.iter_mut().for_each(|client| client.write_all(&message).unwrap());
        server.signal(Signal::TERM);
        for client in &mut clients {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert!(answer == message, "{} bytes came back", answer.len());
        }
        drop(clients);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn new_clients_are_refused_while_it_drains() {
    let mut server = Server::on_tcp(&["--shutdown-timeout", "1h"]);
    let _client = stuck_client(&server);
    let address = server.tcp_address();
    server.signal(Signal::TERM);
    let end = Instant::now() + DEADLINE;
    loop {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            other => assert!(Instant::now() < end, "clients still get in: {other:?}"),
        }
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_deadline_cuts_and_says_how_many() {
    let mut server = Server::on_tcp(&["--shutdown-timeout", "300ms"]);
    let _clients = [stuck_client(&server), stuck_client(&server)];
    server.signal(Signal::TERM);
    let line = server.wait_for_line(|line| line.starts_with("cut "));
    assert!(line.starts_with("cut 2 connections, "), "{line}");
    let unsent: u64 = line.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(unsent > 0, "{line}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_signal_cuts_at_once() {
    let mut server = Server::on_tcp(&["--shutdown-timeout", "1h"]);
    let _client = stuck_client(&server);
    server.signal(Signal::TERM);
    server.wait_for_line(|line| line.ends_with("draining"));
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.rest_of_stderr().iter().any(|line| line.starts_with("cut 1 connection, ")));
}

#[test]
fn a_drain_without_clients_is_over_at_once() {
    let mut server = Server::on_tcp(&["--shutdown-timeout", "1h"]);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.rest_of_stderr().iter().any(|line| line.starts_with("cut ")));
}
