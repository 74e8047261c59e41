//! What bytes are read from or written to: a pipe, a terminal, a socket, a file; one's own, or shared with other processes.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::Duration;

use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::descriptor::Descriptor;
use crate::sources::watching::fitted;
use crate::sys::bytes;
use crate::sys::fd::{Fd, FdRef};
use crate::token::SourceId;

/// A descriptor to read bytes from ([`add_reader`](crate::LoopContext::add_reader)) or to write bytes to
/// ([`add_writer`](crate::LoopContext::add_writer)): a pipe, a FIFO, a terminal, a stream socket, a file, a device.
///
/// Any descriptor of one's own becomes one: those of [`std::io::pipe`], of [`std::process::Child`], of [`File`]. They are made
/// nonblocking.
///
/// # Standard input and output
/// [`stdin`](Self::stdin), [`stdout`](Self::stdout) and [`stderr`](Self::stderr) are often shared with other processes, such as
/// the shell that comes back when this one has ended, and nonblocking is a property that all who share it get. So these are
/// left as they are. A pipe or a terminal is opened anew through `/proc/self/fd`; a socket is asked not to block call by call. Only
/// where the terminal may not be opened anew, because it is another user's or `/proc` is not there, it is made nonblocking until the
/// source is closed.
///
/// # Files
/// epoll(7) watches no regular files, because they are always ready, though reading them may have to wait for a disk. They, and
/// devices such as `/dev/null`, are read and written on the worker pool ([`WorkerOptions`](crate::WorkerOptions)), 64 KiB at a
/// time, and nobody notices a difference. The offset is that of the open file, as read(2) and write(2) move it, so who shares
/// it goes on where the loop has stopped.
#[derive(Debug)]
pub struct ByteStream {
    fd: Descriptor,
    shared: bool,
}

impl ByteStream {
    /// Standard input, which stays open when the source is closed. What [`std::io::stdin`] has read ahead is not seen here.
    ///
    /// # Errors
    /// It is closed, or no descriptor is free.
    pub fn stdin() -> io::Result<Self> {
        Self::shared(io::stdin().as_fd())
    }

    /// Standard output, which stays open when the source is closed. What `print!` writes goes there by another way, so do not
    /// mix the two.
    ///
    /// # Errors
    /// It is closed, or no descriptor is free.
    pub fn stdout() -> io::Result<Self> {
        Self::shared(io::stdout().as_fd())
    }

    /// Standard error, which stays open when the source is closed.
    ///
    /// # Errors
    /// It is closed, or no descriptor is free.
    pub fn stderr() -> io::Result<Self> {
        Self::shared(io::stderr().as_fd())
    }

    /// A descriptor that others use too, and which is left as it is.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn shared(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { fd: fd.try_clone_to_owned()?.into(), shared: true })
    }

    /// Opens it for one direction.
    pub(crate) fn open(self, direction: Direction) -> io::Result<(Fd, Way)> {
        let fd = self.fd.into_fd();
        if fd.as_fd().is_simulated() {
            return Ok((fd, Way::Here { is_terminal: false, _restore: None }));
        }
        let file = File::from(OwnedFd::from(fd));
        let metadata = file.metadata()?;
        let (fd, kind) = (OwnedFd::from(file), metadata.file_type());
        if kind.is_file() || kind.is_dir() {
            let way = Way::elsewhere(fd.as_fd())?;
            return Ok((fd.into(), way));
        }
        if kind.is_socket() {
            return Ok((if self.shared { fd.into() } else { fitted(fd.into())? }, Way::Socket));
        }
        let is_terminal = fd.is_terminal();
        if !self.shared {
            return Ok((fitted(fd.into())?, Way::Here { is_terminal, _restore: None }));
        }
        // Other devices, and a master of terminals too, may make something new when they are opened.
        let reopens = kind.is_fifo() || is_terminal && metadata.rdev() != libc::makedev(5, 2);
        if reopens && let Ok(file) = open_anew(fd.as_fd(), direction) {
            return Ok((OwnedFd::from(file).into(), Way::Here { is_terminal, _restore: None }));
        }
        let restore = Restore::of(Fd::from(fd.try_clone()?))?;
        Ok((fitted(fd.into())?, Way::Here { is_terminal, _restore: Some(restore) }))
    }
}

impl<T: Into<Descriptor>> From<T> for ByteStream {
    fn from(fd: T) -> Self {
        Self { fd: fd.into(), shared: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// How bytes are moved.
pub(crate) enum Way {
    /// By the loop, on a nonblocking descriptor.
    Here { is_terminal: bool, _restore: Option<Restore> },
    /// By the loop, on a socket that may be a blocking one.
    Socket,
    /// By the worker pool, on a descriptor that is always ready.
    Elsewhere(Arc<File>),
}

impl Way {
    /// The worker pool gets a descriptor of its own.
    pub(crate) fn elsewhere(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::Elsewhere(Arc::new(File::from(fd.try_clone_to_owned()?))))
    }

    /// Reads; the end of a terminal that has hung up is an end and no error.
    pub(crate) fn read(&self, fd: FdRef<'_>, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket => bytes::receive_now(fd, into),
            Self::Elsewhere(file) => (&mut &**file).read(into),
            Self::Here { is_terminal, .. } => match bytes::read(fd, into) {
                Err(error) if *is_terminal && error.raw_os_error() == Some(libc::EIO) => Ok(0),
                result => result,
            },
        }
    }

    pub(crate) fn write(&self, fd: FdRef<'_>, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket => bytes::send_now(fd, bytes),
            Self::Elsewhere(file) => (&mut &**file).write(bytes),
            Self::Here { .. } => bytes::write(fd, bytes),
        }
    }
}

impl<S: 'static> LoopContext<'_, S> {
    /// Has the descriptor watched; if that cannot be, another way is the answer.
    pub(crate) fn watch_stream(&mut self, id: SourceId, interest: Interest) -> io::Result<Option<Way>> {
        match self.engine.register_source(id.0, interest) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let watched = self.engine.watched(id.0).ok_or(error)?;
                Way::elsewhere(watched.fd.lend()).map(Some)
            }
            result => result.map(|()| None),
        }
    }
}

/// Opens a pipe or a terminal anew, so that what is set on it is set for this process alone.
fn open_anew(fd: BorrowedFd<'_>, direction: Direction) -> io::Result<File> {
    OpenOptions::new()
        .read(direction == Direction::Read)
        .write(direction == Direction::Write)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Puts the flags of an open file back when it is dropped.
pub(crate) struct Restore {
    fd: Fd,
    flags: i32,
}

impl Restore {
    fn of(fd: Fd) -> io::Result<Self> {
        let flags = bytes::status_flags(fd.as_fd())?;
        Ok(Self { fd, flags })
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Err(error) = bytes::set_status_flags(self.fd.as_fd(), self.flags) {
            log::warn!("could not make a descriptor blocking again: {error}");
        }
    }
}

/// When no place was free in the worker pool, after so long it is asked again.
pub(crate) const RETRY: Duration = Duration::from_millis(10);
