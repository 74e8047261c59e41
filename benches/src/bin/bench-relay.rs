//! `bench-relay`: what it costs to pass bytes on, by the example `proxy`, socat and HAProxy side by side.

#[allow(dead_code, reason = "the report uses all of it")]
#[path = "bench-report/ports.rs"]
mod ports;
#[allow(dead_code, reason = "the report uses all of it")]
#[path = "bench-report/usage.rs"]
mod usage;

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use benches::cores;
use clap::Parser;

use crate::usage::CpuTime;

/// Passes bytes through proxies, in turns, and prints medians as a table.
#[derive(Parser)]
struct Options {
    /// Rounds, each of which measures every proxy once.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// MiB that go each way at once on one connection.
    #[arg(long, default_value_t = 512)]
    mib: usize,
    /// Messages that are echoed on each of 64 connections.
    #[arg(long, default_value_t = 2000)]
    messages: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Only proxies whose name has this in it.
    #[arg(long, default_value = "")]
    only: String,
}

/// The two ends of a connection through a proxy.
type Pair = (TcpStream, TcpStream);

/// A proxy, by name and by the words of its command.
struct Proxy {
    name: &'static str,
    command: fn(listen: SocketAddr, target: SocketAddr) -> anyhow::Result<Command>,
}

/// What a run took, by the clock and of the proxy's processor time.
#[derive(Clone, Copy)]
struct Cost {
    elapsed: Duration,
    processor: Duration,
}

const PROXIES: [Proxy; 4] = [
    Proxy { name: "reactor", command: reactor },
    Proxy { name: "socat -b 65536", command: socat },
    Proxy { name: "haproxy", command: |listen, target| haproxy(listen, target, "") },
    Proxy { name: "haproxy splice-auto", command: |listen, target| haproxy(listen, target, "option splice-auto") },
];

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let proxies: Vec<&Proxy> = PROXIES.iter().filter(|proxy| proxy.name.contains(&options.only)).collect();
    let mut costs = vec![(Vec::new(), Vec::new()); proxies.len()];
    cores::pin_load()?;
    for round in 0..options.rounds {
        for turn in 0..proxies.len() {
            let index = (round + turn) % proxies.len();
            let Proxy { name, .. } = proxies[index];
            let bulk = measure(proxies[index], 1, |pairs| streams(&pairs[0], options.mib << 20));
            let small = measure(proxies[index], CONNECTIONS, |pairs| messages(pairs, options.messages, options.size));
            costs[index].0.push(bulk.with_context(|| format!("{name}, streams"))?);
            costs[index].1.push(small.with_context(|| format!("{name}, messages"))?);
        }
    }
    let mut out = io::stdout();
    writeln!(out, "| proxy | MiB/s, both ways | processor s a GiB | messages/s | processor us a message |")?;
    writeln!(out, "|---|---:|---:|---:|---:|")?;
    for (proxy, (bulk, small)) in proxies.iter().zip(costs) {
        let mib = (2 * options.mib) as f64;
        let passed = (2 * CONNECTIONS * options.messages) as f64;
        let (bulk, small) = (median(&bulk), median(&small));
        writeln!(
            out,
            "| {} | {:.0} | {:.3} | {:.0} | {:.2} |",
            proxy.name,
            mib / bulk.elapsed.as_secs_f64(),
            bulk.processor.as_secs_f64() / mib * 1024.0,
            passed / small.elapsed.as_secs_f64(),
            small.processor.as_secs_f64() / passed * 1e6,
        )?;
    }
    Ok(())
}

/// Each of the two for itself.
fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> Duration| {
        let mut values: Vec<Duration> = costs.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    Cost { elapsed: middle(|cost| cost.elapsed), processor: middle(|cost| cost.processor) }
}

/// Starts a proxy, makes connections through it, and runs a load over them.
fn measure(proxy: &Proxy, count: usize, run: impl Fn(&mut Vec<Pair>) -> io::Result<()>) -> anyhow::Result<Cost> {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
    let mut command = (proxy.command)(listen, target.local_addr()?)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    cores::pin_server()?;
    let child = command.spawn();
    cores::pin_load()?;
    let process = Running(child.context("cannot be run")?);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ports::is_listening(listen.port())? {
        ensure!(Instant::now() < deadline, "it does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    let pair = |_| -> io::Result<Pair> {
        let client = TcpStream::connect(listen)?;
        let (server, _) = target.accept()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok((client, server))
    };
    let mut pairs = (0..count).map(pair).collect::<io::Result<Vec<_>>>()?;
    let (before, start) = (process.cpu_time()?, Instant::now());
    run(&mut pairs)?;
    Ok(Cost { elapsed: start.elapsed(), processor: process.cpu_time()? - before })
}

/// Sends so many bytes each way at once.
fn streams((client, server): &Pair, bytes: usize) -> io::Result<()> {
    thread::scope(|scope| {
        let ends = [(client, server), (server, client)];
        let threads = ends.map(|(from, to)| {
            let writer = scope.spawn(move || write_all(from, bytes));
            let reader = scope.spawn(move || read_all(to, bytes));
            [writer, reader]
        });
        threads.into_iter().flatten().try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

fn write_all(mut to: &TcpStream, bytes: usize) -> io::Result<()> {
    let piece = vec![7; CHUNK];
    (0..bytes / CHUNK).try_for_each(|_| to.write_all(&piece))
}

fn read_all(mut from: &TcpStream, bytes: usize) -> io::Result<()> {
    let (mut piece, mut left) = (vec![0; CHUNK], bytes);
    while left > 0 {
        match from.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => left -= count,
        }
    }
    Ok(())
}

/// Sends a message on each connection, has it echoed at the far end, and so on.
fn messages(pairs: &mut [Pair], rounds: usize, size: usize) -> io::Result<()> {
    let mut message = vec![7; size];
    for _ in 0..rounds {
        pairs.iter_mut().try_for_each(|(client, _)| client.write_all(&message))?;
        for (_, server) in pairs.iter_mut() {
            server.read_exact(&mut message)?;
            server.write_all(&message)?;
        }
        pairs.iter_mut().try_for_each(|(client, _)| client.read_exact(&mut message))?;
    }
    Ok(())
}

/// A process that is killed in the end.
struct Running(Child);

impl Running {
    /// Processor time of the process and of its children: socat makes one for each connection.
    fn cpu_time(&self) -> io::Result<Duration> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let ids = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        ids.chain([id]).map(|id| Ok(CpuTime::of(id)?.since(CpuTime::default()))).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reactor(listen: SocketAddr, target: SocketAddr) -> anyhow::Result<Command> {
    let program = env::current_exe()?.with_file_name("examples").join("proxy");
    ensure!(program.exists(), "build it first: cargo build --release -p examples --example proxy");
    let mut command = Command::new(program);
    command.args([listen.to_string(), target.to_string()]);
    Ok(command)
}

/// With a buffer eight times its default.
fn socat(listen: SocketAddr, target: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new("socat");
    command.args(["-b", "65536"]);
    command.arg(format!("TCP-LISTEN:{},bind={},reuseaddr,fork,nodelay", listen.port(), listen.ip()));
    command.arg(format!("TCP:{target},nodelay"));
    Ok(command)
}

fn haproxy(listen: SocketAddr, target: SocketAddr, option: &str) -> anyhow::Result<Command> {
    let config: PathBuf = env::temp_dir().join(format!("bench-relay-{}.cfg", listen.port()));
    fs::write(
        &config,
        format!(
            "global\n nbthread 1\n maxconn 1000\ndefaults\n mode tcp\n {option}\n timeout connect 5s\n timeout client 1h\n \
             timeout server 1h\nlisten proxy\n bind {listen}\n server target {target}\n"
        ),
    )?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(config);
    Ok(command)
}

/// Connections that exchange messages at once: enough that a proxy always has work.
const CONNECTIONS: usize = 64;

/// What the load writes and reads at once.
const CHUNK: usize = 256 << 10;
