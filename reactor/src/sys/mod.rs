//! Safe wrappers of the system calls the library makes; all `unsafe` code of the workspace is here.
//!
//! The modules above call no libc function, so this is also the seam at which a simulated kernel stands in: with feature
//! `sim`, a call of a simulated descriptor, or one that makes a descriptor on a thread of a simulation, is served by
//! `crate::sim`. Without the feature these tests are compiled away.
//! Every descriptor made here is nonblocking and close-on-exec from birth, and `EINTR` is retried (but by
//! [`epoll::wait`], whose caller has a deadline to look at first).
#![allow(unsafe_code)]

/// With feature `sim`: a call of a simulated descriptor ends here.
macro_rules! simulated {
    ($fd:expr, $call:expr) => {
        #[cfg(feature = "sim")]
        if crate::sim::calls::is_simulated($fd.as_raw_fd()) {
            return $call;
        }
    };
}

/// With feature `sim`: a call that makes a descriptor ends here on a thread of a simulation.
macro_rules! simulated_creation {
    ($call:expr) => {
        #[cfg(feature = "sim")]
        if let Some(made) = $call {
            return made.map(Fd::made);
        }
    };
}

pub(crate) mod affinity;
pub(crate) mod ancillary;
pub(crate) mod bytes;
#[cfg(feature = "chaos")]
mod chaos;
pub(crate) mod clock;
pub(crate) mod datagram;
pub(crate) mod datagram_option;
pub(crate) mod epoll;
pub(crate) mod eventfd;
pub(crate) mod fd;
pub(crate) mod fd_passing;
pub(crate) mod file;
pub(crate) mod inotify;
pub(crate) mod option;
pub(crate) mod pages;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod sockaddr;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod stream_option;
pub(crate) mod tcp_info;
pub(crate) mod thread;

use std::io;

use libc::c_int;

use fd::Fd;

/// The result of a call that answers -1 and sets `errno` when it fails.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// [`check`] for the calls that answer with a byte count.
#[inline]
fn check_count(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// [`check`] for the calls that answer with a new descriptor.
fn check_fd(result: c_int) -> io::Result<Fd> {
    Ok(Fd::made(check(result)?))
}

/// Calls again for as long as a signal interrupts the call; see signal(7).
#[inline]
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
