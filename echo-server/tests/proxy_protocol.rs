//! Behind a load balancer that tells its clients' addresses, those are named, and only what follows them is echoed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::UnixStream;

use common::{DEADLINE, Server, assert_echoes, connect, expect_end, has_tool, unix_url};
use program_testing::haproxy::Haproxy;
use program_testing::proxy_header::{binary, local, text};
use rustix::process::Signal;

const CLIENT: &str = "192.0.2.7:40000";

fn header() -> String {
    text(CLIENT.parse().unwrap(), "198.51.100.1:80".parse().unwrap())
}

/// Sends a header and a message at once, and wants the message back.
#[track_caller]
fn assert_echoes_behind(header: &[u8], stream: &mut (impl Read + Write)) {
    stream.write_all(&[header, b"hello"].concat()).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    assert_echoes(stream, b"again");
}

#[test]
fn the_client_that_is_told_is_named_in_the_log_and_in_views() {
    let mut server = Server::on_tcp(&["--proxy-protocol", "--log-level", "debug"]);
    let v6 = binary("[2001:db8::7]:1".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap(), b"\x04\x00\x00");
    for (header, client) in [(header().into_bytes(), CLIENT), (v6, "[2001:db8::7]:1")] {
        let mut stream = server.connect();
        assert_echoes_behind(&header, &mut stream);
        server.wait_for_line(|line| line.ends_with(&format!(" from {client}")));
        server.signal(Signal::USR1);
        server.wait_for_line(|line| line.contains(&format!(" {client} open, ")));
        drop(stream);
        server.wait_for_line(|line| line.contains(" ended: "));
    }
    let mut stream = server.connect();
    let peer = stream.local_addr().unwrap();
    assert_echoes_behind(&local(), &mut stream);
    server.wait_for_line(|line| line.ends_with(&format!(" from {peer}")));
}

#[test]
fn only_what_follows_the_header_comes_back() {
    let server = Server::on_tcp(&["--proxy-protocol", "--log-level", "trace"]);
    let mut stream = server.connect();
    let message: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let mut sender = stream.try_clone().unwrap();
    let bytes = message.clone();
    let writing = std::thread::spawn(move || {
        header().bytes().for_each(|byte| sender.write_all(&[byte]).unwrap());
        sender.write_all(&bytes).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    assert!(answer == message);
}

#[test]
fn unix_sockets_begin_with_a_header_and_datagrams_do_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let server = Server::start(&["--proxy-protocol", "--listen", &unix_url(&path), "--listen", "udp://127.0.0.1:0"]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_echoes_behind(header().as_bytes(), &mut stream);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_echoes_behind(b"PROXY UNKNOWN\r\n", &mut stream);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(b"hello", server.address_after("udp://")).unwrap();
    let mut answer = [0; 9];
    assert_eq!(socket.recv(&mut answer).unwrap(), 5);
}

#[test]
fn who_shows_no_header_gets_nothing_back() {
    let mut server = Server::on_tcp(&["--proxy-protocol", "--log-level", "debug"]);
    let mut stream = server.connect();
    stream.write_all(b"hello").unwrap();
    expect_end(&mut stream);
    server.wait_for_line(|line| line.contains("does not begin with a PROXY header"));
    let mut stream = server.connect();
    stream.write_all(b"PROXY TCP4 1\r\n").unwrap();
    expect_end(&mut stream);
    server.wait_for_line(|line| line.contains("is malformed"));
    let mut stream = server.connect();
    stream.write_all(b"PROXY ").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut stream);
    server.wait_for_line(|line| line.contains("ended before its PROXY header"));
}

#[test]
fn connections_without_a_header_are_counted() {
    let mut server = Server::on_tcp(&["--proxy-protocol", "--stats-interval", "20ms"]);
    let mut served = server.connect();
    assert_echoes_behind(header().as_bytes(), &mut served);
    let line = server.wait_for_line(|line| line.starts_with("open 1, "));
    assert!(!line.contains("PROXY"), "{line}");
    for _ in 0..2 {
        let mut stream = server.connect();
        stream.write_all(b"hello").unwrap();
        expect_end(&mut stream);
    }
    server.wait_for_line(|line| line.ends_with(", without PROXY header 2"));
}

#[test]
fn a_drain_waits_for_no_header() {
    let mut server = Server::on_tcp(&["--proxy-protocol", "--shutdown-timeout", "60s"]);
    let mut silent = server.connect();
    let mut served = server.connect();
    assert_echoes_behind(header().as_bytes(), &mut served);
    server.signal(Signal::TERM);
    [&mut silent, &mut served].into_iter().for_each(|stream| expect_end(stream));
    drop((silent, served));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn haproxy_is_understood() {
    if !has_tool("haproxy") {
        return;
    }
    let mut server = Server::on_tcp(&["--proxy-protocol", "--log-level", "debug"]);
    for how in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::before(server.tcp_address(), how);
        let mut stream = connect(haproxy.address);
        assert_echoes(&mut stream, b"hello");
        let client = stream.local_addr().unwrap();
        server.wait_for_line(|line| line.ends_with(&format!(" from {client}")));
    }
}
