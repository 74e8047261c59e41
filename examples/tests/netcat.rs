//! `netcat` against itself, `nc` and `socat`, as server and as client, with pipes, files and a terminal as stdin.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{DEADLINE, Lines, Program, accept, binary, connect, expect_bytes, expect_end, is_readable, wait_for};
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Bytes that differ by their place.
fn pattern(count: usize, salt: usize) -> Vec<u8> {
    (0..count).map(|place| (place ^ (place >> 8) ^ (place >> 16) ^ salt) as u8).collect()
}

/// A program with files for stdin and stdout.
struct Exchange {
    child: Child,
    stderr: Lines,
}

impl Exchange {
    fn start(command: &mut Command, input: &Path, output: &Path) -> Self {
        command.stdin(File::open(input).unwrap()).stdout(File::create(output).unwrap()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// The port in the line in which the program says that it listens.
    fn port(&mut self, text: &str) -> u16 {
        self.stderr.wait_for(text).rsplit([':', ' ']).next().unwrap().parse().unwrap()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn netcat(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("netcat"));
    command.args(arguments);
    command
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Two programs exchange megabytes in both directions, and both end.
fn both_directions(server: &mut Command, says: &str, client: impl Fn(u16) -> Command) {
    exchange(server, says, client, 3_000_000, 2_000_000);
}

fn exchange(server: &mut Command, says: &str, client: impl Fn(u16) -> Command, down: usize, up: usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let (to_client, to_server) = (pattern(down, 1), pattern(up, 2));
    fs::write(path("to_client"), &to_client).unwrap();
    fs::write(path("to_server"), &to_server).unwrap();
    let mut server = Exchange::start(server, &path("to_client"), &path("at_server"));
    let port = server.port(says);
    let mut client = Exchange::start(&mut client(port), &path("to_server"), &path("at_client"));
    assert!(wait_for(&mut client.child).success());
    assert!(wait_for(&mut server.child).success());
    assert!(fs::read(path("at_server")).unwrap() == to_server, "what the server got differs");
    assert!(fs::read(path("at_client")).unwrap() == to_client, "what the client got differs");
}

fn our_client(port: u16) -> Command {
    netcat(&[&format!("127.0.0.1:{port}")])
}

#[test]
fn both_ends_are_ours() {
    both_directions(&mut netcat(&["--listen", "127.0.0.1:0"]), "listening on", our_client);
}

#[test]
fn the_other_end_is_nc() {
    if !common::has_tool("nc") {
        return;
    }
    let nc_client = |port: u16| shell(&format!("exec nc -N 127.0.0.1 {port}"));
    both_directions(&mut netcat(&["--listen", "127.0.0.1:0"]), "listening on", nc_client);
    // When it listens, it ends with its client's direction, whatever it has still to send: so one direction at a time.
    let nc_server = "exec nc -lvnN 127.0.0.1 0";
    exchange(&mut shell(nc_server), "Listening on", our_client, 0, 2_000_000);
    let mut nc = Program::start_command(shell(nc_server).stdin(Stdio::piped()));
    let port: u16 = nc.stderr.wait_for("Listening on").rsplit(' ').next().unwrap().parse().unwrap();
    let mut client = Program::start_command(our_client(port).stdin(Stdio::piped()));
    let mut stdin = nc.child.stdin.take().unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let writer = thread::spawn(move || (0..3000).for_each(|_| stdin.write_all(&line).unwrap()));
    (0..3000).for_each(|_| assert_eq!(client.stdout.next().len(), 999));
    writer.join().unwrap();
    drop(client.child.stdin.take());
    client.succeed();
}

#[test]
fn the_other_end_is_socat() {
    if !common::has_tool("socat") {
        return;
    }
    let socat_client = |port: u16| shell(&format!("exec socat -t 30 - TCP:127.0.0.1:{port}"));
    both_directions(&mut netcat(&["--listen", "127.0.0.1:0"]), "listening on", socat_client);
    both_directions(&mut shell("exec socat -d -d -t 30 TCP-LISTEN:0,bind=127.0.0.1 -"), "listening on", our_client);
}

#[test]
fn the_end_of_stdin_ends_one_direction_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Program::start("netcat", &[&listener.local_addr().unwrap().to_string()]);
    let mut peer = accept(&listener);
    client.stdin().write_all(b"question\n").unwrap();
    expect_bytes(&mut peer, b"question\n");
    drop(client.child.stdin.take());
    expect_end(&mut peer);
    // The answer comes after the end of the question.
    peer.write_all(b"answer\n").unwrap();
    assert_eq!(client.stdout.next(), "answer");
    peer.shutdown(Shutdown::Both).unwrap();
    client.succeed();
}

#[test]
fn the_end_of_the_peer_ends_one_direction_alone() {
    let (mut server, address) = Program::serve("netcat", &["--listen", "127.0.0.1:0"]);
    let mut peer = connect(address);
    peer.write_all(b"question\n").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.stdout.next(), "question");
    server.stdin().write_all(b"answer\n").unwrap();
    expect_bytes(&mut peer, b"answer\n");
    drop(server.child.stdin.take());
    expect_end(&mut peer);
    server.succeed();
}

#[test]
fn a_terminal_is_a_stdin_like_any_other() {
    let (mut server, address) = Program::serve("netcat", &["--listen", "127.0.0.1:0"]);
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let input = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut client = Program::start_command(our_client(address.port()).stdin(input));
    let mut keyboard = File::from(terminal);
    keyboard.write_all(b"typed\n").unwrap();
    assert_eq!(server.stdout.next(), "typed");
    server.stdin().write_all(b"answered\n").unwrap();
    assert_eq!(client.stdout.next(), "answered");
    // Ctrl-D.
    keyboard.write_all(&[4]).unwrap();
    drop(server.child.stdin.take());
    client.succeed();
    server.succeed();
}

#[test]
fn a_stdout_that_nobody_reads_stops_the_peer_and_loses_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = netcat(&["--listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let line = Lines::of(child.stderr.take().unwrap()).next();
    let address: SocketAddr = line.rsplit('/').next().unwrap().parse().unwrap();
    let mut peer = connect(address);
    // Long enough that nobody takes a slow machine for a stopped one.
    peer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let piece = pattern(1_000_003, 3);
    let mut sent = 0;
    while let Ok(count) = peer.write(&piece[sent % piece.len()..]) {
        sent += count;
        assert!(sent < 200_000_000, "{sent} bytes were taken though nobody reads them");
    }
    peer.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    let mut reader = reader;
    let mut buffer = vec![0; 64 << 10];
    loop {
        assert!(is_readable(&reader, DEADLINE), "{} bytes came of {sent}", received.len());
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
    assert_eq!(received.len(), sent);
    assert!(received.chunks(piece.len()).all(|chunk| *chunk == piece[..chunk.len()]));
    assert!(wait_for(&mut child).success());
}

#[test]
fn the_source_port_is_the_one_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Taken by a socket that lets others have it too.
    let taken = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    set_socket_reuseaddr(&taken, true).unwrap();
    rustix::net::bind(&taken, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    let port = SocketAddr::try_from(rustix::net::getsockname(&taken).unwrap()).unwrap().port();
    let target = listener.local_addr().unwrap().to_string();
    let mut client = Program::start("netcat", &[&target, "--source-port", &port.to_string()]);
    let peer = accept(&listener);
    assert_eq!(peer.peer_addr().unwrap().port(), port);
    drop(peer);
    drop(client.child.stdin.take());
    client.succeed();
}

#[test]
fn datagrams_go_both_ways_until_the_timeout() {
    let (mut server, address) = Program::serve("netcat", &["--udp", "--listen", "127.0.0.1:0"]);
    let mut client = Program::start("netcat", &["--udp", &address.to_string(), "--timeout", "4s"]);
    client.stdin().write_all(b"question\n").unwrap();
    assert_eq!(server.stdout.next(), "question");
    server.stdin().write_all(b"answer\n").unwrap();
    assert_eq!(client.stdout.next(), "answer");
    client.succeed();
    if !common::has_tool("nc") {
        return;
    }
    let mut nc = Program::start_command(shell("exec nc -ulvn 127.0.0.1 0").stdin(Stdio::piped()));
    let port: u16 = nc.stderr.wait_for("Bound on").rsplit(' ').next().unwrap().parse().unwrap();
    let mut client = Program::start("netcat", &["--udp", &format!("127.0.0.1:{port}")]);
    client.stdin().write_all(b"question\n").unwrap();
    assert_eq!(nc.stdout.next(), "question");
    nc.stdin().write_all(b"answer\n").unwrap();
    assert_eq!(client.stdout.next(), "answer");
}

#[test]
fn unix_sockets_are_reached_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let path = path.to_str().unwrap();
    let mut server = Program::start("netcat", &["--unix", "--listen", path]);
    server.stderr.wait_for("listening on unix:");
    let mut client = Program::start("netcat", &["--unix", path]);
    client.stdin().write_all(b"hello\n").unwrap();
    assert_eq!(server.stdout.next(), "hello");
    drop(client.child.stdin.take());
    drop(server.child.stdin.take());
    client.succeed();
    server.succeed();
    assert!(!Path::new(path).exists());
}

#[test]
fn a_timeout_ends_a_silent_peer_and_an_attempt_that_nobody_answers() {
    let (mut server, address) = Program::serve("netcat", &["--listen", "127.0.0.1:0", "--timeout", "100ms"]);
    let mut peer = connect(address);
    expect_end(&mut peer);
    assert_eq!(server.wait().code(), Some(1));
    server.stderr.wait_for("idle for too long");
}
