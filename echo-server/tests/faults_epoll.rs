//! Whatever epoll(7) answers, nobody loses more than the connection that could not be watched.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{assert_echoes, expect_end, is_readable, read_some};
use strace::{Faults, Faulty};
use streams::{assert_many_stream, join, start_streams};

/// Whether the server serves this client. If not, it has closed the connection.
fn is_served(mut client: TcpStream) -> bool {
    let mut answer = [0; 5];
    match client.write_all(b"hello").and_then(|()| read_some(&mut client, &mut answer)) {
        Ok(0) => false,
        Ok(count) => {
            assert_eq!(answer[..count], b"hello"[..count]);
            true
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            false
        }
    }
}

#[test]
fn who_cannot_be_watched_is_closed_and_the_next_ones_are_served() {
    for error in ["ENOMEM", "ENOSPC"] {
        // The loop adds its waker, its listener and two sets of signals, then the connections: of those, every second one fails.
        let Some(faulty) = Faulty::start(&[&format!("epoll_ctl:error={error}:when=6+2")], &[]) else { return };
        let served: Vec<_> = (0..10).map(|_| is_served(faulty.server.connect())).collect();
        assert_eq!(served, [true, false].repeat(5));
        let (stderr, _) = faulty.stop(&["epoll_ctl"]);
        let told = stderr.iter().filter(|line| line.contains("could not be watched")).count();
        assert_eq!(told, 5, "{stderr:#?}");
    }
}

#[test]
fn streams_go_on_while_others_cannot_be_watched() {
    let Some(faulty) = Faulty::start(&["epoll_ctl:error=ENOSPC:when=9+"], &[]) else { return };
    let streams = start_streams(faulty.server.tcp_address(), 4, 1 << 20);
    // The kernel hands clients out in the order in which they came.
    (0..20).for_each(|_| assert!(!is_served(faulty.server.connect())));
    join(streams);
    faulty.stop(&["epoll_ctl"]);
}

#[test]
fn a_kernel_without_precise_waits_is_asked_once() {
    let faults = ["epoll_pwait2:error=ENOSYS:when=1+"];
    let Some(faulty) = Faulty::start(&faults, &["--idle-timeout", "200ms"]) else { return };
    let mut client = faulty.server.connect();
    (0..10).for_each(|_| assert_echoes(&mut client, b"hello"));
    // The timeout is due by the wait that every kernel has.
    expect_end(&mut client);
    assert_eq!(faulty.log.injected("epoll_pwait2"), 1);
    faulty.stop(&[]);
}

#[test]
fn waits_that_bring_nothing_are_made_again() {
    let faults = ["epoll_wait:retval=0:when=1+2", "epoll_pwait2:retval=0:when=1+2"];
    for (arguments, call) in [(&[][..], "epoll_wait"), (&["--idle-timeout", "20s"][..], "epoll_pwait2")] {
        let Some(faulty) = Faulty::start(&faults, arguments) else { return };
        assert_many_stream(faulty.server.tcp_address(), 4, 1 << 18);
        faulty.stop(&[call]);
    }
}

#[test]
fn events_that_are_told_again_harm_nobody() {
    // The kernel writes nothing, so the first event of the wait before comes once more: one that was served, or one of
    // a connection that is gone by now.
    let faults = Faults { inject: &["epoll_wait:retval=1:when=2+2"], trace: "close", ..Faults::default() };
    let Some(faulty) = Faulty::start_with(faults, &[]) else { return };
    for seed in 0..10 {
        let client = faulty.server.connect();
        streams::assert_streams(client, seed, 100_000);
    }
    let mut quiet = faulty.server.connect();
    assert_echoes(&mut quiet, b"hello");
    assert!(!is_readable(&quiet, Duration::from_millis(50)));
    drop(quiet);
    faulty.stop(&["epoll_wait"]);
}
