//! Losing stdin, stdout, stderr or the access log never stops the service: closed, a full pipe, a full disk, a reader that left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod fault_support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{PROGRAM, lines_of, pattern, read_answer, wait_for};
use fault_support::{LARGE, SMALL, assert_content, tree};
use program_testing::process::is_readable;
use program_testing::silent::{Silent, redirected};

/// Starts through a shell that changes descriptors, with a line of the log for each request.
fn start(redirections: &str, arguments: &[&str]) -> Silent {
    let mut command = redirected(PROGRAM, redirections);
    start_command(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()))
}

fn start_command(command: &mut Command) -> Silent {
    let tree = tree();
    command.args(["--threads", "1", "--log-level", "trace"]).arg(tree.path());
    Silent::start(tree, command)
}

/// Serves a while, and nothing but answers comes back.
fn assert_serves(server: &Silent) {
    for _ in 0..10 {
        let mut client = server.connect();
        for (name, content) in [("small", &SMALL), ("large", &LARGE)] {
            client.write_all(format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            assert_content(&read_answer(&mut client, false), 200, content);
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[test]
fn any_of_the_three_may_be_closed() {
    for redirections in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        for log in [&["--access-log", "-"][..], &[]] {
            let server = start(redirections, log);
            let idle = [server.connect(), server.connect(), server.connect()];
            assert_serves(&server);
            for client in &idle {
                assert!(!is_readable(client, Duration::ZERO), "{redirections}: something was written to a client");
            }
            drop(idle);
            assert_eq!(server.stop(), Some(0), "{redirections}");
        }
    }
}

#[test]
fn a_full_disk_is_no_reason_to_stop() {
    let server = start("2>/dev/full >/dev/full", &["--access-log", "-"]);
    assert_serves(&server);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn an_access_log_that_cannot_be_written_is_told_once() {
    let (reader, writer) = std::io::pipe().unwrap();
    let lines = lines_of(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(PROGRAM);
    let server = start_command(command.args(["--access-log", "-"]).stdout(full).stderr(writer));
    drop(command);
    assert_serves(&server);
    assert_eq!(server.stop(), Some(0));
    let told = lines.iter().filter(|line| line.contains("cannot write to the access log: No space left")).count();
    assert_eq!(told, 1);
}

#[test]
fn an_access_log_at_the_limit_of_file_sizes_is_no_reason_to_stop() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let script = r#"ulimit -f 1; exec "$0" "$@" 2>/dev/null"#;
    let mut command = Command::new("sh");
    let server = start_command(command.args(["-c", script, PROGRAM, "--access-log"]).arg(&log));
    assert_serves(&server);
    assert_eq!(fs::metadata(&log).unwrap().len(), 512);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn pipes_that_nobody_reads_hold_up_neither_service_nor_exit() {
    let (_unread, stdout) = std::io::pipe().unwrap();
    let (_unread_too, stderr) = std::io::pipe().unwrap();
    let mut command = Command::new(PROGRAM);
    let server = start_command(command.args(["--access-log", "-"]).stdout(stdout).stderr(stderr));
    let mut client = server.connect();
    // Each request is a line in both, and a pipe holds 64 KiB.
    let request = format!("GET /small?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1000));
    for _ in 0..500 {
        client.write_all(request.as_bytes()).unwrap();
        assert_content(&read_answer(&mut client, false), 200, &pattern(1000));
    }
    drop(client);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn readers_that_went_away_are_no_reason_to_stop() {
    let (reader, stdout) = std::io::pipe().unwrap();
    let (reader_too, stderr) = std::io::pipe().unwrap();
    let mut command = Command::new(PROGRAM);
    let server = start_command(command.args(["--access-log", "-"]).stdout(stdout).stderr(stderr));
    drop((reader, reader_too));
    assert_serves(&server);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_start_that_fails_ends_even_if_stderr_is_stuck() {
    let (_unread, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    let mut child =
        Command::new(PROGRAM).arg("/no/such/directory").stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    assert_eq!(wait_for(&mut child).code(), Some(1));
}
