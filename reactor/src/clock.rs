//! The loop's time: milliseconds since the loop was made, looked up a few times a turn.

use std::time::{Duration, Instant};

use crate::sys::clock::{self, monotonic_ns};

/// Monotonic time, whatever happens to the wall clock.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    origin_ns: u64,
    /// Nanoseconds from the origin to the last look.
    now_ns: u64,
    /// The same in whole milliseconds.
    now_ms: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        // In this order a deadline counted from the instant is at most late, by the time between these two looks.
        let origin_ns = monotonic_ns();
        Self { origin: clock::now(), origin_ns, now_ns: 0, now_ms: 0 }
    }

    /// Looks at the clock.
    #[inline]
    pub(crate) fn update(&mut self) {
        self.now_ns = self.look();
        self.now_ms = self.now_ns / NANOS_PER_MS;
    }

    /// The time at the last look.
    pub(crate) fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.now_ns)
    }

    /// Nanoseconds from the start of the loop to the last look.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The milliseconds that had passed wholly at the last look.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The same in 32 bits, as a connection keeps it.
    #[inline]
    pub(crate) fn stamp(&self) -> u32 {
        low_bits(self.now_ms)
    }

    /// The first millisecond that is not before `delay` from this very moment: a deadline is never early. A callback may
    /// have run for long since the last look, so this one looks again.
    pub(crate) fn deadline_in(&self, delay: Duration) -> u64 {
        round_up_to_ms(Duration::from_nanos(self.look()).saturating_add(delay))
    }

    /// The first millisecond that is not before `instant`.
    pub(crate) fn deadline_at(&self, instant: Instant) -> u64 {
        round_up_to_ms(instant.saturating_duration_since(self.origin))
    }

    /// How long it is from the last look to the millisecond `deadline_ms`.
    pub(crate) fn until(&self, deadline_ms: u64) -> Duration {
        Duration::from_millis(deadline_ms).saturating_sub(Duration::from_nanos(self.now_ns))
    }

    #[inline]
    fn look(&self) -> u64 {
        monotonic_ns() - self.origin_ns
    }
}

/// The 32 bits of the loop's clock that a connection keeps.
#[inline]
pub(crate) fn low_bits(ms: u64) -> u32 {
    u32::try_from(ms & u64::from(u32::MAX)).expect("masked to 32 bits")
}

pub(crate) const NANOS_PER_MS: u64 = 1_000_000;

fn round_up_to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(NANOS_PER_MS.into())).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_round_up() {
        let clock = Clock::new();
        assert_eq!(clock.deadline_at(clock.origin + Duration::from_nanos(1)), 1);
        assert_eq!(clock.deadline_at(clock.origin + Duration::from_millis(3)), 3);
        assert_eq!(clock.deadline_at(clock.origin - Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_deadline_in_the_far_future_does_not_overflow() {
        assert!(Clock::new().deadline_in(Duration::MAX) >= u64::MAX / 1000);
    }

    #[test]
    fn a_deadline_is_never_before_the_delay_has_passed() {
        let mut clock = Clock::new();
        let deadline = clock.deadline_in(Duration::from_micros(1500));
        clock.update();
        assert!(deadline >= 2 && clock.until(deadline) <= Duration::from_millis(3));
    }
}
