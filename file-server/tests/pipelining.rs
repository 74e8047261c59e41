//! Requests are answered in order and the same way, however their bytes are cut into pieces and however many come at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use common::{Answer, DEADLINE, Server, pattern, read_all, read_answer, read_some};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Requests of all kinds, the last of which closes.
const SEQUENCE: &[u8] = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n\
    HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /none HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n\
    GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9,20-29\r\n\r\n\
    \r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n\
    OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /medium HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /site HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /large HTTP/1.1\r\nHost: a\r\n\r\n\
    BREW / HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn server() -> Server {
    let server = Server::start(&[]);
    server.write("a.txt", "hello world");
    server.write("medium", pattern(60_000));
    server.write("large", pattern(300_000));
    server.write("site/index.html", "index");
    server
}

/// All that comes back on one connection, without the dates.
fn answers_to(server: &Server, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = server.connect();
    let mut writer = stream.try_clone().unwrap();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    // What comes back must not hold up what is still to be sent.
    let sending = thread::spawn(move || {
        for piece in pieces {
            if writer.write_all(&piece).is_err() {
                return;
            }
        }
    });
    let answers = read_all(&mut stream);
    sending.join().unwrap();
    without_dates(&answers)
}

fn without_dates(answers: &[u8]) -> Vec<u8> {
    let lines = answers.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| !line.starts_with(b"Date: ")).flatten().copied().collect()
}

#[test]
fn requests_of_one_segment_are_answered_in_order() {
    let server = server();
    let mut stream = server.connect();
    stream.write_all(SEQUENCE).unwrap();
    let statuses = [200, 200, 404, 206, 200, 204, 200, 301, 200, 501, 200];
    for (index, status) in statuses.into_iter().enumerate() {
        let answer = read_answer(&mut stream, index == 1);
        assert_eq!(answer.status, status, "answer {index} is {}", answer.head);
        if index == 8 {
            assert!(answer.body == pattern(300_000));
        }
    }
    assert_eq!(read_some(&mut stream, &mut [0]).unwrap(), 0);
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    let server = server();
    let whole = answers_to(&server, &[SEQUENCE]);
    for at in 1..SEQUENCE.len() {
        let (one, other) = SEQUENCE.split_at(at);
        assert!(answers_to(&server, &[one, other]) == whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = SEQUENCE.chunks(1).collect();
    assert!(answers_to(&server, &bytes) == whole, "byte by byte");
}

/// A request, good or bad, as a line or two of it.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "HEAD", "OPTIONS", "POST", "BREW", "G\0T", "DELETE"]);
    let target = prop::sample::select(vec!["/a.txt", "/medium", "/none", "/site", "/%61.txt", "/%zz", "*", "/../x"]);
    let field = prop::sample::select(vec![
        "",
        "Range: bytes=1-3\r\n",
        "If-None-Match: *\r\n",
        "Connection: close\r\n",
        "Content-Length: 3\r\n",
        "X: y\r\n",
        "Host: b\r\n",
        " folded\r\n",
        "bare\n",
    ]);
    let without_body = (method, target, field).prop_map(|(method, target, field)| {
        format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n").into_bytes()
    });
    prop_oneof![2 => without_body, 1 => uploads()]
}

/// A request with a body, good or bad.
fn uploads() -> impl Strategy<Value = Vec<u8>> {
    let target = prop::sample::select(vec!["/new", "/new", "/deep/new", "/site", "/.hidden", "/medium"]);
    let field = prop::sample::select(vec![
        "",
        "",
        "If-None-Match: *\r\n",
        "Content-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n",
        "Content-Range: bytes 0-4/9\r\n",
    ]);
    let body = prop::sample::select(vec![
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 5\r\n\r\nhelp!",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
    ]);
    (target, field, body)
        .prop_map(|(target, field, body)| format!("PUT {target} HTTP/1.1\r\nHost: a\r\n{field}{body}").into_bytes())
}

#[test]
fn any_cut_of_any_sequence_changes_nothing() {
    let server = Server::start(&["--allow-upload", "--allow-delete"]);
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let sequences = prop::collection::vec(requests(), 1..6);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..8);
    let outcome = runner.run(&(sequences, cuts), |(requests, cuts)| {
        // The last one closes, so that the answers have an end.
        let mut bytes = requests.concat();
        bytes.extend_from_slice(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let afresh = |pieces: &[&[u8]]| {
            fill_again(&server);
            without_versions(&answers_to(&server, pieces))
        };
        prop_assert_eq!(afresh(&[&bytes]), afresh(&pieces));
        Ok(())
    });
    outcome.unwrap();
}

/// Makes the directory what it was before requests have changed it.
fn fill_again(server: &Server) {
    for name in ["new", "deep"] {
        let path = server.path(name);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    server.write("a.txt", "hello world");
    server.write("medium", pattern(60_000));
    server.write("site/index.html", "index");
}

/// Answers but for what is another with each version of a file.
fn without_versions(answers: &[u8]) -> Vec<u8> {
    let tells_version = |line: &[u8]| [&b"ETag: "[..], b"Last-Modified: "].iter().any(|name| line.starts_with(name));
    answers.split_inclusive(|&byte| byte == b'\n').filter(|line| !tells_version(line)).flatten().copied().collect()
}

#[test]
fn a_client_that_sends_and_does_not_read_costs_little() {
    let server = server();
    server.write("block", pattern(200_000));
    let before = server.status_kb("VmRSS");
    let mut stream = server.connect();
    let requests = b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
    // The server stops reading long before the end, so the client is stuck in the middle.
    stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while let Ok(count) = stream.write(&requests[sent..]) {
        sent += count;
        if sent == requests.len() {
            break;
        }
    }
    let grown = server.status_kb("VmRSS").saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} kB more for a client that does not read");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let answer = read_answer(&mut stream, false);
    assert!(answer.body == pattern(200_000));
}

#[test]
fn a_client_that_has_sent_its_end_gets_its_answers() {
    let server = server();
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_answer(&mut stream, false).body == pattern(300_000));
    let last: Answer = read_answer(&mut stream, false);
    assert_eq!(last.text(), "hello world");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
