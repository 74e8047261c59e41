//! A turn moves a bounded number of bytes, however many connections have bulk to move; and none of them is forgotten.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use reactor::{Address, Context, EventLoop, Handler, Input, Limits, ListenOptions, Result};

/// Answers `p` with one byte, `f` with a large file, and takes the rest.
struct Server(Arc<File>);

impl Handler for Server {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        match input.take() {
            b"p" => cx.send("!"),
            b"f" => cx.send_file(Arc::clone(&self.0), 0..FILE),
            _ => Ok(()),
        }
    }
}

/// A loop with clients whose requests arrive at once: a local socket has them as soon as they are written.
struct Scene {
    event_loop: EventLoop,
    clients: Vec<UnixStream>,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(clients: usize) -> Self {
        let mut limits = Limits::default();
        (limits.bytes_per_turn, limits.write_per_turn, limits.read_per_turn) = (BUDGET, SLICE, SLICE);
        (limits.low_mark, limits.scratch_min, limits.scratch_max) = (LITTLE, LITTLE, LITTLE);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let file = tempfile::tempfile().unwrap();
        file.set_len(FILE).unwrap();
        let file = Arc::new(file);
        let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
        let address: Address = format!("unix:{}", path.display()).parse().unwrap();
        event_loop.listen(address, &ListenOptions::default(), move |_| Server(Arc::clone(&file))).unwrap();
        let connect = |_| {
            let client = UnixStream::connect(&path).unwrap();
            client.set_nonblocking(true).unwrap();
            client
        };
        let clients: Vec<_> = (0..clients).map(connect).collect();
        let mut scene = Self { event_loop, clients, _directory: directory };
        while scene.event_loop.metrics().accepted < scene.clients.len() as u64 {
            scene.turn();
        }
        scene
    }

    /// Makes a turn, and says how many bytes it moved.
    fn turn(&mut self) -> usize {
        let moved = |event_loop: &EventLoop| event_loop.metrics().bytes_in + event_loop.metrics().bytes_out;
        let before = moved(&self.event_loop);
        self.event_loop.turn(Some(Duration::ZERO)).unwrap();
        usize::try_from(moved(&self.event_loop) - before).unwrap()
    }

    /// Turns until nothing is left to do, and the bytes of the largest.
    fn largest_turn(&mut self) -> usize {
        let mut largest = 0;
        while self.event_loop.metrics().pending > 0 {
            largest = largest.max(self.turn());
        }
        largest
    }
}

/// What a client has been sent.
fn received(mut client: &UnixStream) -> usize {
    let (mut bytes, mut total) = (vec![0; 1 << 20], 0);
    loop {
        match client.read(&mut bytes) {
            Ok(count) => total += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_turn_sends_no_more_of_files_however_many_ask() {
    let mut scene = Scene::new(CLIENTS);
    scene.clients.iter().for_each(|mut client| client.write_all(b"f").unwrap());
    let first = scene.turn();
    assert!(scene.event_loop.metrics().pending > 0, "the first turn sends it all");
    let largest = scene.largest_turn().max(first);
    assert!(largest <= 2 * BUDGET + 2 * SLICE, "{largest} bytes in a turn");
    assert!(scene.clients.iter().all(|client| received(client) > SLICE), "somebody is forgotten");
}

#[test]
fn all_who_wait_have_something_before_one_has_much() {
    let mut scene = Scene::new(CLIENTS);
    scene.clients.iter().for_each(|mut client| client.write_all(b"f").unwrap());
    // With so many, slices are as small as lets all have one within sixteen turns, once they are known to wait.
    let rounds = 16 + 4;
    (0..rounds).for_each(|_| _ = scene.turn());
    let least = scene.clients.iter().map(received).min();
    assert!(least >= Some(LITTLE), "{least:?} after {rounds} turns");
}

#[test]
fn a_small_request_is_answered_in_its_turn_whatever_waits() {
    let mut scene = Scene::new(CLIENTS + 1);
    let mut fresh = scene.clients.pop().unwrap();
    scene.clients.iter().for_each(|mut client| client.write_all(b"f").unwrap());
    for _ in 0..10 {
        scene.turn();
        assert!(scene.event_loop.metrics().pending > 0);
        fresh.write_all(b"p").unwrap();
        scene.turn();
        assert_eq!(received(&fresh), 1);
    }
}

#[test]
fn a_turn_reads_no_more_however_many_send() {
    let mut scene = Scene::new(CLIENTS);
    let body = vec![7; 64 << 10];
    scene.clients.iter().for_each(|mut client| client.write_all(&body).unwrap());
    let first = scene.turn();
    let largest = scene.largest_turn().max(first);
    // Each connection of which an event tells is read once.
    assert!(largest <= CLIENTS * LITTLE + 2 * BUDGET + 2 * SLICE, "{largest} bytes in a turn");
    assert_eq!(scene.event_loop.metrics().bytes_in, (CLIENTS * body.len()) as u64);
}

const CLIENTS: usize = 200;
const FILE: u64 = 64 << 20;
const BUDGET: usize = 64 << 10;
const SLICE: usize = 16 << 10;
const LITTLE: usize = 1 << 10;
