//! Moving bytes through a descriptor of any kind; see read(2) and write(2).

use std::io;

use super::fd::FdRef;
use super::{check_count, retry};

/// Reads what is there; `Ok(0)` is the end, `WouldBlock` says that there is nothing for now.
pub(crate) fn read(fd: FdRef<'_>, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `into.len()` bytes to `into`.
    retry(|| check_count(unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) }))
}

/// Writes bytes, perhaps only the first of them.
pub(crate) fn write(fd: FdRef<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`.
    retry(|| check_count(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }))
}
