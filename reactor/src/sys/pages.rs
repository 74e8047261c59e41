//! Memory in pages of its own, written once and then only read: the kernel may send from it without a copy; see mmap(2) and
//! vmsplice(2).

use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

use libc::{c_uint, c_void};

#[cfg(not(miri))]
use super::check;
use super::fd::FdRef;
use super::{check_count, retry};

/// Bytes in pages of their own.
///
/// When they are dropped while the kernel still sends from their pages, the pages stay until that is done, and nobody can write to
/// them: their addresses are gone, and memory that is mapped later has pages of its own.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: from when they are shared the bytes are only read, and unmapped by the one owner.
unsafe impl Send for Pages {}
// SAFETY: as above; no method of a shared reference writes.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps pages for so many bytes, at least one, and has them filled; from then on they are only read.
    pub(crate) fn filled(len: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Self> {
        let mut pages = Self::mapped(len)?;
        fill(pages.as_mut_slice())?;
        pages.protect()?;
        Ok(pages)
    }

    fn mapped(len: usize) -> io::Result<Self> {
        const PROTECTION: i32 = libc::PROT_READ | libc::PROT_WRITE;
        // All of them are about to be written, and one call costs less than a fault for each.
        const FLAGS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let flags = if cfg!(miri) { FLAGS & !libc::MAP_POPULATE } else { FLAGS };
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that is in use.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, PROTECTION, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap(2) has mapped address zero"))?;
        Ok(Self { start, len })
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `len` bytes from `start` on are mapped for reading and writing, zeroed by the kernel, and borrowed with `self`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` on are mapped and initialised for as long as `self` lives, and nobody writes to them.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// A write would be a fault from here on, so what the kernel sends cannot change.
    #[cfg(not(miri))]
    fn protect(&mut self) -> io::Result<()> {
        // SAFETY: the mapping is ours alone, and no reference through which it could be written to is left.
        check(unsafe { libc::mprotect(self.address(), self.len, libc::PROT_READ) })?;
        Ok(())
    }

    /// Miri knows no mprotect(2).
    #[cfg(miri)]
    #[allow(clippy::unnecessary_wraps, reason = "as the other one")]
    fn protect(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }

    /// Puts references to the pages of a range into a pipe, without a copy, and says for how many bytes there was room.
    pub(crate) fn lend(&self, range: Range<usize>, pipe: FdRef<'_>) -> io::Result<usize> {
        let bytes = &self.as_slice()[range];
        simulated!(pipe, retry(|| crate::sim::calls::write(pipe.as_raw_fd(), bytes)));
        const FLAGS: c_uint = libc::SPLICE_F_NONBLOCK;
        if cfg!(miri) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        retry(|| {
            // SAFETY: `slice` names bytes that are mapped now. Their pages outlive this call in the pipe, where the kernel counts its
            // references to them, and what is in them never changes: see `Pages`.
            check_count(unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const slice, 1, FLAGS) })
        })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, all of it, and no reference to it outlives `self`.
        let unmapped = unsafe { libc::munmap(self.address(), self.len) };
        debug_assert_eq!(unmapped, 0, "what was mapped can be unmapped");
    }
}
