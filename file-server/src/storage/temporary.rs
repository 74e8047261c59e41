//! Names of files that are not whole yet, and what is done with those that a killed process left.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::root::{TEMPORARY, is_temporary};

/// How files are received in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Without a name until they are whole.
    Unnamed,
    /// Under a hidden name, where there are no files without one.
    Named,
}

impl Manner {
    /// Tries out what the file system of a directory can do, and whether the system lets a file be named later.
    pub(super) fn find(directory: &OwnedFd) -> io::Result<Self> {
        let file = match create_unnamed(directory) {
            Ok(file) => file,
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => return Ok(Self::Named),
            Err(error) => return Err(error.into()),
        };
        let name = fresh_name();
        match link_unnamed(&file, directory, &name) {
            Ok(()) => {
                rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
                Ok(Self::Unnamed)
            }
            Err(_) => Ok(Self::Named),
        }
    }
}

/// Makes a file without a name.
pub(super) fn create_unnamed(directory: &OwnedFd) -> rustix::io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, ".", flags, FILE_MODE).map(File::from)
}

/// Gives a file without a name one that is free; see `O_TMPFILE` in open(2).
pub(super) fn link_unnamed(file: &File, directory: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH) {
        // The short way is for those with a certain capability, and from Linux 6.10 on for who opened the file.
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
        }
        outcome => outcome,
    }
}

/// A hidden name of a file that is not whole yet, or is about to replace another. It goes when this is dropped.
///
/// Its file is locked (flock(2)) for as long as the process has it open, so that another process sees whether the name was
/// left behind.
#[derive(Debug)]
pub(super) struct Temporary {
    /// `None`: the name is gone.
    place: Option<(Arc<OwnedFd>, OsString)>,
}

impl Temporary {
    /// Makes a file under a name of its own.
    pub(super) fn create(directory: &Arc<OwnedFd>) -> io::Result<(File, Self)> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        for _ in 0..MOST_NAMES {
            let name = fresh_name();
            let file = match rustix::fs::openat(directory, &name, flags, FILE_MODE) {
                Err(Errno::EXIST) => continue,
                outcome => outcome?,
            };
            let temporary = Self { place: Some((Arc::clone(directory), name)) };
            // Another process that clears the directory may have taken it before it was locked.
            if lock(&file) != Err(Errno::AGAIN) && rustix::fs::fstat(&file)?.st_nlink > 0 {
                return Ok((File::from(file), temporary));
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Gives a file that has no name a hidden one.
    pub(super) fn link(file: &File, directory: &Arc<OwnedFd>) -> rustix::io::Result<Self> {
        // What cannot be locked is never taken for left behind.
        let _ = lock(file);
        for _ in 0..MOST_NAMES {
            let name = fresh_name();
            match link_unnamed(file, directory, &name) {
                Err(Errno::EXIST) => {}
                outcome => return outcome.map(|()| Self { place: Some((Arc::clone(directory), name)) }),
            }
        }
        Err(Errno::IO)
    }

    /// Gives the file its name in a directory, which may be another one.
    pub(super) fn rename(&self, directory: &OwnedFd, to: &OsStr, how: RenameFlags) -> rustix::io::Result<()> {
        let Some((from, name)) = &self.place else { return Err(Errno::NOENT) };
        if how.is_empty() {
            return rustix::fs::renameat(from, name, directory, to);
        }
        rustix::fs::renameat_with(from, name, directory, to, how)
    }

    /// The file has another name now.
    pub(super) fn forget(mut self) {
        self.place = None;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some((directory, name)) = &self.place {
            // A name that stays is removed when a file comes to the directory in the next process.
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
    }
}

/// Removes files that a process left behind when it was killed: they have such a name, and nobody holds their lock.
pub(super) fn remove_leftovers(directory: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if is_temporary(name) && is_left_behind(directory, name) {
            // Whoever else removes it does as well.
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
    }
    Ok(())
}

/// Whether a file has no process that receives it. In doubt it has.
fn is_left_behind(directory: &OwnedFd, name: &OsStr) -> bool {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty()).is_ok_and(|file| lock(&file).is_ok())
}

fn lock(file: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// A name that nobody else has, very likely.
fn fresh_name() -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (prefix, suffix) = TEMPORARY;
    format!("{prefix}{:x}-{time:x}-{count:x}{suffix}", process::id()).into()
}

/// Names that are tried; a single one is as good as certain.
const MOST_NAMES: usize = 16;

/// What the umask leaves of it is the mode of a stored file.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open(directory: &tempfile::TempDir) -> Arc<OwnedFd> {
        Arc::new(File::open(directory.path()).unwrap().into())
    }

    #[test]
    fn leftovers_go_and_what_is_in_use_stays() {
        let directory = tempfile::tempdir().unwrap();
        let place = open(&directory);
        let (_file, in_use) = Temporary::create(&place).unwrap();
        let unnamed = create_unnamed(&place).unwrap();
        let linked = Temporary::link(&unnamed, &place).unwrap();
        for name in [".file-server-1-2-3.part", ".file-server-x", "file-server-1-2-3.part", "a.part"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        remove_leftovers(&place).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 5);
        assert!(!directory.path().join(".file-server-1-2-3.part").exists());
        drop((in_use, linked));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_leftover_that_is_no_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(".file-server-1.part")).unwrap();
        std::os::unix::fs::symlink("a", directory.path().join(".file-server-2.part")).unwrap();
        remove_leftovers(&open(&directory)).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
