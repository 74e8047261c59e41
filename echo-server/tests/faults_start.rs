//! A start that lacks something ends with 1 and one line that says what, and never hangs or serves by halves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/strace.rs"]
mod strace;

use std::path::Path;
use std::process::Stdio;

use common::{PROGRAM, wait_for};
use strace::{Faults, can_trace};

/// Starts with this fault; answers the exit code and what was said.
fn start(fault: &str, threads: &str) -> (Option<i32>, Vec<String>) {
    let faults = Faults { inject: &[fault], ..Faults::default() };
    let mut command = faults.command(Path::new("/dev/null"), PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--threads", threads]).env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_for(&mut child);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn what_is_lacking_is_told_in_one_line() {
    if !can_trace() {
        return;
    }
    let faults = [
        ("socket:error=EMFILE", "Too many open files"),
        ("bind:error=EACCES", "Permission denied"),
        ("listen:error=EADDRINUSE", "Address already in use"),
        ("epoll_create1:error=ENFILE", "Too many open files in system"),
        ("epoll_ctl:error=ENOMEM", "Cannot allocate memory"),
        ("epoll_ctl:error=ENOSPC:when=2", "No space left on device"),
        ("signalfd4:error=EMFILE", "Too many open files"),
        ("clone,clone3:error=EAGAIN", "Resource temporarily unavailable"),
    ];
    for (fault, cause) in faults {
        for threads in ["1", "3"] {
            let (code, said) = start(fault, threads);
            assert_eq!((code, said.len()), (Some(1), 1), "{fault}, {threads} threads: {said:#?}");
            assert!(said[0].starts_with("echo-server: cannot ") && said[0].contains(cause), "{fault}: {said:?}");
        }
    }
}

#[test]
fn a_loop_that_cannot_wait_ends_the_server() {
    if !can_trace() {
        return;
    }
    let (code, said) = start("epoll_wait:error=EBADF", "1");
    let last = said.last().unwrap();
    assert!(last.starts_with("echo-server: the server failed: ") && last.contains("Bad file descriptor"), "{said:#?}");
    assert_eq!(code, Some(1));
}
