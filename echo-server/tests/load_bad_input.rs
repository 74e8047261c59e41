//! Whatever keeps `echo-load` from its work is told in one line that names the culprit.

mod common;
mod load_support;

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Server;
use load_support::{LOAD, complaint, finish, load, texts};

#[test]
fn a_bad_argument_is_named_and_ends_with_two() {
    let cases: &[(&[&str], &str)] = &[
        (&["--nonsense"], "'--nonsense'"),
        (&["nowhere"], "nowhere"),
        (&["udp://127.0.0.1:7"], "datagrams"),
        (&["127.0.0.1:1", "127.0.0.1:2"], "127.0.0.1:2"),
        (&["--connections", "0"], "'--connections <N>'"),
        (&["--size", "0"], "'--size <SIZE>'"),
        (&["--size", "1GiB"], "at most"),
        (&["--size", "1MiB", "--depth", "1000"], "--size times --depth"),
        (&["--rate", "0"], "'--rate <N>'"),
        (&["--rate", "fast"], "fast"),
        (&["--duration", "soon"], "soon"),
        (&["--duration", "0s"], "'--duration <DUR>'"),
        (&["--warmup", "200years"], "century"),
        (&["--messages", "1", "--duration", "1s"], "'--duration <DUR>'"),
        (&["--churn", "--depth", "2"], "'--depth <N>'"),
        (&["--local-address", "here"], "'--local-address <IP[:PORT]>'"),
        (&["--local-address", "127.0.0.1", "unix:/run/echo.sock"], "Unix"),
        (&["--local-address", "127.0.0.1:4000"], "port 4000"),
        (&["--threads", "0"], "'--threads <N>'"),
        (&["--log-level", "loud"], "loud"),
    ];
    for (arguments, culprit) in cases {
        let output = load(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("echo-load: ") && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.contains(culprit), "no {culprit:?} in {stderr}");
    }
}

#[test]
fn a_refused_connection_is_told_and_ends_with_one() {
    // The port of a client: in use, so that no other test gets it, and nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let free = client.local_addr().unwrap();
    for more in [&["--messages", "10"][..], &["--messages", "10", "--churn"]] {
        let output = load(&[more, &["-c", "2", &free.to_string()]].concat());
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(1), ""));
        assert!(
            stderr.starts_with(&format!("echo-load: cannot connect to tcp://{free}: Connection refused")),
            "{stderr}"
        );
        assert!(stderr.ends_with("2 failed attempts in all\n"), "{stderr}");
    }
}

#[test]
fn a_socket_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let target = format!("unix:{}/absent.sock", directory.path().display());
    let line = complaint(&target, &["-c", "1"]);
    assert!(line.starts_with(&format!("cannot connect to {target}: No such file")), "{line}");
}

#[test]
fn an_unknown_host_and_a_wrong_family_are_named() {
    let line = complaint("[::1%nowhere]:80", &[]);
    assert!(line.contains("nowhere"), "{line}");
    let line = complaint("127.0.0.1:80", &["--local-address", "::1"]);
    assert!(line.contains("no IPv6 address"), "{line}");
}

#[test]
fn a_connection_that_is_not_made_in_time_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: at last the backlog is full and the kernel answers no more.
    let mut waiting = Vec::new();
    let error = loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let line = complaint(&address.to_string(), &["-c", "1", "--connect-timeout", "100ms"]);
    assert!(line.starts_with(&format!("cannot connect to tcp://{address}: no answer within the deadline")), "{line}");
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let with_limits = |limits: &str, connections: &str| {
        let script = format!("ulimit {limits} && exec {LOAD} --messages 500 -c {connections} {target}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().unwrap())
    };
    let raised = with_limits("-Sn 100", "300");
    assert_eq!(raised.status.code(), Some(0), "{raised:?}");
    let (stdout, stderr) = texts(&with_limits("-n 100", "300"));
    assert_eq!(stdout, "");
    let told = "echo-load: 300 connections need 340 open files, and the system allows 100";
    assert!(stderr.starts_with(told), "{stderr}");
}
