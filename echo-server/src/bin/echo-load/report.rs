//! The results, for people and for machines.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::coordinator::Outcome;
use crate::plan::Plan;
use crate::tally::Failure;

/// The results of a run. Its fields are the members of the JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    target: String,
    /// `closed` (the next message when one is back) or `rate`.
    mode: &'static str,
    connections: usize,
    threads: usize,
    size: usize,
    depth: usize,
    churn: bool,
    /// Messages a second that were asked for.
    rate: Option<u64>,
    warmup_s: f64,
    /// Connections that were made.
    opened: u64,
    /// Messages of the whole run, the warm-up included.
    sent: u64,
    echoed: u64,
    /// Messages that were due at the end and found no room.
    unsent: u64,
    /// Messages that were measured: sent after the warm-up, and echoed.
    messages: u64,
    /// Their bytes, in one direction.
    bytes: u64,
    elapsed_s: f64,
    messages_per_s: f64,
    mib_per_s: f64,
    latency: Latency,
    failures: Failed,
    /// Whether it was interrupted, or a wrong echo ended it.
    ended_early: bool,
}

/// Latencies in microseconds.
#[derive(Debug, Default, Serialize)]
struct Latency {
    /// Whether they count from the time at which a message was due, not from when it could be sent.
    corrected: bool,
    min_us: f64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    p99_99_us: f64,
    max_us: f64,
}

/// Failures, by kind.
#[derive(Debug, Serialize)]
struct Failed {
    connect: u64,
    broken: u64,
    wrong: u64,
    unanswered: u64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let Outcome { tally, elapsed, ended_early } = outcome;
        let messages = tally.latency.len();
        let bytes = messages * plan.pattern.size() as u64;
        let per_second = |amount: f64| if elapsed.is_zero() { 0.0 } else { amount / elapsed.as_secs_f64() };
        Self {
            target: plan.target.clone(),
            mode: if plan.rate.is_some() { "rate" } else { "closed" },
            connections: plan.connections,
            threads: plan.threads,
            size: plan.pattern.size(),
            depth: plan.depth,
            churn: plan.churn,
            rate: plan.rate,
            warmup_s: plan.warmup.as_secs_f64(),
            opened: tally.opened,
            sent: tally.sent,
            echoed: tally.echoed,
            unsent: tally.unsent,
            messages,
            bytes,
            elapsed_s: elapsed.as_secs_f64(),
            messages_per_s: per_second(messages as f64),
            mib_per_s: per_second(bytes as f64 / MIB),
            latency: Latency::of(&tally.latency, plan.rate.is_some()),
            failures: Failed {
                connect: tally.failures.of(Failure::Connect),
                broken: tally.failures.of(Failure::Broken),
                wrong: tally.failures.of(Failure::Wrong),
                unanswered: tally.failures.of(Failure::Unanswered),
            },
            ended_early: *ended_early,
        }
    }

    /// The results as a person reads them.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}: {}", self.target, self.how());
        let _ = write!(
            text,
            "\n\nmessages    {}{}\nthroughput  {:.0} messages/s, {:.1} MiB/s each way\n",
            self.messages,
            if self.ended_early { " (the run ended early)" } else { "" },
            self.messages_per_s,
            self.mib_per_s,
        );
        if self.unsent > 0 {
            let _ = writeln!(text, "behind      {} messages were due and not sent: the rate was not kept", self.unsent);
        }
        if self.messages > 0 {
            let _ = write!(text, "\nlatency     {}\n{}", self.latency.meaning(self.churn), self.latency.table());
        }
        text
    }

    /// The results as one JSON object.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    fn how(&self) -> String {
        let rate = self.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} messages/s asked for"));
        let connections = match self.churn {
            true => format!("{} connections at once, one message each", self.connections),
            false => format!("{} connections, depth {}", self.connections, self.depth),
        };
        let threads = if self.threads > 1 { format!(", {} threads", self.threads) } else { String::new() };
        format!("{connections}{threads}, {} bytes a message, {rate}, {:.3} s", self.size, self.elapsed_s)
    }
}

impl Latency {
    fn of(latency: &Histogram<u64>, corrected: bool) -> Self {
        if latency.is_empty() {
            return Self { corrected, ..Self::default() };
        }
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| micros(latency.value_at_quantile(quantile).min(latency.max()));
        Self {
            corrected,
            min_us: micros(latency.min()),
            mean_us: latency.mean() / 1000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: micros(latency.max()),
        }
    }

    fn meaning(&self, churn: bool) -> &'static str {
        match (self.corrected, churn) {
            (true, _) => "from the time a message was due to its echo (corrected for coordinated omission)",
            (false, false) => {
                "from sending to echo (uncorrected: while the server stalls nothing more is sent, so --rate tells more)"
            }
            (false, true) => {
                "from connecting to echo (uncorrected: while the server stalls nothing more is sent, so --rate tells more)"
            }
        }
    }

    fn table(&self) -> String {
        let rows = [
            ("min", self.min_us),
            ("p50", self.p50_us),
            ("p90", self.p90_us),
            ("p99", self.p99_us),
            ("p99.9", self.p99_9_us),
            ("p99.99", self.p99_99_us),
            ("max", self.max_us),
        ];
        rows.map(|(name, micros)| format!("  {name:<8}{:>12}\n", duration(micros))).concat()
    }
}

/// Writes the results to stdout. That nobody reads them is no failure.
pub(crate) fn print(results: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(results.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A duration with three digits that count and its unit.
fn duration(micros: f64) -> String {
    let (value, unit) = match micros {
        ..1_000.0 => (micros, "us"),
        ..1_000_000.0 => (micros / 1_000.0, "ms"),
        _ => (micros / 1_000_000.0, "s"),
    };
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

const MIB: f64 = 1_048_576.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits() {
        let told = [0.05, 9.99, 12.34, 123.4, 1_234.0, 45_600.0, 2_500_000.0].map(duration);
        assert_eq!(told, ["0.05 us", "9.99 us", "12.3 us", "123 us", "1.23 ms", "45.6 ms", "2.50 s"]);
    }
}
