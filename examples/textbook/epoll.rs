//! The three calls of epoll(7).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::socket;

pub(super) fn create() -> io::Result<OwnedFd> {
    // SAFETY: the call takes a flag and touches no memory of ours.
    let fd = socket::checked(|| unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } as isize)?;
    // SAFETY: epoll_create1 has just made this descriptor, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Registers a descriptor; its events bring its number.
pub(super) fn watch(epoll: &OwnedFd, fd: RawFd, events: i32) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_ADD, fd, events)
}

/// Asks for other events than before.
pub(super) fn watch_for(epoll: &OwnedFd, fd: RawFd, events: i32) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_MOD, fd, events)
}

fn control(epoll: &OwnedFd, what: i32, fd: RawFd, events: i32) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
    socket::checked(|| {
        // SAFETY: the kernel reads one event, which lives through the call.
        let done = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), what, fd, &mut event) };
        done as isize
    })?;
    Ok(())
}

/// Sleeps until something happens, and answers how many of `events` say what.
#[inline]
pub(super) fn wait(epoll: &OwnedFd, events: &mut [libc::epoll_event]) -> io::Result<usize> {
    socket::checked(|| {
        // SAFETY: the kernel writes at most `events.len()` events, and `events` is ours alone meanwhile.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, -1) };
        count as isize
    })
}

/// Events taken by one call.
pub(super) const EVENTS: usize = 1024;
