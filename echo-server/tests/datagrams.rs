//! Datagrams come back over UDP and Unix sockets, from the address that was asked, to the end of a drain.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{DEADLINE, Server, has_tool, run};

/// The address of the ready line with this scheme.
fn address_of(server: &Server, scheme: &str) -> String {
    let addresses = server.addresses();
    addresses.iter().find_map(|address| address.strip_prefix(scheme)).unwrap().to_owned()
}

fn udp_address(server: &Server) -> SocketAddr {
    address_of(server, "udp://").parse().unwrap()
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Sends a datagram and wants it back from where it went.
fn assert_echoes(client: &UdpSocket, server: SocketAddr, message: &[u8]) {
    client.send_to(message, server).unwrap();
    let mut answer = vec![0; 65_536];
    let (count, from) = client.recv_from(&mut answer).unwrap();
    assert_eq!((count, from), (message.len(), server));
    assert!(answer[..count] == *message);
}

#[test]
fn udp_is_served_by_every_thread_beside_tcp() {
    let arguments = ["--threads", "3", "--listen", "udp://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0"];
    let server = Server::start(&arguments);
    let address = udp_address(&server);
    for length in [0, 1, 64, 1472, 9000, 65_507] {
        let message: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        (0..8).for_each(|_| assert_echoes(&client(), address, &message));
    }
    common::assert_echoes(&mut server.connect(), b"hello");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn the_address_that_was_asked_answers() {
    let server = Server::start(&["--threads", "1", "--listen", "udp://0.0.0.0:0"]);
    let port = udp_address(&server).port();
    for asked in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3]] {
        assert_echoes(&client(), (IpAddr::from(asked), port).into(), b"is it you?");
    }
}

fn assert_unix_echoes(client: &UnixDatagram, server: &Path, message: &[u8]) {
    client.send_to(message, server).unwrap();
    let mut answer = vec![0; 200_000];
    assert_eq!(client.recv(&mut answer).unwrap(), message.len());
    assert!(answer[..message.len()] == *message);
}

#[test]
fn unix_datagrams_are_served_whole_and_the_path_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, here) = (directory.path().join("echo"), directory.path().join("client"));
    let url = format!("unix-dgram:{}", path.display());
    let server = Server::start(&["--listen", &url, "--listen", "unix-dgram:@echo-server-datagrams-\\x01"]);
    assert_eq!(server.addresses(), [url.as_str(), "unix-dgram:@echo-server-datagrams-\\x01"]);
    let client = UnixDatagram::bind(&here).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    for length in [0, 1, 100_000, 150_000] {
        assert_unix_echoes(&client, &path, &vec![7; length]);
    }
    // One that cannot be answered harms nobody.
    UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
    assert_unix_echoes(&client, &path, b"still there?");
    assert_eq!(server.stop().0, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_udp_port_in_use_is_named() {
    let server = Server::start(&["--listen", "udp://127.0.0.1:0"]);
    let taken = format!("udp://{}", udp_address(&server));
    let output = run(&["--listen", &taken]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(&taken) && stderr.contains("in use"), "{stderr}");
}

#[test]
fn statistics_tell_of_datagrams() {
    let mut server = Server::start(&["--threads", "1", "--stats-interval", "50ms", "--listen", "udp://127.0.0.1:0"]);
    assert_echoes(&client(), udp_address(&server), b"count me");
    server.wait_for_line(|line| line.contains(", datagrams in ") && line.ends_with(", dropped 0, errors 0"));
    assert_eq!(server.stop().0, Some(0));
}

/// What socat gets back for `message`.
fn ask_by_socat(arguments: &[&str], message: &[u8]) -> Vec<u8> {
    let mut command = Command::new("timeout");
    // It ends a moment after its stdin has, as it does not know how many datagrams an answer has.
    command.args(["30", "socat", "-t", "5"]).args(arguments);
    let mut socat = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = socat.stdin.take().unwrap();
    stdin.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    std::io::Read::read_exact(&mut socat.stdout.take().unwrap(), &mut answer).unwrap();
    drop(stdin);
    let _ = socat.kill();
    let _ = socat.wait();
    answer
}

#[test]
fn socat_gets_its_answers() {
    if !has_tool("socat") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo");
    let url = format!("unix-dgram:{}", path.display());
    let server = Server::start(&["--listen", "udp://127.0.0.1:0", "--listen", &url]);
    let udp = format!("UDP:{}", udp_address(&server));
    assert_eq!(ask_by_socat(&["-", &udp], b"hello over UDP"), b"hello over UDP");
    let here = directory.path().join("socat");
    let unix = format!("UNIX-SENDTO:{},bind={}", path.display(), here.display());
    assert_eq!(ask_by_socat(&["-", &unix], b"hello over Unix"), b"hello over Unix");
}
