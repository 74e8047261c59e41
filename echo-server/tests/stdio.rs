//! Losing stdin, stdout or stderr never stops the service: closed, a full pipe, a full disk, a reader that went away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DEADLINE, PROGRAM, Server, assert_echoes, connect, is_readable, lines_of, run, wait_for};
use program_testing::silent::{Silent, redirected};
use rustix::process::Signal;

/// Starts through a shell that changes descriptors, at the level that logs most.
fn start(redirections: &str) -> Silent {
    let arguments = ["--threads", "1", "--log-level", "trace", "--stats-interval", "1ms"];
    start_command(redirected(PROGRAM, redirections).args(arguments))
}

fn start_command(command: &mut Command) -> Silent {
    Silent::start(tempfile::tempdir().unwrap(), command)
}

/// Serves a while, and nothing but what was sent comes back.
fn assert_serves(server: &Silent) {
    for _ in 0..20 {
        let mut client = server.connect();
        (0..20).for_each(|index| assert_echoes(&mut client, format!("message {index}").as_bytes()));
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[test]
fn a_closed_stderr_is_no_reason_to_stop() {
    let server = start("2>&-");
    assert_serves(&server);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn any_of_the_three_may_be_closed() {
    for redirections in ["<&-", ">&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-"] {
        let server = start(redirections);
        assert_serves(&server);
        assert_eq!(server.stop(), Some(0), "{redirections}");
    }
}

#[test]
fn with_all_three_closed_no_log_line_lands_in_a_socket() {
    let server = start("<&- >&- 2>&-");
    let idle = [server.connect(), server.connect(), server.connect()];
    assert_serves(&server);
    for client in &idle {
        assert!(!is_readable(client, Duration::ZERO), "something was written to a client");
    }
    assert!(fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().flatten().all(|entry| {
        let is_low = entry.file_name().to_str().is_some_and(|name| matches!(name, "0" | "1" | "2"));
        !is_low || fs::read_link(entry.path()).is_ok_and(|target| !target.to_string_lossy().starts_with("socket:"))
    }));
    drop(idle);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_full_disk_is_no_reason_to_stop() {
    let server = start("2>/dev/full");
    assert_serves(&server);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_log_at_the_limit_of_file_sizes_is_no_reason_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    // 512 bytes, which the lines of the start have used up.
    let script = format!(r#"ulimit -f 1; exec "$0" "$@" 2>{}"#, log.display());
    let arguments = ["-c", &script, PROGRAM, "--threads", "1", "--log-level", "trace"];
    let server = start_command(Command::new("sh").args(arguments));
    assert_serves(&server);
    assert_eq!(fs::metadata(&log).unwrap().len(), 512);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_reader_of_stderr_that_went_away_is_no_reason_to_stop() {
    let mut server = Server::on_tcp(&["--log-level", "trace"]);
    let address = server.tcp_address();
    server.stop_reading();
    let mut client = connect(address);
    (0..100).for_each(|_| assert_echoes(&mut client, b"hello"));
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_neither_service_nor_exit() {
    let (_never_read, writer) = std::io::pipe().unwrap();
    let arguments = ["--threads", "2", "--log-level", "trace", "--stats-interval", "1ms"];
    let server = start_command(Command::new(PROGRAM).args(arguments).stdout(Stdio::null()).stderr(writer));
    let mut client = server.connect();
    // Each message logs a line, and a pipe holds 64 KiB: it is full long before the end.
    for index in 0..5000 {
        assert_echoes(&mut client, format!("message {index}").as_bytes());
    }
    drop(client);
    assert_serves(&server);
    let since = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(since.elapsed() < DEADLINE / 2, "the exit took {:?}", since.elapsed());
}

#[test]
fn a_pipe_that_is_read_again_tells_what_was_lost() {
    let (reader, writer) = std::io::pipe().unwrap();
    let arguments = ["--threads", "1", "--log-level", "trace"];
    let server = start_command(Command::new(PROGRAM).args(arguments).stderr(writer));
    let mut client = server.connect();
    (0..5000).for_each(|_| assert_echoes(&mut client, b"hello"));
    let lines = lines_of(reader);
    // Once the queue has room, the next line brings the news.
    let end = Instant::now() + DEADLINE;
    while !lines.try_iter().any(|line| line.ends_with("lines are lost: stderr was not read in time")) {
        assert_echoes(&mut client, b"hello");
        assert!(Instant::now() < end, "nothing is told");
    }
    drop(client);
    assert_eq!(server.stop(), Some(0));
    assert!(lines.iter().any(|line| line.ends_with("draining")), "what came after is missing");
}

#[test]
fn nothing_ever_goes_to_stdout() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(PROGRAM);
    let arguments = ["--listen", "127.0.0.1:0", "--log-level", "trace", "--stats-interval", "1ms"];
    let server = Server::start_command(command.args(arguments).stdout(writer), 1);
    // The command keeps its end of the pipe.
    drop(command);
    assert_echoes(&mut server.connect(), b"hello");
    assert_eq!(server.stop().0, Some(0));
    let mut stdout = Vec::new();
    reader.read_to_end(&mut stdout).unwrap();
    assert!(stdout.is_empty());
}

#[test]
fn a_start_that_fails_ends_even_if_stderr_is_stuck() {
    let (_never_read, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut child = Command::new(PROGRAM).args(["--listen", &address]).stderr(writer).spawn().unwrap();
    assert_eq!(wait_for(&mut child).code(), Some(1));
}

/// Writes until the pipe takes no more.
fn fill(writer: &mut std::io::PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(&*writer).unwrap();
    rustix::fs::fcntl_setfl(&*writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&*writer, flags).unwrap();
}

#[test]
fn help_into_a_closed_pipe_ends_quietly() {
    for option in ["--help", "--version", "--completions=bash"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(PROGRAM).arg(option).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{option}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{option}");
    }
}

#[test]
fn completions_that_do_not_fit_are_told() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(PROGRAM).arg("--completions=bash").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
}

#[test]
fn help_names_every_option_and_completions_are_for_every_shell() {
    let options =
        ["--listen", "--threads", "--max-connections", "--idle-timeout", "--shutdown-timeout", "--max-buffer"];
    let more = ["--stats-interval", "--spin", "--sharing", "--pin", "--log-level", "--completions", "--version"];
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for option in options.iter().chain(&more) {
        assert!(help.contains(option), "{option}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(run(&["--completions", shell]).stdout).unwrap();
        assert!(script.contains("echo-server") && script.contains("max-connections"), "{shell}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version, format!("echo-server {}\n", env!("CARGO_PKG_VERSION")));
}
