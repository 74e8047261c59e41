//! Rates: how much may pass in a second, and the buckets of tokens that see to it.

/// How much may pass in a second on average, and how much at once after a while in which nothing did: a bucket that holds
/// `burst` tokens at most, begins full, and gets `per_second` new ones a second. What is counted (bytes, connections) is said where
/// the limit is used. Zero counts as one in either field.
///
/// ```
/// use reactor::RateLimit;
///
/// // A megabyte a second, of which up to 64 KiB may pass at once.
/// let limit = RateLimit::per_second(1_000_000).burst(64 << 10);
/// assert_eq!((limit.per_second, limit.burst), (1_000_000, 65_536));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How much may pass in a second.
    pub per_second: u64,
    /// How much may pass at once. What passes in 20 ms is the least with which the rate is reached, because the loop looks
    /// at rates 100 times a second at most.
    pub burst: u64,
}

impl RateLimit {
    /// So much in a second, a tenth of it at once.
    #[must_use]
    pub fn per_second(amount: u64) -> Self {
        Self { per_second: amount, burst: (amount / 10).max(1) }
    }

    /// Sets [`burst`](Self::burst).
    #[must_use]
    pub fn burst(mut self, amount: u64) -> Self {
        self.burst = amount;
        self
    }
}

/// Rate limits of both directions in bytes; `None`, the default, is none.
///
/// Of a connection whose bucket is empty no input is read, and the kernel in time stops the peer; output waits in the
/// connection's queue, where [`Limits::high_mark`](crate::Limits::high_mark) rules. Waiting costs a timer, 100 times a second at most,
/// and no system call. The end of the stream is seen once there are tokens to look for it.
///
/// A connection with such a limit keeps some 500 bytes of memory, and its messages pass by a longer way.
///
/// ```
/// use reactor::{ListenOptions, RateLimit, Rates};
///
/// let rates = Rates::default().output(RateLimit::per_second(100_000));
/// let options = ListenOptions::default().rates(rates);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rates {
    /// Bytes read from the peer.
    pub input: Option<RateLimit>,
    /// Bytes given to the kernel to send.
    pub output: Option<RateLimit>,
}

impl Rates {
    /// Sets [`input`](Self::input).
    #[must_use]
    pub fn input(mut self, limit: impl Into<Option<RateLimit>>) -> Self {
        self.input = limit.into();
        self
    }

    /// Sets [`output`](Self::output).
    #[must_use]
    pub fn output(mut self, limit: impl Into<Option<RateLimit>>) -> Self {
        self.output = limit.into();
        self
    }

    pub(crate) fn of(self, direction: Direction) -> Option<RateLimit> {
        match direction {
            Direction::Input => self.input,
            Direction::Output => self.output,
        }
    }
}

/// A direction in which bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Input,
    Output,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Input, Self::Output];
}

/// A bucket of tokens. It is given the time, in nanoseconds of any clock.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    /// So many tokens come in each period.
    amount: u64,
    period_ns: u64,
    burst: u64,
    tokens: u64,
    /// The tokens are counted up to this time. Between two counts less than one token's time is lost to rounding up.
    counted_ns: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(limit: RateLimit, now_ns: u64) -> Self {
        Self::share(limit, 1, now_ns)
    }

    /// One of so many equal parts of a full bucket; each holds a token at least.
    pub(crate) fn share(limit: RateLimit, parts: u64, now_ns: u64) -> Self {
        let burst = (limit.burst / parts).max(1);
        let period_ns = NANOS_PER_SECOND.saturating_mul(parts);
        Self { amount: limit.per_second.max(1), period_ns, burst, tokens: burst, counted_ns: now_ns }
    }

    /// The tokens that are there now.
    pub(crate) fn available(&mut self, now_ns: u64) -> u64 {
        let elapsed = now_ns.saturating_sub(self.counted_ns);
        let gained = u128::from(elapsed) * u128::from(self.amount) / u128::from(self.period_ns);
        if gained >= u128::from(self.burst - self.tokens) {
            (self.tokens, self.counted_ns) = (self.burst, self.counted_ns.max(now_ns));
        } else if let Ok(gained) = u64::try_from(gained)
            && gained > 0
        {
            self.tokens += gained;
            self.counted_ns += self.time_of(gained);
        }
        self.tokens
    }

    /// Takes tokens that are there.
    pub(crate) fn take(&mut self, count: u64) {
        self.tokens = self.tokens.saturating_sub(count);
    }

    /// Puts back what was taken and not used.
    pub(crate) fn give_back(&mut self, count: u64) {
        self.tokens = self.tokens.saturating_add(count).min(self.burst);
    }

    /// What is worth waiting for: what comes in 10 ms, and one token at least.
    pub(crate) fn chunk(&self) -> u64 {
        let in_chunk_time = u128::from(self.amount) * u128::from(CHUNK_NS) / u128::from(self.period_ns);
        u64::try_from(in_chunk_time).unwrap_or(u64::MAX).clamp(1, self.burst)
    }

    /// The time at which a chunk is there.
    pub(crate) fn chunk_ns(&self) -> u64 {
        self.ready_ns(self.chunk())
    }

    /// The time at which so many tokens are there, or as many as it holds.
    pub(crate) fn ready_ns(&self, count: u64) -> u64 {
        self.counted_ns.saturating_add(self.time_of(count.min(self.burst).saturating_sub(self.tokens)))
    }

    /// How many it holds.
    pub(crate) fn burst(&self) -> u64 {
        self.burst
    }

    /// How long it takes until so many tokens have come, rounded up: the rate is never exceeded.
    fn time_of(&self, tokens: u64) -> u64 {
        let nanos = (u128::from(tokens) * u128::from(self.period_ns)).div_ceil(u128::from(self.amount));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Waiting for so long at the least bounds how often a timer is set.
const CHUNK_NS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_begins_full_and_fills_up_to_its_burst() {
        let mut bucket = TokenBucket::new(RateLimit::per_second(1000).burst(50), 0);
        assert_eq!(bucket.available(0), 50);
        bucket.take(50);
        assert_eq!((bucket.available(9_999_999), bucket.available(10_000_000)), (9, 10));
        assert_eq!(bucket.available(NANOS_PER_SECOND), 50);
        assert_eq!(bucket.available(u64::MAX), 50);
    }

    #[test]
    fn time_that_goes_back_brings_nothing() {
        let mut bucket = TokenBucket::new(RateLimit::per_second(1000).burst(50), 1_000_000);
        bucket.take(50);
        assert_eq!(bucket.available(0), 0);
    }

    #[test]
    fn a_chunk_is_there_when_it_says_and_not_before() {
        for rate in [1, 3, 999, 1_000_000, u64::MAX] {
            let mut bucket = TokenBucket::new(RateLimit::per_second(rate), 0);
            let all = bucket.available(0);
            bucket.take(all);
            let (chunk, at) = (bucket.chunk(), bucket.chunk_ns());
            // Each look loses up to a nanosecond.
            assert!(bucket.clone().available(at - 1) < chunk, "{rate}");
            assert!(bucket.available(at) >= chunk, "{rate}");
        }
    }

    #[test]
    fn parts_of_a_slow_rate_get_their_share() {
        let mut bucket = TokenBucket::share(RateLimit::per_second(1).burst(1), 4, 0);
        bucket.take(1);
        assert_eq!((bucket.available(4 * NANOS_PER_SECOND - 1), bucket.available(4 * NANOS_PER_SECOND)), (0, 1));
    }

    #[test]
    fn zero_counts_as_one() {
        let mut bucket = TokenBucket::new(RateLimit::per_second(0).burst(0), 0);
        assert_eq!(bucket.available(0), 1);
        bucket.take(1);
        assert_eq!(bucket.available(NANOS_PER_SECOND), 1);
    }

    proptest! {
        /// However often it is looked at, never more passes than burst and rate allow, and who waits for it gets all.
        #[test]
        fn the_rate_is_kept_and_never_exceeded(
            rate in 1..50_000_000_u64,
            burst in 1..100_000_u64,
            steps in prop::collection::vec((1..50_000_000_u64, 1..100_000_u64), 1..200),
        ) {
            let mut bucket = TokenBucket::new(RateLimit::per_second(rate).burst(burst), 0);
            let (mut now, mut passed) = (0, 0_u64);
            for (wait, wanted) in steps {
                now += wait;
                let take = bucket.available(now).min(wanted);
                bucket.take(take);
                passed += take;
                let most = u128::from(burst) + u128::from(now) * u128::from(rate) / u128::from(NANOS_PER_SECOND);
                prop_assert!(u128::from(passed) <= most, "{} of {} after {} ns", passed, most, now);
            }
        }
    }
}
