//! Being told of changes to files; see inotify(7).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libc::c_int;

use super::fd::{Fd, FdRef};
use super::{check, check_fd};

/// Makes an instance that watches nothing yet.
pub(crate) fn create() -> io::Result<Fd> {
    simulated_creation!(crate::sim::calls::inotify());
    // SAFETY: the call takes a flag word and touches no memory of ours.
    check_fd(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })
}

/// Watches a path for the events of `mask`, and answers the number of the watch.
pub(crate) fn watch(fd: FdRef<'_>, path: &Path, mask: u32) -> io::Result<c_int> {
    simulated!(fd, crate::sim::calls::watch_file(fd.as_raw_fd(), path, mask));
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a live string that ends with a zero, and the kernel only reads it.
    check(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), mask) })
}

/// Ends a watch.
pub(crate) fn unwatch(fd: FdRef<'_>, watch: c_int) -> io::Result<()> {
    simulated!(fd, crate::sim::calls::unwatch_file(fd.as_raw_fd(), watch));
    // SAFETY: the call takes two integers and touches no memory of ours.
    check(unsafe { libc::inotify_rm_watch(fd.as_raw_fd(), watch) })?;
    Ok(())
}
