//! Descriptors sent from one process to another through a Unix socket; see `SCM_RIGHTS` in unix(7).

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::c_int;

use super::ancillary::{HEADER, Messages};
#[cfg(feature = "chaos")]
use super::chaos::{self, Direction};
use super::fd::FdRef;
use super::{check_count, retry};

/// What one call has received.
pub(crate) struct Received {
    pub(crate) count: usize,
    pub(crate) passed: Vec<OwnedFd>,
    /// Descriptors were sent that this process could not take.
    pub(crate) lost: bool,
}

/// Reads what has arrived, with the descriptors that came with it, which are close-on-exec; `Ok(0)` is the end of the stream.
pub(crate) fn receive(fd: FdRef<'_>, into: &mut [u8]) -> io::Result<Received> {
    simulated!(fd, {
        let count = retry(|| crate::sim::calls::recv(fd.as_raw_fd(), into))?;
        Ok(Received { count, passed: Vec::new(), lost: false })
    });
    #[cfg(feature = "chaos")]
    let into = {
        let length =
            retry(|| chaos::before_moving(Direction::Recv, fd, into.len()).map_err(io::Error::from_raw_os_error))?;
        &mut into[..length]
    };
    let mut control = Control::empty();
    let mut slice = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: `msghdr` is made of pointers and integers, for which all bits zero is a value: nothing anywhere.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    let count = retry(|| {
        message.msg_controllen = ROOM;
        // SAFETY: `message` points to one slice, of `into`, and to `control`, with their true lengths.
        check_count(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) })
    })?;
    let passed = control.take(message.msg_controllen);
    Ok(Received { count, passed, lost: message.msg_flags & libc::MSG_CTRUNC != 0 })
}

/// Sends bytes, perhaps only the first of them, and with the very first the descriptors, at most [`MOST`].
pub(crate) fn send(fd: FdRef<'_>, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<usize> {
    #[cfg(feature = "chaos")]
    let bytes = {
        let length =
            retry(|| chaos::before_moving(Direction::Send, fd, bytes.len()).map_err(io::Error::from_raw_os_error))?;
        &bytes[..length]
    };
    let mut control = Control::empty();
    let mut slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is made of pointers and integers, for which all bits zero is a value: nothing anywhere.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_controllen = control.write(fds);
    message.msg_control = control.0.as_mut_ptr().cast();
    retry(|| {
        // SAFETY: `message` points to one slice, of `bytes`, and to `control`, with their true lengths; all are only read.
        check_count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) })
    })
}

/// Room for one message of descriptors, laid out as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; ROOM]);

impl Control {
    const fn empty() -> Self {
        Self([0; ROOM])
    }

    /// The descriptors in the first `length` bytes, which the kernel has just made.
    fn take(&self, length: usize) -> Vec<OwnedFd> {
        let messages = Messages(&self.0[..length.min(ROOM)]);
        let rights = messages.filter(|message| message.is(libc::SOL_SOCKET, libc::SCM_RIGHTS));
        let numbers = rights.flat_map(|message| message.data.chunks_exact(size_of::<c_int>()));
        let number = |bytes: &[u8]| c_int::from_ne_bytes(*bytes.first_chunk().expect("a C int has so many bytes"));
        // SAFETY: the kernel has made these descriptors for this call, and nobody else knows of them.
        numbers.map(|bytes| unsafe { OwnedFd::from_raw_fd(number(bytes)) }).collect()
    }

    /// Writes descriptors down to be sent; answers how many bytes that takes.
    fn write(&mut self, fds: &[OwnedFd]) -> usize {
        if fds.is_empty() {
            return 0;
        }
        let length = HEADER + size_of_val(fds);
        self.0[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
        self.0[size_of::<usize>()..HEADER - 4].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        self.0[HEADER - 4..HEADER].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
        for (place, fd) in self.0[HEADER..length].chunks_exact_mut(size_of::<c_int>()).zip(fds) {
            place.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
        }
        length.next_multiple_of(size_of::<usize>())
    }
}

/// The kernel passes no more at once (`SCM_MAX_FD`).
pub(crate) const MOST: usize = 253;

const ROOM: usize = (HEADER + MOST * size_of::<c_int>()).next_multiple_of(8);
