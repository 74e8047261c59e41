//! The served directory: every name is resolved below it by the kernel, whatever happens to the tree meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// A directory whose files are served, and below which uploads are stored.
///
/// Names are resolved by openat2(2) from a descriptor of the directory, so that neither `..` nor a symlink nor a directory
/// that is moved in the middle of it leads out. All calls block on the disk: they are for the worker pool.
///
/// ```
/// use file_server::root::{Access, Node, Refusal, Root};
///
/// let directory = tempfile::tempdir()?;
/// std::fs::write(directory.path().join("a.txt"), "hello")?;
/// let root = Root::open(directory.path(), Access::default())?;
///
/// let Ok(Node::File(_, attributes)) = root.find("a.txt".as_ref()) else { panic!("there is such a file") };
/// assert_eq!(attributes.size, 5);
/// assert!(matches!(root.find("../etc/passwd".as_ref()), Err(Refusal::Forbidden)));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
    access: Access,
}

/// What of the directory is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Follow symlinks that lead out of the root. Those that stay below it are always followed.
    pub follow_symlinks: bool,
    /// Show names that begin with a dot, but for those of files that are being received. `.well-known` at the top is always seen
    /// (RFC 8615).
    pub hidden: bool,
}

/// What a name stands for.
#[derive(Debug)]
pub enum Node {
    /// A regular file, open for reading.
    File(File, Attributes),
    /// A directory, open for listing and as the place of names below it.
    Directory(OwnedFd, Attributes),
}

/// What is known of a file without reading it. Two that are equal are of the same version of the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The device that holds the file.
    pub device: u64,
    /// The number of the file on its device.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When the contents changed: seconds since 1970.
    pub modified: i64,
    /// The nanoseconds of `modified`.
    pub modified_ns: u32,
    /// When contents or attributes changed, which nobody can set back: seconds since 1970.
    pub changed: i64,
    /// The nanoseconds of `changed`.
    pub changed_ns: u32,
    /// Names that the file has. What is done to it by another one is not told to who watches this one.
    pub links: u64,
}

/// Why a name is not served.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing of that name, or it is not to be seen.
    Missing,
    /// It leads out of the root, is no regular file, or the system does not permit it.
    Forbidden,
    /// No descriptor or memory is left, for now.
    Busy,
    /// The disk failed.
    Failed(io::Error),
}

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    /// There is no such directory, or the kernel has no openat2(2), without which nothing is safe to serve.
    pub fn open(path: impl AsRef<Path>, access: Access) -> io::Result<Self> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let root = Self { directory, path: std::path::absolute(path)?, access };
        match root.open_at(Path::new(""), OFlags::DIRECTORY, ResolveFlags::empty()) {
            Err(Errno::NOSYS | Errno::PERM) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the system does not offer openat2(2), which needs Linux 5.6 and a sandbox that lets it pass",
            )),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(root),
        }
    }

    /// The directory as it was named, made absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is to be seen of it.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Opens what a name stands for; the empty one stands for the root itself.
    ///
    /// A FIFO or a device does not hold up the caller: only regular files and directories stay open.
    ///
    /// # Errors
    /// [`Refusal`] says why it is not served.
    pub fn find(&self, name: &Path) -> Result<Node, Refusal> {
        self.check(name)?;
        Node::of(self.open_at(name, SPECIAL_TOO, ResolveFlags::empty())?)
    }

    /// As [`find`](Self::find), but `None` if a symlink is on the way: then what the name stands for can change with nothing
    /// happening to the directories that it names.
    ///
    /// # Errors
    /// As there.
    pub fn find_plain(&self, name: &Path) -> Result<Option<Node>, Refusal> {
        self.check(name)?;
        match self.open_at(name, SPECIAL_TOO, ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => Ok(None),
            result => Node::of(result?).map(Some),
        }
    }

    /// A directory as a place to watch; `None` if a symlink is on the way.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub fn plain_directory(&self, name: &Path) -> Result<Option<OwnedFd>, Refusal> {
        self.check(name)?;
        match self.open_at(name, OFlags::DIRECTORY | OFlags::PATH, ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    /// Opens a directory, as the place of files to be stored or removed.
    ///
    /// # Errors
    /// [`Refusal`] says why not; what is no directory is missing.
    pub fn directory(&self, name: &Path) -> Result<OwnedFd, Refusal> {
        self.check(name)?;
        Ok(self.open_at(name, OFlags::DIRECTORY, ResolveFlags::empty())?)
    }

    /// Opens the directory in which a name is, and says what the name is there.
    ///
    /// # Errors
    /// As [`directory`](Self::directory). The root has no parent that is served.
    pub fn parent<'a>(&self, name: &'a Path) -> Result<(OwnedFd, &'a OsStr), Refusal> {
        self.check(name)?;
        let last = name.file_name().ok_or(Refusal::Forbidden)?;
        let parent = name.parent().unwrap_or(Path::new(""));
        Ok((self.open_at(parent, OFlags::DIRECTORY, ResolveFlags::empty())?, last))
    }

    /// Opens the last directory that exists on the way to a file, and says what of the name is below it: more than one
    /// component if others are missing.
    ///
    /// # Errors
    /// As [`parent`](Self::parent); something on the way that is no directory is missing.
    pub fn place<'a>(&self, name: &'a Path) -> Result<(OwnedFd, &'a Path), Refusal> {
        self.check(name)?;
        for ancestor in name.ancestors().skip(1) {
            match self.open_at(ancestor, OFlags::DIRECTORY, ResolveFlags::empty()) {
                Err(Errno::NOENT) => {}
                outcome => return Ok((outcome?, name.strip_prefix(ancestor).unwrap_or(name))),
            }
        }
        // The root is nobody's file.
        Err(Refusal::Forbidden)
    }

    /// Looks at a name before the kernel does: `..`, absolute names and hidden ones go no further.
    fn check(&self, name: &Path) -> Result<(), Refusal> {
        for (depth, component) in name.components().enumerate() {
            let Component::Normal(part) = component else { return Err(Refusal::Forbidden) };
            if !self.shows(part, depth) {
                return Err(Refusal::Missing);
            }
        }
        Ok(())
    }

    /// Whether a name is to be seen in a directory that is `depth` levels below the root.
    #[must_use]
    pub fn shows(&self, name: &OsStr, depth: usize) -> bool {
        let is_plain = !name.as_bytes().starts_with(b".") || (depth == 0 && name == ".well-known");
        is_plain || (self.access.hidden && !is_temporary(name))
    }

    fn open_at(&self, name: &Path, flags: OFlags, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
        let beneath = if self.access.follow_symlinks { ResolveFlags::empty() } else { ResolveFlags::BENEATH };
        let (flags, resolve) =
            (flags | OFlags::RDONLY | OFlags::CLOEXEC, resolve | beneath | ResolveFlags::NO_MAGICLINKS);
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(&self.directory, name, flags, Mode::empty(), resolve) {
                // A rename somewhere on the system came in the middle of a `..` in a symlink, so the kernel cannot vouch for it.
                Err(Errno::AGAIN | Errno::INTR) if tries < MOST_TRIES => tries += 1,
                result => return result,
            }
        }
    }
}

/// Whether a name is one of those that files have before they are whole, where the file system does not do without. Nobody else may
/// use them, and nobody is to see a part of a file.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let (prefix, suffix) = TEMPORARY;
    name.as_bytes().starts_with(prefix.as_bytes()) && name.as_bytes().ends_with(suffix.as_bytes())
}

/// How these names begin and end.
pub(crate) const TEMPORARY: (&str, &str) = (".file-server-", ".part");

impl Node {
    fn of(fd: OwnedFd) -> Result<Self, Refusal> {
        match Attributes::of(&fd)? {
            (FileType::RegularFile, attributes) => Ok(Self::File(File::from(fd), attributes)),
            (FileType::Directory, attributes) => Ok(Self::Directory(fd, attributes)),
            _ => Err(Refusal::Forbidden),
        }
    }
}

impl Attributes {
    /// Whether a file was not written to between the two. That it got another name or was removed is of no matter.
    #[must_use]
    pub fn is_same_content(&self, other: &Self) -> bool {
        let content = |it: &Self| (it.device, it.inode, it.size, it.modified, it.modified_ns);
        content(self) == content(other)
    }

    /// What is known of an open file, and what it is.
    ///
    /// # Errors
    /// The disk failed.
    pub fn of(fd: impl AsFd) -> Result<(FileType, Self), Refusal> {
        let stat = rustix::fs::fstat(fd)?;
        Ok((FileType::from_raw_mode(stat.st_mode), Self::from(&stat)))
    }
}

impl From<&Stat> for Attributes {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime,
            modified_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            changed: stat.st_ctime,
            changed_ns: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
            links: stat.st_nlink,
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => Self::Missing,
            // XDEV is a way out of the root, LOOP too many symlinks or a magic one, NXIO a socket.
            Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP | Errno::NXIO | Errno::NODEV => Self::Forbidden,
            errno if is_shortage(errno) => Self::Busy,
            errno => Self::Failed(errno.into()),
        }
    }
}

/// Whether descriptors or memory are short, which passes.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN)
}

/// For names of which it is not known what they stand for: a FIFO holds nobody up, and a terminal does not become ours.
const SPECIAL_TOO: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// How often a name is resolved anew while renames keep the kernel from vouching for it.
const MOST_TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn tree() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        fs::create_dir(root.join(".well-known")).unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a"), "hello").unwrap();
        fs::write(root.join("sub/.git/config"), "x").unwrap();
        fs::write(root.join(".well-known/acme"), "x").unwrap();
        symlink("../a", root.join("sub/inside")).unwrap();
        symlink("../../secret", root.join("sub/outside")).unwrap();
        symlink("/etc/passwd", root.join("absolute")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        directory
    }

    fn root(tree: &TempDir, access: Access) -> Root {
        Root::open(tree.path().join("root"), access).unwrap()
    }

    fn read(root: &Root, name: &str) -> Result<String, Refusal> {
        let Node::File(mut file, attributes) = root.find(name.as_ref())? else { return Err(Refusal::Missing) };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(attributes.size, text.len() as u64);
        Ok(text)
    }

    #[test]
    fn what_is_below_the_root_is_found() {
        let tree = tree();
        let root = root(&tree, Access::default());
        assert_eq!(read(&root, "a").unwrap(), "hello");
        assert_eq!(read(&root, "sub/inside").unwrap(), "hello");
        assert!(matches!(root.find("".as_ref()), Ok(Node::Directory(..))));
        assert!(matches!(root.find("sub".as_ref()), Ok(Node::Directory(..))));
        for missing in ["b", "a/b", "sub/b", "x\0y"] {
            assert!(matches!(root.find(missing.as_ref()), Err(Refusal::Missing)), "{missing}");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_root() {
        let tree = tree();
        let root = root(&tree, Access::default());
        for out in ["../secret", "sub/../../secret", "/etc/passwd", "sub/outside", "absolute", "loop", "sub/..", ".."] {
            assert!(matches!(root.find(out.as_ref()), Err(Refusal::Forbidden)), "{out}");
            assert!(root.directory(out.as_ref()).is_err(), "{out}");
        }
    }

    #[test]
    fn symlinks_lead_out_where_that_is_allowed() {
        let tree = tree();
        let root = root(&tree, Access { follow_symlinks: true, ..Access::default() });
        assert_eq!(read(&root, "sub/outside").unwrap(), "secret");
        assert!(matches!(root.find("../secret".as_ref()), Err(Refusal::Forbidden)));
    }

    #[test]
    fn hidden_names_are_seen_where_that_is_allowed() {
        let tree = tree();
        let hiding = root(&tree, Access::default());
        assert!(matches!(hiding.find("sub/.git/config".as_ref()), Err(Refusal::Missing)));
        assert_eq!(read(&hiding, ".well-known/acme").unwrap(), "x");
        assert!(hiding.parent("sub/.git/new".as_ref()).is_err());
        let showing = root(&tree, Access { hidden: true, ..Access::default() });
        assert_eq!(read(&showing, "sub/.git/config").unwrap(), "x");
    }

    #[test]
    fn neither_a_fifo_nor_a_device_is_served() {
        let tree = tree();
        let root = root(&tree, Access { follow_symlinks: true, ..Access::default() });
        rustix::fs::mknodat(CWD, tree.path().join("root/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        symlink("/dev/zero", tree.path().join("root/zero")).unwrap();
        for special in ["fifo", "zero"] {
            assert!(matches!(root.find(special.as_ref()), Err(Refusal::Forbidden)), "{special}");
        }
    }

    #[test]
    fn the_place_of_a_file_is_the_last_directory_that_exists() {
        let tree = tree();
        let root = root(&tree, Access::default());
        for (name, rest) in [("new", "new"), ("sub/new", "new"), ("sub/b/c/new", "b/c/new"), ("b/c", "b/c")] {
            assert_eq!(root.place(name.as_ref()).unwrap().1, Path::new(rest));
        }
        assert!(matches!(root.place("a/b".as_ref()), Err(Refusal::Missing)));
        for out in ["", "../new", "/new", "sub/outside/new", "sub/../new"] {
            assert!(root.place(out.as_ref()).is_err(), "{out}");
        }
        assert!(matches!(root.place("b/.git/new".as_ref()), Err(Refusal::Missing)));
    }

    #[test]
    fn a_parent_is_below_the_root() {
        let tree = tree();
        let root = root(&tree, Access::default());
        let (_, name) = root.parent("sub/new".as_ref()).unwrap();
        assert_eq!(name, "new");
        assert!(matches!(root.parent("".as_ref()), Err(Refusal::Forbidden)));
        assert!(matches!(root.parent("none/new".as_ref()), Err(Refusal::Missing)));
        assert!(matches!(root.parent("../new".as_ref()), Err(Refusal::Forbidden)));
    }
}
