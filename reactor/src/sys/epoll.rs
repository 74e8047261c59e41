//! The epoll interface: one descriptor that tells which others are ready; see epoll(7).

use std::io;
use std::ptr;
use std::time::Duration;

use libc::c_int;

#[cfg(feature = "chaos")]
use super::chaos;
use super::fd::{Fd, FdRef};
#[cfg(feature = "sim")]
use super::file;
use super::{check, check_fd};

/// Room for the events of one wait; by default none.
#[derive(Default)]
pub(crate) struct EventBuffer {
    events: Vec<libc::epoll_event>,
}

impl EventBuffer {
    /// Room for `capacity` events, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity.clamp(1, MAX_EVENTS)] }
    }

    /// How many events fit.
    pub(crate) fn capacity(&self) -> usize {
        self.events.len()
    }

    /// The first `count` events: those of the last wait, if that many came.
    pub(crate) fn first(&self, count: usize) -> &[libc::epoll_event] {
        &self.events[..count]
    }

    /// [`capacity`](Self::capacity) as the kernel takes it.
    fn room(&self) -> c_int {
        c_int::try_from(self.events.len()).expect("MAX_EVENTS fits a C int")
    }
}

/// More events than a loop handles between two looks at its clock; keeps the count within a C int.
const MAX_EVENTS: usize = 65_536;

/// Makes an epoll instance; see epoll_create1(2).
pub(crate) fn create() -> io::Result<Fd> {
    simulated_creation!(crate::sim::calls::epoll());
    #[cfg(feature = "chaos")]
    chaos::begin()?;
    // SAFETY: the call takes a flag word and touches no memory of ours.
    check_fd(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

/// Watches `fd` for `events`, and says `word` when they come; see epoll_ctl(2).
pub(crate) fn add(epoll: FdRef<'_>, fd: FdRef<'_>, events: u32, word: u64) -> io::Result<()> {
    simulated!(epoll, {
        if !fd.is_simulated() {
            return Err(file::unwatchable(fd));
        }
        crate::sim::calls::add(epoll.as_raw_fd(), fd.as_raw_fd(), events, word)
    });
    #[cfg(feature = "chaos")]
    chaos::before_watching(epoll, fd, events, word)?;
    control(epoll, libc::EPOLL_CTL_ADD, fd, events, word)
}

/// Watches `fd`, which is watched, for other `events`. Those that have happened are told anew.
pub(crate) fn modify(epoll: FdRef<'_>, fd: FdRef<'_>, events: u32, word: u64) -> io::Result<()> {
    simulated!(epoll, crate::sim::calls::modify(epoll.as_raw_fd(), fd.as_raw_fd(), events, word));
    control(epoll, libc::EPOLL_CTL_MOD, fd, events, word)
}

/// Stops watching `fd`.
pub(crate) fn delete(epoll: FdRef<'_>, fd: FdRef<'_>) -> io::Result<()> {
    simulated!(epoll, crate::sim::calls::delete(epoll.as_raw_fd(), fd.as_raw_fd()));
    control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0)
}

fn control(epoll: FdRef<'_>, operation: c_int, fd: FdRef<'_>, events: u32, word: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: word };
    // SAFETY: both descriptors are borrowed, so they are open, and the kernel only reads `event` during the call.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) })?;
    Ok(())
}

/// Waits for events, for at most `timeout_ms` milliseconds (-1: for ever); see epoll_wait(2).
///
/// Unlike the other calls this one answers `Interrupted` to its caller, who has a deadline to look at.
#[inline]
pub(crate) fn wait(epoll: FdRef<'_>, buffer: &mut EventBuffer, timeout_ms: c_int) -> io::Result<usize> {
    simulated!(epoll, {
        let timeout = u64::try_from(timeout_ms).ok().map(|ms| ms * 1_000_000);
        wait_simulated(epoll, buffer, timeout)
    });
    #[cfg(feature = "chaos")]
    chaos::before_wait()?;
    let room = buffer.room();
    // SAFETY: the kernel writes at most `room` events, and the buffer holds that many.
    let count = check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), buffer.events.as_mut_ptr(), room, timeout_ms) })?;
    let count = count.unsigned_abs() as usize;
    #[cfg(feature = "chaos")]
    chaos::after_wait(&mut buffer.events[..count]);
    Ok(count)
}

/// Waits like [`wait`] with a timeout in nanoseconds: epoll_pwait2(2), in Linux since 5.11.
///
/// Answers `Unsupported` where the kernel does not have it.
pub(crate) fn wait_precise(epoll: FdRef<'_>, buffer: &mut EventBuffer, timeout: Duration) -> io::Result<usize> {
    simulated!(epoll, {
        if !crate::sim::calls::is_precise() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        wait_simulated(epoll, buffer, Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)))
    });
    if cfg!(miri) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    #[cfg(feature = "chaos")]
    chaos::before_wait()?;
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let room = buffer.room();
    let no_mask = ptr::null::<libc::sigset_t>();
    // SAFETY: the kernel reads `timeout` and no mask, and writes at most `room` events: the buffer holds that many.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            buffer.events.as_mut_ptr(),
            room,
            &raw const timeout,
            no_mask,
            0_usize,
        )
    };
    let count = usize::try_from(result).map_err(|_| {
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOSYS) { io::ErrorKind::Unsupported.into() } else { error }
    })?;
    #[cfg(feature = "chaos")]
    chaos::after_wait(&mut buffer.events[..count]);
    Ok(count)
}

/// Waits in the simulated kernel, with a timeout in nanoseconds.
#[cfg(feature = "sim")]
#[cold]
fn wait_simulated(epoll: FdRef<'_>, buffer: &mut EventBuffer, timeout_ns: Option<u64>) -> io::Result<usize> {
    let told = crate::sim::world::wait(epoll.as_raw_fd(), buffer.capacity(), timeout_ns)?;
    for (place, &(events, word)) in buffer.events.iter_mut().zip(&told) {
        *place = libc::epoll_event { events, u64: word };
    }
    Ok(told.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::eventfd;

    const EDGES: u32 = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();

    #[test]
    fn tells_the_word_of_a_ready_descriptor() {
        let (epoll, event) = (create().unwrap(), eventfd::create().unwrap());
        add(epoll.as_fd(), event.as_fd(), EDGES, 77).unwrap();
        let mut buffer = EventBuffer::new(4);
        let told = |event: &libc::epoll_event| (event.events, event.u64) == (libc::EPOLLIN.cast_unsigned(), 77);
        assert_eq!(wait(epoll.as_fd(), &mut buffer, 0).unwrap(), 0);
        eventfd::signal(event.as_fd()).unwrap();
        assert_eq!(wait(epoll.as_fd(), &mut buffer, -1).unwrap(), 1);
        assert!(matches!(buffer.first(1), [event] if told(event)));
    }

    #[test]
    fn a_second_registration_is_refused() {
        let (epoll, event) = (create().unwrap(), eventfd::create().unwrap());
        add(epoll.as_fd(), event.as_fd(), EDGES, 1).unwrap();
        let error = add(epoll.as_fd(), event.as_fd(), EDGES, 2).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
    }

    #[test]
    fn a_deleted_descriptor_is_silent() {
        let (epoll, event) = (create().unwrap(), eventfd::create().unwrap());
        add(epoll.as_fd(), event.as_fd(), EDGES, 1).unwrap();
        eventfd::signal(event.as_fd()).unwrap();
        delete(epoll.as_fd(), event.as_fd()).unwrap();
        assert_eq!(wait(epoll.as_fd(), &mut EventBuffer::new(1), 0).unwrap(), 0);
    }

    #[test]
    fn a_precise_wait_ends_or_is_not_supported() {
        let epoll = create().unwrap();
        match wait_precise(epoll.as_fd(), &mut EventBuffer::new(1), Duration::from_micros(50)) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
    }
}
