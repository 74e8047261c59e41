//! Listening sockets that a service manager passes in by `LISTEN_FDS` are served; see sd_listen_fds(3).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use common::{PROGRAM, Server, assert_echoes, connect, unix_url, wait_for};

/// A shell that passes its stdin on as descriptor 3, as a service manager does.
fn activated(socket: OwnedFd, pid: &str, arguments: &[&str]) -> Command {
    let script = format!(r#"export LISTEN_FDS=1 LISTEN_PID={pid}; exec "$0" "$@" 3<&0 </dev/null"#);
    let mut command = Command::new("sh");
    command.args(["-c", &script, PROGRAM]).args(arguments).stdin(Stdio::from(socket));
    command
}

#[test]
fn a_tcp_socket_passed_in_is_served_instead_of_the_default() {
    for sharing in ["exclusive", "round-robin", "reuse-port"] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = Server::start_command(&mut activated(socket.into(), "$$", &["--sharing", sharing]), 1);
        assert_eq!(server.addresses(), [format!("tcp://{address}")]);
        assert_echoes(&mut connect(address), b"hello");
        assert_eq!(server.stop().0, Some(0));
    }
}

#[test]
fn a_unix_socket_passed_in_is_served_beside_others_and_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let server = Server::start_command(&mut activated(socket.into(), "$$", &["--listen", "127.0.0.1:0"]), 2);
    assert_eq!(server.addresses()[1], unix_url(&path));
    assert_echoes(&mut server.connect(), b"over tcp");
    assert_echoes(&mut UnixStream::connect(&path).unwrap(), b"over a path");
    assert_eq!(server.stop().0, Some(0));
    // It belongs to the one who made it.
    assert!(path.exists());
}

#[test]
fn a_socket_meant_for_another_process_is_left_alone() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let server = Server::start_command(&mut activated(socket.into(), "1", &["--listen", "127.0.0.1:0"]), 1);
    assert_ne!(server.addresses(), [format!("tcp://{address}")]);
}

#[test]
fn what_is_no_stream_socket_is_refused() {
    let sockets: [(OwnedFd, &str); 2] = [
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "no TCP or Unix stream socket"),
        (UnixStream::pair().unwrap().0.into(), "does not listen"),
    ];
    for (socket, cause) in sockets {
        let mut child = activated(socket, "$$", &[]).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(wait_for(&mut child).code(), Some(1));
        let stderr = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(stderr.contains(cause) && stderr.contains("socket 1 of LISTEN_FDS"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
