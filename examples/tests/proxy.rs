//! The proxy passes on what it gets: bytes both ways, 64 MiB at once, and ends; and it keeps little of it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a read or a write may wait.
const DEADLINE: Duration = Duration::from_secs(30);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "examples", "--example", "proxy", "--"]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// A proxy that runs, until this is dropped.
struct Proxy {
    /// Cargo has become the proxy; see execve(2).
    child: Child,
    address: String,
}

impl Proxy {
    fn start(target: &TcpListener) -> Self {
        let target = target.local_addr().unwrap().to_string();
        let mut child = command(&["127.0.0.1:0", &target]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on tcp://").map(str::to_owned));
        Self { child, address: address.expect("it says where it listens") }
    }

    /// Memory that the process has for itself.
    fn anonymous_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        field.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A client, and what comes to the target for it.
    fn pair(&self, target: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(&self.address).unwrap();
        let (far, _) = target.accept().unwrap();
        for stream in [&client, &far] {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.set_write_timeout(Some(DEADLINE)).unwrap();
        }
        (client, far)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream in which every loss and every swap shows.
fn stream(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let period: Vec<u8> = (0..65_521).map(|_| byte()).collect();
    period.iter().copied().cycle().take(length).collect()
}

fn send(mut to: &TcpStream, bytes: &[u8]) {
    to.write_all(bytes).unwrap();
    to.shutdown(Shutdown::Write).unwrap();
}

fn receive(mut from: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn sixty_four_mib_pass_both_ways_at_once() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&target);
    let (client, far) = proxy.pair(&target);
    let (up, down) = (stream(1, 64 << 20), stream(2, 64 << 20));
    thread::scope(|scope| {
        scope.spawn(|| send(&client, &up));
        scope.spawn(|| send(&far, &down));
        scope.spawn(|| assert!(receive(&far) == up));
        assert!(receive(&client) == down);
    });
}

#[test]
fn an_answer_comes_after_the_end_of_the_question() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&target);
    let (client, far) = proxy.pair(&target);
    send(&client, b"question");
    assert_eq!(receive(&far), b"question");
    send(&far, b"answer");
    assert_eq!(receive(&client), b"answer");
}

#[test]
fn a_target_that_does_not_read_costs_no_memory() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&target);
    let (client, _far) = proxy.pair(&target);
    let before = proxy.anonymous_kib();
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let (piece, mut sent) = (vec![7; 256 << 10], 0);
    while let Ok(count) = (&client).write(&piece) {
        sent += count;
        assert!(sent < 1 << 30, "the client is not stopped");
    }
    // 256 KiB may wait, besides the buffer that all reads go through.
    let grown = proxy.anonymous_kib().saturating_sub(before);
    assert!(sent > 1 << 20 && grown < 2 << 10, "{sent} bytes were sent and {grown} KiB taken");
}

#[test]
fn help_says_how_to_call_it() {
    let output = command(&["--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("<LISTEN> <TARGET>"), "{text}");
}
