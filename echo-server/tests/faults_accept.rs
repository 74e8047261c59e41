//! Whatever accept(2) answers, everybody who waits is served in the end, and the loop does not spin.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use std::time::{Duration, Instant};

use common::{assert_echoes, connect};
use strace::Faulty;
use streams::{assert_streams, join, start_streams};

/// What accepting costs an accepted connection is nothing: its stream goes on, and all who come meanwhile are served.
fn assert_all_served(fault: &str) -> Option<Vec<String>> {
    let faulty = Faulty::start(&[fault], &[])?;
    let address = faulty.server.tcp_address();
    join(start_streams(address, 12, 200_000));
    Some(faulty.stop(&["accept4"]).0)
}

#[test]
fn a_shortage_passes_and_is_told_once() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        // The first client is accepted, the next three attempts fail.
        let Some(stderr) = assert_all_served(&format!("accept4:error={error}:when=2..4")) else { return };
        let told = stderr.iter().filter(|line| line.contains("clients wait to be accepted")).count();
        assert_eq!(told, 1, "{stderr:#?}");
    }
}

#[test]
fn a_shortage_that_comes_and_goes_strands_nobody() {
    assert_all_served("accept4:error=EMFILE:when=1+3");
}

#[test]
fn a_client_that_is_gone_is_skipped() {
    let errors = ["ECONNABORTED", "EPROTO", "ENETDOWN", "EHOSTUNREACH", "EOPNOTSUPP", "ETIMEDOUT"];
    for error in errors {
        assert_all_served(&format!("accept4:error={error}:when=1+2"));
    }
}

#[test]
fn a_fault_that_lasts_harms_nobody_who_is_in() {
    for error in ["EMFILE", "ECONNABORTED", "EPERM"] {
        let Some(faulty) = Faulty::start(&[&format!("accept4:error={error}:when=2+")], &[]) else { return };
        let inside = faulty.server.connect();
        let outside = connect(faulty.server.tcp_address());
        assert_streams(inside, 7, 1 << 20);
        drop(outside);
        faulty.stop(&["accept4"]);
    }
}

#[test]
fn no_fault_that_lasts_makes_the_loop_spin() {
    // Some take a client out of the backlog, others, such as what a security module denies, leave it there.
    for error in ["EMFILE", "ENOMEM", "EPERM", "EACCES", "ENOSYS"] {
        let Some(faulty) = Faulty::start(&[&format!("accept4:error={error}:when=2+")], &[]) else { return };
        let mut inside = faulty.server.connect();
        assert_echoes(&mut inside, b"hello");
        let before = Instant::now();
        let _outside = connect(faulty.server.tcp_address());
        while before.elapsed() < Duration::from_millis(300) {
            assert_echoes(&mut inside, b"hello");
        }
        // One attempt every `Limits::accept_retry`, which is 100 ms, and one that begins the rest.
        let (attempts, elapsed) = (faulty.log.of("accept4").len(), before.elapsed());
        let bound = 4 + elapsed.as_millis() / 50;
        assert!(attempts as u128 <= bound, "{error}: {attempts} attempts in {elapsed:?}");
        drop(inside);
        faulty.stop(&["accept4"]);
    }
}
