//! `bench-slow-clients`: how long a fresh request waits at an HTTP server that thousands of clients ask for a large file without
//! reading it, or keep waiting for the rest of a request.

#[allow(dead_code, reason = "the report uses all of it")]
#[path = "bench-report/usage.rs"]
mod usage;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benches::descriptors;
use clap::{Parser, ValueEnum};

use crate::usage::{CpuTime, Memory};

/// Connects many clients of a bad kind to a running server, and one after the other good ones, whose answers it times.
#[derive(Parser)]
struct Options {
    /// Where the server listens.
    address: SocketAddr,
    /// Its process: what it does during each answer is told then, which a busy machine does not change, and its memory.
    #[arg(long)]
    pid: Option<u32>,
    /// What the bad clients do.
    #[arg(long, value_enum, default_value_t = Kind::NeverRead)]
    kind: Kind,
    /// How many bad clients there are.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// What clients that do not read ask for.
    #[arg(long, default_value = "/large")]
    large: String,
    /// What the good ones ask for.
    #[arg(long, default_value = "/small")]
    small: String,
    /// Seconds for which good clients come after all bad ones are there.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The bad clients connect first, and then ask all at once.
    #[arg(long)]
    at_once: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Ask for a large file and read nothing.
    NeverRead,
    /// Send a head in small pieces.
    SlowHeader,
    /// Send a body in small pieces.
    SlowBody,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    descriptors::raise();
    let over = AtomicBool::new(false);
    let (times, processor) = thread::scope(|scope| {
        let good = scope.spawn(|| time_answers(&options, &over));
        let bad = attack(&options);
        over.store(true, Ordering::Relaxed);
        let times = good.join().expect("it does not panic");
        // Only now they go, for ten thousand that leave at once are another matter.
        bad.and_then(|clients| {
            drop(clients);
            times
        })
    })?;
    report("by the clock", times)?;
    report("processor time of the server meanwhile", processor)
}

/// Connects the bad clients, and keeps them for as long as is asked for.
fn attack(options: &Options) -> io::Result<Vec<TcpStream>> {
    let request = match options.kind {
        Kind::NeverRead => format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", options.large),
        Kind::SlowHeader => "GET / HTTP/1.1\r\nX: ".into(),
        Kind::SlowBody => "PUT /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".into(),
    };
    let anonymous = || options.pid.map(|pid| Memory::of(pid).map(|memory| memory.anonymous)).transpose();
    let before = anonymous()?;
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        let mut client = TcpStream::connect(options.address)?;
        if !options.at_once {
            client.write_all(request.as_bytes())?;
        }
        clients.push(client);
    }
    if options.at_once {
        clients.iter_mut().try_for_each(|client| client.write_all(request.as_bytes()))?;
    }
    let start = Instant::now();
    for round in 0.. {
        if start.elapsed() >= Duration::from_secs(options.seconds) {
            break;
        }
        thread::sleep(ROUND);
        if !matches!(options.kind, Kind::NeverRead) {
            // Those that the server has given up fail.
            clients.iter_mut().skip(round % ROUNDS).step_by(ROUNDS).for_each(|client| _ = client.write(b"x"));
        }
    }
    if let (Some(before), Some(after)) = (before, anonymous()?) {
        writeln!(io::stdout(), "anonymous memory of the server: {before} bytes, then {after}")?;
    }
    Ok(clients)
}

/// Fetches the small file on a connection of its own again and again, and says how long each took, and how long the server
/// worked meanwhile.
fn time_answers(options: &Options, over: &AtomicBool) -> io::Result<(Vec<Duration>, Vec<Duration>)> {
    let processor = || options.pid.map(CpuTime::of).transpose().map(Option::unwrap_or_default);
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", options.small);
    let (mut times, mut work, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let (start, before) = (Instant::now(), processor()?);
        let mut client = TcpStream::connect(options.address)?;
        client.write_all(request.as_bytes())?;
        answer.clear();
        client.read_to_end(&mut answer)?;
        times.push(start.elapsed());
        work.push(processor()?.since(before));
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other("a good client was not served"));
        }
        thread::sleep(PAUSE);
    }
    Ok((times, work))
}

fn report(what: &str, mut times: Vec<Duration>) -> io::Result<()> {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let (count, median, rare, worst) = (times.len(), at(0.5), at(0.99), at(1.0));
    writeln!(
        io::stdout(),
        "{count} answers, {what}: median {median:.1?}, 99th percentile {rare:.1?}, worst {worst:.1?}"
    )
}

/// How often some of the bad clients send a byte.
const ROUND: Duration = Duration::from_millis(10);

/// In how many rounds each has sent one: a byte a second is the pace of tools that hold servers up so.
const ROUNDS: usize = 100;

/// How long it is from a good client's answer to the next one.
const PAUSE: Duration = Duration::from_millis(2);
