//! When messages are due: at once, or at a fixed rate whatever the server does.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;

/// The send times of one thread's share of a fixed rate.
///
/// Message `k` of the run is due `k / rate` seconds after its start, and thread `t` of `n` sends every `n`-th. The times
/// depend on nothing that happens, so a server that stalls does not move them: that is what makes latencies counted from
/// them right ("no coordinated omission").
pub(crate) struct Schedule {
    begin: Instant,
    /// Messages a second, of all threads.
    rate: u64,
    threads: u64,
    /// The next message of this thread, by its number in the run.
    next: u64,
}

impl Schedule {
    /// The share of thread `index` out of `threads`.
    pub(crate) fn new(begin: Instant, rate: u64, threads: usize, index: usize) -> Self {
        Self { begin, rate, threads: threads as u64, next: index as u64 }
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> Instant {
        let nanos = u128::from(self.next) * NANOS / u128::from(self.rate);
        self.begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The next message is sent; the one after it is the next.
    pub(crate) fn advance(&mut self) {
        self.next += self.threads;
    }

    /// How many messages are due before `instant` and not sent.
    pub(crate) fn due_before(&self, instant: Instant) -> u64 {
        let elapsed = instant.saturating_duration_since(self.begin).as_nanos();
        let due = (elapsed * u128::from(self.rate)).div_ceil(NANOS);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        due.saturating_sub(self.next).div_ceil(self.threads)
    }
}

/// Has the calling thread woken in time. The kernel lets threads oversleep by 50 us, to wake several at once; in a fixed
/// rate that would count as latency. See `PR_SET_TIMERSLACK` in prctl(2).
pub(crate) fn wake_punctually() {
    if let Err(error) = set_current_timer_slack(Some(NonZeroU64::MIN)) {
        tracing::debug!("cannot ask for punctual wake-ups: {error}");
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_rate_evenly() {
        let begin = Instant::now();
        let mut times = Vec::new();
        for index in 0..2 {
            let mut schedule = Schedule::new(begin, 1000, 2, index);
            for _ in 0..3 {
                times.push((schedule.next() - begin).as_millis());
                schedule.advance();
            }
        }
        times.sort_unstable();
        assert_eq!(times, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_is_due_and_not_sent_is_counted() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 1000, 2, 1);
        let after = |ms| begin + Duration::from_millis(ms);
        assert_eq!([0, 1, 2, 3, 4].map(|ms| schedule.due_before(after(ms))), [0, 0, 1, 1, 2]);
        schedule.advance();
        assert_eq!(schedule.due_before(after(4)), 1);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 3, 1, 0);
        for _ in 0..3_000_000 {
            schedule.advance();
        }
        assert_eq!(schedule.next() - begin, Duration::from_secs(1_000_000));
    }
}
