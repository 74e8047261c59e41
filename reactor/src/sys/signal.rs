//! Signals as a descriptor instead of a handler; see signalfd(2) and pthread_sigmask(3).

use std::io;
use std::mem;
use std::ptr;
use std::thread::{self, ThreadId};

use libc::c_int;

use super::fd::{Fd, FdRef};
use super::{check, check_count, check_fd, retry};

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// The set of these signals; a number that is no signal is an error.
    pub(crate) fn of(signals: &[c_int]) -> io::Result<Self> {
        // SAFETY: `sigset_t` is an array of integers, for which all bits zero is a value.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: `set` is a live sigset_t.
        check(unsafe { libc::sigemptyset(&raw mut set) })?;
        for &signal in signals {
            // SAFETY: `set` was initialised by sigemptyset; a bad number is refused with EINVAL.
            check(unsafe { libc::sigaddset(&raw mut set, signal) })?;
        }
        Ok(Self(set))
    }

    /// The set as a word, a bit for each of the first 63 signals.
    #[cfg(feature = "sim")]
    fn bits(&self) -> u64 {
        // SAFETY: the set is live, and the number is that of a signal.
        let has = |signal: &c_int| unsafe { libc::sigismember(&raw const self.0, *signal) } == 1;
        (1..64).filter(has).fold(0, |bits, signal| bits | 1 << signal)
    }
}

/// Blocks the signals for the calling thread and those it will start, and answers the mask that held before.
pub(crate) fn block(signals: &SignalSet) -> io::Result<SignalSet> {
    // The signals of a simulation are not the process's.
    #[cfg(feature = "sim")]
    if crate::sim::world::is_current() {
        return Ok(*signals);
    }
    let mut before = *signals;
    // SAFETY: both sets are live for the call; the first is only read, the second only written.
    let code = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals.0, &raw mut before.0) };
    if code == 0 { Ok(before) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Signals blocked for as long as this lives, for the thread that made it.
pub(crate) struct Blocked {
    before: SignalSet,
    thread: ThreadId,
    keeps: bool,
}

impl Blocked {
    /// Blocks the signals for the calling thread and those it will start.
    pub(crate) fn new(signals: &[c_int]) -> io::Result<Self> {
        let before = block(&SignalSet::of(signals)?)?;
        Ok(Self { before, thread: thread::current().id(), keeps: false })
    }

    /// Leaves them blocked for good.
    pub(crate) fn keep(mut self) {
        self.keeps = true;
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if !self.keeps
            && thread::current().id() == self.thread
            && let Err(error) = restore(&self.before)
        {
            log::error!("could not put the signal mask back: {error}");
        }
    }
}

/// Puts back the mask that [`block`] answered.
fn restore(mask: &SignalSet) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if crate::sim::world::is_current() {
        return Ok(());
    }
    // SAFETY: the new mask is live for the call, and the old one is not asked for.
    let code = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, ptr::null_mut()) };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Whether the calling thread has no signal blocked.
pub(crate) fn blocks_none() -> io::Result<bool> {
    let mut blocked = SignalSet::of(&[])?;
    // SAFETY: no new mask is given, and the old one is written to a live set.
    let code = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut blocked.0) };
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    // SAFETY: the set is live, and the number is that of a signal.
    let is_blocked = |number| unsafe { libc::sigismember(&raw const blocked.0, number) } == 1;
    Ok(!(1..=libc::SIGRTMAX()).any(is_blocked))
}

/// Unblocks all signals for the calling thread. It may be called between fork(2) and exec.
pub(crate) fn unblock_all() -> io::Result<()> {
    restore(&SignalSet::of(&[])?)
}

/// A descriptor that tells of these signals while they are blocked.
pub(crate) fn create(signals: &SignalSet) -> io::Result<Fd> {
    simulated_creation!(crate::sim::calls::signalfd(signals.bits()));
    // SAFETY: the set is live for the call, and -1 asks for a new descriptor.
    check_fd(unsafe { libc::signalfd(-1, &raw const signals.0, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) })
}

/// The number of the next signal that came; `WouldBlock` when there is none.
pub(crate) fn read(fd: FdRef<'_>) -> io::Result<c_int> {
    simulated!(fd, crate::sim::calls::read_signal(fd.as_raw_fd()));
    // SAFETY: `signalfd_siginfo` is made of integers, for which all bits zero is a value.
    let mut info: libc::signalfd_siginfo = unsafe { mem::zeroed() };
    let size = size_of_val(&info);
    let into = (&raw mut info).cast();
    // SAFETY: the kernel writes at most `size` bytes, which is the size of `info`.
    let count = retry(|| check_count(unsafe { libc::read(fd.as_raw_fd(), into, size) }))?;
    if count != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(info.ssi_signo.cast_signed())
}

/// What asks a server to end: SIGINT, which Ctrl-C sends, and SIGTERM, which a service manager sends.
pub(crate) const STOP_SIGNALS: [c_int; 2] = [libc::SIGINT, libc::SIGTERM];

// Miri knows no signal masks.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        assert!(SignalSet::of(&[9999]).is_err());
    }

    #[test]
    fn a_quiet_descriptor_would_block() {
        let fd = create(&SignalSet::of(&[libc::SIGUSR2]).unwrap()).unwrap();
        assert_eq!(read(fd.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
