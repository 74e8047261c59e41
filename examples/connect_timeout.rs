//! Connects to many addresses at once, with one deadline for all, and tells apart how it went: a port scanner of your own machine.
//!
//! The trap: a blocking connect(2) to a machine that does not answer takes two minutes, and the next one waits. After a nonblocking one
//! "writable" says only that the attempt has ended: whether it succeeded is in SO_ERROR, which has to be asked for. And a connect to
//! a free port of one's own machine can succeed although nobody listens: when the kernel picks that very port for our end, the
//! socket is connected to itself. Here `on_open` is called for a connection that is up and is not of that kind; for everything
//! else there is `on_close` with [`CloseReason::ConnectFailed`], which says why.
//!
//! Try:
//!
//!     cargo run -p examples --example connect_timeout -- 127.0.0.1:1-1024
//!     cargo run -p examples --example connect_timeout -- 127.0.0.1:4000 --local 127.0.0.1:4000 --verbose
//!
//! The first says which ports of yours are open, such as `127.0.0.1:22: connected`, and then `1 connected, 1023 refused`. The second
//! one says `127.0.0.1:4000: met itself`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use clap::Parser;
use examples::say;
use reactor::{CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, LoopContext, Result};

/// Connects to many addresses at once, and tells apart how it went.
#[derive(Parser)]
struct Options {
    /// Where to connect to: IP:PORT or IP:FIRST-LAST, each.
    #[arg(required = true, value_parser = addresses)]
    targets: Vec<VecDeque<SocketAddr>>,
    /// When all must be done.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "2s")]
    deadline: Duration,
    /// How many attempts are under way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    at_once: u16,
    /// The local address to connect from.
    #[arg(long)]
    local: Option<SocketAddr>,
    /// Tell of those that are refused, too.
    #[arg(long)]
    verbose: bool,
}

fn addresses(text: &str) -> std::result::Result<VecDeque<SocketAddr>, String> {
    let read = || {
        let (host, ports) = text.rsplit_once(':')?;
        let ip: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let ports = first.parse().ok()?..=last.parse().ok()?;
        Some(ports.map(|port| SocketAddr::new(ip, port)).collect())
    };
    read().ok_or_else(|| "write 127.0.0.1:80, [::1]:80 or 127.0.0.1:1-1024".to_owned())
}

struct Scan {
    waiting: VecDeque<SocketAddr>,
    under_way: usize,
    at_once: usize,
    deadline: Instant,
    options: ConnectOptions,
    verbose: bool,
    /// How many ended in which way.
    ends: BTreeMap<&'static str, u32>,
}

impl Scan {
    fn note(&mut self, address: SocketAddr, end: &'static str) {
        *self.ends.entry(end).or_default() += 1;
        if self.verbose || end != REFUSED {
            say!("{address}: {end}");
        }
    }
}

/// Starts as many attempts as there may be; the loop ends with the last one.
fn go_on(cx: &mut LoopContext<'_, Scan>) {
    while cx.state().under_way < cx.state().at_once
        && let Some(address) = cx.state().waiting.pop_front()
    {
        let scan = cx.state();
        let left = scan.deadline.saturating_duration_since(Instant::now());
        let options = scan.options.clone().deadline(left);
        match cx.connect(address, &options, Probe(address)) {
            Ok(_) => cx.state().under_way += 1,
            Err(error) => cx.state().note(address, end_of(&error)),
        }
    }
    if cx.state().under_way == 0 {
        cx.stop();
    }
}

struct Probe(SocketAddr);

impl Handler<Scan> for Probe {
    fn on_open(&mut self, cx: &mut Context<'_, Scan>) -> Result {
        cx.state().note(self.0, "connected");
        cx.close();
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_, Scan>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Scan>, reason: &CloseReason) {
        if let CloseReason::ConnectFailed(error) = reason {
            cx.state().note(self.0, end_of(error));
        }
        cx.state().under_way -= 1;
        go_on(cx);
    }
}

fn end_of(error: &io::Error) -> &'static str {
    match error.kind() {
        // What the kernel refuses has a number; that a socket met itself is found out by the loop.
        ErrorKind::ConnectionRefused if error.raw_os_error().is_none() => "met itself",
        ErrorKind::ConnectionRefused => REFUSED,
        ErrorKind::TimedOut => "timed out",
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => "unreachable",
        _ => "failed otherwise",
    }
}

fn main() -> Result {
    let options = Options::parse();
    let mut connect_options = ConnectOptions::default();
    connect_options.local = options.local;
    let mut event_loop = EventLoop::new(Scan {
        waiting: options.targets.into_iter().flatten().collect(),
        under_way: 0,
        at_once: options.at_once.into(),
        deadline: Instant::now() + options.deadline,
        options: connect_options,
        verbose: options.verbose,
        ends: BTreeMap::new(),
    })?;
    go_on(&mut event_loop.context());
    event_loop.run()?;
    let ends = event_loop.state().ends.iter().map(|(end, count)| format!("{count} {end}"));
    say!("{}", ends.collect::<Vec<_>>().join(", "));
    Ok(())
}

const REFUSED: &str = "refused";
