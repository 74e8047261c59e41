//! At full load, with clients that do everything there is to do, for as long as one likes: every byte is right, and at the end
//! descriptors, watches and memory are back at the level of the start.
//!
//! `SOAK=10m` says how long; ten seconds if it says nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "its figures are worth a look")]

mod common;
mod fault_support;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{PROGRAM, Server, connect, eventually, expect_end, pattern, read_answer, replace};
use fault_support::{LARGE, SMALL, ask, assert_content, join, put, tree};
use rustix::process::Signal;

/// A client that does something else each time. What it meets is checked byte by byte.
struct Wild {
    http: SocketAddr,
    uploads: SocketAddr,
    name: String,
    random: u64,
}

impl Wild {
    fn visit(&mut self) {
        let mut stream = connect(self.http);
        match self.below(10) {
            0 | 1 => self.chat(&mut stream),
            2 => self.download(&mut stream),
            3 => self.stall(stream),
            4 => self.store(&mut stream),
            5 => self.give_up(stream),
            6 => Self::pipeline(&mut stream),
            7 => self.store_by_struct(),
            8 => Self::talk_nonsense(&mut stream),
            _ => self.read_what_changes(&mut stream),
        }
    }

    fn chat(&mut self, stream: &mut TcpStream) {
        for _ in 0..self.below(300) {
            assert_content(&ask(stream, "GET /small", ""), 200, &SMALL);
        }
        assert_eq!(ask(stream, "GET /none", "").status, 404);
        assert_eq!(ask(stream, "GET /?format=json", "").status, 200);
    }

    fn download(&mut self, stream: &mut TcpStream) {
        assert_content(&ask(stream, "GET /large", ""), 200, &LARGE);
        let from = self.below(LARGE.len() as u64 - 1) as usize;
        let range = format!("Range: bytes={from}-\r\n");
        assert_content(&ask(stream, "GET /large", &range), 206, &LARGE[from..]);
    }

    /// Asks for more than it takes, and leaves in one of two ways, or waits to be shown the door.
    fn stall(&mut self, mut stream: TcpStream) {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        match self.below(20) {
            0 => thread::sleep(TIMEOUT + TIMEOUT / 2),
            1..10 => reset(&stream),
            _ => {}
        }
    }

    fn store(&mut self, stream: &mut TcpStream) {
        let content = pattern(self.below(4 << 20) as usize);
        let path = format!("/{}", self.name);
        assert_eq!(put(stream, &self.name, &content).status, 201);
        assert_content(&ask(stream, &format!("GET {path}"), ""), 200, &content);
        assert_eq!(ask(stream, &format!("DELETE {path}"), "").status, 204);
        assert_eq!(ask(stream, &format!("GET {path}"), "").status, 404);
    }

    /// An upload that breaks off.
    fn give_up(&mut self, mut stream: TcpStream) {
        let head = format!("PUT /{} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", self.name, 4 << 20);
        stream.write_all(head.as_bytes()).unwrap();
        let content = pattern(self.below(3 << 20) as usize);
        stream.write_all(&content).unwrap();
        if self.below(2) == 0 {
            reset(&stream);
        }
    }

    fn pipeline(stream: &mut TcpStream) {
        stream.write_all("GET /small HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes()).unwrap();
        (0..100).for_each(|_| assert_content(&read_answer(stream, false), 200, &SMALL));
    }

    fn store_by_struct(&mut self) {
        let content = pattern(self.below(1 << 20) as usize);
        let mut header = vec![0; 256];
        header[..self.name.len()].copy_from_slice(self.name.as_bytes());
        header.extend((content.len() as i32).to_le_bytes());
        let mut stream = connect(self.uploads);
        stream.write_all(&header).unwrap();
        stream.write_all(&content).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"okok");
        expect_end(&mut stream);
        let mut stream = connect(self.http);
        assert_content(&ask(&mut stream, &format!("GET /{}", self.name), ""), 200, &content);
        assert_eq!(ask(&mut stream, &format!("DELETE /{}", self.name), "").status, 204);
    }

    fn talk_nonsense(stream: &mut TcpStream) {
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
        assert_eq!(read_answer(stream, false).status, 400);
        expect_end(stream);
    }

    /// Each version is of one byte alone.
    fn read_what_changes(&mut self, stream: &mut TcpStream) {
        for _ in 0..self.below(20) {
            let answer = ask(stream, "GET /changing", "");
            assert_eq!((answer.status, answer.body.len()), (200, CHANGING));
            assert!(answer.body.iter().all(|byte| *byte == answer.body[0]), "a mixture of versions");
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // The SplitMix64 generator.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The close of this stream will be a reset.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// What the server holds of the system.
#[derive(Clone, Copy, Debug)]
struct Level {
    descriptors: usize,
    watches: usize,
    resident_kb: u64,
}

impl Level {
    fn of(server: &Server) -> Self {
        Self { descriptors: server.descriptors(), watches: watches(server), resident_kb: server.status_kb("VmRSS:") }
    }
}

/// How many files and directories the server watches; see proc_pid_fdinfo(5).
fn watches(server: &Server) -> usize {
    let all = fs::read_dir(format!("/proc/{}/fdinfo", server.child.id())).unwrap();
    // One that was closed meanwhile watches nothing.
    let texts = all.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    texts.map(|text| text.matches("inotify wd:").count()).sum()
}

/// Everything at once for so long; answers how often clients came.
fn run(server: &Server, lasting: Duration, seed: u64) -> u64 {
    for (name, content) in [("small", &SMALL), ("large", &LARGE)] {
        server.write(name, &**content);
    }
    server.write("changing", vec![0; CHANGING]);
    let stop = Arc::<AtomicBool>::default();
    let visits = Arc::<AtomicU64>::default();
    let clients = (0..CLIENTS).map(|index| start_client(server, seed + index, &stop, &visits));
    let mut threads: Vec<_> = clients.collect();
    threads.push(start_writer(server.path("changing"), &stop));
    let end = Instant::now() + lasting;
    let mut told = Instant::now();
    while Instant::now() < end && threads.iter().all(|thread| !thread.is_finished()) {
        thread::sleep(TICK);
        // Between two looks the process stands still for a moment, as on a machine that is short of everything.
        server.signal(Signal::STOP);
        thread::sleep(TICK / 20);
        server.signal(Signal::CONT);
        if told.elapsed() >= lasting / 10 {
            told = Instant::now();
            println!("{:?}", Level::of(server));
        }
    }
    stop.store(true, Ordering::Relaxed);
    join(threads);
    visits.load(Ordering::Relaxed)
}

fn start_client(server: &Server, seed: u64, stop: &Arc<AtomicBool>, visits: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (stop, visits) = (Arc::clone(stop), Arc::clone(visits));
    let uploads = server.address_after("struct://").parse().unwrap();
    let mut wild = Wild { http: server.address(), uploads, name: format!("put-{seed}"), random: seed };
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            wild.visit();
            visits.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Puts one version after another in the place of a file.
fn start_writer(path: PathBuf, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        for version in (0..=255).cycle() {
            replace(&path, vec![version; CHANGING]);
            thread::sleep(Duration::from_millis(3));
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    })
}

/// Takes all files away, so that none can be kept, and waits until the server has let go of everything.
fn settle(server: &Server, descriptors: usize) -> Level {
    let tree = server.tree.path();
    // Uploads that broke off leave nothing, visible or not.
    eventually("uploads are cleared away", || {
        let left = fs::read_dir(tree).unwrap().filter(|entry| !is_ours(&entry.as_ref().unwrap().file_name()));
        left.count() == 0
    });
    ["small", "large", "changing"].iter().for_each(|name| fs::remove_file(tree.join(name)).unwrap());
    eventually("connections and files are closed", || server.descriptors() <= descriptors && watches(server) == 0);
    Level::of(server)
}

fn is_ours(name: &std::ffi::OsStr) -> bool {
    ["small", "large", "changing"].iter().any(|ours| name == *ours)
}

#[test]
fn nothing_is_left_behind() {
    let lasting = env::var("SOAK").map_or(Ok(DEFAULT), |text| program::cli::duration(&text)).unwrap();
    let seed = env::var("REACTOR_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("{lasting:?} with REACTOR_SEED={seed}");
    let tree = tree();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--struct-listen", "127.0.0.1:0", "--threads", "2"]);
    command.args(["--allow-upload", "--allow-delete"]);
    let timeout = format!("{}s", TIMEOUT.as_secs());
    for of in ["--header-timeout", "--body-timeout", "--write-timeout", "--keep-alive-timeout"] {
        command.args([of, &timeout]);
    }
    // What is freed goes back to the system at once, so that what is not can be seen.
    command.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_ARENA_MAX", "2").arg(tree.path());
    let mut server = Server::start_command(tree, &mut command, 2);
    let descriptors = server.descriptors();
    // Buffers that are kept for the next one have grown after this, and the workers have started.
    run(&server, (lasting / 10).max(Duration::from_secs(2)), seed);
    let before = settle(&server, descriptors);
    let visits = run(&server, lasting, seed + CLIENTS);
    let after = settle(&server, descriptors);
    println!("{visits} visits; before {before:?}, after {after:?}");
    assert!(visits > 0);
    assert_eq!((after.descriptors, after.watches), (before.descriptors, before.watches));
    assert!(after.resident_kb <= before.resident_kb + SLACK_KB, "{before:?}, {after:?}");
    let (code, stderr) = server.stop();
    assert_eq!(code, Some(0));
    assert!(!stderr.iter().any(|line| line.contains("panicked")), "{stderr:#?}");
}

const DEFAULT: Duration = Duration::from_secs(10);

/// Longer than a busy machine keeps a client from running that has something to say.
const TIMEOUT: Duration = Duration::from_secs(5);

const CLIENTS: u64 = 12;

/// Bytes of the file that changes: sent from the memory of the server.
const CHANGING: usize = 100_000;

/// How often the run is looked at.
const TICK: Duration = Duration::from_millis(200);

/// What allocators keep for later; a leak of one byte a request would be more than that after some minutes.
const SLACK_KB: u64 = 4096;
