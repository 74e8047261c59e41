//! What each log level shows of a connection's life.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, assert_echoes};

/// What was said while one connection came, sent a message, and went.
fn said_at(level: &str) -> (Vec<String>, String) {
    let server = Server::on_tcp(&["--log-level", level]);
    let mut client = server.connect();
    let from = format!(" from {}", client.local_addr().unwrap());
    assert_echoes(&mut client, b"hello");
    drop(client);
    let (code, lines) = server.stop();
    assert_eq!(code, Some(0));
    (lines, from)
}

fn says(lines: &[String], end: &str) -> bool {
    lines.iter().any(|line| line.ends_with(end))
}

#[test]
fn info_is_silent_about_connections() {
    let (lines, _) = said_at("info");
    assert!(!lines.iter().any(|line| line.contains("connection ")), "{lines:#?}");
}

#[test]
fn debug_tells_who_comes_and_how_they_go() {
    let (lines, from) = said_at("debug");
    assert!(says(&lines, &from) && lines.iter().any(|line| line.contains(" ended: ")), "{lines:#?}");
    assert!(!says(&lines, ": 5 bytes"), "{lines:#?}");
}

#[test]
fn trace_tells_of_each_piece_as_well() {
    let (lines, from) = said_at("trace");
    assert!(says(&lines, &from) && says(&lines, ": 5 bytes"), "{lines:#?}");
}
