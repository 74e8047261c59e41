//! What a run is to do: the options, checked and ready for the threads.

use std::time::{Duration, Instant};

use reactor::{ConnectOptions, Limits, SocketAddress};

use crate::pattern::Pattern;

/// One run, the same for every thread.
pub(crate) struct Plan {
    /// The target as it was written.
    pub(crate) target: String,
    /// Where that is.
    pub(crate) address: SocketAddress,
    pub(crate) connect: ConnectOptions,
    pub(crate) pattern: Pattern,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// Messages on their way on one connection at once.
    pub(crate) depth: usize,
    /// A connection for every message.
    pub(crate) churn: bool,
    /// Messages a second in all; `None` sends the next one when one has come back.
    pub(crate) rate: Option<u64>,
    pub(crate) warmup: Duration,
    pub(crate) extent: Extent,
    pub(crate) spin: Duration,
}

/// What ends a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// So much time after the warm-up.
    Time(Duration),
    /// So many messages after the warm-up.
    Messages(u64),
}

/// The part of a run that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// When sending began.
    pub(crate) begin: Instant,
    /// When the warm-up ended.
    pub(crate) measured_from: Instant,
    /// When sending ends; `None` if a number of messages ends it.
    pub(crate) end: Option<Instant>,
}

impl Plan {
    /// What is measured of a run that begins now.
    pub(crate) fn window(&self, begin: Instant) -> Window {
        let measured_from = begin + self.warmup;
        let end = match self.extent {
            Extent::Time(duration) => Some(measured_from + duration),
            Extent::Messages(_) => None,
        };
        Window { begin, measured_from, end }
    }

    /// The connections of thread `index`, by number.
    pub(crate) fn slots(&self, index: usize) -> impl Iterator<Item = u32> + use<> {
        let connections = u32::try_from(self.connections).unwrap_or(u32::MAX);
        (index as u32..connections).step_by(self.threads)
    }

    /// The measured messages of thread `index`, if their number ends the run.
    pub(crate) fn budget(&self, index: usize) -> Option<u64> {
        let Extent::Messages(messages) = self.extent else { return None };
        let (threads, index) = (self.threads as u64, index as u64);
        Some(messages / threads + u64::from(index < messages % threads))
    }

    /// The bounds of each thread's loop.
    ///
    /// All messages of a connection may wait to be sent, and waiting output must not stop the reading: two sides that
    /// both stop reading until the other one does wait for ever.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_output = limits.max_output.max(2 * self.depth * self.pattern.size());
        limits.high_mark = limits.max_output;
        limits.spin = self.spin;
        limits
    }
}
