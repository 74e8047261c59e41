//! One file that is being received.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{SpliceFlags, splice};

use crate::root::Attributes;
use crate::storage::directories::Directories;
use crate::storage::temporary::{Manner, Temporary, create_unnamed, link_unnamed};
use crate::storage::{Fsync, Storage, look, refuse_special};

/// A file that is being received: without a name where the file system can do that (`O_TMPFILE`, see open(2)), else under a
/// hidden one. Dropping it leaves nothing, and takes as long as the removal of a file does: it is for the worker pool too.
#[derive(Debug)]
pub struct Incoming {
    storage: Arc<Storage>,
    file: File,
    /// The hidden name, while there is one.
    temporary: Option<Temporary>,
    /// Where it is received, and its name below that.
    directory: Arc<OwnedFd>,
    name: PathBuf,
    written: u64,
}

/// What became of a file that was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there under a name that was free.
    Created(Attributes),
    /// It is there in place of another.
    Replaced(Attributes),
    /// The condition did not hold, and nothing has changed.
    Refused,
}

impl Incoming {
    pub(super) fn create(storage: Arc<Storage>, directory: OwnedFd, name: &Path, manner: Manner) -> io::Result<Self> {
        let directory = Arc::new(directory);
        let (file, temporary) = match manner {
            Manner::Unnamed => (create_unnamed(&directory)?, None),
            Manner::Named => Temporary::create(&directory).map(|(file, temporary)| (file, Some(temporary)))?,
        };
        Ok(Self { storage, file, temporary, directory, name: name.to_owned(), written: 0 })
    }

    /// Looks whether so many bytes have room, and sees to it that they will have if that is wanted.
    pub(super) fn reserve(&self, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        let disk = rustix::fs::fstatvfs(&self.file)?;
        // Some file systems do not tell. Blocks kept for root count as free: the writing will tell.
        if disk.f_blocks > 0 && disk.f_bfree.saturating_mul(disk.f_frsize) < size {
            return Err(Errno::NOSPC.into());
        }
        if !self.storage.options.preallocate {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            // Not every file system can.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// What write(2) says; [`is_full`](super::is_full) tells a full disk. The file is good for nothing then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Adds bytes of a pipe, at most `most`, and says how many; see splice(2).
    ///
    /// # Errors
    /// As [`write`](Self::write), or the file system cannot do it. What was not added is still in the pipe, to be written.
    pub(crate) fn splice(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let count = retry_on_intr(|| splice(pipe, None, &self.file, None, most, SpliceFlags::empty()))?;
        self.written += count as u64;
        Ok(count)
    }

    /// How many bytes it has by now.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Gives the file its name, at once and in place of what had it, if `allows` says so, given what is known of that. No
    /// other upload comes between the question and the change.
    ///
    /// # Errors
    /// The name is that of a directory or a special file, or the disk failed. Nothing has changed then, unless it was the directory that
    /// could not be forced onto the disk.
    pub fn store(mut self, mut allows: impl FnMut(Option<&Attributes>) -> bool) -> io::Result<Stored> {
        if self.storage.options.fsync != Fsync::Never {
            self.file.sync_all()?;
        }
        let storage = Arc::clone(&self.storage);
        let naming = storage.naming();
        let directories = Directories::make(&self.directory, self.name.parent().unwrap_or(Path::new("")))?;
        let Some(replaces) = self.name_in(&directories.last, &mut allows)? else { return Ok(Stored::Refused) };
        let changed = directories.keep();
        drop(naming);
        changed.iter().try_for_each(|directory| storage.settle(directory))?;
        let attributes = Attributes::from(&rustix::fs::fstat(&self.file)?);
        Ok(if replaces { Stored::Replaced(attributes) } else { Stored::Created(attributes) })
    }

    /// Gives the file its name if that is allowed, and says whether it replaces another; `None` if it is not allowed.
    fn name_in(
        &mut self,
        directory: &OwnedFd,
        allows: &mut dyn FnMut(Option<&Attributes>) -> bool,
    ) -> io::Result<Option<bool>> {
        let name = self.name.file_name().ok_or(Errno::ISDIR)?.to_owned();
        loop {
            let present = look(directory, &name)?;
            refuse_special(present.as_ref())?;
            if !allows(present.as_ref().map(Attributes::from).as_ref()) {
                return Ok(None);
            }
            match self.put_in_place(directory, &name, present.is_some()) {
                // Another program was quicker: whether that is allowed is to be asked again.
                Err(Errno::EXIST) => {}
                outcome => return Ok(outcome.map(|()| Some(present.is_some()))?),
            }
        }
    }

    /// Gives the file its name; `EXIST` if it was to be free and is not.
    fn put_in_place(&mut self, directory: &OwnedFd, name: &OsStr, replaces: bool) -> rustix::io::Result<()> {
        if self.temporary.is_none() {
            if !replaces {
                return link_unnamed(&self.file, directory, name);
            }
            // A link cannot replace a name, a rename can.
            self.temporary = Some(Temporary::link(&self.file, &self.directory)?);
        }
        let Some(temporary) = &self.temporary else { return Ok(()) };
        match temporary.rename(directory, name, if replaces { RenameFlags::empty() } else { RenameFlags::NOREPLACE }) {
            // The file system has no such rename; the name was free a moment ago.
            Err(Errno::INVAL | Errno::NOSYS) if !replaces => {
                temporary.rename(directory, name, RenameFlags::empty())?;
            }
            outcome => outcome?,
        }
        if let Some(temporary) = self.temporary.take() {
            temporary.forget();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::Mode;
    use tempfile::TempDir;

    use crate::storage::StorageOptions;

    /// In both ways, for the file system of the tests has one.
    const MANNERS: [Manner; 2] = [Manner::Unnamed, Manner::Named];

    fn begin(directory: &TempDir, name: &str, manner: Manner) -> Incoming {
        let storage = Arc::new(Storage::new(StorageOptions { fsync: Fsync::Always, preallocate: true }));
        let place = File::open(directory.path()).unwrap();
        Incoming::create(storage, place.into(), name.as_ref(), manner).unwrap()
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            let mut incoming = begin(&directory, "a", manner);
            incoming.reserve(1 << 20).unwrap();
            incoming.write(b"hel").unwrap();
            incoming.write(b"lo").unwrap();
            assert!(!directory.path().join("a").exists());
            let Stored::Created(attributes) = incoming.store(|present| present.is_none()).unwrap() else { panic!() };
            let metadata = fs::metadata(directory.path().join("a")).unwrap();
            assert_eq!((attributes.size, attributes.inode), (5, metadata.ino()));
            assert_eq!((attributes.changed, attributes.changed_ns.into()), (metadata.ctime(), metadata.ctime_nsec()));
            assert_eq!(names(&directory), ["a"]);
        }
    }

    #[test]
    fn a_name_changes_hands_at_once() {
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("a"), "old").unwrap();
            let mut incoming = begin(&directory, "a", manner);
            incoming.write(b"new").unwrap();
            assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"old");
            let mut old_size = None;
            let stored = incoming.store(|present| {
                old_size = present.map(|attributes| attributes.size);
                true
            });
            assert!(matches!(stored.unwrap(), Stored::Replaced(_)));
            assert_eq!(old_size, Some(3));
            assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"new");
            assert_eq!(names(&directory), ["a"]);
        }
    }

    #[test]
    fn directories_are_made_for_a_file_that_is_stored() {
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            let mut incoming = begin(&directory, "x/y/a", manner);
            incoming.write(b"new").unwrap();
            assert!(!directory.path().join("x").exists());
            assert!(matches!(incoming.store(|_| true).unwrap(), Stored::Created(_)));
            assert_eq!(fs::read(directory.path().join("x/y/a")).unwrap(), b"new");
            assert!(matches!(begin(&directory, "x/y/a", manner).store(|_| true).unwrap(), Stored::Replaced(_)));
            // Nothing is left of those that were made for nothing.
            assert_eq!(begin(&directory, "x/z/z/a", manner).store(|_| false).unwrap(), Stored::Refused);
            drop(begin(&directory, "p/q", manner));
            assert_eq!(names(&directory), ["x"]);
            assert_eq!(fs::read_dir(directory.path().join("x")).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_directory_on_the_way_is_no_symlink() {
        let outside = tempfile::tempdir().unwrap();
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            let incoming = begin(&directory, "x/a", manner);
            symlink(outside.path(), directory.path().join("x")).unwrap();
            assert!(incoming.store(|_| true).is_err());
            assert!(names(&outside).is_empty());
        }
    }

    #[test]
    fn what_is_given_up_or_refused_leaves_nothing() {
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            let mut incoming = begin(&directory, "a", manner);
            incoming.write(b"half").unwrap();
            drop(incoming);
            assert_eq!(begin(&directory, "a", manner).store(|_| false).unwrap(), Stored::Refused);
            assert!(names(&directory).is_empty());
        }
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_is_asked_about_again() {
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            let mut asked = Vec::new();
            let stored = begin(&directory, "a", manner).store(|present| {
                asked.push(present.is_some());
                fs::write(directory.path().join("a"), "other").unwrap();
                present.is_none()
            });
            assert_eq!(stored.unwrap(), Stored::Refused);
            assert_eq!(asked, [false, true]);
            assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"other");
            assert_eq!(names(&directory), ["a"]);
        }
    }

    #[test]
    fn a_directory_keeps_its_name_and_a_symlink_is_not_followed() {
        for manner in MANNERS {
            let directory = tempfile::tempdir().unwrap();
            let incoming = begin(&directory, "a", manner);
            fs::create_dir(directory.path().join("a")).unwrap();
            assert_eq!(incoming.store(|_| true).unwrap_err().kind(), io::ErrorKind::IsADirectory);
            fs::write(directory.path().join("target"), "kept").unwrap();
            symlink("target", directory.path().join("link")).unwrap();
            begin(&directory, "link", manner).store(|_| true).unwrap();
            assert_eq!(fs::read(directory.path().join("target")).unwrap(), b"kept");
            assert!(!directory.path().join("link").is_symlink());
        }
    }

    #[test]
    fn the_mode_is_what_the_umask_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let mask = rustix::process::umask(Mode::empty());
        rustix::process::umask(mask);
        for (name, manner) in ["a", "b"].into_iter().zip(MANNERS) {
            begin(&directory, name, manner).store(|_| true).unwrap();
            let mode = fs::metadata(directory.path().join(name)).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o666 & !mask.bits());
        }
    }
}
