//! A server that ends well: what is under way is finished, what comes too late is told so, and the end has a deadline.
//!
//! The trap: a process that exits on SIGTERM drops the requests it is working on, and its unsent answers with them. A signal handler
//! that does more than set a flag may deadlock, and a flag is looked at when the next event comes, if one comes. Here the signal is an
//! event of the loop: the listener closes, each handler is told once by `on_shutdown` and may stay until the deadline, and the report
//! says how many ended by themselves and how many were cut. A second signal ends all at once.
//!
//! Try:
//!
//!     cargo run -p examples --example graceful_stop -- --work 3s
//!     echo report | nc 127.0.0.1 7777
//!
//! Press Ctrl-C at the server within the three seconds: `nc` still gets `done: report`, and the server says `connections: 1 ended by themselves, 0 were cut`.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Parser;
use examples::{printable, say};
use reactor::codec::{Codec, Lines};
use reactor::{Context, Handler, Input, Result, Server, TimerId};

/// Takes its time for each line, and ends well.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// How long the work for a line takes.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "3s")]
    work: Duration,
    /// How long the end may take.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "10s")]
    grace: Duration,
}

struct Worker {
    lines: Lines,
    work: Duration,
    /// What is under way, the oldest first.
    jobs: VecDeque<String>,
    /// No more jobs are taken, and the connection closes after the last.
    ending: bool,
}

impl Worker {
    fn end(&mut self, cx: &mut Context<'_>) -> Result {
        self.ending = true;
        if self.jobs.is_empty() { cx.finish() } else { Ok(()) }
    }
}

impl Handler for Worker {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = self.lines.decode(input)? {
            if self.ending || self.jobs.len() == MOST_JOBS {
                cx.send(format!("not done: {}\n", printable(line)))?;
                continue;
            }
            say!("working: {}", printable(line));
            // Work that takes time without a timer, such as a computation, is for `Context::spawn_blocking`.
            cx.set_timer(self.work)?;
            self.jobs.push_back(printable(line));
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _timer: TimerId) -> Result {
        if let Some(job) = self.jobs.pop_front() {
            cx.send(format!("done: {job}\n"))?;
        }
        if self.ending && self.jobs.is_empty() { cx.finish() } else { Ok(()) }
    }

    fn on_eof(&mut self, cx: &mut Context<'_>) -> Result {
        self.end(cx)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Result {
        let left = deadline.saturating_duration_since(Instant::now());
        say!("ending with {} jobs under way, within {:.1} s", self.jobs.len(), left.as_secs_f64());
        self.end(cx)
    }
}

fn main() -> Result {
    let options = Options::parse();
    let make =
        move |_peer: &_| Worker { lines: Lines::new(1024), work: options.work, jobs: VecDeque::new(), ending: false };
    let builder = Server::builder().shutdown_on_signals(options.grace);
    let report = examples::start(builder.listen(options.address, make)?)?.wait()?;
    say!("connections: {} ended by themselves, {} were cut", report.clean, report.cut);
    Ok(())
}

/// Jobs of one connection at once. A connection may have 64 timers.
const MOST_JOBS: usize = 16;
