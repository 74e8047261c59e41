//! What an operator or the system does to the process as a whole: a start that lacks something says what; shortages, signals
//! and stops cost no transfer a byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod fault_support;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{PROGRAM, Server, expect_end, pattern, read_answer};
use fault_support::{
    Faults, Faulty, LARGE, LISTENING, SMALL, ask, assert_content, can_trace, join, put, start_visits, tree,
};
use program_testing::process::is_readable;
use program_testing::running;
use rustix::process::{Resource, Rlimit, Signal, prlimit};

#[test]
fn what_is_lacking_at_the_start_is_told_in_one_line() {
    if !can_trace() {
        return;
    }
    let tree = tree();
    let faults = [
        ("socket:error=EMFILE", "Too many open files"),
        ("bind:error=EACCES", "Permission denied"),
        ("listen:error=EADDRINUSE", "Address already in use"),
        ("epoll_create1:error=ENFILE", "Too many open files in system"),
        ("epoll_ctl:error=ENOMEM", "Cannot allocate memory"),
        ("signalfd4:error=EMFILE", "Too many open files"),
        ("clone,clone3:error=EAGAIN", "Resource temporarily unavailable"),
        ("openat2:error=ENOSYS", "openat2(2), which needs Linux 5.6"),
        ("openat2:error=EACCES", "Permission denied"),
    ];
    for (fault, cause) in faults {
        let faults = Faults { inject: &[fault], ..Faults::default() };
        let mut command = faults.command(Path::new("/dev/null"), PROGRAM);
        let output = running::run(command.args(LISTENING).arg(tree.path()).env_remove("RUST_LOG"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{fault}: {said}");
        assert!(said.starts_with("file-server: ") && said.contains(cause), "{fault}: {said}");
    }
}

#[test]
fn whatever_accepting_answers_all_clients_are_served() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EINTR", "EPERM"] {
        let Some(faulty) = Faulty::start(&[&format!("accept4:error={error}:when=2..4")], &[]) else { return };
        let visits = start_visits(faulty.server.address(), 3, 1);
        join(visits);
        faulty.stop(&["accept4"]);
    }
}

#[test]
fn who_cannot_be_watched_is_closed_and_transfers_go_on() {
    // The loop adds its waker, its signals and its listener, then the connections, of which the third one fails.
    let Some(faulty) = Faulty::start(&["epoll_ctl:error=ENOSPC:when=6"], &[]) else { return };
    let mut clients: Vec<_> = (0..4).map(|_| faulty.server.connect()).collect();
    let mut refused = 0;
    for client in &mut clients {
        let asked = client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        match asked.and_then(|()| client.peek(&mut [0])).map_err(|error| error.kind()) {
            Ok(1..) => assert_content(&read_answer(client, false), 200, &LARGE),
            Ok(0) | Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => refused += 1,
            Err(kind) => panic!("{kind}"),
        }
    }
    assert_eq!(refused, 1);
    drop(clients);
    let (stderr, _) = faulty.stop(&["epoll_ctl"]);
    assert!(stderr.iter().any(|line| line.contains("could not be watched")), "{stderr:#?}");
}

/// Changes the limit of descriptors of a server that runs.
fn limit(server: &Server, files: u64) {
    prlimit(Some(server.pid()), Resource::Nofile, Rlimit { current: Some(files), maximum: Some(1024) }).unwrap();
}

#[test]
fn a_limit_that_is_lowered_and_raised_live_costs_no_transfer_a_byte() {
    let server = Server::serving(tree(), &["--allow-upload"]);
    server.write("other", "other");
    let mut stays = server.connect();
    assert_content(&ask(&mut stays, "GET /small", ""), 200, &SMALL);
    for round in 0..3 {
        let mut download = server.connect();
        download.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut upload = server.connect();
        let content = pattern(200_000);
        upload
            .write_all(b"PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
            .unwrap();
        assert_eq!(read_answer(&mut upload, false).status, 100);
        // Below what is open already.
        limit(&server, 3);
        let mut waits = server.connect();
        waits.write_all(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        // What is kept needs no descriptor, and what does has an honest answer.
        assert_content(&ask(&mut stays, "GET /small", ""), 200, &SMALL);
        assert_eq!(ask(&mut stays, "GET /other", "").status, 503);
        assert!(!is_readable(&waits, Duration::ZERO), "it was accepted");
        assert_content(&read_answer(&mut download, false), 200, &LARGE);
        upload.write_all(&content).unwrap();
        assert!(read_answer(&mut upload, false).status < 300);
        limit(&server, 1024);
        assert_content(&read_answer(&mut waits, false), 200, &SMALL);
        assert_eq!(ask(&mut stays, "GET /other", "").text(), "other", "{round}");
        server.write("other", "other");
        assert!(put(&mut stays, "put", &content).status < 300);
    }
    drop(stays);
    let mut server = server;
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_storm_of_signals_costs_no_byte() {
    let mut command = Command::new("env");
    let tree = tree();
    command.arg("--ignore-signal=USR2,ALRM").arg(PROGRAM).args(LISTENING).arg(tree.path());
    let mut server = Server::start_command(tree, &mut command, 1);
    let visits = start_visits(server.address(), 3, 4);
    while visits.iter().any(|visit| !visit.is_finished()) {
        for signal in [Signal::WINCH, Signal::USR2, Signal::PIPE, Signal::STOP, Signal::CONT, Signal::URG] {
            server.signal(signal);
        }
    }
    server.signal(Signal::CONT);
    join(visits);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn an_upload_that_came_while_the_process_stood_still_is_not_too_late() {
    let mut server = Server::serving(tree(), &["--allow-upload", "--body-timeout", "2s"]);
    let mut upload = server.connect();
    upload.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut upload, false).status, 100);
    upload.write_all(b"hello").unwrap();
    server.signal(Signal::STOP);
    server.wait_until_stopped();
    upload.write_all(b"world").unwrap();
    // The timeout passes while nobody can look.
    thread::sleep(Duration::from_millis(2500));
    server.signal(Signal::CONT);
    assert_eq!(read_answer(&mut upload, false).status, 201);
    assert_eq!(ask(&mut upload, "GET /a", "").text(), "helloworld");
    drop(upload);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn a_drain_in_a_shortage_ends() {
    let mut server = Server::serving(tree(), &[]);
    let mut inside = server.connect();
    assert_content(&ask(&mut inside, "GET /small", ""), 200, &SMALL);
    limit(&server, 3);
    let _waits = server.connect();
    server.signal(Signal::TERM);
    expect_end(&mut inside);
    assert_eq!(server.wait().code(), Some(0));
}
