//! The calls on sockets that every textbook server makes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// Takes the next connection; `flags` as in accept4(2).
pub(super) fn accept(listener: &OwnedFd, flags: i32) -> io::Result<OwnedFd> {
    let listener = listener.as_raw_fd();
    // SAFETY: null says that the peer's address is not wanted, so the kernel writes to no memory of ours.
    let accept = || unsafe { libc::accept4(listener, ptr::null_mut(), ptr::null_mut(), flags | libc::SOCK_CLOEXEC) };
    let fd = checked(|| accept() as isize)? as i32;
    // SAFETY: accept4 has just made this descriptor, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Receives what is there, up to the size of `buffer`; 0 is the end of the stream.
#[inline]
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    checked(|| {
        // SAFETY: the kernel writes at most `buffer.len()` bytes, and `buffer` is ours alone meanwhile.
        unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) }
    })
}

/// Sends what the kernel takes of `bytes`. A connection that the peer has closed is an error, not a signal.
#[inline]
pub(super) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    checked(|| {
        // SAFETY: the kernel reads `bytes.len()` bytes of a slice that lives through the call.
        unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) }
    })
}

/// Makes a call again for as long as signals interrupt it.
#[inline]
pub(super) fn checked(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        let answer = call();
        if answer >= 0 {
            return Ok(answer as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
