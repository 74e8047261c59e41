//! Moving bytes through a descriptor of any kind, and how it is open; see read(2), write(2) and fcntl(2).

use std::io;

use libc::c_int;

use super::fd::FdRef;
use super::{check, check_count, retry};

/// Reads what is there; `Ok(0)` is the end, `WouldBlock` says that there is nothing for now.
pub(crate) fn read(fd: FdRef<'_>, into: &mut [u8]) -> io::Result<usize> {
    simulated!(fd, retry(|| crate::sim::calls::read(fd.as_raw_fd(), into)));
    // SAFETY: the kernel writes at most `into.len()` bytes to `into`.
    retry(|| check_count(unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) }))
}

/// Writes bytes, perhaps only the first of them.
pub(crate) fn write(fd: FdRef<'_>, bytes: &[u8]) -> io::Result<usize> {
    simulated!(fd, retry(|| crate::sim::calls::write(fd.as_raw_fd(), bytes)));
    // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`.
    retry(|| check_count(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }))
}

/// [`read`] from a socket that may be a blocking one.
pub(crate) fn receive_now(fd: FdRef<'_>, into: &mut [u8]) -> io::Result<usize> {
    simulated!(fd, retry(|| crate::sim::calls::recv(fd.as_raw_fd(), into)));
    let (place, length) = (into.as_mut_ptr().cast(), into.len());
    // SAFETY: the kernel writes at most `length` bytes to `into`.
    retry(|| check_count(unsafe { libc::recv(fd.as_raw_fd(), place, length, libc::MSG_DONTWAIT) }))
}

/// [`write`] to a socket that may be a blocking one.
pub(crate) fn send_now(fd: FdRef<'_>, bytes: &[u8]) -> io::Result<usize> {
    simulated!(fd, retry(|| crate::sim::calls::send(fd.as_raw_fd(), bytes)));
    const FLAGS: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`.
    retry(|| check_count(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), FLAGS) }))
}

/// The flags of the open file, which all its descriptors share.
pub(crate) fn status_flags(fd: FdRef<'_>) -> io::Result<c_int> {
    // SAFETY: the call takes integers and touches no memory of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

pub(crate) fn set_status_flags(fd: FdRef<'_>, flags: c_int) -> io::Result<()> {
    // SAFETY: the call takes integers and touches no memory of ours.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })?;
    Ok(())
}
