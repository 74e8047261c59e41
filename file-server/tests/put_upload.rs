//! PUT stores what was sent, byte by byte, when all of it has come and all that was asked for holds; else nothing changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod upload_support;

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{SendFlags, send};
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use upload_support::{
    Server, ask, assert_same, connect, eventually, expect_end, pattern, put, put_chunked, read_answer, request,
};

fn start(arguments: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(&[&["--allow-upload"], arguments].concat());
    let address = server.http_address();
    (server, address)
}

#[test]
fn a_body_of_any_size_is_stored_in_both_framings() {
    let (server, address) = start(&[]);
    for size in [0, 1, 65_536, (1 << 20) - 1, 1 << 20, (3 << 20) + 17] {
        let content = pattern(size as u64, size);
        let name = format!("/a-{size}");
        assert_eq!(ask(address, &put(&name, "", &content)).status, 201);
        assert_same(&fs::read(server.path(&name[1..])).unwrap(), &content);
        for chunk in [1 << 20, 70_001, 4096] {
            let answer = ask(address, &put_chunked(&name, "", &content, chunk));
            assert_eq!(answer.status, 204);
            assert_same(&fs::read(server.path(&name[1..])).unwrap(), &content);
        }
    }
}

#[test]
fn the_answer_tells_the_tag_of_what_was_stored() {
    let (_server, address) = start(&[]);
    for (status, content) in [(201, "one"), (204, "two")] {
        let answer = ask(address, &put("/a", "", content.as_bytes()));
        assert_eq!(answer.status, status);
        let got = ask(address, &request("GET", "/a", ""));
        assert_eq!((got.body.as_slice(), got.field("ETag")), (content.as_bytes(), answer.field("ETag")));
        assert!(answer.field("ETag").is_some());
    }
}

#[test]
fn requests_around_a_body_are_answered_in_order_however_they_are_cut() {
    let (server, address) = start(&[]);
    fs::write(server.path("b"), "b").unwrap();
    let parts = [
        request("GET", "/b", ""),
        put("/a", "", b"first"),
        request("GET", "/a", ""),
        put_chunked("/a", "", b"second", 2),
        put("/c", "", b""),
        request("GET", "/a", "Connection: close\r\n"),
    ];
    let all = parts.concat();
    for pieces in [1, 3, 50, all.len()] {
        let mut stream = connect(address);
        stream.set_nodelay(true).unwrap();
        for piece in all.chunks(all.len().div_ceil(pieces)) {
            stream.write_all(piece).unwrap();
        }
        let answers: Vec<_> = parts.iter().map(|_| read_answer(&mut stream)).collect();
        let bodies: Vec<_> = answers.iter().filter(|answer| answer.status == 200).map(|answer| &*answer.body).collect();
        assert_eq!(bodies, [&b"b"[..], b"first", b"second"], "{pieces} pieces");
        expect_end(&mut stream);
    }
}

#[test]
fn a_large_body_takes_no_byte_of_the_next_request() {
    let (server, address) = start(&["--threads", "1"]);
    let contents = [pattern(1, (40 << 20) + 3), pattern(2, (3 << 20) + 1)];
    let requests = [put("/a", "", &contents[0]), put("/b", "", &contents[1]), request("GET", "/none", "")];
    let mut stream = connect(address);
    let mut sending = stream.try_clone().unwrap();
    let sender = thread::spawn(move || sending.write_all(&requests.concat()));
    let statuses = [0; 3].map(|_| read_answer(&mut stream).status);
    assert_eq!(statuses, [201, 201, 404]);
    sender.join().unwrap().unwrap();
    assert_same(&fs::read(server.path("a")).unwrap(), &contents[0]);
    assert_same(&fs::read(server.path("b")).unwrap(), &contents[1]);
}

#[test]
fn a_large_body_is_moved_by_the_kernel_unless_it_has_to_be_seen() {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace");
    let Some(server) = Server::start_traced("splice", &trace, &["--allow-upload"]) else { return };
    let content = pattern(1, 5 << 20);
    let digest = BASE64_STANDARD.encode(Sha256::digest(&content));
    let digest = format!("Content-Digest: sha-256=:{digest}:\r\n");
    for (name, fields, moves) in [("seen", &*digest, false), ("moved", "", true)] {
        assert_eq!(ask(server.http_address(), &put(&format!("/{name}"), fields, &content)).status, 201);
        assert_same(&fs::read(server.path(name)).unwrap(), &content);
        assert_eq!(fs::read_to_string(&trace).unwrap().contains("splice("), moves, "{name}");
    }
}

#[test]
fn an_urgent_byte_in_a_large_body_is_no_part_of_it() {
    let (server, address) = start(&["--threads", "1"]);
    let content = pattern(1, 20 << 20);
    let request = put("/a", "", &content);
    let (before, behind) = request.split_at(10 << 20);
    let mut stream = connect(address);
    stream.write_all(before).unwrap();
    assert_eq!(send(&stream, b"!", SendFlags::OOB).unwrap(), 1);
    stream.write_all(behind).unwrap();
    assert_eq!(read_answer(&mut stream).status, 201);
    assert_same(&fs::read(server.path("a")).unwrap(), &content);
}

#[test]
fn large_bodies_are_received_while_others_dawdle() {
    let (server, address) = start(&["--threads", "1", "--workers", "1"]);
    let content = pattern(1, 5 << 20);
    let request = put("/slow", "", &content);
    // Each has given a worker enough to begin with, and then nothing.
    let mut slow: Vec<_> = (0..4).map(|_| connect(address)).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(&request[..1 << 20]).unwrap());
    assert_eq!(ask(address, &put("/quick", "", &content)).status, 201);
    for stream in &mut slow {
        stream.write_all(&request[1 << 20..]).unwrap();
        assert!(read_answer(stream).status < 300);
    }
    assert_same(&fs::read(server.path("slow")).unwrap(), &content);
}

#[test]
fn a_client_that_asks_is_told_to_go_on_and_others_are_not() {
    let (server, address) = start(&["--max-upload-size", "10"]);
    let mut stream = connect(address);
    let request = put("/a", "Expect: 100-continue\r\n", b"hello");
    stream.write_all(&request[..request.len() - 5]).unwrap();
    assert_eq!(read_answer(&mut stream).status, 100);
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_answer(&mut stream).status, 201);
    assert_eq!(fs::read(server.path("a")).unwrap(), b"hello");
    // What will not be stored is refused before it is sent.
    for (path, length, fields, status) in [
        ("/b", 11, "", 413),
        ("/dir/", 1, "", 409),
        ("/a", 1, "If-None-Match: *\r\n", 412),
        ("/.hidden", 1, "", 403),
        ("/a/b", 1, "", 409),
    ] {
        let mut stream = connect(address);
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n{fields}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).status, status, "{path}");
        expect_end(&mut stream);
    }
    assert_eq!(server.names(), ["a"]);
}

#[test]
fn what_is_refused_leaves_everything_as_it_was() {
    let (server, address) = start(&["--max-upload-size", "1000"]);
    fs::create_dir(server.path("directory")).unwrap();
    fs::write(server.path("file"), "old").unwrap();
    let large = pattern(1, 1001);
    let cases: [(Vec<u8>, u16); 15] = [
        (put("/directory", "", b"x"), 409),
        (put("/directory/", "", b"x"), 409),
        (put("/", "", b"x"), 409),
        (put("/file/below", "", b"x"), 409),
        (put("/.hidden", "", b"x"), 403),
        (put("/directory/.hidden/a", "", b"x"), 403),
        (put("/../escape", "", b"x"), 400),
        (put("/%2e%2e/escape", "", b"x"), 400),
        (put("/large", "", &large), 413),
        (put_chunked("/large", "", &large, 100), 413),
        (request("PUT", "/none", ""), 411),
        (put("/part", "Content-Range: bytes 0-0/2\r\n", b"x"), 400),
        (put("/coded", "Content-Encoding: gzip\r\n", b"x"), 415),
        (request("PUT", "/chunks", "Transfer-Encoding: chunked\r\n").into_iter().chain(*b"x\r\n").collect(), 400),
        (put(&format!("/{}", "x".repeat(256)), "", b"x"), 400),
    ];
    for (request, status) in cases {
        let mut stream = connect(address);
        let _ = stream.write_all(&request);
        let answer = read_answer(&mut stream);
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&request[..request.len().min(80)]));
    }
    assert_eq!(server.names(), ["directory", "file"]);
    assert_eq!(fs::read(server.path("file")).unwrap(), b"old");
    assert_eq!(fs::read_dir(server.path("directory")).unwrap().count(), 0);
}

#[test]
fn a_coding_that_is_refused_is_answered_by_what_is_taken() {
    let (server, address) = start(&[]);
    let answer = ask(address, &put("/a", "Content-Encoding: gzip\r\n", b"x"));
    assert_eq!((answer.status, answer.field("Accept-Encoding")), (415, Some("identity")));
    assert_eq!(ask(address, &put("/a", "Content-Encoding: identity\r\n", b"x")).status, 201);
    assert_eq!(server.names(), ["a"]);
}

#[test]
fn what_is_no_file_is_neither_replaced_nor_removed() {
    let (server, address) = start(&["--allow-delete"]);
    mknodat(CWD, server.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(server.path("socket")).unwrap();
    for path in ["/fifo", "/socket"] {
        assert_eq!(ask(address, &put(path, "", b"x")).status, 403, "{path}");
        assert_eq!(ask(address, &put_chunked(path, "", b"x", 1)).status, 403, "{path}");
        assert_eq!(ask(address, &request("DELETE", path, "")).status, 403, "{path}");
    }
    let kind = |name: &str| fs::symlink_metadata(server.path(name)).unwrap().file_type();
    assert!(kind("fifo").is_fifo() && kind("socket").is_socket());
}

#[test]
fn uploads_are_off_unless_allowed() {
    let server = Server::start(&[]);
    let answer = ask(server.http_address(), &put("/a", "", b"x"));
    assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(ask(server.http_address(), &request("DELETE", "/a", "")).status, 405);
    assert!(server.names().is_empty());
}

#[test]
fn directories_on_the_way_are_made_with_the_file() {
    let (server, address) = start(&[]);
    let mut stream = connect(address);
    let request = put("/new/deep/a", "", b"hello");
    stream.write_all(&request[..request.len() - 1]).unwrap();
    // Nothing is there before the file is whole; another upload goes by meanwhile.
    assert_eq!(ask(address, &put("/other", "", b"x")).status, 201);
    assert_eq!(server.names(), ["other"]);
    stream.write_all(b"o").unwrap();
    assert_eq!(read_answer(&mut stream).status, 201);
    assert_eq!(fs::read(server.path("new/deep/a")).unwrap(), b"hello");
}

#[test]
fn conditions_hold_when_the_file_is_stored_and_not_only_when_it_begins() {
    let (server, address) = start(&[]);
    let tag = ask(address, &put("/a", "", b"one")).field("ETag").unwrap().to_owned();
    assert_eq!(ask(address, &put("/a", "If-None-Match: *\r\n", b"two")).status, 412);
    assert_eq!(ask(address, &put("/b", "If-Match: *\r\n", b"two")).status, 412);
    assert_eq!(ask(address, &put("/a", "If-Match: \"other\"\r\n", b"two")).status, 412);
    assert_eq!(fs::read(server.path("a")).unwrap(), b"one");
    // Both began with the state that they ask for; only one finds it at its end.
    let conditional = put("/a", &format!("If-Match: {tag}\r\nExpect: 100-continue\r\n"), b"two");
    let mut streams = [connect(address), connect(address)];
    for stream in &mut streams {
        stream.write_all(&conditional[..conditional.len() - 3]).unwrap();
        assert_eq!(read_answer(stream).status, 100);
    }
    let statuses = streams.each_mut().map(|stream| {
        stream.write_all(b"two").unwrap();
        read_answer(stream).status
    });
    assert_eq!(statuses, [204, 412]);
    assert_eq!(fs::read(server.path("a")).unwrap(), b"two");
}

#[test]
fn of_many_who_create_one_name_one_does() {
    let (server, address) = start(&["--threads", "2"]);
    let statuses: Vec<_> = thread::scope(|scope| {
        let create = |seed| {
            let content = pattern(seed, 200_000);
            scope.spawn(move || ask(address, &put("/one", "If-None-Match: *\r\n", &content)).status)
        };
        let creators: Vec<_> = (0..8).map(create).collect();
        creators.into_iter().map(|creator| creator.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
    let stored = fs::read(server.path("one")).unwrap();
    assert!((0..8).any(|seed| pattern(seed, 200_000) == stored));
}

#[test]
fn content_that_is_not_what_was_said_is_not_stored() {
    let (server, address) = start(&[]);
    // Of "hello".
    let right = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    for (digest, content, status) in [
        (right, "hello", 201),
        (right, "hallo", 400),
        ("sha-256=:AAAA:", "hello", 400),
        ("sha-256", "hello", 400),
        ("md5=:XUFAKrxLKna5cZ2REBfFkg==:", "hello", 204),
    ] {
        let fields = format!("Content-Digest: {digest}\r\n");
        assert_eq!(ask(address, &put("/a", &fields, content.as_bytes())).status, status, "{digest}");
        assert_eq!(fs::read(server.path("a")).unwrap(), b"hello");
    }
    assert_eq!(ask(address, &put_chunked("/b", &format!("Content-Digest: {right}\r\n"), b"hello", 2)).status, 201);
    assert_eq!(server.names(), ["a", "b"]);
}

#[test]
fn a_client_that_leaves_early_leaves_nothing() {
    let (mut server, address) = start(&["--shutdown-timeout", "1h"]);
    for request in [put("/a", "", &pattern(1, 3 << 20)), put_chunked("/a", "", &pattern(1, 3 << 20), 5000)] {
        let mut stream = connect(address);
        stream.write_all(&request[..2 << 20]).unwrap();
        drop(stream);
        let mut stream = connect(address);
        stream.write_all(&request[..2 << 20]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        expect_end(&mut stream);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.names().is_empty());
}

#[test]
fn who_is_silent_is_told_so() {
    let (server, address) = start(&["--body-timeout", "100ms"]);
    for request in [put("/a", "", b"hello"), put_chunked("/a", "", b"hello", 5)] {
        let mut stream = connect(address);
        stream.write_all(&request[..request.len() - 1]).unwrap();
        assert_eq!(read_answer(&mut stream).status, 408);
        expect_end(&mut stream);
    }
    assert!(server.names().is_empty());
}

#[test]
fn an_upload_outlasts_the_signal_to_end() {
    // The loop that says that it drains has to be the one with the upload.
    let (mut server, address) = start(&["--shutdown-timeout", "1h", "--threads", "1"]);
    let mut stream = connect(address);
    let request = put("/a", "Expect: 100-continue\r\n", b"hello");
    stream.write_all(&request[..request.len() - 5]).unwrap();
    assert_eq!(read_answer(&mut stream).status, 100);
    server.signal(Signal::TERM);
    server.wait_for_words(&["draining"]);
    stream.write_all(b"hello").unwrap();
    let answer = read_answer(&mut stream);
    assert_eq!((answer.status, answer.field("Connection")), (201, Some("close")));
    drop(stream);
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(fs::read(server.path("a")).unwrap(), b"hello");
}

#[test]
fn a_disk_that_is_full_is_told() {
    let Some(server) = Server::start_on_disk_of(1 << 20, &["--allow-upload"]) else { return };
    let address = server.http_address();
    let content = pattern(1, 2 << 20);
    assert_eq!(ask(address, &put("/a", "", &content)).status, 507);
    // Here it shows only as it is written.
    assert_eq!(ask(address, &put_chunked("/a", "", &content, 4096)).status, 507);
    assert!(server.names().is_empty());
    assert_eq!(ask(address, &put("/a", "", b"small")).status, 201);
}

#[test]
fn a_disk_that_fills_up_under_a_large_body_is_told() {
    let Some(server) = Server::start_on_disk_of(8 << 20, &["--allow-upload"]) else { return };
    let address = server.http_address();
    let content = pattern(1, 6 << 20);
    let request = put("/large", "", &content);
    let mut stream = connect(address);
    stream.write_all(&request[..3 << 20]).unwrap();
    assert_eq!(ask(address, &put("/other", "", &content[..4 << 20])).status, 201);
    let _ = stream.write_all(&request[3 << 20..]);
    assert_eq!(read_answer(&mut stream).status, 507);
    assert_eq!(server.names(), ["other"]);
    assert_eq!(ask(address, &put("/small", "", b"small")).status, 201);
    assert_same(&fs::read(server.path("other")).unwrap(), &content[..4 << 20]);
}

/// The names of the system calls of a trace, in order, but for those by which the server finds out what a file system can do: a
/// link that is removed at once.
fn calls_of(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).unwrap();
    let mut calls: Vec<String> = Vec::new();
    for call in text.lines().filter_map(|line| line.split_once('(')?.0.rsplit(' ').next()) {
        match calls.last() {
            Some(last) if last == "linkat" && call == "unlinkat" => drop(calls.pop()),
            _ => calls.push(call.to_owned()),
        }
    }
    calls
}

#[test]
fn each_policy_forces_onto_the_disk_what_it_says() {
    let place = tempfile::tempdir().unwrap();
    // A file in a new directory, a file in place of it, and the removal of that.
    for (policy, expected) in [
        ("never", "mkdirat linkat linkat renameat unlinkat"),
        ("file", "fsync mkdirat linkat fsync linkat renameat unlinkat"),
        // The directory after each change, and the one above it after the first.
        ("always", "fsync mkdirat linkat fsync fsync fsync linkat renameat fsync unlinkat fsync"),
    ] {
        let trace = place.path().join(policy);
        let traced = "fsync,fdatasync,mkdirat,linkat,renameat,renameat2,unlinkat";
        let arguments = ["--allow-upload", "--allow-delete", "--fsync", policy];
        let Some(server) = Server::start_traced(traced, &trace, &arguments) else { return };
        let mut stream = connect(server.http_address());
        for request in [put("/d/a", "", b"x"), put("/d/a", "", b"y"), request("DELETE", "/d/a", "")] {
            stream.write_all(&request).unwrap();
            assert!(read_answer(&mut stream).status < 300);
        }
        // A call was made before the answer, and is written down as it returns.
        let calls = calls_of(&trace).join(" ");
        if !calls.contains("linkat") {
            println!("skipped: there are no files without a name here");
            return;
        }
        assert_eq!(calls, expected, "{policy}");
    }
}

#[test]
fn a_killed_server_leaves_no_part_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "old").unwrap();
    let mut server = Server::start_in(directory.path(), &["--allow-upload"]);
    let uploads = ["/a", "/new/b"].map(|path| {
        let mut stream = connect(server.http_address());
        stream.write_all(&put(path, "", &pattern(1, 4 << 20))[..3 << 20]).unwrap();
        stream
    });
    server.kill();
    assert_eq!(server.names(), ["a"]);
    assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"old");
    drop(uploads);
}

#[test]
fn files_are_removed_where_that_is_allowed() {
    let server = Server::start(&["--allow-delete"]);
    let address = server.http_address();
    fs::create_dir(server.path("directory")).unwrap();
    fs::write(server.path("a"), "a").unwrap();
    fs::write(server.path("directory/b"), "b").unwrap();
    fs::write(server.path(".hidden"), "b").unwrap();
    symlink("/etc/passwd", server.path("link")).unwrap();
    let tag = ask(address, &request("GET", "/a", "")).field("ETag").unwrap().to_owned();
    let cases = [
        ("/none", String::new(), 404),
        ("/none/none", String::new(), 404),
        ("/directory", String::new(), 409),
        ("/directory/", String::new(), 409),
        ("/", String::new(), 409),
        ("/.hidden", String::new(), 404),
        ("/a", "If-Match: \"other\"\r\n".to_owned(), 412),
        ("/none", "If-Match: *\r\n".to_owned(), 412),
        ("/a", format!("If-Match: {tag}\r\n"), 204),
        ("/a", String::new(), 404),
        ("/directory/b", String::new(), 204),
        ("/link", String::new(), 204),
    ];
    let mut stream = connect(address);
    for (path, fields, status) in cases {
        stream.write_all(&request("DELETE", path, &fields)).unwrap();
        assert_eq!(read_answer(&mut stream).status, status, "{path} {fields}");
    }
    assert_eq!(server.names(), [".hidden", "directory"]);
    assert_eq!(ask(address, &put("/a", "", b"x")).status, 405);
}

#[test]
fn what_was_stored_is_served_at_once() {
    let (server, address) = start(&["--allow-delete"]);
    let mut stream = connect(address);
    for round in 0..50 {
        let content = format!("round {round}");
        stream.write_all(&put("/a", "", content.as_bytes())).unwrap();
        assert!(read_answer(&mut stream).status < 300);
        stream.write_all(&request("GET", "/a", "")).unwrap();
        assert_eq!(read_answer(&mut stream).body, content.as_bytes());
    }
    stream.write_all(&request("DELETE", "/a", "")).unwrap();
    assert_eq!(read_answer(&mut stream).status, 204);
    stream.write_all(&request("GET", "/a", "")).unwrap();
    assert_eq!(read_answer(&mut stream).status, 404);
    eventually("nothing is left", || server.names().is_empty());
}
