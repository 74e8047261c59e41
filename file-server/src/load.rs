//! Finds and opens what a name stands for: the job of a worker, for every step may wait for a disk.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType};

use crate::entry::{Content, Entry, Representation, Style};
use crate::http::negotiation::Coding;
use crate::listing;
use crate::media_type;
use crate::root::{Attributes, Node, Refusal, Root};
use crate::settings::Settings;
use crate::wall_clock;
use crate::watcher::{Spotter, Watches};

/// What is to be found.
#[derive(Debug)]
pub struct Order {
    /// Where, and how answers are made.
    pub settings: Arc<Settings>,
    /// What sets up watches; none if every request asks.
    pub spotter: Option<Spotter>,
    /// The name below the root.
    pub name: PathBuf,
    /// Whether it was asked for as a directory.
    pub directory: bool,
    /// What the forms of the file were when it was asked for before.
    pub known: Vec<Attributes>,
}

/// What a name stands for.
#[derive(Debug)]
pub enum Found {
    /// A file.
    File(Box<Loaded>),
    /// The file that is known already, and what was set up to watch it.
    Same(Watches),
    /// A directory that was asked for as a file.
    Directory,
    /// A directory without an index.
    Listable,
    /// Nothing that is served.
    Refused(Refusal),
}

/// A file that was opened.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub entry: Entry,
    /// What was set up to watch it.
    pub watches: Watches,
}

/// Finds what was ordered.
#[must_use]
pub fn load(order: &Order) -> Found {
    find(order).unwrap_or_else(Found::Refused)
}

/// The names that answers to these depend on: each on the way, and the forms of the last.
#[must_use]
pub fn names_of(settings: &Settings, name: &Path, directory: bool) -> Vec<OsString> {
    let way = name.iter().map(ToOwned::to_owned);
    let leaves = leaves_of(settings, name, directory);
    way.chain(leaves).collect()
}

fn find(order: &Order) -> Result<Found, Refusal> {
    let Order { settings, name, .. } = order;
    if !order.directory {
        return match settings.root.find(name)? {
            Node::File(..) => open(order, name),
            Node::Directory(..) => Ok(Found::Directory),
        };
    }
    let Node::Directory(..) = settings.root.find(name)? else { return Err(Refusal::Missing) };
    for index in &settings.answers.index {
        let name = name.join(index);
        match settings.root.find(&name) {
            Ok(Node::File(..)) => return open(order, &name),
            Ok(Node::Directory(..)) | Err(Refusal::Missing) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Found::Listable)
}

/// What is in a directory and served, and whether there is more. Waits for the disk.
///
/// # Errors
/// [`Refusal`], as for a file.
pub fn list(root: &Root, name: &Path) -> Result<(Vec<listing::Entry>, bool), Refusal> {
    let directory = root.directory(name)?;
    let depth = name.iter().count();
    let mut entries = Vec::new();
    for found in Dir::read_from(&directory)? {
        let leaf = OsStr::from_bytes(found?.file_name().to_bytes()).to_owned();
        // A path with a backslash is refused, so a name with one leads nowhere.
        let can_be_asked_for = !leaf.as_bytes().contains(&b'\\');
        if leaf == "." || leaf == ".." || !can_be_asked_for || !root.shows(&leaf, depth) {
            continue;
        }
        if entries.len() == MOST_LISTED {
            return Ok((entries, true));
        }
        entries.extend(describe(root, name, &directory, leaf));
    }
    Ok((entries, false))
}

/// What a listing tells of a name; nothing of what would not be served.
fn describe(root: &Root, name: &Path, directory: &OwnedFd, leaf: OsString) -> Option<listing::Entry> {
    let stat = rustix::fs::statat(directory, &leaf, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let (is_directory, attributes) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (false, Attributes::from(&stat)),
        FileType::Directory => (true, Attributes::from(&stat)),
        // Where it leads to is not told unless it may be followed.
        FileType::Symlink => match root.find(&name.join(&leaf)).ok()? {
            Node::File(_, attributes) => (false, attributes),
            Node::Directory(_, attributes) => (true, attributes),
        },
        _ => return None,
    };
    Some(listing::Entry { name: leaf, is_directory, size: attributes.size, modified: attributes.modified })
}

/// Opens a file, watched from before it is opened if that is possible.
fn open(order: &Order, name: &Path) -> Result<Found, Refusal> {
    let root = &order.settings.root;
    let mut watches = match &order.spotter {
        Some(spotter) => {
            let leaves = leaves_of(&order.settings, &order.name, order.directory);
            spotter.watch_way(root, name.parent().unwrap_or(Path::new("")), &leaves)?
        }
        None => Watches::none(),
    };
    for _ in 0..MOST_TRIES {
        let node = match root.find_plain(name)? {
            Some(node) => node,
            None => {
                watches.give_up();
                root.find(name)?
            }
        };
        let Node::File(file, _) = node else { return Err(Refusal::Missing) };
        watch_too(order, &mut watches, &file);
        // From here on nothing that is done to it goes unnoticed.
        let (_, attributes) = Attributes::of(&file)?;
        if !is_local(&file) {
            watches.give_up();
        }
        let mut forms = siblings(order, name, &attributes);
        for (_, file, attributes) in &mut forms {
            watch_too(order, &mut watches, file);
            (_, *attributes) = Attributes::of(&*file)?;
        }
        if order.known.iter().eq(std::iter::once(&attributes).chain(forms.iter().map(|(_, _, attributes)| attributes)))
        {
            return Ok(Found::Same(watches));
        }
        if let Some(entry) = read(order, name, (file, attributes), forms)? {
            return Ok(Found::File(Box::new(Loaded { entry, watches })));
        }
    }
    // It is written to all the time.
    Err(Refusal::Busy)
}

fn watch_too(order: &Order, watches: &mut Watches, file: &File) {
    if let Some(spotter) = &order.spotter {
        spotter.watch_file(watches, file);
    }
}

/// Compressed forms of a file that are not older than it is.
fn siblings(order: &Order, name: &Path, plain: &Attributes) -> Vec<(Coding, File, Attributes)> {
    if !order.settings.answers.precompressed {
        return Vec::new();
    }
    let open = |coding: Coding| match order.settings.root.find(&with_suffix(name, coding)) {
        Ok(Node::File(file, attributes)) if !is_older(&attributes, plain) => Some((coding, file, attributes)),
        _ => None,
    };
    Coding::COMPRESSED.into_iter().filter_map(open).collect()
}

/// Whether a compressed form is of an earlier version than the file. Some programs that compress give it the file's time, of
/// which a few know only the seconds.
fn is_older(form: &Attributes, plain: &Attributes) -> bool {
    let is_whole = form.modified_ns == 0 && form.modified == plain.modified;
    !is_whole && (form.modified, form.modified_ns) < (plain.modified, plain.modified_ns)
}

/// The file with its contents; `None` if it changed meanwhile.
fn read(
    order: &Order,
    name: &Path,
    (file, attributes): (File, Attributes),
    forms: Vec<(Coding, File, Attributes)>,
) -> Result<Option<Entry>, Refusal> {
    let media_type: Arc<str> = media_type::of_name(name).into();
    let style = Style { answers: &order.settings.answers, varies: !forms.is_empty() };
    let represent = |coding, file, attributes| -> Result<_, Refusal> {
        let content = content_of(file, &attributes)?;
        Ok(content.map(|content| Representation::new(coding, attributes, Arc::clone(&media_type), content, &style)))
    };
    let Some(plain) = represent(Coding::Identity, file, attributes)? else { return Ok(None) };
    let mut compressed = Vec::new();
    for (coding, file, attributes) in forms {
        let Some(form) = represent(coding, file, attributes)? else { return Ok(None) };
        compressed.push(form);
    }
    Ok(Some(Entry { plain, compressed, settled: is_settled(&attributes), watched: Cell::new(false) }))
}

/// A small file's bytes, all of one version; `None` if there is no such version any more.
fn content_of(file: File, attributes: &Attributes) -> Result<Option<Content>, Refusal> {
    if attributes.size > SMALL {
        return Ok(Some(Content::File(Arc::new(file))));
    }
    let mut bytes = vec![0; usize::try_from(attributes.size).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(Refusal::Failed(error)),
    }
    let (_, after) = Attributes::of(&file)?;
    Ok((after == *attributes).then(|| Content::Bytes(bytes.into())))
}

/// Whether a change from now on is certain to show in the times of the file: they tick only so often.
fn is_settled(attributes: &Attributes) -> bool {
    attributes.changed < wall_clock::seconds() - 1
}

/// The names in the last directory that decide on the answer.
fn leaves_of(settings: &Settings, name: &Path, directory: bool) -> Vec<OsString> {
    let with_forms = |leaf: &Path| {
        let forms = Coding::COMPRESSED.map(|coding| with_suffix(leaf, coding).into_os_string());
        std::iter::once(leaf.as_os_str().to_owned()).chain(forms)
    };
    match name.file_name() {
        Some(leaf) if !directory => with_forms(Path::new(leaf)).collect(),
        _ => settings.answers.index.iter().flat_map(|index| with_forms(Path::new(index))).collect(),
    }
}

fn with_suffix(name: &Path, coding: Coding) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(coding.suffix().unwrap_or_default());
    name.into()
}

/// Whether all changes to a file are made by this machine, so that its kernel can tell of them.
fn is_local(file: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstatfs(file) else { return false };
    // The numbers are of 32 bits, and signed on some machines.
    let kind = stat.f_type as u32;
    !REMOTE.contains(&kind)
}

/// File systems whose files others may change: NFS, SMB, CIFS, 9P, Ceph, AFS, FUSE, GFS2, OCFS2. See statfs(2).
const REMOTE: [u32; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x6573_5546,
    0x0116_1970,
    0x7461_636f,
];

/// Files of at most so many bytes are kept in memory: of more, sendfile(2) from an open file costs less than the copy.
const SMALL: u64 = 256 << 10;

/// Names that are listed of one directory: a page of some megabytes, which is more than anybody reads.
const MOST_LISTED: usize = 20_000;

/// How often a file is read anew that is written to meanwhile.
const MOST_TRIES: usize = 8;
