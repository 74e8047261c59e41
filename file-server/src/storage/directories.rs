//! Directories that are made for a file that is to be stored below them.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// The directory of a file, and those that were made for it. They go again when this is dropped, unless they are kept.
#[derive(Debug)]
pub(super) struct Directories {
    /// Where the file goes.
    pub(super) last: Arc<OwnedFd>,
    /// What was made, and in which directory.
    made: Vec<(Arc<OwnedFd>, OsString)>,
}

impl Directories {
    /// Opens the directory at `way` below another one, and makes what is missing of it. No symlink is followed.
    pub(super) fn make(below: &Arc<OwnedFd>, way: &Path) -> rustix::io::Result<Self> {
        let mut directories = Self { last: Arc::clone(below), made: Vec::new() };
        for name in way {
            match rustix::fs::mkdirat(&directories.last, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => directories.made.push((Arc::clone(&directories.last), name.to_owned())),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = rustix::fs::openat(&directories.last, name, flags, Mode::empty())?;
            directories.last = Arc::new(next);
        }
        Ok(directories)
    }

    /// They stay: there is a file in the last one. Answers those in which something has changed.
    pub(super) fn keep(mut self) -> Vec<Arc<OwnedFd>> {
        let parents = std::mem::take(&mut self.made).into_iter().map(|(parent, _)| parent);
        parents.chain([Arc::clone(&self.last)]).collect()
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        for (parent, name) in self.made.iter().rev() {
            // Somebody else may have put something there.
            let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
    }
}
