//! Where received files are kept: each appears under its name when it is whole, and not before.

mod directories;
mod incoming;
mod temporary;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::root::{Attributes, is_temporary};

pub use self::incoming::{Incoming, Stored};
use self::temporary::Manner;

/// When a stored file is forced onto the disk, so that it outlives a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Fsync {
    /// When the kernel likes. What is confirmed outlives a crash of the program, not one of the machine.
    #[default]
    Never,
    /// The contents, before the file gets its name: after a crash of the machine the name stands for a whole file, the new
    /// one or the old one.
    File,
    /// The contents and then the directory, before the upload is confirmed: what is confirmed is there.
    Always,
}

/// How files are stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct StorageOptions {
    /// When they are forced onto the disk.
    pub fsync: Fsync,
    /// Reserve the space of a file whose size is known before its first byte comes: it is less fragmented, and a disk that
    /// is too full is known at once. A client can then reserve space that it never fills, as long as it stays connected.
    pub preallocate: bool,
}

/// Stores files and removes them. All calls block on the disk: they are for the worker pool.
///
/// ```
/// use std::sync::Arc;
/// use file_server::storage::{Storage, StorageOptions, Stored};
///
/// let directory = tempfile::tempdir()?;
/// let storage = Arc::new(Storage::new(StorageOptions::default()));
///
/// let place = std::fs::File::open(directory.path())?;
/// let mut incoming = storage.begin(place.into(), "a.txt".as_ref(), Some(5))?;
/// incoming.write(b"hello")?;
/// assert_eq!(directory.path().read_dir()?.count(), 0);
///
/// assert!(matches!(incoming.store(|_| true)?, Stored::Created(_)));
/// assert_eq!(std::fs::read(directory.path().join("a.txt"))?, b"hello");
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Storage {
    options: StorageOptions,
    /// Held while names change: between the look at a name and its change no other upload comes.
    naming: Mutex<()>,
    /// By device and inode: directories that were looked at, and how files are received there.
    known: Mutex<HashMap<(u64, u64), Manner>>,
}

/// What became of a file that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// There was none of that name.
    Missing,
    /// The condition did not hold.
    Refused,
}

impl Storage {
    /// A storage without a directory: each file comes with its own.
    #[must_use]
    pub fn new(options: StorageOptions) -> Self {
        Self { options, naming: Mutex::default(), known: Mutex::default() }
    }

    /// Clears a directory of what an earlier process left half done when it was killed. [`begin`](Self::begin) does it too, the
    /// first time that a file comes to a directory.
    ///
    /// # Errors
    /// The directory cannot be read or written to.
    pub fn prepare(&self, directory: &OwnedFd) -> io::Result<()> {
        self.manner(directory).map(drop)
    }

    /// What is there of that name, symlinks not followed.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn look(&self, directory: &OwnedFd, name: &Path) -> io::Result<Option<Attributes>> {
        let present = look(directory, name.as_os_str())?;
        refuse_special(present.as_ref())?;
        Ok(present.as_ref().map(Attributes::from))
    }

    /// Begins to receive a file of this name, of `size` bytes if that is known. Directories before the last component are made
    /// when the file is stored.
    ///
    /// # Errors
    /// What can be known by now: `IsADirectory`, the name is that of a directory; `InvalidFilename`, it is too long;
    /// `StorageFull`, there is no room for so many bytes; `PermissionDenied` or `ReadOnlyFilesystem`.
    pub fn begin(self: &Arc<Self>, directory: OwnedFd, name: &Path, size: Option<u64>) -> io::Result<Incoming> {
        name.iter().try_for_each(refuse_temporary)?;
        if name.iter().nth(1).is_none() {
            refuse_special(look(&directory, name.as_os_str())?.as_ref())?;
        }
        let manner = self.manner(&directory)?;
        let incoming = Incoming::create(Arc::clone(self), directory, name, manner)?;
        incoming.reserve(size.unwrap_or(0))?;
        Ok(incoming)
    }

    /// Removes a file, or a symlink, if `allows` says so, given what is known of it.
    ///
    /// # Errors
    /// `IsADirectory`, `PermissionDenied` for a special file, or what unlink(2) says.
    pub fn remove(
        &self,
        directory: &OwnedFd,
        name: &OsStr,
        allows: impl FnOnce(Option<&Attributes>) -> bool,
    ) -> io::Result<Removed> {
        refuse_temporary(name)?;
        let naming = self.naming();
        let present = look(directory, name)?;
        refuse_special(present.as_ref())?;
        if !allows(present.as_ref().map(Attributes::from).as_ref()) {
            return Ok(Removed::Refused);
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) => return Ok(Removed::Missing),
            outcome => outcome?,
        }
        drop(naming);
        self.settle(directory)?;
        Ok(Removed::Gone)
    }

    /// Forces a change of names onto the disk, if that is the policy.
    fn settle(&self, directory: &OwnedFd) -> io::Result<()> {
        match self.options.fsync {
            Fsync::Always => Ok(rustix::fs::fsync(directory)?),
            Fsync::Never | Fsync::File => Ok(()),
        }
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How files are received in a directory. The first time it is tried out, and leftovers are removed.
    fn manner(&self, directory: &OwnedFd) -> io::Result<Manner> {
        let stat = rustix::fs::fstat(directory)?;
        let key = (stat.st_dev, stat.st_ino);
        let known = |storage: &Self| storage.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(manner) = known(self) {
            return Ok(manner);
        }
        temporary::remove_leftovers(directory)?;
        let manner = Manner::find(directory)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DIRECTORIES_KNOWN {
            known.clear();
        }
        known.insert(key, manner);
        Ok(manner)
    }
}

/// Whether an error says that there is no room left: the disk is full, or the quota is.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What is there of that name, symlinks not followed.
fn look(directory: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Only files and symlinks are replaced and removed. A socket or a FIFO is somebody's who would miss it.
fn refuse_special(present: Option<&Stat>) -> io::Result<()> {
    match present.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        None | Some(FileType::RegularFile | FileType::Symlink) => Ok(()),
        Some(FileType::Directory) => Err(Errno::ISDIR.into()),
        Some(_) => Err(io::Error::new(io::ErrorKind::PermissionDenied, "the name is that of a special file")),
    }
}

/// Files that are not whole are nobody else's business.
fn refuse_temporary(name: &OsStr) -> io::Result<()> {
    if is_temporary(name) {
        let message = "names of this kind are for files that are being received";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

/// Directories that are remembered: what is forgotten is looked at anew, at the cost of reading it once.
const DIRECTORIES_KNOWN: usize = 1024;
