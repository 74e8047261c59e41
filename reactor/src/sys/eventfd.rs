//! A counter in the kernel that wakes whoever polls it; see eventfd(2).

use std::io;

use super::fd::{Fd, FdRef};
use super::{check_count, check_fd, retry};

/// Makes an eventfd whose counter is zero.
pub(crate) fn create() -> io::Result<Fd> {
    simulated_creation!(crate::sim::calls::eventfd());
    // SAFETY: the call takes two integers and touches no memory of ours.
    check_fd(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })
}

/// Adds one to the counter, so that an edge comes. A full counter is ready already, which is all that is asked.
pub(crate) fn signal(fd: FdRef<'_>) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::signal_event(fd.as_raw_fd()));
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the kernel reads `one.len()` bytes from `one`, which are there.
    let result = retry(|| check_count(unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), one.len()) }));
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Takes the count, and with it the edge; the loop has no need to, for each signal makes an edge.
#[cfg(all(loom, test))]
pub(crate) fn take(fd: FdRef<'_>) -> io::Result<u64> {
    let mut count = [0; 8];
    // SAFETY: the kernel writes at most the 8 bytes that `count` has.
    check_count(unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) })?;
    Ok(u64::from_ne_bytes(count))
}
