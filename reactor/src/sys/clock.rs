//! The monotonic clock, which no change of the wall clock moves; see clock_gettime(2).

use std::time::Instant;

/// Nanoseconds on `CLOCK_MONOTONIC`, the clock of `std::time::Instant` too. It counts from the machine's start, so 64 bits
/// last for centuries.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(now) = crate::sim::world::now_ns() {
        return now;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to `time`; CLOCK_MONOTONIC always exists, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// The same moment as the standard library tells it.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "sim")]
    if let Some(now) = crate::sim::world::instant() {
        return now;
    }
    Instant::now()
}
