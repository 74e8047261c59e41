//! The bounds an operator sets hold: connections, idle time, memory for those who do not read, memory at the start.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{DEADLINE, Server, assert_echoes, is_readable};

#[test]
fn beyond_the_limit_of_connections_the_next_ones_wait() {
    for threads in ["1", "2", "4"] {
        let server = Server::start(&["--listen", "127.0.0.1:0", "--threads", threads, "--max-connections", "2"]);
        let mut inside = [server.connect(), server.connect()];
        inside.iter_mut().for_each(|client| assert_echoes(client, b"inside"));
        let mut waiting = server.connect();
        waiting.write_all(b"waiting").unwrap();
        assert!(!is_readable(&waiting, Duration::from_millis(200)), "a third one was served by {threads} threads");
        let [first, mut second] = inside;
        drop(first);
        let mut answer = [0; 7];
        waiting.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"waiting");
        assert_echoes(&mut second, b"still inside");
    }
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed() {
    let server = Server::on_tcp(&["--idle-timeout", "300ms"]);
    // On a machine that holds the busy one up for as long as the timeout, the next two try.
    assert!((0..20).any(|_| only_the_quiet_one_is_closed(&server)), "no client could speak twice within the timeout");
}

/// Keeps one of two connections busy until the other one is closed. `false`: this one was silent for too long as well.
fn only_the_quiet_one_is_closed(server: &Server) -> bool {
    let (mut quiet, mut busy) = (server.connect(), server.connect());
    let (since, mut last) = (Instant::now(), Instant::now());
    let mut is_closed = false;
    while !is_closed {
        is_closed = is_readable(&quiet, Duration::from_millis(20));
        let silence = last.elapsed();
        last = Instant::now();
        if !echoes(&mut busy, b"busy") {
            assert!(silence >= Duration::from_millis(290), "closed after {silence:?} of silence");
            return false;
        }
        assert!(since.elapsed() < DEADLINE, "the quiet one is still there");
    }
    assert_eq!(quiet.read(&mut [0]).unwrap(), 0);
    assert!(since.elapsed() >= Duration::from_millis(290), "closed after {:?}", since.elapsed());
    true
}

/// Whether a message comes back, and not the end of the connection.
fn echoes(stream: &mut TcpStream, message: &[u8]) -> bool {
    let mut answer = vec![0; message.len()];
    stream.write_all(message).and_then(|()| stream.read_exact(&mut answer)).is_ok()
}

#[test]
fn without_an_idle_timeout_nobody_is_closed() {
    let server = Server::on_tcp(&[]);
    let mut quiet = server.connect();
    assert_echoes(&mut quiet, b"hello");
    assert!(!is_readable(&quiet, Duration::from_millis(300)));
    assert_echoes(&mut quiet, b"hello again");
}

#[test]
fn a_reader_that_stops_costs_no_more_than_the_marks() {
    let server = Server::on_tcp(&["--max-buffer", "64KiB"]);
    assert_echoes(&mut server.connect(), &[1; 100_000]);
    let before = server.status_kb("VmRSS:");
    let mut client = server.connect();
    // A server that is only slow takes something in such a time.
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    let block = vec![2; 1 << 20];
    while sent < 64 << 20 {
        match client.write(&block) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < 64 << 20, "the server took {sent} bytes for a client that does not read");
    // The marks, one read on top, and the read buffer that grew meanwhile.
    let grown = server.status_kb("VmRSS:").saturating_sub(before);
    assert!(grown <= 2048, "the server grew by {grown} KiB");
    let mut taken = 0;
    let mut answer = vec![0; 1 << 20];
    while taken < sent {
        let count = client.read(&mut answer).unwrap();
        assert!(count > 0 && answer[..count].iter().all(|byte| *byte == 2));
        taken += count;
    }
}

#[test]
fn little_memory_is_resident_at_the_start() {
    if cfg!(debug_assertions) {
        println!("skipped: a debug build is larger; run with --release");
        return;
    }
    let server = Server::start(&["--listen", "127.0.0.1:0"]);
    let resident = server.status_kb("VmRSS:");
    println!("resident at start: {resident} KiB");
    assert!(resident <= 3072, "{resident} KiB are resident");
}

#[test]
fn connections_that_end_leave_nothing() {
    let server = Server::on_tcp(&[]);
    assert_echoes(&mut server.connect(), b"hello");
    let before = server.descriptors();
    for _ in 0..2000 {
        assert_echoes(&mut server.connect(), b"hello");
    }
    // One that is served now was accepted after all those before were closed.
    let mut last = server.connect();
    let end = Instant::now() + DEADLINE;
    while server.descriptors() > before + 1 {
        assert_echoes(&mut last, b"hello");
        assert!(Instant::now() < end, "{} descriptors, {before} before", server.descriptors());
    }
}
