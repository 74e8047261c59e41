//! A signal drains: who idles is let go at once, what is under way is finished, and all ends with 0.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};

use common::{Server, expect_end, pattern, read_answer};
use rustix::process::Signal;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn who_idles_is_let_go_at_once() {
    let mut server = Server::start(&["--shutdown-timeout", "60s"]);
    server.write("a", "x");
    let mut fresh = server.connect();
    let mut served = server.connect();
    served.write_all(GET).unwrap();
    assert_eq!(read_answer(&mut served, false).status, 200);
    let mut begun = server.connect();
    begun.write_all(b"GET /a HT").unwrap();
    server.signal(Signal::TERM);
    [&mut fresh, &mut served].into_iter().for_each(|stream| expect_end(stream));
    assert_eq!(server.wait().code(), Some(0));
    drop(begun);
}

#[test]
fn an_answer_that_is_under_way_is_finished() {
    let mut server = Server::start(&["--shutdown-timeout", "60s"]);
    server.write("a", pattern(40 << 20));
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    let head = read_answer(&mut stream, true);
    assert_eq!(head.field("Connection"), None);
    server.signal(Signal::TERM);
    server.wait_for_line(|line| line.contains("draining"));
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    assert!(body == pattern(40 << 20));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn what_was_sent_before_the_signal_is_answered_as_the_last() {
    let mut server = Server::start(&["--shutdown-timeout", "60s"]);
    server.write("a", "x");
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.write_all(GET).unwrap());
    server.signal(Signal::TERM);
    for client in &mut clients {
        let answer = read_answer(client, false);
        assert_eq!((answer.status, answer.text().as_str()), (200, "x"));
        expect_end(client);
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_deadline_cuts_who_does_not_read() {
    let mut server = Server::start(&["--shutdown-timeout", "300ms"]);
    server.write("a", pattern(40 << 20));
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    read_answer(&mut stream, true);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.rest_of_stderr().iter().any(|line| line.starts_with("cut 1 connection, ")));
}
