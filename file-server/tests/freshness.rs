//! What is sent is one version of a file and the present one, whatever is done to the file and to the way there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Server, pattern, read_answer, read_some, replace};

const CHECKS: [&str; 2] = ["watch", "stat"];

/// Runs a test with each way to learn of changes.
fn with_both(test: impl Fn(&Server, &str)) {
    for check in CHECKS {
        test(&Server::start(&["--cache-check", check]), check);
    }
}

/// Asks twice, so that the second answer is what is kept.
fn text(server: &Server, target: &str) -> String {
    let first = server.get(target);
    let second = server.get(target);
    assert_eq!(first.clone().undated(), second.undated());
    if first.status == 200 { first.text() } else { first.status.to_string() }
}

#[test]
fn a_file_that_is_replaced_at_once_is_never_stale() {
    with_both(|server, check| {
        for version in 0..200 {
            // The same length each time, and several in one tick of the clock.
            let contents = format!("version {version:04}");
            if version % 2 == 0 {
                replace_in(server, "a.txt", &contents);
            } else {
                server.write("a.txt", &contents);
            }
            assert_eq!(server.get("/a.txt").text(), contents, "{check}");
            assert_eq!(server.get("/a.txt").text(), contents, "{check}");
        }
    });
}

fn replace_in(server: &Server, name: &str, contents: &str) {
    if server.path(name).exists() {
        replace(&server.path(name), contents);
    } else {
        server.write(name, contents);
    }
}

#[test]
fn a_kept_connection_sees_every_change_too() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    for version in 0..200 {
        let contents = format!("version {version}");
        server.write("a.txt", &contents);
        for _ in 0..2 {
            stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert_eq!(read_answer(&mut stream, false).text(), contents);
        }
    }
}

#[test]
fn whatever_is_done_to_a_file_shows_at_once() {
    with_both(|server, check| {
        server.write("d/a", "1");
        assert_eq!(text(server, "/d/a"), "1");
        fs::remove_file(server.path("d/a")).unwrap();
        assert_eq!(text(server, "/d/a"), "404", "{check}: removed");
        server.write("d/a", "12345");
        assert_eq!(text(server, "/d/a"), "12345", "{check}: made");
        File::options().write(true).open(server.path("d/a")).unwrap().set_len(2).unwrap();
        assert_eq!(text(server, "/d/a"), "12", "{check}: cut");
        File::options().append(true).open(server.path("d/a")).unwrap().write_all(b"x").unwrap();
        assert_eq!(text(server, "/d/a"), "12x", "{check}: longer");
        fs::rename(server.path("d"), server.path("e")).unwrap();
        assert_eq!(text(server, "/d/a"), "404", "{check}: its directory is moved");
        assert_eq!(text(server, "/e/a"), "12x", "{check}: and is elsewhere");
        server.write("d/a", "new");
        assert_eq!(text(server, "/d/a"), "new", "{check}: another directory in its place");
        fs::rename(server.path("d"), server.path("f")).unwrap();
        fs::rename(server.path("e"), server.path("d")).unwrap();
        assert_eq!(text(server, "/d/a"), "12x", "{check}: directories change places");
    });
}

#[test]
fn indexes_and_precompressed_forms_come_and_go() {
    with_both(|server, check| {
        let gzip = || server.ask("GET /a.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").text();
        server.write("a.js", "plain");
        assert_eq!((gzip(), gzip()), ("plain".into(), "plain".into()), "{check}");
        server.write("a.js.gz", "zipped");
        assert_eq!((gzip(), gzip()), ("zipped".into(), "zipped".into()), "{check}: made");
        fs::remove_file(server.path("a.js.gz")).unwrap();
        assert_eq!((gzip(), gzip()), ("plain".into(), "plain".into()), "{check}: removed");
        server.write("site/index.html", "one");
        assert_eq!(text(server, "/site/"), "one");
        replace(&server.path("site/index.html"), "two");
        assert_eq!(text(server, "/site/"), "two", "{check}: replaced");
        fs::remove_file(server.path("site/index.html")).unwrap();
        assert!(text(server, "/site/").contains("</html>"), "{check}: a listing");
    });
}

#[test]
fn what_lies_behind_symlinks_and_other_names_shows_too() {
    with_both(|server, check| {
        server.write("releases/1/a", "one");
        server.write("releases/2/a", "two");
        symlink("releases/1", server.path("current")).unwrap();
        assert_eq!(text(server, "/current/a"), "one");
        symlink("releases/2", server.path("next")).unwrap();
        fs::rename(server.path("next"), server.path("current")).unwrap();
        assert_eq!(text(server, "/current/a"), "two", "{check}: a symlink leads elsewhere");
        server.write("releases/2/a", "2.1");
        assert_eq!(text(server, "/current/a"), "2.1", "{check}: behind a symlink");
        server.write("b", "one");
        assert_eq!(text(server, "/b"), "one");
        fs::hard_link(server.path("b"), server.path("other")).unwrap();
        fs::write(server.path("other"), "two").unwrap();
        assert_eq!(text(server, "/b"), "two", "{check}: by its other name");
    });
}

/// A version that tells of itself in every place.
fn version(number: u8, length: usize) -> Vec<u8> {
    vec![b'a' + number % 26; length]
}

#[test]
fn two_versions_are_never_mixed() {
    for length in [3_000, 100_000, 900_000] {
        let server = Server::start(&[]);
        server.write("a", version(0, length));
        let (path, stop) = (server.path("a"), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=100 {
                    replace(&path, version(number, length));
                }
                stop.store(true, Ordering::Relaxed);
            });
            let mut stream = server.connect();
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let answer = read_answer(&mut stream, false);
                assert_eq!(answer.body.len(), length);
                assert!(answer.body.iter().all(|byte| *byte == answer.body[0]), "two versions in one answer");
            }
        });
    }
}

#[test]
fn a_tag_stands_for_one_version() {
    let server = Server::start(&[]);
    let mut tags = std::collections::HashMap::new();
    for number in 0..100 {
        let contents = format!("version {number:04}");
        server.write("a", &contents);
        let answer = server.get("/a");
        let tag = answer.field("ETag").unwrap().to_owned();
        let before = tags.insert(tag, answer.text());
        assert!(before.is_none_or(|before| before == contents), "one tag for two versions");
    }
}

/// A client that has read the head of a large answer and no more, and the length that it was promised.
fn begun(server: &Server, length: usize) -> (std::net::TcpStream, usize) {
    server.write("large", pattern(length));
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let head = read_answer(&mut stream, true);
    let promised = head.field("Content-Length").unwrap().parse().unwrap();
    (stream, promised)
}

/// Reads until the end, or until the peer resets.
fn read_until_the_end(stream: &mut impl Read) -> Vec<u8> {
    let mut body = Vec::new();
    let mut room = vec![0; 1 << 16];
    while let Ok(count @ 1..) = read_some(stream, &mut room) {
        body.extend_from_slice(&room[..count]);
    }
    body
}

#[test]
fn an_answer_whose_file_shrinks_ends_short() {
    let server = Server::start(&[]);
    let (mut stream, promised) = begun(&server, 40 << 20);
    File::options().write(true).open(server.path("large")).unwrap().set_len(30 << 20).unwrap();
    let body = read_until_the_end(&mut stream);
    assert!(body.len() < promised, "the answer is as long as if nothing had happened");
    assert!(body == pattern(40 << 20)[..body.len()], "bytes that never were in the file");
    assert_eq!(server.get("/large").field("Content-Length").unwrap(), (30 << 20).to_string());
}

#[test]
fn an_answer_whose_file_grows_or_vanishes_is_what_was_promised() {
    let server = Server::start(&[]);
    let (mut stream, promised) = begun(&server, 40 << 20);
    fs::remove_file(server.path("large")).unwrap();
    let mut body = vec![0; promised];
    stream.read_exact(&mut body).unwrap();
    assert!(body == pattern(40 << 20));
    // The connection goes on.
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 404);
}

#[test]
fn an_answer_whose_file_is_written_over_ends_short() {
    let server = Server::start(&[]);
    let (mut stream, promised) = begun(&server, 60 << 20);
    let mut file = File::options().write(true).open(server.path("large")).unwrap();
    file.seek(SeekFrom::Start(50 << 20)).unwrap();
    file.write_all(&vec![0xff; 1 << 20]).unwrap();
    // Another request makes the server look, as any event does.
    assert_eq!(server.get("/none").status, 404);
    let body = read_until_the_end(&mut stream);
    assert!(body.len() < promised, "a mixture of two versions was sent whole");
}

#[test]
fn a_file_that_is_removed_is_let_go_though_nobody_asks() {
    let server = Server::start(&[]);
    server.write("large", pattern(1 << 20));
    assert_eq!(server.get("/large").status, 200);
    let is_open = || {
        let directory = fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let mut targets = directory.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.any(|target| target.to_string_lossy().contains("/large"))
    };
    assert!(is_open());
    fs::remove_file(server.path("large")).unwrap();
    common::eventually("it is let go", || !is_open());
}

#[test]
fn offsets_beyond_4_gib_are_served() {
    let server = Server::start(&[]);
    let mut file = File::create(server.path("huge")).unwrap();
    file.set_len(5 << 30).unwrap();
    file.seek(SeekFrom::Start((4 << 30) + 10)).unwrap();
    file.write_all(b"here").unwrap();
    let ask = |range: &str| server.ask(format!("GET /huge HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n"));
    assert_eq!(ask("4294967306-4294967309").text(), "here");
    assert_eq!(ask("-5").field("Content-Range"), Some("bytes 5368709115-5368709119/5368709120"));
    let head = server.ask("HEAD /huge HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.field("Content-Length"), Some("5368709120"));
}
