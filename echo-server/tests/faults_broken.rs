//! An error of a socket ends that connection, and no other one loses a byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use std::io::Write;
use std::net::TcpStream;

use common::{assert_echoes, read_some};
use strace::Faulty;
use streams::{assert_pattern, pattern};

/// Echoes until the connection ends, at the latest after so many messages; what comes back is right to the last byte.
/// Answers whether it ended before.
fn ends_early(mut client: TcpStream, seed: u64, messages: u64) -> bool {
    const SIZE: usize = 3000;
    let mut position = 0;
    for _ in 0..messages {
        if client.write_all(&pattern(seed, position, SIZE)).is_err() {
            return true;
        }
        let end = position + SIZE as u64;
        while position < end {
            let mut bytes = [0; SIZE];
            let count = read_some(&mut client, &mut bytes[..(end - position) as usize]).unwrap_or(0);
            if count == 0 {
                return true;
            }
            assert_pattern(seed, position, &bytes[..count]);
            position += count as u64;
        }
    }
    false
}

/// Of 40 clients, one after the other, some lose their connection; one that is there all along loses nothing.
fn assert_costs_one_connection(fault: &str, call: &str) {
    let Some(faulty) = Faulty::start(&[fault], &["--log-level", "debug"]) else { return };
    let lost = (0..40).filter(|seed| ends_early(faulty.server.connect(), *seed, 5)).count();
    let injected = faulty.log.injected(call);
    // A fault may also hit one that is through with its messages.
    assert!((1..=injected).contains(&lost), "{fault}: {lost} lost, {injected} injected");
    faulty.stop(&[call]);
}

#[test]
fn an_error_of_recv_costs_one_connection() {
    for error in ["ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENOMEM", "ENOBUFS", "EIO"] {
        assert_costs_one_connection(&format!("recvfrom:error={error}:when=12..150+23"), "recvfrom");
    }
}

#[test]
fn an_end_of_stream_out_of_nowhere_costs_one_connection() {
    assert_costs_one_connection("recvfrom:retval=0:when=12..150+23", "recvfrom");
}

#[test]
fn an_error_of_send_costs_one_connection() {
    for error in ["EPIPE", "ECONNRESET", "ETIMEDOUT", "ENOBUFS", "ENOMEM", "EIO"] {
        assert_costs_one_connection(&format!("sendto:error={error}:when=12..150+23"), "sendto");
    }
}

#[test]
fn errors_of_what_is_asked_and_said_at_the_end_are_of_no_account() {
    let faults =
        ["ioctl:error=ENOMEM:when=1+2", "shutdown:error=ENOTCONN:when=1+", "getpeername:error=ENOBUFS:when=1+"];
    let Some(faulty) = Faulty::start(&faults, &["--log-level", "debug"]) else { return };
    let mut stays = faulty.server.connect();
    for _ in 0..20 {
        assert_echoes(&mut faulty.server.connect(), b"hello");
        assert_echoes(&mut stays, b"hello");
    }
    drop(stays);
    faulty.stop(&["getpeername"]);
}
