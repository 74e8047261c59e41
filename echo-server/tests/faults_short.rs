//! The kernel may take less than was offered: the rest waits and follows, in order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use common::{DEADLINE, is_readable, is_ready};
use rustix::event::PollFlags;
use rustix::net::{self, AddressFamily, SocketType};
use strace::{Faults, Faulty};
use streams::{join, receive, send, start_streams};

/// Sends a stream and begins to read it only when the server has stopped reading.
fn read_late(mut client: TcpStream, seed: u64, length: u64) {
    let mut sending = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        send(&mut sending, seed, 0..length);
        sending.shutdown(Shutdown::Write).unwrap();
    });
    while !is_stuck(&client) {
        assert!(!sender.is_finished(), "the server took all of it");
    }
    receive(&mut client, seed, 0..length);
    sender.join().unwrap();
}

/// A client whose kernel holds little for it. The buffer has to be small before the connection is made.
fn narrow(server: SocketAddr) -> TcpStream {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).unwrap();
    net::sockopt::set_socket_send_buffer_size(&socket, 16 << 10).unwrap();
    net::connect(&socket, &server).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Whether the client can send no more for now, and has something to read.
fn is_stuck(client: &TcpStream) -> bool {
    // There is room for a moment whenever the server takes something, so it has to be missing for a while.
    !is_ready(client, PollFlags::OUT, Duration::from_millis(50)) && is_readable(client, DEADLINE)
}

/// Whether the call moved some bytes, and fewer than it was asked to: `sendto(8, "..."..., 65536, MSG_NOSIGNAL, ...) = 42`.
fn is_short(line: &str) -> bool {
    let asked =
        line.split_once(", MSG_NOSIGNAL").and_then(|(before, _)| before.rsplit_once(", ")?.1.parse::<u64>().ok());
    let moved = line.rsplit_once(" = ").and_then(|(_, result)| result.parse::<u64>().ok());
    asked.zip(moved).is_some_and(|(asked, moved)| moved > 0 && moved < asked)
}

#[test]
fn short_sends_and_full_sockets_lose_nothing() {
    let faults = Faults { trace: "sendto,sendmsg,recvfrom", ..Faults::default() };
    let Some(faulty) = Faulty::start_with(faults, &["--max-buffer", "64KiB"]) else { return };
    let address = faulty.server.tcp_address();
    // More than the buffers of both kernels and of the server hold.
    const LENGTH: u64 = 16 << 20;
    let late: Vec<_> = (0..2).map(|seed| thread::spawn(move || read_late(narrow(address), seed, LENGTH))).collect();
    join(start_streams(address, 4, 1 << 20));
    join(late);
    let trace = faulty.stop(&[]);
    let full = trace.of("sendto").chain(trace.of("sendmsg")).filter(|line| line.contains("EAGAIN")).count();
    let short = trace.of("sendto").filter(|line| is_short(line)).count();
    assert!(short > 0 && full > 0, "{short} short sends, {full} refused");
}
