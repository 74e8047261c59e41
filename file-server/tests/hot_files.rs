//! A file that is asked for again and again is put in pages, which the kernel is lent: its answers stay byte-exact and of one version,
//! and the memory is bounded.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::net::TcpStream;

use common::{Server, eventually, pattern, read_answer, read_some, replace};
use rustix::net::{self, AddressFamily, SocketType};

/// Bytes of memory of the server in which a file may be: read-only, and of nobody's file.
fn in_pages(server: &Server) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.child.id())).unwrap();
    let size_of = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [range, "r--p", _, _, "0"] = fields[..] else { return None };
        let (start, end) = range.split_once('-')?;
        let bound = |text| u64::from_str_radix(text, 16).ok();
        Some(bound(end)? - bound(start)?)
    };
    // Smaller ones are the runtime's.
    maps.lines().filter_map(size_of).filter(|size| *size >= 32 << 10).sum()
}

fn request(fields: &str) -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[track_caller]
fn assert_answers(stream: &mut TcpStream, content: &[u8], count: usize) {
    for _ in 0..count {
        stream.write_all(&request("")).unwrap();
        assert!(read_answer(stream, false).body == content, "a byte is wrong");
    }
}

/// Asks for a file until it is in pages.
#[track_caller]
fn heat(server: &Server, stream: &mut TcpStream, content: &[u8]) {
    eventually("the file is in pages", || {
        assert_answers(stream, content, 50);
        in_pages(server) >= content.len() as u64
    });
}

#[test]
fn answers_of_a_hot_file_are_what_they_were() {
    for size in [33_000, 100_000, 1 << 20] {
        let server = Server::start(&[]);
        let content = pattern(size);
        server.write("a", &content);
        let mut stream = server.connect();
        heat(&server, &mut stream, &content);
        // Several at once, a part, and the head alone.
        stream.write_all(&request("").repeat(5)).unwrap();
        for _ in 0..5 {
            assert!(read_answer(&mut stream, false).body == content);
        }
        stream.write_all(&request("Range: bytes=7-32006\r\n")).unwrap();
        assert!(read_answer(&mut stream, false).body == content[7..32_007]);
        stream.write_all(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut stream, true).field("Content-Length").unwrap(), size.to_string());
        assert_answers(&mut stream, &content, 1);
    }
}

#[test]
fn it_is_hot_whoever_asks() {
    let server = Server::start(&["--cors=*"]);
    let content = pattern(100_000);
    server.write("a", &content);
    eventually("the file is in pages", || {
        let answer = server.ask("GET /a HTTP/1.0\r\nOrigin: https://example.org\r\n\r\n");
        assert!(answer.body == content, "a byte is wrong");
        in_pages(&server) >= 100_000
    });
}

#[test]
fn a_hot_file_that_changes_is_never_stale_and_its_pages_go() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let mut content = pattern(200_000);
    server.write("a", &content);
    for version in 0..10_u8 {
        heat(&server, &mut stream, &content);
        content.rotate_left(1);
        if version % 2 == 0 {
            replace(&server.path("a"), &content);
        } else {
            server.write("a", &content);
        }
        assert_answers(&mut stream, &content, 1);
    }
    fs::remove_file(server.path("a")).unwrap();
    assert_eq!(server.get("/a").status, 404);
    eventually("the pages are gone", || in_pages(&server) == 0);
}

/// A connection that takes little at a time.
fn narrow(server: &Server) -> TcpStream {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).unwrap();
    net::connect(&socket, &server.address()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
    stream
}

#[test]
fn what_a_slow_client_gets_is_of_one_version_though_the_file_is_written_over() {
    let server = Server::start(&[]);
    let content = pattern(1 << 20);
    server.write("a", &content);
    heat(&server, &mut server.connect(), &content);
    let mut slow: Vec<_> = (0..4).map(|_| narrow(&server)).collect();
    for stream in &mut slow {
        stream.write_all(&request("")).unwrap();
        assert!(read_some(stream, &mut [0; 1]).unwrap() == 1);
    }
    let mut file = File::options().write(true).open(server.path("a")).unwrap();
    file.rewind().unwrap();
    file.write_all(&vec![0xff; 1 << 20]).unwrap();
    assert!(server.get("/a").body == vec![0xff; 1 << 20]);
    for mut stream in slow {
        let mut answer = Vec::new();
        while !answer.ends_with(&content) {
            let mut part = [0; 4096];
            let count = read_some(&mut stream, &mut part).unwrap();
            assert!(count > 0, "the answer broke off after {} bytes", answer.len());
            answer.extend_from_slice(&part[..count]);
        }
    }
    eventually("the pages are gone", || in_pages(&server) == 0);
}

#[test]
fn no_more_is_put_in_pages_than_may_be_kept() {
    let server = Server::start(&["--cache-size", "100KiB"]);
    let content = pattern(150_000);
    server.write("a", &content);
    assert_answers(&mut server.connect(), &content, 300);
    assert_eq!(in_pages(&server), 0);
}
