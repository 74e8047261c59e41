//! The proxy passes on what it gets: bytes both ways, 64 MiB at once, and ends; and it keeps little of it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{Program, accept, connect};

/// A proxy that runs, until this is dropped.
struct Proxy {
    program: Program,
    address: SocketAddr,
}

impl Proxy {
    fn start(target: &TcpListener) -> Self {
        let target = target.local_addr().unwrap().to_string();
        let (program, address) = Program::serve("proxy", &["127.0.0.1:0", &target]);
        Self { program, address }
    }

    /// Memory that the process has for itself.
    fn anonymous_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.child.id())).unwrap();
        let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        field.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A client, and what comes to the target for it.
    fn pair(&self, target: &TcpListener) -> (TcpStream, TcpStream) {
        let client = connect(self.address);
        let far = accept(target);
        (client, far)
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
