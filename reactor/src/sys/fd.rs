//! Descriptors, owned and lent, as all modules above `sys` hold them; see close(2).

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// A descriptor that is ours: dropping it closes it.
///
/// It is not an `OwnedFd` so that a kernel other than the real one can give descriptors too.
#[derive(Debug)]
pub(crate) struct Fd(RawFd);

/// A descriptor that is open for as long as `'a` lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FdRef<'a> {
    raw: RawFd,
    lent: PhantomData<&'a Fd>,
}

impl Fd {
    /// Takes over a descriptor that a system call has just made.
    pub(super) fn made(raw: RawFd) -> Self {
        Self(raw)
    }

    /// Takes over a descriptor of the simulated kernel.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(raw: RawFd) -> Self {
        debug_assert!(crate::sim::calls::is_simulated(raw), "what is real is made by a system call");
        Self(raw)
    }

    /// The descriptor, to use.
    #[inline]
    pub(crate) fn as_fd(&self) -> FdRef<'_> {
        FdRef { raw: self.0, lent: PhantomData }
    }

    /// The descriptor, lent to the application.
    ///
    /// # Panics
    /// It is a simulated one, which is none outside of the simulation.
    pub(crate) fn lend(&self) -> BorrowedFd<'_> {
        assert!(!self.as_fd().is_simulated(), "a simulated descriptor cannot leave the simulation");
        // SAFETY: the descriptor is open for as long as this is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        simulated!(self.as_fd(), crate::sim::calls::close(self.0));
        // SAFETY: the descriptor is ours, and nobody uses it after this. An error is of no use: it is closed even then.
        unsafe { libc::close(self.0) };
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into_raw_fd())
    }
}

impl From<Fd> for OwnedFd {
    /// # Panics
    /// The descriptor is a simulated one, which is none outside of the simulation.
    fn from(fd: Fd) -> Self {
        #[cfg(feature = "sim")]
        assert!(!crate::sim::calls::is_simulated(fd.0), "a simulated descriptor cannot leave the simulation");
        let raw = std::mem::ManuallyDrop::new(fd).0;
        // SAFETY: the descriptor was ours and is given up, not dropped.
        unsafe { Self::from_raw_fd(raw) }
    }
}

impl FdRef<'_> {
    /// The number, for a system call.
    #[inline]
    pub(super) fn as_raw_fd(self) -> RawFd {
        self.raw
    }

    /// Another descriptor of the same thing; see `F_DUPFD_CLOEXEC` in fcntl(2).
    pub(crate) fn duplicate(self) -> io::Result<Fd> {
        simulated!(self, crate::sim::calls::duplicate(self.raw).map(Fd::made));
        // SAFETY: the call takes integers and touches no memory of ours.
        let raw = super::check(unsafe { libc::fcntl(self.raw, libc::F_DUPFD_CLOEXEC, 0) })?;
        Ok(Fd::made(raw))
    }

    /// Whether the descriptor is of the simulated kernel.
    pub(crate) fn is_simulated(self) -> bool {
        simulated!(self, true);
        false
    }
}

/// For tests, which look at real sockets by other means than ours.
#[cfg(test)]
impl std::os::fd::AsFd for FdRef<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as this is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.raw) }
    }
}

impl<'a> From<BorrowedFd<'a>> for FdRef<'a> {
    fn from(fd: BorrowedFd<'a>) -> Self {
        Self { raw: fd.as_raw_fd(), lent: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn is_as_small_as_the_number() {
        assert_eq!(size_of::<Fd>(), 4);
    }

    #[test]
    #[cfg_attr(miri, ignore = "the standard library reads this by recv(2), and Miri's socket pairs are no sockets")]
    fn dropping_closes() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(Fd::from(OwnedFd::from(ours)));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "the standard library reads this by recv(2), and Miri's socket pairs are no sockets")]
    fn what_is_given_up_stays_open() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ours = UnixStream::from(OwnedFd::from(Fd::from(OwnedFd::from(ours))));
        drop(theirs);
        assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
    }
}
