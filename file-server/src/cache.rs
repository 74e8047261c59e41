//! Files that are kept open, and small ones in memory: bounded in number and bytes, the ones used least given up first.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use crate::entry::Entry;
use crate::settings::Caching;

/// What is kept, by the name that was asked for: the path below the root, with a slash at the end if it had one.
#[derive(Debug)]
pub struct Cache {
    entries: HashMap<Rc<[u8]>, Slot>,
    /// The order in which entries are looked at when room is needed. What was used since gets another round.
    clock: VecDeque<(Rc<[u8]>, u64)>,
    bytes: usize,
    changes: u64,
    /// Each entry has a number of its own, so that the clock knows one from a later one of the same name.
    next: u64,
    bounds: Caching,
    /// What is no longer kept and takes long to drop, or is still being sent from memory.
    retired: Vec<Rc<Entry>>,
}

#[derive(Debug)]
struct Slot {
    entry: Rc<Entry>,
    number: u64,
    used: Cell<bool>,
    since: Instant,
}

impl Cache {
    /// An empty cache with these bounds.
    #[must_use]
    pub fn new(bounds: Caching) -> Self {
        Self {
            entries: HashMap::new(),
            clock: VecDeque::new(),
            bytes: 0,
            changes: 0,
            next: 0,
            bounds,
            retired: Vec::new(),
        }
    }

    /// What is kept of a name, unless it was kept for too long.
    #[inline]
    #[must_use]
    pub fn find(&self, name: &[u8], now: Instant) -> Option<&Rc<Entry>> {
        let slot = self.entries.get(name)?;
        slot.used.set(true);
        (now.saturating_duration_since(slot.since) < self.bounds.max_age).then_some(&slot.entry)
    }

    /// What is kept of a name, however long.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Entry>> {
        self.entries.get(name).map(|slot| &slot.entry)
    }

    /// What is kept of a name, which was just found to be true.
    pub fn renew(&mut self, name: &[u8], now: Instant) -> Option<Rc<Entry>> {
        let slot = self.entries.get_mut(name)?;
        slot.since = now;
        Some(Rc::clone(&slot.entry))
    }

    /// Keeps an entry that is true since `since`, in place of what was kept under its name, and says what had to go for it.
    pub fn insert(&mut self, name: &Rc<[u8]>, entry: Rc<Entry>, since: Instant) -> Vec<Rc<[u8]>> {
        self.remove(name);
        let mut gone = Vec::new();
        if entry.cost() > self.bounds.bytes {
            self.retire(&entry);
            return vec![Rc::clone(name)];
        }
        self.bytes += entry.cost();
        self.changes += 1;
        self.next += 1;
        let slot = Slot { entry, number: self.next, used: Cell::new(false), since };
        self.entries.insert(Rc::clone(name), slot);
        self.clock.push_back((Rc::clone(name), self.next));
        while self.entries.len() > self.bounds.files || self.bytes > self.bounds.bytes {
            gone.extend(self.evict());
        }
        self.tidy();
        gone
    }

    /// Forgets a name.
    pub fn remove(&mut self, name: &[u8]) -> Option<Rc<Entry>> {
        let slot = self.entries.remove(name)?;
        self.bytes -= slot.entry.cost();
        self.changes += 1;
        self.retire(&slot.entry);
        Some(slot.entry)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.changes += 1;
        for slot in std::mem::take(&mut self.entries).into_values() {
            self.retire(&slot.entry);
        }
        self.clock.clear();
        self.bytes = 0;
    }

    /// How many files are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A number that is another one whenever what is kept has changed.
    #[inline]
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Until when a name can be found, as far as its age is concerned.
    #[must_use]
    pub fn kept_until(&self, name: &[u8]) -> Option<Instant> {
        self.entries.get(name)?.since.checked_add(self.bounds.max_age)
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn retire(&mut self, entry: &Rc<Entry>) {
        entry.watched.set(false);
        if entry.is_slow_to_drop() {
            self.retired.push(Rc::clone(entry));
        }
    }

    /// Whether anything that is no longer kept waits to be dropped.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Takes what is no longer kept nor used by anybody, to be dropped where that may take long.
    pub fn take_retired(&mut self) -> Vec<Entry> {
        let mut free = Vec::new();
        for entry in std::mem::take(&mut self.retired) {
            if entry.is_being_sent() {
                self.retired.push(entry);
                continue;
            }
            match Rc::try_unwrap(entry) {
                Ok(entry) => free.push(entry),
                Err(used) => self.retired.push(used),
            }
        }
        free
    }

    /// Whether so many bytes more may be put in pages. They are not if what slow clients are still being sent of pages, and is not
    /// kept any more, takes as much memory as may be kept: else such clients could make it any amount.
    #[must_use]
    pub fn has_room_for_pages(&self, bytes: usize) -> bool {
        let lingering: usize = self.retired.iter().map(|entry| entry.cost()).sum();
        lingering < self.bounds.bytes && bytes < self.bounds.bytes
    }

    /// Keeps a copy of an entry in its place, as old as that is, and says what had to go for it; `None` if that is kept no longer.
    pub fn replace(&mut self, entry: &Rc<Entry>, copy: Rc<Entry>) -> Option<Vec<Rc<[u8]>>> {
        let (name, slot) = self.entries.iter().find(|(_, slot)| Rc::ptr_eq(&slot.entry, entry))?;
        let (name, since) = (Rc::clone(name), slot.since);
        copy.watched.set(entry.watched.get());
        Some(self.insert(&name, copy, since))
    }

    /// Moves the clock on by one, and gives up what was not used since it last came by.
    fn evict(&mut self) -> Option<Rc<[u8]>> {
        let (name, number) = self.clock.pop_front()?;
        let slot = self.entries.get(&name).filter(|slot| slot.number == number)?;
        if slot.used.take() {
            self.clock.push_back((name, number));
            return None;
        }
        self.remove(&name);
        Some(name)
    }

    /// Entries that were removed leave their place in the clock; when these are most of it, it is made anew.
    fn tidy(&mut self) {
        if self.clock.len() > 2 * self.entries.len() + CLOCK_SPARE {
            let entries = &self.entries;
            self.clock.retain(|(name, number)| entries.get(name).is_some_and(|slot| slot.number == *number));
        }
    }
}

/// Places in the clock that may be of no use before it is made anew.
const CLOCK_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Content;
    use std::sync::Arc;
    use std::time::Duration;

    fn cache(files: usize, bytes: usize) -> Cache {
        Cache::new(Caching { files, bytes, ..Caching::default() })
    }

    fn name(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    fn entry(size: usize) -> Rc<Entry> {
        Rc::new(Entry::of_bytes(vec![0; size]))
    }

    #[test]
    fn the_least_used_goes_first() {
        let now = Instant::now();
        let mut cache = cache(2, 1 << 20);
        cache.insert(&name("a"), entry(1), now);
        cache.insert(&name("b"), entry(1), now);
        assert!(cache.find(b"a", now).is_some());
        assert_eq!(cache.insert(&name("c"), entry(1), now), [name("b")]);
        assert!(cache.find(b"a", now).is_some() && cache.find(b"b", now).is_none());
    }

    #[test]
    fn bytes_are_bounded() {
        let now = Instant::now();
        let one = entry(1000).cost();
        let mut cache = cache(100, 2 * one);
        for name in ["a", "b", "c", "d"].map(name) {
            cache.insert(&name, entry(1000), now);
            assert!(cache.bytes() <= 2 * one);
        }
        cache.insert(&name("large"), entry(10_000), now);
        assert_eq!(cache.len(), 2);
        assert!(cache.find(b"large", now).is_none());
    }

    #[test]
    fn what_is_kept_for_too_long_is_not_found() {
        let now = Instant::now();
        let mut cache = cache(2, 1 << 20);
        cache.insert(&name("a"), entry(1), now);
        let age = Caching::default().max_age;
        assert!(cache.find(b"a", now + age - Duration::from_millis(1)).is_some());
        assert!(cache.find(b"a", now + age).is_none());
    }

    #[test]
    fn an_open_file_is_closed_by_others_when_nobody_uses_it() {
        let now = Instant::now();
        let mut cache = cache(2, 1 << 20);
        let mut file = Entry::of_bytes(Vec::new());
        file.plain.content = Content::File(Arc::new(tempfile::tempfile().unwrap()));
        let used = Rc::new(file);
        cache.insert(&name("a"), Rc::clone(&used), now);
        cache.insert(&name("b"), entry(1), now);
        cache.clear();
        assert!(cache.take_retired().is_empty() && !used.watched.get());
        drop(used);
        assert_eq!((cache.take_retired().len(), cache.take_retired().len()), (1, 0));
    }

    #[test]
    fn the_clock_does_not_grow_with_every_change_of_a_file() {
        let now = Instant::now();
        let mut cache = cache(2, 1 << 20);
        for _ in 0..1000 {
            cache.insert(&name("a"), entry(1), now);
        }
        assert!(cache.clock.len() <= 2 + CLOCK_SPARE + 1);
        assert_eq!(cache.bytes(), entry(1).cost());
    }
}
