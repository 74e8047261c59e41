//! Small words that all parts of the simulated kernel use.

use std::io;
use std::time::Duration;

/// The number of an object of the kernel. It is never used again.
pub(crate) type Id = u64;

/// A failure as a call tells it.
pub(super) fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// Bits of epoll(7) as events carry them.
pub(super) fn bits(flags: libc::c_int) -> u32 {
    flags.cast_unsigned()
}

/// A duration as the virtual clock counts.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
