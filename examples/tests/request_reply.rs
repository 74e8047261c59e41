//! Messages are whole and answered one by one, however their bytes travel.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Write;
use std::net::TcpListener;

use common::{Program, accept, connect, expect_bytes, expect_end};

#[test]
fn each_message_is_logged_and_answered() {
    let (mut server, address) = Program::serve("request_reply_server", &["127.0.0.1:0"]);
    let mut client = Program::start("request_reply_client", &[&address.to_string(), "--count", "3"]);
    for number in 1..=3 {
        assert_eq!(client.stdout.next(), format!("message {number} of 3: ok"));
        let line = server.stdout.next();
        assert!(line.ends_with(&format!(r#": message {number}: "{number} of 3: Grüße, 世界""#)), "{line}");
    }
    client.succeed();
    assert!(server.stdout.next().ends_with(": 3 messages, then: the peer closed"));
}

#[test]
fn how_the_bytes_are_cut_does_not_matter() {
    let (mut server, address) = Program::serve("request_reply_server", &["127.0.0.1:0"]);
    let mut client = connect(address);
    client.set_nodelay(true).unwrap();
    let message = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    // One message in pieces of a byte, through the middle of its characters.
    for byte in message("日本") {
        client.write_all(&[byte]).unwrap();
    }
    expect_bytes(&mut client, b"\0\0\0\x02ok");
    // Two messages in one piece.
    client.write_all(&[message("one"), message("two")].concat()).unwrap();
    expect_bytes(&mut client, b"\0\0\0\x02ok\0\0\0\x02ok");
    for text in ["日本", "one", "two"] {
        assert!(server.stdout.next().ends_with(&format!("{text:?}")));
    }
}

#[test]
fn what_is_no_message_ends_its_connection_alone() {
    let (mut server, address) = Program::serve("request_reply_server", &["127.0.0.1:0"]);
    let mut good = connect(address);
    let mut bad = connect(address);
    bad.write_all(b"\0\0\0\x02\xc3\x28").unwrap();
    expect_end(&mut bad);
    server.stdout.wait_for("0 messages, then: invalid utf-8");
    let mut long = connect(address);
    long.write_all(b"\xff\xff\xff\xff").unwrap();
    expect_end(&mut long);
    server.stdout.wait_for("longer than the limit");
    good.write_all(b"\0\0\0\x02hi").unwrap();
    expect_bytes(&mut good, b"\0\0\0\x02ok");
}

#[test]
fn a_client_without_its_answers_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = Program::start("request_reply_client", &[&address.to_string()]);
    drop(accept(&listener));
    assert_eq!(client.wait().code(), Some(1));
    client.stderr.wait_for("3 answers are missing");
}
