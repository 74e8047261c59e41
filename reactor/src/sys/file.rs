//! Moving bytes of files into sockets; see sendfile(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(feature = "chaos")]
use super::chaos::{self, Direction};
use super::fd::FdRef;
use super::{check_count, retry};

/// Sends up to `count` bytes of the file from `offset` on, without a copy through this process; `Ok(0)` is the end of the
/// file. The file's own offset stays where it is.
///
/// sendfile(2) takes no `MSG_NOSIGNAL`: on a socket whose peer is gone it raises SIGPIPE, which the Rust runtime ignores.
pub(crate) fn send(socket: FdRef<'_>, file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<usize> {
    simulated!(socket, {
        let mut bytes = vec![0; count.min(SIMULATED)];
        let read = read_at(file, &mut bytes, offset)?;
        if read == 0 {
            return Ok(0);
        }
        retry(|| crate::sim::calls::send(socket.as_raw_fd(), &bytes[..read]))
    });
    let beyond = |_| io::Error::new(io::ErrorKind::InvalidInput, "a file offset is less than 2^63");
    let mut offset = i64::try_from(offset).map_err(beyond)?;
    retry(|| {
        #[cfg(feature = "chaos")]
        let count = chaos::before_moving(Direction::Send, socket, count).map_err(io::Error::from_raw_os_error)?;
        // SAFETY: both descriptors are open, and the kernel reads and writes one offset at `offset`.
        check_count(unsafe { libc::sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &raw mut offset, count) })
    })
}

/// A simulated socket takes no more than this at once.
#[cfg(feature = "sim")]
const SIMULATED: usize = 64 << 10;

/// Reads from `offset` on, for a simulated socket; see pread(2).
#[cfg(feature = "sim")]
fn read_at(file: BorrowedFd<'_>, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open, and the kernel writes at most `into.len()` bytes to `into`.
    check_count(unsafe { libc::pread64(file.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), offset) })
}

/// Why a real descriptor is not watched in a simulation: files never are, and others have no kernel to tell of them.
#[cfg(feature = "sim")]
pub(crate) fn unwatchable(fd: FdRef<'_>) -> io::Error {
    // SAFETY: `stat64` is made of integers, for which all bits zero is a value.
    let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `stat64`, which `stat` is.
    if let Err(error) = super::check(unsafe { libc::fstat64(fd.as_raw_fd(), &raw mut stat) }) {
        return error;
    }
    if matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR) {
        return io::Error::from_raw_os_error(libc::EPERM);
    }
    io::Error::new(io::ErrorKind::Unsupported, "the simulated kernel watches no real descriptors: see Sim::pipe")
}
