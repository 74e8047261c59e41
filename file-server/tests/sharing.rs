//! Every way to share a port serves on every thread, and only servers that both ask for it share one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use common::{PROGRAM, Server, connect, read_answer, run};
use rustix::process::Signal;

/// A server of HTTP and of struct uploads on these addresses, which answers `/a` with its name.
fn start(name: &str, http: &str, uploads: &str, arguments: &[&str]) -> Server {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), name).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", http, "--struct-listen", uploads]).args(arguments).arg(tree.path());
    Server::start_command(tree, &mut command, 2)
}

#[test]
fn two_servers_share_their_ports_by_reuse_port() {
    let sharing = ["--sharing", "reuse-port", "--threads", "2"];
    let mut first = start("first", "127.0.0.1:0", "127.0.0.1:0", &sharing);
    let (http, uploads) = (first.address_after("http://"), first.address_after("struct://"));
    let second = start("second", &http, &uploads, &sharing);
    assert_eq!(second.addresses(), first.addresses());
    let mut answered = HashSet::new();
    // The kernel spreads connections by their ports: that one of the two gets none of so many will not happen.
    for _ in 0..400 {
        answered.insert(second.get("/a").text());
        if answered.len() == 2 {
            break;
        }
    }
    assert_eq!(answered, HashSet::from(["first".to_owned(), "second".to_owned()]));
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    for _ in 0..20 {
        assert_eq!(second.get("/a").text(), "second");
    }
}

#[test]
fn a_port_is_not_shared_with_who_did_not_ask() {
    for (first, second) in [("reuse-port", "exclusive"), ("exclusive", "reuse-port"), ("fewest", "round-robin")] {
        let server = start("first", "127.0.0.1:0", "127.0.0.1:0", &["--sharing", first]);
        let (http, uploads) = (server.address_after("http://"), server.address_after("struct://"));
        for addresses in [["--listen", &http], ["--struct-listen", &uploads]] {
            let arguments = [&["--listen", "127.0.0.1:0", "--sharing", second, "."], &addresses[..]].concat();
            let output = run(&arguments);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(stderr.contains(addresses[1]), "{stderr}");
        }
        assert_eq!(server.get("/a").text(), "first");
    }
}

#[test]
fn every_way_to_share_serves_on_every_thread() {
    let place = tempfile::tempdir().unwrap();
    for sharing in ["exclusive", "round-robin", "fewest", "reuse-port"] {
        let path = place.path().join(sharing);
        let url = format!("unix:{}", path.display());
        let server = start("x", "127.0.0.1:0", &url, &["--sharing", sharing, "--threads", "3"]);
        let mut clients: Vec<_> = (0..24).map(|_| connect(server.address())).collect();
        for client in &mut clients {
            client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert_eq!(read_answer(client, false).text(), "x", "{sharing}");
        }
        // A path has one socket whatever is said.
        assert!(UnixStream::connect(&path).is_ok(), "{sharing}");
    }
}
