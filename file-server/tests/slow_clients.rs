//! Hundreds of clients that are slow on purpose cost little memory, and those who come after them are served.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;

use common::Server;

/// Connects many clients that send this and read nothing; the memory that they cost, in kB, when somebody who came
/// after them has been served. Meanwhile and afterwards others are served.
fn cost_of(server: &Server, request: &[u8]) -> u64 {
    server.write("small", "small");
    let serve_another = || assert_eq!(server.get("/small").text(), "small");
    serve_another();
    let before = server.status_kb("RssAnon");
    let connect = |number| {
        let mut client = server.connect();
        client.write_all(request).unwrap();
        if number % 50 == 0 {
            serve_another();
        }
        client
    };
    let clients: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    serve_another();
    let grown = server.status_kb("RssAnon").saturating_sub(before);
    drop(clients);
    serve_another();
    grown
}

#[test]
fn clients_that_never_read_a_gibibyte_cost_their_connections() {
    let server = Server::start(&[]);
    File::create(server.path("large")).unwrap().set_len(1 << 30).unwrap();
    let grown = cost_of(&server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(grown < CLIENTS * PER_CLIENT_KB, "{grown} kB");
}

#[test]
fn clients_that_never_end_a_head_cost_its_beginning() {
    let server = Server::start(&[]);
    let grown = cost_of(&server, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert!(grown < CLIENTS * PER_CLIENT_KB, "{grown} kB");
}

#[test]
fn clients_that_never_end_a_body_cost_its_beginning() {
    let server = Server::start(&["--allow-upload"]);
    let grown = cost_of(&server, b"PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nbody");
    assert!(grown < CLIENTS * PER_CLIENT_KB, "{grown} kB");
}

/// Few enough for the limit of open files that most systems begin with.
const CLIENTS: u64 = 400;

/// Memory that one of them may cost; the mark of its output alone is 256.
const PER_CLIENT_KB: u64 = 16;
