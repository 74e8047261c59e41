//! What inotify(7) tells: an event of a watched file or directory.

use std::ops::BitOr;

/// Kinds of changes to files, to ask for and to be told of; see inotify(7). Join them by `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileMask(u32);

impl FileMask {
    /// It was read, or executed.
    pub const ACCESS: Self = Self(libc::IN_ACCESS);
    /// Its attributes changed: permissions, times, owner, links (so also when its last name but one is removed).
    pub const ATTRIBUTES: Self = Self(libc::IN_ATTRIB);
    /// It was closed after it had been open for writing.
    pub const CLOSE_WRITE: Self = Self(libc::IN_CLOSE_WRITE);
    /// It was closed after it had been open for reading alone.
    pub const CLOSE_NOWRITE: Self = Self(libc::IN_CLOSE_NOWRITE);
    /// A name was made in the watched directory.
    pub const CREATE: Self = Self(libc::IN_CREATE);
    /// A name was removed from the watched directory.
    pub const DELETE: Self = Self(libc::IN_DELETE);
    /// What is watched was itself deleted.
    pub const DELETE_SELF: Self = Self(libc::IN_DELETE_SELF);
    /// It was written to, or cut.
    pub const MODIFY: Self = Self(libc::IN_MODIFY);
    /// What is watched was itself renamed.
    pub const MOVE_SELF: Self = Self(libc::IN_MOVE_SELF);
    /// A name left the watched directory by a rename.
    pub const MOVED_FROM: Self = Self(libc::IN_MOVED_FROM);
    /// A name came into the watched directory by a rename.
    pub const MOVED_TO: Self = Self(libc::IN_MOVED_TO);
    /// It was opened.
    pub const OPEN: Self = Self(libc::IN_OPEN);

    /// All that changes what is at a path: contents, attributes, and which file has the name.
    pub const CHANGES: Self = Self(
        libc::IN_MODIFY
            | libc::IN_ATTRIB
            | libc::IN_CLOSE_WRITE
            | libc::IN_CREATE
            | libc::IN_DELETE
            | libc::IN_MOVED_FROM
            | libc::IN_MOVED_TO
            | libc::IN_DELETE_SELF
            | libc::IN_MOVE_SELF,
    );

    /// How to watch: a directory or nothing.
    pub const ONLY_DIRECTORY: Self = Self(libc::IN_ONLYDIR);
    /// How to watch: not through a symbolic link at the end of the path.
    pub const NO_FOLLOW: Self = Self(libc::IN_DONT_FOLLOW);
    /// How to watch: not what happens to files that have left the watched directory.
    pub const EXCLUDE_UNLINKED: Self = Self(libc::IN_EXCL_UNLINK);
    /// How to watch: until the first event alone.
    pub const ONCE: Self = Self(libc::IN_ONESHOT);
    /// How to watch: add to what the same file is watched for already, instead of replacing it.
    pub const ADD: Self = Self(libc::IN_MASK_ADD);

    /// Whether all kinds of `other` are in this.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any kind of `other` is in this.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for FileMask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One watch of one watcher. Numbers count up, so that of a watch that has ended names nothing for the next two thousand
/// million of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub(crate) i32);

/// Something has happened to a watched file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEvent<'a> {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: &'a [u8],
}

impl<'a> FileEvent<'a> {
    /// Which watch tells it; `None` of an [overflow](Self::is_overflow), which is of all.
    #[must_use]
    pub fn watch(&self) -> Option<WatchId> {
        (self.watch >= 0).then_some(WatchId(self.watch))
    }

    /// What has happened.
    #[must_use]
    pub fn mask(&self) -> FileMask {
        FileMask(self.mask)
    }

    /// The name within the watched directory, in bytes as the file system has it; empty if it is the watched file or
    /// directory itself.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The same number in [`FileMask::MOVED_FROM`] and [`FileMask::MOVED_TO`] of one rename; else 0.
    #[must_use]
    pub fn cookie(&self) -> u32 {
        self.cookie
    }

    /// It is about a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mask & libc::IN_ISDIR != 0
    }

    /// Events were lost, because more waited than the system keeps (`fs.inotify.max_queued_events`): anything may have
    /// changed.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.mask & libc::IN_Q_OVERFLOW != 0
    }

    /// The watch has ended: it was [taken back](crate::sources::FileWatcher::unwatch), what it watched is gone, or it was for
    /// one event. Nothing more comes of it.
    #[must_use]
    pub fn is_end_of_watch(&self) -> bool {
        self.mask & libc::IN_IGNORED != 0
    }

    /// The file system was unmounted; the end of the watch follows.
    #[must_use]
    pub fn is_unmount(&self) -> bool {
        self.mask & libc::IN_UNMOUNT != 0
    }

    /// Takes the first event off the bytes that the kernel has written; `None` when there is none.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
        let word = |place: usize| {
            let bytes = head[place..].first_chunk().expect("a header has four words");
            u32::from_ne_bytes(*bytes)
        };
        let (name, rest) = rest.split_at_checked(word(12) as usize)?;
        *bytes = rest;
        // The name is filled up with zeros.
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        Some(Self { watch: word(0).cast_signed(), mask: word(4), cookie: word(8), name })
    }
}

/// The size of `inotify_event` without the name.
const HEADER: usize = 16;

/// Whatever the bytes are, no event reaches beyond them.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check(bytes: &[u8]) {
    let mut rest = bytes;
    let mut taken = 0;
    while let Some(event) = FileEvent::take(&mut rest) {
        taken += HEADER + event.name().len();
        assert!(taken + rest.len() <= bytes.len() && !event.name().contains(&0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(watch: i32, mask: u32, name: &[u8]) -> Vec<u8> {
        let words = [watch.cast_unsigned(), mask, 7, name.len() as u32];
        words.iter().flat_map(|word| word.to_ne_bytes()).chain(name.iter().copied()).collect()
    }

    #[test]
    fn events_are_taken_one_by_one_with_their_names() {
        let all = [raw(1, libc::IN_CREATE, b"file\0\0\0\0"), raw(2, libc::IN_DELETE_SELF, b"")].concat();
        let mut bytes = &all[..];
        let first = FileEvent::take(&mut bytes).unwrap();
        assert_eq!((first.watch(), first.name(), first.cookie()), (Some(WatchId(1)), &b"file"[..], 7));
        assert!(first.mask().contains(FileMask::CREATE) && FileMask::CHANGES.contains(first.mask()));
        let second = FileEvent::take(&mut bytes).unwrap();
        assert_eq!((second.watch(), second.name()), (Some(WatchId(2)), &b""[..]));
        assert_eq!(FileEvent::take(&mut bytes), None);
    }

    #[test]
    fn an_overflow_is_of_no_watch() {
        let all = raw(-1, libc::IN_Q_OVERFLOW, b"");
        let event = FileEvent::take(&mut &all[..]).unwrap();
        assert!(event.is_overflow() && event.watch().is_none());
    }

    #[test]
    fn what_is_cut_off_is_no_event() {
        let all = raw(1, libc::IN_CREATE, b"name\0\0\0\0");
        assert_eq!(FileEvent::take(&mut &all[..all.len() - 1]), None);
        assert_eq!(FileEvent::take(&mut &all[..10]), None);
    }

    /// Bytes that look like events, with lengths of names that need not be true.
    fn events() -> impl Strategy<Value = Vec<u8>> {
        let lengths = prop_oneof![0..64_u32, any::<u32>()];
        let event = (any::<[u32; 3]>(), lengths, prop::collection::vec(any::<u8>(), 0..32));
        let event = event.prop_map(|(words, length, name)| {
            let words = words.into_iter().chain([length]).flat_map(u32::to_ne_bytes);
            words.chain(name).collect::<Vec<u8>>()
        });
        prop::collection::vec(event, 0..4).prop_map(|events| events.concat())
    }

    proptest! {
        #[test]
        fn no_event_reaches_beyond_the_bytes_that_there_are(bytes in events()) {
            check(&bytes);
        }
    }
}
