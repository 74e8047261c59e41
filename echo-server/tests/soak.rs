//! At full load, with clients that do everything there is to do, for as long as one likes: at the end descriptors and memory
//! are back at the level of the start.
//!
//! `SOAK=10m` says how long; ten seconds if it says nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "its figures are worth a look")]

mod common;
mod load_support;
#[path = "common/streams.rs"]
mod streams;
#[path = "common/wild.rs"]
mod wild;

use std::env;
use std::net::SocketAddr;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{DEADLINE, Server, wait_at_most};
use rustix::process::Signal;
use serde_json::Value;
use wild::Wild;

/// Clients that run wild, all the time.
struct Crowd {
    stop: Arc<AtomicBool>,
    visits: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(server: SocketAddr, seed: u64) -> Self {
        let (stop, visits) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = |index| {
            let (stop, visits, mut wild) = (Arc::clone(&stop), Arc::clone(&visits), Wild::new(server, seed + index));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    wild.visit();
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..WILD_CLIENTS).map(client).collect();
        Self { stop, visits, threads }
    }

    /// Lets them finish what they do; answers how often they came.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        streams::join(self.threads);
        self.visits.load(Ordering::Relaxed)
    }
}

/// What the server holds of the system.
#[derive(Clone, Copy, Debug)]
struct Level {
    descriptors: usize,
    resident_kb: u64,
}

impl Level {
    fn of(server: &Server) -> Self {
        Self { descriptors: server.descriptors(), resident_kb: server.status_kb("VmRSS:") }
    }
}

/// Starts a load that lasts for so long.
fn load(server: SocketAddr, lasting: Duration, arguments: &[&str]) -> Child {
    let (server, lasting) = (server.to_string(), format!("{}ms", lasting.as_millis()));
    let mut command = load_support::command(&["--json", "--warmup", "0s", "--duration", &lasting]);
    command.args(arguments).arg(server).spawn().unwrap()
}

/// The report of a load that is over: nothing may be wrong.
fn report(mut load: Child, lasting: Duration) -> Value {
    wait_at_most(&mut load, lasting + DEADLINE);
    let output = load.wait_with_output().unwrap();
    let (stdout, stderr) = load_support::texts(&output);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// Everything at once for so long.
fn run(server: &Server, lasting: Duration, seed: u64) {
    let address = server.tcp_address();
    let crowd = Crowd::start(address, seed);
    let steady = load(address, lasting, &["--connections", "32", "--depth", "8", "--size", "256"]);
    let churn = load(address, lasting, &["--connections", "8", "--churn", "--rate", "100"]);
    let end = Instant::now() + lasting;
    let mut told = Instant::now();
    while Instant::now() < end {
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
    let (steady, churn) = (report(steady, lasting), report(churn, lasting));
    let visits = crowd.stop();
    println!("{} messages, {} short connections, {visits} wild visits", steady["echoed"], churn["echoed"]);
    assert!(visits > 0 && steady["echoed"].as_u64() > Some(0) && churn["echoed"].as_u64() > Some(0));
}

/// Waits until the server has closed all connections.
fn settle(server: &Server, descriptors: usize) -> Level {
    let end = Instant::now() + DEADLINE;
    while server.descriptors() > descriptors {
        assert!(Instant::now() < end, "{} descriptors are open, {descriptors} at the start", server.descriptors());
        thread::sleep(TICK / 10);
    }
    Level::of(server)
}

#[test]
fn nothing_is_left_behind() {
    let lasting = env::var("SOAK").map_or(Ok(DEFAULT), |text| program::cli::duration(&text)).unwrap();
    let seed = env::var("REACTOR_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("{lasting:?} with REACTOR_SEED={seed}");
    let server = Server::start(&[
        "--listen",
        "tcp://127.0.0.1:0",
        "--threads",
        "2",
        "--idle-timeout",
        IDLE_TIMEOUT,
        "--max-buffer",
        "64KiB",
    ]);
    let descriptors = server.descriptors();
    // Buffers that are kept for the next one have grown after this.
    run(&server, (lasting / 10).max(Duration::from_secs(2)), seed);
    let before = settle(&server, descriptors);
    run(&server, lasting, seed + WILD_CLIENTS);
    let after = settle(&server, descriptors);
    println!("before {before:?}, after {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert!(after.resident_kb <= before.resident_kb + SLACK_KB, "{before:?}, {after:?}");
    let (code, stderr) = server.stop();
    assert_eq!(code, Some(0));
    assert!(!stderr.iter().any(|line| line.contains("panicked")), "{stderr:#?}");
}

const DEFAULT: Duration = Duration::from_secs(10);

/// Longer than a busy machine keeps a client from running that has something to say.
const IDLE_TIMEOUT: &str = "5s";

const WILD_CLIENTS: u64 = 8;

/// How often the run is looked at.
const TICK: Duration = Duration::from_millis(200);

/// What allocators keep for later; a leak of one byte a message would be many times that.
const SLACK_KB: u64 = 2048;
