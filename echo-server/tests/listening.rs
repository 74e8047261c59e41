//! Every address asked for is bound, told by a ready line, serves, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::thread;

use common::{DEADLINE, Server, assert_echoes, connect, run, unix_url};

fn connect_unix(path: &std::path::Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn port_zero_becomes_a_port_that_is_told() {
    let server = Server::on_tcp(&[]);
    assert_ne!(server.tcp_address().port(), 0);
    assert_echoes(&mut server.connect(), b"hello");
    let (code, stderr) = server.stop();
    assert_eq!(code, Some(0), "{stderr:?}");
}

#[test]
fn an_address_without_a_scheme_is_tcp() {
    let server = Server::start(&["--listen", "localhost:0"]);
    assert_echoes(&mut server.connect(), b"hello");
}

#[test]
fn the_ready_line_is_shown_whatever_the_log_level() {
    let server = Server::on_tcp(&["--log-level", "off"]);
    let (code, stderr) = server.stop();
    assert_eq!((code, stderr.len()), (Some(0), 1), "{stderr:?}");
}

#[test]
fn each_connection_is_named_in_the_log_for_those_who_want_it() {
    let mut server = Server::on_tcp(&["--log-level", "debug"]);
    let client = server.connect();
    let peer = client.local_addr().unwrap();
    let line = server.wait_for_line(|line| line.contains("connection"));
    assert!(line.ends_with(&format!(" from {peer}")), "{line}");
    drop(client);
    server.wait_for_line(|line| line.contains(" ended: "));
}

#[test]
fn all_kinds_of_addresses_are_served_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let name = format!("echo-server-test-{}", std::process::id());
    let abstract_url = format!("unix:@{name}");
    let server = Server::start(&[
        "--listen",
        "tcp://127.0.0.1:0",
        "--listen",
        "tcp://[::1]:0",
        "--listen",
        &unix_url(&path),
        "--listen",
        &abstract_url,
    ]);
    let addresses = server.addresses();
    for address in &addresses[..2] {
        let address: SocketAddr = address.strip_prefix("tcp://").unwrap().parse().unwrap();
        assert_echoes(&mut connect(address), b"over tcp");
    }
    assert_eq!(addresses[2..], [unix_url(&path), abstract_url]);
    assert_echoes(&mut connect_unix(&path), b"over a path");
    let address = UnixAddress::from_abstract_name(name).unwrap();
    assert_echoes(&mut UnixStream::connect_addr(&address).unwrap(), b"over a name");
}

#[test]
fn a_stale_socket_is_replaced_and_ours_is_removed_at_exit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::start(&["--listen", &unix_url(&path)]);
    assert_echoes(&mut connect_unix(&path), b"hello");
    assert_eq!(server.stop().0, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_socket_that_lives_is_refused_and_goes_on_serving() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let _first = Server::start(&["--listen", &unix_url(&path)]);
    let second = run(&["--listen", &unix_url(&path)]);
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr.contains(path.to_str().unwrap()) && stderr.contains("another server listens there"), "{stderr}");
    assert_echoes(&mut connect_unix(&path), b"still here");
}

#[test]
fn what_was_bound_before_a_failure_is_gone_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let missing = directory.path().join("no/such/directory");
    let output = run(&["--listen", &unix_url(&path), "--listen", &unix_url(&missing)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn every_way_to_share_serves_on_every_thread() {
    let directory = tempfile::tempdir().unwrap();
    for sharing in ["exclusive", "round-robin", "fewest", "reuse-port"] {
        let url = unix_url(&directory.path().join(sharing));
        let threads = ["--sharing", sharing, "--threads", "3", "--pin"];
        let server = Server::start(&[&threads[..], &["--listen", "127.0.0.1:0", "--listen", &url]].concat());
        let mut clients: Vec<_> = (0..24).map(|_| server.connect()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            assert_echoes(client, format!("client {index}").as_bytes());
        }
        assert_echoes(&mut connect_unix(&directory.path().join(sharing)), b"over a path");
        assert_eq!(server.stop().0, Some(0), "{sharing}");
    }
}

#[test]
fn a_long_stream_comes_back_whole_before_the_end_does() {
    const LENGTH: usize = 16 << 20;
    let server = Server::on_tcp(&[]);
    let mut client = server.connect();
    let mut sender = client.try_clone().unwrap();
    let byte_at = |offset: usize| (offset as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0];
    let writing = thread::spawn(move || {
        let bytes: Vec<u8> = (0..LENGTH).map(byte_at).collect();
        bytes.chunks(100_003).for_each(|chunk| sender.write_all(chunk).unwrap());
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    assert_eq!(answer.len(), LENGTH);
    assert!(answer.iter().enumerate().all(|(offset, byte)| *byte == byte_at(offset)));
}

#[test]
fn spinning_serves_too() {
    let server = Server::on_tcp(&["--spin", "50us"]);
    assert_echoes(&mut server.connect(), b"hello");
    assert_eq!(server.stop().0, Some(0));
}
