//! Counters of one loop, written by its thread alone and read by any.

use std::ops::AddAssign;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::counter::Counter;
use crate::histogram::{Histogram, LiveHistogram};
use crate::sync::{AtomicU64, Ordering};

/// What a loop has counted since it started, at one moment. Add snapshots up for several loops.
///
/// Taking one costs a few loads and does not disturb the loop. The figures are read one by one, so two that belong
/// together may be a turn apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections open now.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Outgoing connections that were made, and those that were adopted.
    pub connected: u64,
    /// Clients turned away: descriptors or memory were short, the handler could not be made, or their address had as many
    /// connections as it may.
    pub refused: u64,
    /// Connections and datagram sockets that ended, by reason.
    pub closed: Closed,
    /// Closed connections that still discard input so that the peer gets all its output.
    pub lingering: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes the kernel took for sending.
    pub bytes_out: u64,
    /// Bytes that wait in the loop: input left by handlers and output the kernel has not taken.
    pub buffered: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Events the kernel told; divided by the turns, how well a wait is shared.
    pub events: u64,
    /// Times the loop was woken by a message from another thread.
    pub wakeups: u64,
    /// Messages from other threads handled.
    pub messages: u64,
    /// Timers and tasks that wait.
    pub timers: u64,
    /// Callbacks that panicked.
    pub panics: u64,
    /// Shortages of descriptors or kernel memory that accepting met.
    pub accept_shortages: u64,
    /// Jobs of [`spawn_blocking`](crate::LoopContext::spawn_blocking) that wait for a thread.
    pub jobs_waiting: u64,
    /// Jobs that run now.
    pub jobs_running: u64,
    /// Jobs that have ended, those that panicked included.
    pub jobs_done: u64,
    /// Sources open now.
    pub sources: u64,
    /// Sources that ended by an error or a panic of theirs.
    pub sources_failed: u64,
    /// What became of datagrams.
    pub datagrams: Datagrams,
    /// The longest time between two looks at the clock while callbacks ran. The loop looks at least every 32
    /// callbacks, so no callback took longer; in a loop that is not busy it is the longest callback.
    pub longest_callback: Duration,
    /// How long the stretches of callbacks between two looks at the clock took, each of at most 32 callbacks.
    pub callback_times: Histogram,
    /// How long the turns took, from the end of the wait to the next one: the lag of the loop. What became ready while a
    /// turn was under way, or fell due, waited no longer than that.
    pub turn_times: Histogram,
    /// Time spent in callbacks, and in the system calls that they lead to.
    pub busy: Duration,
    /// Time spent in the wait for events, spinning ([`Limits::spin`](crate::Limits::spin)) included. It is counted as the
    /// wait ends.
    pub waited: Duration,
    /// Sources that stopped before all was read or sent, for the sake of the others, and go on in the next turn.
    pub pending: u64,
}

/// What became of datagrams, and of the sockets that they go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagrams {
    /// Sockets open now.
    pub sockets: u64,
    /// Datagrams received.
    pub received: u64,
    /// Of those, the ones that were longer than [`DatagramOptions::max_size`](crate::DatagramOptions::max_size), and cut.
    pub truncated: u64,
    /// Datagrams that the kernel took for sending.
    pub sent: u64,
    /// Datagrams that found no room in the queue of their socket
    /// ([`Limits::max_datagram_queue`](crate::Limits::max_datagram_queue)), or waited there when it was closed.
    pub dropped: u64,
    /// Datagrams of which the kernel or the network has told that they were not delivered.
    pub errors: u64,
    /// Callbacks that returned an error.
    pub failed: u64,
}

/// Connections and datagram sockets that ended, by [`CloseReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are the variants of CloseReason, which has the docs")]
pub struct Closed {
    pub eof: u64,
    pub closed: u64,
    pub aborted: u64,
    pub error: u64,
    pub connect_failed: u64,
    pub timeout: u64,
    pub overflow: u64,
    pub shutdown: u64,
    pub cut: u64,
    pub panic: u64,
}

impl Closed {
    /// All that ended, for whatever reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { eof, closed, aborted, error, connect_failed, timeout, overflow, shutdown, cut, panic } = self;
        eof + closed + aborted + error + connect_failed + timeout + overflow + shutdown + cut + panic
    }
}

impl AddAssign for Metrics {
    fn add_assign(&mut self, other: Self) {
        self.open += other.open;
        self.accepted += other.accepted;
        self.connected += other.connected;
        self.refused += other.refused;
        self.closed += other.closed;
        self.lingering += other.lingering;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.buffered += other.buffered;
        self.turns += other.turns;
        self.events += other.events;
        self.wakeups += other.wakeups;
        self.messages += other.messages;
        self.timers += other.timers;
        self.panics += other.panics;
        self.accept_shortages += other.accept_shortages;
        self.jobs_waiting += other.jobs_waiting;
        self.jobs_running += other.jobs_running;
        self.jobs_done += other.jobs_done;
        self.sources += other.sources;
        self.sources_failed += other.sources_failed;
        self.datagrams += other.datagrams;
        self.longest_callback = self.longest_callback.max(other.longest_callback);
        self.callback_times += other.callback_times;
        self.turn_times += other.turn_times;
        self.busy += other.busy;
        self.waited += other.waited;
        self.pending += other.pending;
    }
}

impl AddAssign for Datagrams {
    fn add_assign(&mut self, other: Self) {
        self.sockets += other.sockets;
        self.received += other.received;
        self.truncated += other.truncated;
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.errors += other.errors;
        self.failed += other.failed;
    }
}

impl AddAssign for Closed {
    fn add_assign(&mut self, other: Self) {
        self.eof += other.eof;
        self.closed += other.closed;
        self.aborted += other.aborted;
        self.error += other.error;
        self.connect_failed += other.connect_failed;
        self.timeout += other.timeout;
        self.overflow += other.overflow;
        self.shutdown += other.shutdown;
        self.cut += other.cut;
        self.panic += other.panic;
    }
}

/// Counters that the worker threads change.
#[derive(Debug, Default)]
pub(crate) struct JobCounters {
    waiting: AtomicU64,
    running: AtomicU64,
    done: AtomicU64,
}

impl JobCounters {
    pub(crate) fn given(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn begun(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The live counters behind [`Datagrams`].
#[derive(Debug, Default)]
pub(crate) struct DatagramCounters {
    pub(crate) sockets: Counter,
    pub(crate) received: Counter,
    pub(crate) truncated: Counter,
    pub(crate) sent: Counter,
    pub(crate) dropped: Counter,
    pub(crate) errors: Counter,
    pub(crate) failed: Counter,
}

impl DatagramCounters {
    fn snapshot(&self) -> Datagrams {
        Datagrams {
            sockets: self.sockets.get(),
            received: self.received.get(),
            truncated: self.truncated.get(),
            sent: self.sent.get(),
            dropped: self.dropped.get(),
            errors: self.errors.get(),
            failed: self.failed.get(),
        }
    }
}

/// The live counters behind [`Metrics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) open: Counter,
    pub(crate) accepted: Counter,
    pub(crate) connected: Counter,
    pub(crate) refused: Counter,
    pub(crate) lingering: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) buffered: Counter,
    pub(crate) turns: Counter,
    pub(crate) events: Counter,
    pub(crate) wakeups: Counter,
    pub(crate) messages: Counter,
    pub(crate) timers: Counter,
    pub(crate) panics: Counter,
    pub(crate) accept_shortages: Counter,
    /// Sockets that another loop accepted for this one: sent, which is counted by that loop's thread, and taken in.
    pub(crate) handed: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) sources: Counter,
    pub(crate) sources_failed: Counter,
    pub(crate) datagrams: DatagramCounters,
    pub(crate) longest_callback_ns: Counter,
    pub(crate) callback_times: LiveHistogram,
    pub(crate) turn_times: LiveHistogram,
    pub(crate) waited_ns: Counter,
    pub(crate) pending: Counter,
    pub(crate) jobs: JobCounters,
    closed: [Counter; 10],
}

impl Counters {
    pub(crate) fn count_close(&self, reason: &CloseReason) {
        let index = match reason {
            CloseReason::Eof => 0,
            CloseReason::Closed => 1,
            CloseReason::Aborted => 2,
            CloseReason::Error(_) => 3,
            CloseReason::ConnectFailed(_) => 4,
            CloseReason::Timeout(_) => 5,
            CloseReason::Overflow(_) => 6,
            CloseReason::Shutdown => 7,
            CloseReason::Cut => 8,
            CloseReason::Panic(_) => 9,
        };
        self.closed[index].add(1);
    }

    pub(crate) fn snapshot(&self) -> Metrics {
        let callback_times = self.callback_times.snapshot();
        let [eof, closed, aborted, error, connect_failed, timeout, overflow, shutdown, cut, panic] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|index: usize| self.closed[index].get());
        Metrics {
            open: self.open.get(),
            accepted: self.accepted.get(),
            connected: self.connected.get(),
            refused: self.refused.get(),
            closed: Closed { eof, closed, aborted, error, connect_failed, timeout, overflow, shutdown, cut, panic },
            lingering: self.lingering.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            buffered: self.buffered.get(),
            turns: self.turns.get(),
            events: self.events.get(),
            wakeups: self.wakeups.get(),
            messages: self.messages.get(),
            timers: self.timers.get(),
            panics: self.panics.get(),
            accept_shortages: self.accept_shortages.get(),
            jobs_waiting: self.jobs.waiting.load(Ordering::Relaxed),
            jobs_running: self.jobs.running.load(Ordering::Relaxed),
            jobs_done: self.jobs.done.load(Ordering::Relaxed),
            sources: self.sources.get(),
            sources_failed: self.sources_failed.get(),
            datagrams: self.datagrams.snapshot(),
            longest_callback: Duration::from_nanos(self.longest_callback_ns.get()),
            // The stretches are all the time there is between waits.
            busy: callback_times.sum(),
            callback_times,
            turn_times: self.turn_times.snapshot(),
            waited: Duration::from_nanos(self.waited_ns.get()),
            pending: self.pending.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_is_counted_under_its_reason() {
        let counters = Counters::default();
        counters.count_close(&CloseReason::Eof);
        counters.count_close(&CloseReason::Panic(String::new()));
        let closed = counters.snapshot().closed;
        assert_eq!((closed.eof, closed.panic, closed.total()), (1, 1, 2));
    }

    #[test]
    fn snapshots_add_up() {
        let mut sum = Metrics { open: 1, longest_callback: Duration::from_secs(1), ..Metrics::default() };
        sum += Metrics { open: 2, longest_callback: Duration::from_millis(1), ..Metrics::default() };
        assert_eq!((sum.open, sum.longest_callback), (3, Duration::from_secs(1)));
    }
}
