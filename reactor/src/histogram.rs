//! Durations counted by magnitude: how many took about so long.

use std::ops::AddAssign;
use std::time::Duration;

use crate::counter::Counter;

/// How many durations there were of each magnitude, and their sum.
///
/// The first bucket holds what took less than 1.024 µs, each further one what took up to twice as long as the one before,
/// and the last one, from 4.3 s on, all the rest.
///
/// ```
/// use std::time::Duration;
/// use reactor::Histogram;
///
/// let mut durations = Histogram::default();
/// durations.add(Duration::from_micros(3));
/// durations.add(Duration::from_micros(700));
/// assert_eq!((durations.count(), durations.sum()), (2, Duration::from_micros(703)));
/// assert_eq!(durations.quantile(0.5), Duration::from_nanos(4096));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one more.
    pub fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(nanos)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(nanos);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The buckets from short to long: the bound that their durations stay below, and how many there are. The bound of the
    /// last one is [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts.iter().enumerate().map(|(index, &count)| (bound_of(index), count))
    }

    /// The duration that the part `q` of all (0.5 is half, the median; 1.0 is all) stayed below, told by the bound of its
    /// bucket, and so at most twice too much. Zero when nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        let count = self.count();
        // A rank beyond 2^53 loses its last digits, which no bucket minds.
        let rank = ((count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.buckets().find(|(_, count)| {
            below += count;
            below >= rank
        });
        found.map_or(Duration::ZERO, |(bound, _)| bound)
    }
}

impl AddAssign for Histogram {
    fn add_assign(&mut self, other: Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, other)| *count += other);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

/// A histogram that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct LiveHistogram {
    counts: [Counter; BUCKETS],
    sum_ns: Counter,
}

impl LiveHistogram {
    #[inline]
    pub(crate) fn add(&self, nanos: u64) {
        self.counts[bucket_of(nanos)].add(1);
        self.sum_ns.add(nanos);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let mut counts = [0; BUCKETS];
        counts.iter_mut().zip(&self.counts).for_each(|(count, live)| *count = live.get());
        Histogram { counts, sum_ns: self.sum_ns.get() }
    }
}

/// The bucket of a duration: by the number of its bits above the ten that the first one holds.
#[inline]
fn bucket_of(nanos: u64) -> usize {
    let bits = (u64::BITS - (nanos >> FIRST_BITS).leading_zeros()) as usize;
    bits.min(BUCKETS - 1)
}

fn bound_of(index: usize) -> Duration {
    if index == BUCKETS - 1 { Duration::MAX } else { Duration::from_nanos(1 << (FIRST_BITS as usize + index)) }
}

/// The first bucket ends at 2^10 ns.
const FIRST_BITS: u32 = 10;

/// Enough that the last one begins where a loop has long failed its users.
const BUCKETS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_stays_below_the_bound_of_its_bucket_and_not_below_the_one_before() {
        for nanos in (0..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits]) {
            let bucket = bucket_of(nanos);
            assert!(Duration::from_nanos(nanos) < bound_of(bucket), "{nanos}");
            assert!(bucket == 0 || Duration::from_nanos(nanos) >= bound_of(bucket - 1), "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        (0..99).for_each(|_| histogram.add(Duration::from_nanos(10)));
        histogram.add(Duration::from_millis(1));
        assert_eq!(histogram.quantile(0.99), Duration::from_nanos(1024));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(1 << 20));
        assert_eq!(histogram.quantile(0.0), Duration::from_nanos(1024));
    }

    #[test]
    fn the_live_one_counts_as_the_other_does() {
        let (live, mut other) = (LiveHistogram::default(), Histogram::default());
        for nanos in [0, 5_000, 5_000_000_000, 77] {
            live.add(nanos);
            other.add(Duration::from_nanos(nanos));
        }
        assert_eq!(live.snapshot(), other);
    }
}
