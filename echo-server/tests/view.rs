//! SIGUSR1 shows the connections on stderr, and the server goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, assert_echoes};
use rustix::process::Signal;

#[test]
fn each_connection_is_shown_with_its_peer() {
    let mut server = Server::start(&["--listen", "127.0.0.1:0", "--threads", "1"]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"hello");
    for _ in 0..3 {
        server.signal(Signal::USR1);
        server.wait_for_line(|line| line == "loop 0: 1 open, 1 shown");
        let peer = client.local_addr().unwrap().to_string();
        let line = server.wait_for_line(|line| line.contains(&peer));
        assert!(line.contains(" open, in 0 B, out 0 B, idle ") && line.contains(", rtt "), "{line}");
    }
    assert_echoes(&mut client, b"still here");
    drop(client);
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn each_loop_shows_its_own() {
    let mut server = Server::start(&["--listen", "127.0.0.1:0", "--threads", "3"]);
    server.signal(Signal::USR1);
    let mut lines: Vec<_> = (0..3).map(|_| server.wait_for_line(|line| line.starts_with("loop "))).collect();
    lines.sort();
    assert_eq!(lines, [0, 1, 2].map(|index| format!("loop {index}: 0 open, 0 shown")));
}
