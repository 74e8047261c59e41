//! What a run has counted, on one thread or on all.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;

/// The counts of one thread; those of several add up.
pub(crate) struct Tally {
    /// Nanoseconds of each measured message.
    pub(crate) latency: Histogram<u64>,
    /// Connections that were made.
    pub(crate) opened: u64,
    /// Messages sent, those of the warm-up included.
    pub(crate) sent: u64,
    /// Messages that came back right, those of the warm-up included.
    pub(crate) echoed: u64,
    /// Messages whose time had come at the end of a fixed-rate run and that found no free place on any connection.
    pub(crate) unsent: u64,
    /// When the last of what was measured ended: the sending or, later than that, the last echo.
    pub(crate) ended: Option<Instant>,
    pub(crate) failures: Failures,
}

/// What went wrong, by kind.
#[derive(Default)]
pub(crate) struct Failures {
    counts: [u64; KINDS.len()],
    /// The first of each kind, in words.
    first: [Option<String>; KINDS.len()],
}

/// The ways in which a connection fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It could not be made.
    Connect,
    /// The other side closed or reset it.
    Broken,
    /// Bytes came back that are not those that were sent.
    Wrong,
    /// Messages had not come back when waiting for them ended. Counted by message.
    Unanswered,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, SIGNIFICANT_DIGITS)
            .context("cannot make a histogram")?;
        let failures = Failures::default();
        Ok(Self { latency, opened: 0, sent: 0, echoed: 0, unsent: 0, ended: None, failures })
    }

    /// Records how long a measured message took, up to `now`.
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration, now: Instant) {
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.ended = Some(now);
    }

    /// The measuring went on at least until then.
    pub(crate) fn lasted_until(&mut self, instant: Instant) {
        self.ended = self.ended.max(Some(instant));
    }

    /// Adds what another thread has counted.
    pub(crate) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.latency.add(&other.latency).context("cannot add up histograms")?;
        self.opened += other.opened;
        self.sent += other.sent;
        self.echoed += other.echoed;
        self.unsent += other.unsent;
        self.ended = self.ended.max(other.ended);
        self.failures.add(other.failures);
        Ok(())
    }
}

impl Failures {
    /// Counts failures of a kind; the words are asked for only if they are the first.
    pub(crate) fn count(&mut self, kind: Failure, times: u64, words: impl FnOnce() -> String) {
        self.counts[kind as usize] += times;
        self.first[kind as usize].get_or_insert_with(words);
    }

    /// How often a kind has happened.
    pub(crate) fn of(&self, kind: Failure) -> u64 {
        self.counts[kind as usize]
    }

    /// Whether nothing went wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// One line for each kind that has happened.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        KINDS.into_iter().filter_map(|kind| {
            let first = self.first[kind as usize].as_ref()?;
            Some(match self.of(kind) {
                1 => first.clone(),
                count => format!("{first}; {count} {} in all", kind.noun()),
            })
        })
    }

    fn add(&mut self, other: Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for (first, theirs) in self.first.iter_mut().zip(other.first) {
            if first.is_none() {
                *first = theirs;
            }
        }
    }
}

impl Failure {
    fn noun(self) -> &'static str {
        match self {
            Self::Connect => "failed attempts",
            Self::Broken => "broken connections",
            Self::Wrong => "wrong echoes",
            Self::Unanswered => "unanswered messages",
        }
    }
}

/// All kinds, in the order in which they are reported.
const KINDS: [Failure; 4] = [Failure::Connect, Failure::Broken, Failure::Wrong, Failure::Unanswered];

/// The longest latency the table can tell; a longer one is shown as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// A latency is kept to one part in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (now, mut all) = (Instant::now(), Tally::new().unwrap());
        for latency in [10, 20] {
            let mut one = Tally::new().unwrap();
            one.record(Duration::from_micros(latency), now);
            one.sent = 2;
            one.failures.count(Failure::Broken, 1, || format!("broke after {latency}"));
            all.add(one).unwrap();
        }
        assert_eq!((all.latency.len(), all.sent, all.ended), (2, 4, Some(now)));
        assert_eq!(all.failures.lines().collect::<Vec<_>>(), ["broke after 10; 2 broken connections in all"]);
    }

    #[test]
    fn a_latency_beyond_the_table_is_the_longest_one() {
        let mut tally = Tally::new().unwrap();
        tally.record(LONGEST * 2, Instant::now());
        assert!(tally.latency.max() >= LONGEST.as_nanos() as u64);
    }
}
