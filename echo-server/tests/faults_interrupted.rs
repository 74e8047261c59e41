//! A signal may interrupt any call (`EINTR`): it is made again, and no byte is lost or doubled.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;
#[path = "common/streams.rs"]
mod streams;

use common::{assert_echoes, expect_end};
use strace::{Faults, Faulty};
use streams::assert_many_stream;

#[test]
fn every_second_recv_and_send_is_interrupted() {
    let faults = ["recvfrom:error=EINTR:when=1+2", "sendto:error=EINTR:when=1+2", "sendmsg:error=EINTR:when=1+2"];
    let Some(faulty) = Faulty::start(&faults, &[]) else { return };
    assert_many_stream(faulty.server.tcp_address(), 4, 1 << 20);
    faulty.stop(&["recvfrom", "sendto"]);
}

#[test]
fn a_call_is_interrupted_many_times_in_a_row() {
    let faults = ["recvfrom:error=EINTR:when=1..200", "sendto:error=EINTR:when=1..200"];
    let Some(faulty) = Faulty::start(&faults, &[]) else { return };
    assert_echoes(&mut faulty.server.connect(), b"hello");
    assert_eq!((faulty.log.injected("recvfrom"), faulty.log.injected("sendto")), (200, 200));
    faulty.stop(&[]);
}

#[test]
fn accepting_is_interrupted() {
    let Some(faulty) = Faulty::start(&["accept4:error=EINTR:when=1+2"], &[]) else { return };
    for _ in 0..20 {
        assert_echoes(&mut faulty.server.connect(), b"hello");
    }
    faulty.stop(&["accept4"]);
}

#[test]
fn waiting_is_interrupted() {
    let faults = ["epoll_wait:error=EINTR:when=1+2", "epoll_pwait2:error=EINTR:when=1+2"];
    // With an idle timeout the loop waits with a deadline.
    for (arguments, call) in [(&[][..], "epoll_wait"), (&["--idle-timeout", "20s"][..], "epoll_pwait2")] {
        let Some(faulty) = Faulty::start(&faults, arguments) else { return };
        assert_many_stream(faulty.server.tcp_address(), 4, 1 << 18);
        faulty.stop(&[call]);
    }
}

#[test]
fn a_deadline_holds_though_every_wait_is_interrupted() {
    let Some(faulty) = Faulty::start(&["epoll_pwait2:error=EINTR:when=1+"], &["--idle-timeout", "200ms"]) else {
        return;
    };
    let mut client = faulty.server.connect();
    expect_end(&mut client);
    faulty.stop(&["epoll_pwait2"]);
}

#[test]
fn reading_the_signal_that_stops_is_interrupted() {
    let faults = Faults { inject: &["read:error=EINTR:when=1..3"], path: "anon_inode:[signalfd]", ..Faults::default() };
    let Some(faulty) = Faulty::start_with(faults, &[]) else { return };
    assert_echoes(&mut faulty.server.connect(), b"hello");
    faulty.stop(&["read"]);
}
