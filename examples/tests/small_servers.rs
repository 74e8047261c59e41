//! The smallest servers: echo on one loop and on several, discard, daytime, chargen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;

use common::{Program, assert_echoes, assert_serves_beside_one_that_does_not_read, connect, expect_end};

#[test]
fn echo_sends_back_what_it_is_sent() {
    let (_server, address) = Program::serve("echo", &["127.0.0.1:0"]);
    let mut client = connect(address);
    assert_echoes(&mut client, b"hello\n");
    client.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut client);
}

#[test]
fn echo_answers_nc() {
    if !common::has_tool("nc") {
        return;
    }
    let (_server, address) = Program::serve("echo", &["127.0.0.1:0"]);
    let script = format!("printf 'hello\\nthere\\n' | nc -N 127.0.0.1 {}", address.port());
    let output = common::run(Command::new("sh").args(["-c", &script]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\nthere\n");
}

#[test]
fn echo_serves_others_while_one_does_not_read() {
    let (_server, address) = Program::serve("echo", &["127.0.0.1:0"]);
    assert_serves_beside_one_that_does_not_read(address);
}

#[test]
fn echo_threads_gives_each_loop_its_clients() {
    let (mut server, address) = Program::serve("echo_threads", &["127.0.0.1:0", "--threads", "2"]);
    let mut clients: Vec<_> = (0..4).map(|_| connect(address)).collect();
    clients.iter_mut().for_each(|client| assert_echoes(client, b"hello\n"));
    let mut told: Vec<_> = (0..4).map(|_| server.stdout.next()).collect();
    told.sort();
    let line = |index, number| format!("loop {index} serves its client number {number}");
    assert_eq!(told, [line(0, 1), line(0, 2), line(1, 1), line(1, 2)]);
}

#[test]
fn discard_reads_all_and_counts() {
    let (mut server, address) = Program::serve("discard", &["127.0.0.1:0"]);
    let mut client = connect(address);
    client.write_all(&vec![0; 10_000_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut client);
    let local = client.local_addr().unwrap();
    assert_eq!(server.stdout.next(), format!("{local} threw 10000000 bytes away: the peer closed"));
}

#[test]
fn daytime_is_told_even_to_a_client_that_talks() {
    let (_server, address) = Program::serve("daytime", &["127.0.0.1:0"]);
    let mut client = connect(address);
    // Unread bytes would turn the close into a reset, which would overtake the answer.
    client.write_all(&[b'x'; 100_000]).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let time = answer.strip_suffix("\r\n").unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{answer}");
}

#[test]
fn chargen_sends_the_lines_of_the_rfc_for_as_long_as_they_are_read() {
    let (mut server, address) = Program::serve("chargen", &["127.0.0.1:0"]);
    let mut client = connect(address);
    let mut text = vec![0; 74 * 1000];
    client.read_exact(&mut text).unwrap();
    let all: Vec<u8> = (b' '..=b'~').collect();
    for (index, line) in text.chunks(74).enumerate() {
        let wanted: Vec<u8> = all.iter().copied().cycle().skip(index % 95).take(72).chain(*b"\r\n").collect();
        assert_eq!(line, wanted, "line {index}");
    }
    // A second client is served although the first one never ends.
    connect(address).read_exact(&mut [0; 74]).unwrap();
    drop(client);
    server.stdout.wait_for("was sent");
}
