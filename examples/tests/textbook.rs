//! The textbook servers are honest echo servers, and each ends where its text says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use common::{
    Program, assert_echoes, assert_serves_beside_one_that_does_not_read, connect, expect_end, is_readable, wait_until,
};

const ALL: [&str; 7] = ["blocking", "fork", "thread", "select", "poll", "epoll_level", "epoll_edge"];

fn serve(name: &str) -> (Program, std::net::SocketAddr) {
    Program::serve(&format!("textbook_{name}"), &["127.0.0.1:0"])
}

#[test]
fn each_echoes_every_byte_in_order_and_then_closes() {
    for name in ALL {
        let (_server, address) = serve(name);
        let mut client = connect(address);
        let sent: Vec<u8> = (0..3_000_000_u32).map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8).collect();
        let mut writing = client.try_clone().unwrap();
        let bytes = sent.clone();
        let writer = thread::spawn(move || {
            writing.write_all(&bytes).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == sent, "{name}: {} bytes came back of {}", received.len(), sent.len());
    }
}

#[test]
fn each_but_the_first_serves_a_second_client_beside_one_that_does_not_read() {
    for name in &ALL[1..] {
        let (_server, address) = serve(name);
        println!("{name}");
        assert_serves_beside_one_that_does_not_read(address);
    }
}

#[test]
fn the_blocking_one_ends_at_its_second_client() {
    let (_server, address) = serve("blocking");
    let (mut first, mut second) = (connect(address), connect(address));
    assert_echoes(&mut first, b"hello\n");
    second.write_all(b"hello\n").unwrap();
    assert!(!is_readable(&second, Duration::from_millis(200)));
    drop(first);
    common::expect_bytes(&mut second, b"hello\n");
}

#[test]
fn the_forking_one_leaves_no_zombie_and_no_connection_open() {
    let (server, address) = serve("fork");
    let children = format!("/proc/{0}/task/{0}/children", server.child.id());
    for _ in 0..10 {
        let mut client = connect(address);
        assert_echoes(&mut client, b"hello\n");
        // The end comes only if the parent has closed its copy.
        client.shutdown(Shutdown::Write).unwrap();
        expect_end(&mut client);
    }
    wait_until("all children are gone", || fs::read_to_string(&children).unwrap().is_empty());
}
