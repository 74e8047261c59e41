//! Moving bytes through a stream socket; see recv(2), send(2) and sendmsg(2).

use std::io::{self, IoSlice};
use std::mem;

#[cfg(feature = "chaos")]
use super::chaos::{self, Direction};
use super::fd::FdRef;
use super::{check_count, retry};

/// Reads what has arrived; `Ok(0)` is the end of the stream, `WouldBlock` says that nothing waits.
pub(crate) fn recv(fd: FdRef<'_>, into: &mut [u8]) -> io::Result<usize> {
    retry(|| recv_once(fd, into).result())
}

/// Appends what has arrived, at most `most` bytes; else as [`recv`].
pub(crate) fn recv_append(fd: FdRef<'_>, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    into.reserve(most);
    let (length, room) = (into.len(), &mut into.spare_capacity_mut()[..most]);
    let start = room.as_mut_ptr();
    // SAFETY: the kernel writes at most `most` bytes at `start`, where as many are allocated and nobody else's.
    let count = retry(|| check_count(unsafe { libc::recv(fd.as_raw_fd(), start.cast(), most, 0) }))?;
    // SAFETY: the kernel has written `count` bytes behind the first `length` ones.
    unsafe { into.set_len(length + count) };
    Ok(count)
}

/// Sends bytes, perhaps only the first of them; a peer that is gone is `BrokenPipe`, never SIGPIPE.
pub(crate) fn send(fd: FdRef<'_>, bytes: &[u8]) -> io::Result<usize> {
    retry(|| send_once(fd, bytes).result())
}

/// [`recv`], which a signal may interrupt.
#[inline]
pub(crate) fn recv_once(fd: FdRef<'_>, into: &mut [u8]) -> Moved {
    simulated!(fd, Moved::from_result(crate::sim::calls::recv(fd.as_raw_fd(), into)));
    #[cfg(feature = "chaos")]
    let into = match chaos::before_moving(Direction::Recv, fd, into.len()) {
        Ok(length) => &mut into[..length],
        Err(errno) => return Moved::failed(errno),
    };
    bare::recv(fd, into)
}

/// [`send`], which a signal may interrupt.
#[inline]
pub(crate) fn send_once(fd: FdRef<'_>, bytes: &[u8]) -> Moved {
    simulated!(fd, Moved::from_result(crate::sim::calls::send(fd.as_raw_fd(), bytes)));
    #[cfg(feature = "chaos")]
    let bytes = match chaos::before_moving(Direction::Send, fd, bytes.len()) {
        Ok(length) => &bytes[..length],
        Err(errno) => return Moved::failed(errno),
    };
    bare::send(fd, bytes)
}

/// Sends a byte of urgent data; see `MSG_OOB` in send(2).
#[cfg(all(test, feature = "sim"))]
pub(crate) fn send_urgent(fd: FdRef<'_>, byte: u8) -> io::Result<usize> {
    simulated!(fd, crate::sim::calls::send_urgent(fd.as_raw_fd(), byte));
    // SAFETY: one byte is read at `byte`, which lives until the call returns.
    check_count(unsafe { libc::send(fd.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_OOB) })
}

/// How many bytes a call has moved, or the negated `errno`, in one word: whether all went well is one comparison.
#[derive(Clone, Copy)]
pub(crate) struct Moved(isize);

impl Moved {
    /// From the result of a function of the C library.
    #[cfg(any(miri, not(target_arch = "x86_64")))]
    fn from_call(result: isize) -> Self {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self(if result < 0 { -(errno() as isize) } else { result })
    }

    /// A call that failed.
    #[cfg(feature = "chaos")]
    fn failed(errno: libc::c_int) -> Self {
        Self(-(errno as isize))
    }

    /// From the simulated kernel's answer.
    #[cfg(feature = "sim")]
    fn from_result(result: io::Result<usize>) -> Self {
        match result {
            Ok(count) => Self(count.cast_signed()),
            Err(error) => Self(-(error.raw_os_error().unwrap_or(libc::EIO) as isize)),
        }
    }

    /// How many bytes were moved, if any.
    #[inline]
    pub(crate) fn any(self) -> Option<usize> {
        if self.0 > 0 { Some(self.0.cast_unsigned()) } else { None }
    }

    /// Whether just so many bytes were moved.
    #[inline]
    pub(crate) fn is(self, count: usize) -> bool {
        self.0.cast_unsigned() == count
    }

    pub(crate) fn result(self) -> io::Result<usize> {
        usize::try_from(self.0).map_err(|_| io::Error::from_raw_os_error(-self.0 as i32))
    }
}

/// The two calls that every message makes, straight into the kernel: the C library's wrappers are cancellation points and
/// in a threaded program switch the thread's cancellation state to and fro, which costs more than all else that a message
/// takes in user space.
#[cfg(not(miri))]
mod bare {
    use std::os::fd::RawFd;

    use libc::{c_int, c_long};

    use super::{FdRef, Moved};

    #[inline]
    pub(super) fn recv(fd: FdRef<'_>, into: &mut [u8]) -> Moved {
        // SAFETY: recvfrom(2) writes at most `into.len()` bytes to `into`, and no address.
        unsafe { call(libc::SYS_recvfrom, fd.as_raw_fd(), into.as_mut_ptr(), into.len(), 0) }
    }

    #[inline]
    pub(super) fn send(fd: FdRef<'_>, bytes: &[u8]) -> Moved {
        // SAFETY: sendto(2) reads `bytes.len()` bytes of `bytes` and writes none of them; it reads no address.
        unsafe { call(libc::SYS_sendto, fd.as_raw_fd(), bytes.as_ptr().cast_mut(), bytes.len(), libc::MSG_NOSIGNAL) }
    }

    /// Makes a call that moves bytes between a socket and memory, with no address; by the instruction itself, which leaves
    /// all registers but three alone.
    ///
    /// # Safety
    /// What the call of this number does with `bytes` and `length` must be allowed.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn call(number: c_long, fd: RawFd, bytes: *mut u8, length: usize, flags: c_int) -> Moved {
        let moved: isize;
        // SAFETY: the caller answers for the memory; besides it, the kernel changes rax, rcx and r11, and no stack.
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") number => moved,
                in("rdi") fd, in("rsi") bytes, in("rdx") length, in("r10") flags, in("r8") 0_usize, in("r9") 0_usize,
                lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
        Moved(moved)
    }

    /// The same by syscall(2).
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    unsafe fn call(number: c_long, fd: RawFd, bytes: *mut u8, length: usize, flags: c_int) -> Moved {
        let (no_address, no_length) = (std::ptr::null_mut::<u8>(), 0_usize);
        // SAFETY: the caller answers for the memory.
        let result = unsafe { libc::syscall(number, fd, bytes, length, flags, no_address, no_length) };
        Moved::from_call(result as isize)
    }
}

/// The same by the C library, which is what Miri knows.
#[cfg(miri)]
mod bare {
    use super::{FdRef, Moved};

    pub(super) fn recv(fd: FdRef<'_>, into: &mut [u8]) -> Moved {
        // SAFETY: at most `into.len()` bytes are written to `into`.
        Moved::from_call(unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), 0) })
    }

    pub(super) fn send(fd: FdRef<'_>, bytes: &[u8]) -> Moved {
        // SAFETY: `bytes.len()` bytes are read from `bytes`.
        Moved::from_call(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) })
    }
}

/// Sends several slices as one: writev(2) with `MSG_NOSIGNAL`, which only sendmsg(2) takes.
///
/// Slices beyond [`MAX_SLICES`] wait for the next call. `more` tells that something is to follow at once, so that a short
/// segment waits for it (`MSG_MORE`).
pub(crate) fn send_vectored(fd: FdRef<'_>, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    simulated!(fd, {
        let bytes: Vec<u8> = slices.iter().take(MAX_SLICES).flat_map(|slice| slice.iter().copied()).collect();
        retry(|| crate::sim::calls::send(fd.as_raw_fd(), &bytes))
    });
    #[cfg(feature = "chaos")]
    if let Some(moved) = chaotically(fd, slices) {
        return moved;
    }
    let flags = if more { libc::MSG_NOSIGNAL | libc::MSG_MORE } else { libc::MSG_NOSIGNAL };
    // SAFETY: `msghdr` is made of pointers and integers, for which all bits zero is a value: no name, no control data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // The kernel only reads through this pointer; `IoSlice` has the layout of `iovec` by its documentation.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len().min(MAX_SLICES);
    retry(|| {
        // SAFETY: `message` names at most `slices.len()` slices, all borrowed for the call and only read.
        check_count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) })
    })
}

/// What chaos makes of a send of several slices, if anything. It cuts no slice in two: one alone is a short send too.
#[cfg(feature = "chaos")]
fn chaotically(fd: FdRef<'_>, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
    let length = slices.iter().map(|slice| slice.len()).sum();
    match retry(|| chaos::before_moving(Direction::Send, fd, length).map_err(io::Error::from_raw_os_error)) {
        Ok(count) if count == length => None,
        Ok(_) => Some(retry(|| bare::send(fd, &slices[0]).result())),
        Err(error) => Some(Err(error)),
    }
}

/// The kernel refuses more slices than this in one call (`IOV_MAX`).
pub(crate) const MAX_SLICES: usize = 1024;
