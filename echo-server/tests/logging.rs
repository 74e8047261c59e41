//! The log tells what its level promises.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, assert_echoes};

#[test]
fn at_debug_each_connection_is_told_from_its_start_to_its_end() {
    let mut server = Server::on_tcp(&["--log-level", "debug"]);
    let mut client = server.connect();
    assert_echoes(&mut client, b"hello");
    let from = format!(" from {}", client.local_addr().unwrap());
    server.wait_for_line(|line| line.contains("DEBUG") && line.ends_with(&from));
    drop(client);
    server.wait_for_line(|line| line.contains("DEBUG") && line.ends_with("ended: the peer closed"));
}
