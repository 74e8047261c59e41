//! Whatever is wrong is told in one line that names the culprit, with exit code 2 for arguments and 1 for the system.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::TcpListener;
use std::process::Output;

use common::{run, unix_url};

/// The only line on stderr.
fn only_line(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.starts_with("echo-server: "), "{stderr}");
    stderr
}

#[test]
fn a_bad_argument_is_named_and_ends_with_two() {
    let cases: &[(&[&str], &str)] = &[
        (&["--nonsense"], "'--nonsense'"),
        (&["--lisen", "127.0.0.1:0"], "'--listen'"),
        (&["stray"], "'stray'"),
        (&["--listen"], "'--listen <ADDR>'"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--listen", ":80"], "write \"0.0.0.0:80\""),
        (&["--listen", "tcp://127.0.0.1:99999"], "99999"),
        (&["--listen", "http://127.0.0.1:1"], "http"),
        (&["--listen", "/run/echo.sock"], "write \"unix:/run/echo.sock\""),
        (&["--idle-timeout", "soon"], "soon"),
        (&["--idle-timeout", "0s"], "0s"),
        (&["--idle-timeout", "13days"], "12 days"),
        (&["--shutdown-timeout", "10"], "'--shutdown-timeout <DUR>'"),
        (&["--stats-interval", "0ms"], "'--stats-interval <DUR>'"),
        (&["--spin", "fast"], "fast"),
        (&["--max-buffer", "plenty"], "plenty"),
        (&["--max-buffer", "0"], "'--max-buffer <SIZE>'"),
        (&["--threads", "many"], "many"),
        (&["--threads", "1025"], "1024"),
        (&["--max-connections", "0"], "'--max-connections <N>'"),
        (&["--max-connections", "-1"], "-1"),
        (&["--sharing", "equally"], "round-robin"),
        (&["--log-level", "loud"], "loud"),
        (&["--completions", "dos"], "bash"),
        (&["--listen", "127.0.0.1:0", "--idle-timeout", "1s", "--idle-timeout", "2s"], "'--idle-timeout <DUR>'"),
        (&["--threads", "a\x07b\nc"], "'ab c'"),
    ];
    for (arguments, culprit) in cases {
        let output = run(arguments);
        let line = only_line(&output);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.contains(culprit), "{culprit} is not in: {line}");
    }
}

/// Runs with one address that cannot be bound, and answers the line.
fn refused(address: &str) -> String {
    let output = run(&["--listen", address]);
    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains(address), "{line}");
    line
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = refused(&format!("tcp://{}", taken.local_addr().unwrap()));
    assert!(line.contains("in use"), "{line}");
}

#[test]
fn an_address_that_is_not_ours_is_named() {
    // TEST-NET-1 of RFC 5737 is nobody's.
    let line = refused("tcp://192.0.2.1:80");
    assert!(line.contains("assign"), "{line}");
}

#[test]
fn a_directory_as_socket_path_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let line = refused(&unix_url(directory.path()));
    assert!(line.contains("not a socket"), "{line}");
    assert!(directory.path().is_dir());
}

#[test]
fn a_file_as_socket_path_is_left_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = refused(&unix_url(file.path()));
    assert!(line.contains("not a socket"), "{line}");
    assert!(file.path().is_file());
}

#[test]
fn a_directory_that_does_not_exist_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let line = refused(&unix_url(&directory.path().join("missing/echo.sock")));
    assert!(line.contains("No such file"), "{line}");
}

#[test]
fn a_place_where_nobody_may_create_files_is_told() {
    // Not even root may.
    let line = refused("unix:/proc/echo.sock");
    assert!(
        line.contains("Permission denied") || line.contains("No such file") || line.contains("not permitted"),
        "{line}"
    );
}

#[test]
fn a_path_that_is_too_long_is_told() {
    let address = format!("unix:/{}", "x".repeat(108));
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(only_line(&output).contains("107"));
}
