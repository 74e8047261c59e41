//! What holds for the program whatever it serves: its defaults, its ends, and what it does without a stdout or a stderr.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{DEADLINE, PROGRAM, Server, eventually, expect_end, read_answer, run, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn the_current_directory_is_served_by_default() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), "x").unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["-l", "tcp://127.0.0.1:0"]).current_dir(tree.path());
    let server = Server::start_command(tree, &mut command, 1);
    assert_eq!(server.get("/a").text(), "x");
}

#[test]
fn what_cannot_be_served_ends_the_program_before_anything_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let zero = "127.0.0.1:0";
    for (arguments, code, told) in [
        (&["-l", zero, "--struct-listen", &taken, "."][..], 1, taken.as_str()),
        (&["-l", zero, "--metrics-listen", &taken, "."][..], 1, taken.as_str()),
        (&["-l", zero, "/dev/null"][..], 1, "/dev/null"),
        (&["-l", "unix:/no/such/place", "."][..], 1, "/no/such/place"),
        (&["-l", "127.0.0.1", "."][..], 2, "127.0.0.1"),
        (&["-l", "127.0.0.1:65536", "."][..], 2, "65536"),
        (&["--max-upload-size", "1XB", "."][..], 2, "1XB"),
        (&["--body-timeout", "5parsecs", "."][..], 2, "5parsecs"),
        (&[".", "."][..], 2, "'.'"),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(told), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_that_nobody_reads_ends_quietly() {
    for argument in ["--help", "--version", "--man", "--completions=bash"] {
        // A pipe whose reader is gone before anything is written to it.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(PROGRAM);
        let mut child = command.arg(argument).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(wait_for(&mut child).code(), Some(0), "{argument}");
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(told, "", "{argument}");
    }
}

#[test]
fn a_stdout_or_a_stderr_that_is_lost_stops_nothing() {
    for redirections in ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"] {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("a"), "x").unwrap();
        let socket = tree.path().join("s");
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"exec "$0" "$@" {redirections}"#), PROGRAM, "--threads", "1"]);
        command.args(["--log-level", "trace", "--access-log", "-", "--listen", &format!("unix:{}", socket.display())]);
        let mut child = command.arg(tree.path()).stdout(Stdio::null()).spawn().unwrap();
        let mut connected = None;
        eventually("it is up", || {
            connected = UnixStream::connect(&socket).ok();
            connected.is_some()
        });
        let mut stream = connected.unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        for _ in 0..100 {
            stream.write_all(GET).unwrap();
            let answer = read_answer(&mut stream, false);
            assert_eq!((answer.status, answer.text().as_str()), (200, "x"), "{redirections}");
        }
        // No line of a log is among the bytes.
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        expect_end(&mut stream);
        drop(stream);
        assert_eq!(wait_for(&mut child).code(), Some(0), "{redirections}");
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let server = Server::start(&["--max-connections", "1"]);
    server.write("a", "x");
    let mut first = server.connect();
    first.write_all(GET).unwrap();
    assert_eq!(read_answer(&mut first, false).status, 200);
    let mut second = server.connect();
    second.write_all(GET).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let early = second.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(early, Err(ErrorKind::WouldBlock | ErrorKind::Interrupted)), "{early:?}");
    drop(first);
    second.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(read_answer(&mut second, false).text(), "x");
}

/// An upload that waits for its last byte.
fn begun(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    let head = "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, true).status, 100);
    stream.write_all(b"x").unwrap();
    stream
}

#[test]
fn an_interrupt_drains_and_a_second_one_cuts() {
    let mut server = Server::start(&["--allow-upload", "--shutdown-timeout", "1h"]);
    let mut stream = begun(&server);
    server.signal(Signal::INT);
    server.wait_for_line(|line| line.contains("draining"));
    stream.write_all(b"y").unwrap();
    let answer = read_answer(&mut stream, false);
    assert_eq!((answer.status, answer.field("Connection")), (201, Some("close")));
    expect_end(&mut stream);
    drop(stream);
    assert_eq!(server.wait().code(), Some(0));

    let mut server = Server::start(&["--allow-upload", "--shutdown-timeout", "1h"]);
    let stream = begun(&server);
    server.signal(Signal::INT);
    server.wait_for_line(|line| line.contains("draining"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.rest_of_stderr().iter().any(|line| line.starts_with("cut 1 connection")));
    drop(stream);
    assert!(!server.path("b").exists());
}
