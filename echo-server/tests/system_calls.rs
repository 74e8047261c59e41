//! The system calls that an echoed message and a short connection cost, as strace(1) counts them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;
#[path = "common/strace.rs"]
mod strace;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;
use std::thread;

use common::{PROGRAM, Server, assert_echoes, connect};
use rustix::process::{Pid, Signal, kill_process};
use strace::can_trace;

/// How often the loop's thread made each call.
type Calls = BTreeMap<String, usize>;

/// Runs a server with one loop under strace while `load` runs, and answers the lines of the loop's thread from the first
/// accepted connection to the signal that ended it. `None`: strace is not here, or may not trace.
fn trace(load: impl FnOnce(&Server)) -> Option<Vec<String>> {
    if !can_trace() {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-ff", "-qq", "-o"]).arg(&prefix);
    command.args([PROGRAM, "--listen", "127.0.0.1:0", "--threads", "1"]);
    let mut server = Server::start_command(&mut command, 1);
    load(&server);
    kill_process(traced_by(&server), Signal::TERM).unwrap();
    assert!(server.wait().success());
    Some(loop_lines(directory.path()))
}

/// The process that strace started.
fn traced_by(strace: &Server) -> Pid {
    let id = strace.child.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

fn loop_lines(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let trace = files.into_iter().find(|text| text.contains("accept4(")).unwrap();
    let lines = trace.lines().skip_while(|line| !line.starts_with("accept4("));
    // The only thing the loop reads by read(2) is the signal.
    let lines = lines.take_while(|line| !line.starts_with("read("));
    lines.filter(|line| !is_check_of_debug_build(line)).map(str::to_owned).collect()
}

/// The standard library looks at each descriptor before it closes it, in debug builds.
fn is_check_of_debug_build(line: &str) -> bool {
    cfg!(debug_assertions) && line.starts_with("fcntl(") && line.contains("F_GETFD")
}

fn count(lines: &[String]) -> Calls {
    let mut calls = Calls::new();
    for line in lines {
        let Some((name, _)) = line.split_once('(') else { continue };
        // The ways to wait are one.
        let name = if name.starts_with("epoll_") && name.contains("wait") { "epoll_wait" } else { name };
        *calls.entry(name.to_owned()).or_default() += 1;
    }
    calls
}

fn of(calls: &Calls, name: &str) -> usize {
    calls.get(name).copied().unwrap_or_default()
}

/// Calls for each message, over all that moves messages.
fn per_message(calls: &Calls, messages: usize) -> f64 {
    (of(calls, "recvfrom") + of(calls, "sendto") + of(calls, "epoll_wait")) as f64 / messages as f64
}

fn assert_no_mod(lines: &[String]) {
    assert!(!lines.iter().any(|line| line.contains("EPOLL_CTL_MOD")));
}

#[test]
fn a_message_of_one_connection_costs_three_calls() {
    const MESSAGES: usize = 5000;
    let lines = trace(|server| {
        let mut client = server.connect();
        (0..MESSAGES).for_each(|_| assert_echoes(&mut client, &[7; 64]));
    });
    let Some(lines) = lines else { return };
    let calls = count(&lines);
    let cost = per_message(&calls, MESSAGES);
    println!("1 connection: {cost:.4} calls a message, {calls:?}");
    assert!(cost <= 3.02, "{cost}: {calls:?}");
    assert_no_mod(&lines);
}

#[test]
fn with_many_connections_the_wait_is_shared() {
    const CONNECTIONS: usize = 64;
    const ROUNDS: usize = 100;
    let lines = trace(|server| {
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for _ in 0..ROUNDS {
            clients.iter_mut().for_each(|client| client.write_all(&[7; 64]).unwrap());
            clients.iter_mut().for_each(|client| client.read_exact(&mut [0; 64]).unwrap());
        }
    });
    let Some(lines) = lines else { return };
    let calls = count(&lines);
    let cost = per_message(&calls, CONNECTIONS * ROUNDS);
    println!("{CONNECTIONS} connections: {cost:.4} calls a message, {calls:?}");
    // Closing costs each connection one recv and the close; the bound is for messages.
    let closing = CONNECTIONS as f64 / (CONNECTIONS * ROUNDS) as f64;
    assert!(cost <= 2.1 + closing, "{cost}: {calls:?}");
    assert_no_mod(&lines);
}

#[test]
fn a_short_connection_costs_six_calls_and_its_share_of_two() {
    const THREADS: usize = 32;
    const EACH: usize = 40;
    let lines = trace(|server| {
        let address = server.tcp_address();
        let churn = move || {
            for _ in 0..EACH {
                let mut client = connect(address);
                assert_echoes(&mut client, &[7; 64]);
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
            }
        };
        let clients: Vec<_> = (0..THREADS).map(|_| thread::spawn(churn)).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let Some(lines) = lines else { return };
    let calls = count(&lines);
    let connections = THREADS * EACH;
    let cost = lines.len() as f64 / connections as f64;
    println!("{connections} connections: {cost:.3} calls each, {calls:?}");
    for name in calls.keys() {
        let expected = ["accept4", "epoll_ctl", "recvfrom", "sendto", "close", "epoll_wait"];
        assert!(expected.contains(&name.as_str()), "{name}: {calls:?}");
    }
    assert_eq!(of(&calls, "epoll_ctl"), connections, "{calls:?}");
    assert_eq!(of(&calls, "sendto"), connections, "{calls:?}");
    assert_eq!(of(&calls, "recvfrom"), 2 * connections, "{calls:?}");
    assert_eq!(of(&calls, "close"), connections, "{calls:?}");
    assert!(lines.iter().all(|line| !line.starts_with("epoll_ctl") || line.contains("EPOLL_CTL_ADD")));
    assert!(cost <= 7.1, "{cost}: {calls:?}");
}
