//! The kernel may take less than was offered: the rest waits and follows, in order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

use common::DEADLINE;
use rustix::net::{self, AddressFamily, SocketType};
use strace::{Faults, Faulty};
use streams::{join, receive, send, start_streams};

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

/// Sends a stream, of which nobody reads the echo yet.
fn start_sending(client: &TcpStream, seed: u64) -> JoinHandle<()> {
    let mut sending = client.try_clone().unwrap();
    thread::spawn(move || {
        send(&mut sending, seed, 0..LENGTH);
        sending.shutdown(Shutdown::Write).unwrap();
    })
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
    let faults = Faults { trace: "sendto,sendmsg", ..Faults::default() };
    let Some(faulty) = Faulty::start_with(faults, &["--max-buffer", "64KiB"]) else { return };
    let address = faulty.server.tcp_address();
    let mut late = [narrow(address), narrow(address)];
    let senders = late.iter().zip(0..).map(|(client, seed)| start_sending(client, seed)).collect();
    faulty.log.wait_for_error("sendto", "EAGAIN");
    join(start_streams(address, 4, 1 << 20));
    let readers = late.iter_mut().zip(0..).map(|(client, seed)| {
        let mut client = client.try_clone().unwrap();
        thread::spawn(move || receive(&mut client, seed, 0..LENGTH))
    });
    join(readers.collect());
    join(senders);
    drop(late);
    let (_, log) = faulty.stop(&[]);
    let short = log.of("sendto").iter().filter(|line| is_short(line)).count();
    assert!(short > 0, "no send was short");
}

/// More than the buffers of both kernels and of the server hold.
const LENGTH: u64 = 16 << 20;
