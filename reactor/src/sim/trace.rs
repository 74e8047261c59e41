//! What has happened in a simulation: all of it as one number, the last of it in words.

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::io;

/// The record of a simulation.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    last: VecDeque<Entry>,
    /// How many entries are kept.
    kept: usize,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) now: u64,
    pub(super) thread: usize,
    /// What was called, or what happened by itself.
    pub(super) what: &'static str,
    /// Of what: a descriptor's or a stream's number.
    pub(super) of: i64,
    /// How it went: a count, or a negated `errno`.
    pub(super) result: i64,
}

impl Trace {
    pub(super) fn new() -> Self {
        let asked = env::var("REACTOR_TRACE").ok().and_then(|text| text.parse().ok());
        Self { hash: OFFSET, last: VecDeque::new(), kept: asked.unwrap_or(KEPT) }
    }

    pub(super) fn note(&mut self, entry: Entry) {
        for word in [entry.now, entry.thread as u64, entry.of.cast_unsigned(), entry.result.cast_unsigned()] {
            self.mix(word);
        }
        entry.what.bytes().for_each(|byte| self.mix(byte.into()));
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back(entry);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// FNV-1a, a word at a time.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(PRIME);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last.iter().try_for_each(|entry| writeln!(f, "  {entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, thread, what, of, result } = self;
        let (seconds, nanos) = (now / 1_000_000_000, now % 1_000_000_000);
        write!(f, "{seconds}.{nanos:09} thread {thread}: {what} {of} -> {result}")
    }
}

/// What can stand in the trace as a number.
pub(super) trait Traced {
    fn traced(&self) -> i64;
}

impl Traced for i64 {
    fn traced(&self) -> i64 {
        *self
    }
}

impl Traced for usize {
    fn traced(&self) -> i64 {
        i64::try_from(*self).unwrap_or(i64::MAX)
    }
}

impl Traced for i32 {
    fn traced(&self) -> i64 {
        (*self).into()
    }
}

impl Traced for () {
    fn traced(&self) -> i64 {
        0
    }
}

impl Traced for bool {
    fn traced(&self) -> i64 {
        (*self).into()
    }
}

impl<T: Traced, U> Traced for (T, U) {
    fn traced(&self) -> i64 {
        self.0.traced()
    }
}

impl<T: Traced> Traced for io::Result<T> {
    fn traced(&self) -> i64 {
        match self {
            Ok(value) => value.traced(),
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// Entries kept for the dump of a failure: a few turns of a loop. `REACTOR_TRACE` says otherwise.
const KEPT: usize = 100;
