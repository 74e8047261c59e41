//! A line of statistics every so often, on a thread of its own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use program::console::Console;
use program::proxy_refusals::ProxyRefusals;
use reactor::{Metrics, ServerHandle};

/// Statistics under way. Dropping it says the last line.
pub(crate) struct Stats {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stats {
    /// Says a line every `interval`; on a terminal each takes the place of the one before.
    pub(crate) fn start(counters: Counters, console: Console, interval: Duration) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let name = "stats".to_owned();
        let thread =
            thread::Builder::new().name(name).spawn(move || report(&counters, &console, interval, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there has been logged.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What is told of.
pub(crate) struct Counters {
    pub(crate) server: ServerHandle,
    pub(crate) proxy_refusals: Arc<ProxyRefusals>,
}

fn report(counters: &Counters, console: &Console, interval: Duration, stopped: &Receiver<()>) {
    let in_place = console.is_terminal();
    let mut before = (Instant::now(), counters.server.metrics());
    loop {
        let ended = stopped.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected);
        let (now, metrics) = (Instant::now(), counters.server.metrics());
        let unheaded = counters.proxy_refusals.total();
        let line = Line { elapsed: now - before.0, before: before.1, metrics, unheaded };
        before = (now, metrics);
        match in_place && !ended {
            true => console.show_status(line),
            false => console.say(line),
        }
        if ended {
            return;
        }
    }
}

/// What happened between two looks at the counters.
struct Line {
    elapsed: Duration,
    before: Metrics,
    metrics: Metrics,
    /// Connections closed for want of a PROXY header.
    unheaded: u64,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elapsed, before, metrics, unheaded } = self;
        let per_second = |now: u64, before: u64| (now - before) as f64 / elapsed.as_secs_f64().max(1e-9);
        let bytes = |now, before| Size(per_second(now, before));
        write!(
            f,
            "open {}, accepted {} ({:.0}/s), in {}/s, out {}/s, waiting {}, turns {:.0}/s, events/turn {:.1}",
            metrics.open,
            metrics.accepted,
            per_second(metrics.accepted, before.accepted),
            bytes(metrics.bytes_in, before.bytes_in),
            bytes(metrics.bytes_out, before.bytes_out),
            Size(metrics.buffered as f64),
            per_second(metrics.turns, before.turns),
            (metrics.events - before.events) as f64 / (metrics.turns - before.turns).max(1) as f64,
        )?;
        if *unheaded > 0 {
            write!(f, ", without PROXY header {unheaded}")?;
        }
        let (datagrams, before) = (metrics.datagrams, before.datagrams);
        if datagrams.sockets == 0 && datagrams.received == 0 {
            return Ok(());
        }
        write!(
            f,
            ", datagrams in {:.0}/s, out {:.0}/s, dropped {}, errors {}",
            per_second(datagrams.received, before.received),
            per_second(datagrams.sent, before.sent),
            datagrams.dropped,
            datagrams.errors,
        )
    }
}

/// A number of bytes for people.
struct Size(f64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut unit) = (self.0, "B");
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if number < 1024.0 {
                break;
            }
            (number, unit) = (number / 1024.0, larger);
        }
        write!(f, "{number:.*} {unit}", usize::from(unit != "B"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_interval() {
        let mut before = Metrics::default();
        before.accepted = 100;
        let mut metrics = before;
        (metrics.open, metrics.accepted, metrics.bytes_in, metrics.turns, metrics.events) = (5, 120, 8192, 10, 25);
        let line = Line { elapsed: Duration::from_secs(2), before, metrics, unheaded: 0 };
        let text = line.to_string();
        assert!(text.starts_with("open 5, accepted 120 (10/s), in 4.0 KiB/s, out 0 B/s"), "{text}");
        assert!(text.ends_with("turns 5/s, events/turn 2.5"), "{text}");
        let text = Line { unheaded: 7, ..line }.to_string();
        assert!(text.ends_with("events/turn 2.5, without PROXY header 7"), "{text}");
    }

    #[test]
    fn datagrams_are_told_where_there_are_any() {
        let before = Metrics::default();
        let mut metrics = before;
        (metrics.datagrams.sockets, metrics.datagrams.received, metrics.datagrams.dropped) = (1, 30, 2);
        let line = Line { elapsed: Duration::from_secs(3), before, metrics, unheaded: 0 }.to_string();
        assert!(line.ends_with(", datagrams in 10/s, out 0/s, dropped 2, errors 0"), "{line}");
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        let written = [0.0, 1023.0, 1024.0, 1536.0 * 1024.0, 3e15].map(|bytes| Size(bytes).to_string());
        assert_eq!(written, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "2728.5 TiB"]);
    }
}
