//! `--stats-interval` says a line every so often, in its place on a terminal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DEADLINE, PROGRAM, Server, assert_echoes, connect, is_readable, wait_for};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

#[test]
fn a_pipe_gets_one_plain_line_each_time_and_one_at_the_end() {
    let mut server = Server::on_tcp(&["--stats-interval", "50ms"]);
    let mut client = server.connect();
    assert_echoes(&mut client, &[7; 1000]);
    server.wait_for_line(|line| line.starts_with("open 1, accepted 1 "));
    server.wait_for_line(|line| line.starts_with("open 1, accepted 1 (0/s), in 0 B/s, out 0 B/s, waiting 0 B, turns "));
    drop(client);
    server.wait_for_line(|line| line.starts_with("open 0, accepted 1 "));
    let (code, stderr) = server.stop();
    assert_eq!(code, Some(0));
    assert!(stderr.last().is_some_and(|line| line.starts_with("open 0, ")), "{stderr:?}");
    assert!(stderr.iter().all(|line| !line.contains(['\r', '\x1b'])), "{stderr:?}");
}

#[test]
fn nothing_is_said_unasked() {
    let server = Server::on_tcp(&[]);
    assert_echoes(&mut server.connect(), b"hello");
    let (_, stderr) = server.stop();
    assert_eq!(stderr.len(), 2, "{stderr:?}");
}

/// Reads from the terminal until the wanted text has come.
fn read_until(terminal: &mut File, text: &mut String, wanted: &str) {
    let end = Instant::now() + DEADLINE;
    while !text.contains(wanted) {
        assert!(Instant::now() < end && is_readable(terminal.as_fd(), DEADLINE), "no {wanted:?} in {text:?}");
        let mut bytes = [0; 4096];
        let count = terminal.read(&mut bytes).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

#[test]
fn a_terminal_gets_a_line_that_stays_in_its_place() {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let terminal =
        open(ptsname(&controller, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--threads", "1", "--stats-interval", "20ms"];
    let stderr = Stdio::from(terminal);
    let mut child = Command::new(PROGRAM).args(arguments).stderr(stderr).spawn().unwrap();
    let (mut screen, mut text) = (File::from(controller), String::new());
    read_until(&mut screen, &mut text, "\n");
    let address = text.trim().strip_prefix("listening on tcp://").unwrap().parse().unwrap();
    let mut client = connect(address);
    assert_echoes(&mut client, b"hello");
    read_until(&mut screen, &mut text, "open 1, ");
    text.clear();
    read_until(&mut screen, &mut text, "open 1, ");
    read_until(&mut screen, &mut text, "\r\x1b[K\x1b[?7lopen 1, ");
    assert!(!text.contains('\n'), "{text:?}");
    drop(client);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(wait_for(&mut child).code(), Some(0));
    // The log line takes the place of the status, and the last statistics stay.
    read_until(&mut screen, &mut text, "draining\r\n");
    read_until(&mut screen, &mut text, "open 0, ");
    assert!(is_readable(screen.as_fd(), Duration::ZERO) || text.ends_with("\r\n"), "{text:?}");
}
