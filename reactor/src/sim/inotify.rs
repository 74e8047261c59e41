//! A simulated inotify instance; see inotify(7).

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// What is watched, and what is to be told of it.
#[derive(Debug)]
pub(super) struct Inotify {
    pub(super) watches: BTreeMap<i32, Watch>,
    pub(super) waiting: VecDeque<Event>,
    pub(super) last_watch: i32,
    /// How many events may wait.
    pub(super) bound: usize,
}

/// One watch. The simulated machine has no files, so it is of a path.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) path: PathBuf,
    pub(super) mask: u32,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) watch: i32,
    pub(super) mask: u32,
    pub(super) cookie: u32,
    pub(super) name: Vec<u8>,
}

/// Something that happens to a file.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    pub(super) mask: u32,
    pub(super) cookie: u32,
    /// The name that it has from then on.
    pub(super) becomes: Option<PathBuf>,
}

impl Inotify {
    pub(super) fn new(bound: usize) -> Self {
        Self { watches: BTreeMap::new(), waiting: VecDeque::new(), last_watch: 0, bound }
    }

    /// Has an event wait. `false`: the one before says the same, or there is no room and it was said that events are lost.
    pub(super) fn push(&mut self, event: Event) -> bool {
        let event = if self.waiting.len() < self.bound { event } else { Event::lost() };
        let told = if event.watch < 0 { self.waiting.contains(&event) } else { self.waiting.back() == Some(&event) };
        if !told {
            self.waiting.push_back(event);
        }
        !told
    }

    /// Bytes that waiting events take.
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(Event::len).sum()
    }
}

impl Event {
    fn lost() -> Self {
        Self { watch: -1, mask: libc::IN_Q_OVERFLOW, cookie: 0, name: Vec::new() }
    }

    /// The bytes of the name, filled up with zeros, of which there is one at least.
    fn padded(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEADER) }
    }

    pub(super) fn len(&self) -> usize {
        HEADER + self.padded()
    }

    /// As `inotify_event` has it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let words = [self.watch.cast_unsigned(), self.mask, self.cookie, self.padded() as u32];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).chain(self.name.clone()).collect();
        bytes.resize(self.len(), 0);
        bytes
    }
}

/// The size of `inotify_event` without the name.
const HEADER: usize = 16;

/// What `fs.inotify.max_queued_events` is by default.
pub(super) const FILE_EVENTS: usize = 16_384;
