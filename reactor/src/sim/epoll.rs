//! Simulated epoll instances; see epoll(7).

use std::collections::BTreeMap;

use crate::sim::words::{Id, bits};

/// One epoll instance.
#[derive(Default)]
pub(super) struct Epoll {
    pub(super) watched: BTreeMap<Key, Watch>,
    /// What something has happened to since it was last told, in that order.
    pub(super) ready: Vec<Key>,
    /// A thread sleeps on it.
    pub(super) waiting: bool,
}

/// What is watched, by which of its descriptors. A registration lives as long as what it names, be that descriptor closed or not.
pub(super) type Key = (Id, i32);

/// What is watched, and what for.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    pub(super) events: u32,
    pub(super) word: u64,
    /// Counts registrations, over all instances.
    pub(super) order: Id,
}

impl Epoll {
    /// The last descriptor was closed: of what happened to it, nothing is told any more.
    pub(super) fn forget(&mut self, id: Id) {
        let keys: Vec<Key> = self.watches(id).map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.unwatch(key));
    }

    pub(super) fn unwatch(&mut self, key: Key) {
        self.watched.remove(&key);
        self.ready.retain(|ready| *ready != key);
    }

    pub(super) fn watches(&self, id: Id) -> impl Iterator<Item = (Key, Watch)> {
        self.watched.range((id, i32::MIN)..=(id, i32::MAX)).map(|(key, watch)| (*key, *watch))
    }

    /// Something has happened: it is told at the next wait, once however often it happens until then.
    pub(super) fn mark(&mut self, key: Key) {
        if !self.ready.contains(&key) {
            self.ready.push(key);
        }
    }
}

/// What is told to who asks for these events: errors and hang-ups need no asking.
pub(super) fn told(events: u32) -> u32 {
    let modes = bits(libc::EPOLLET) | bits(libc::EPOLLEXCLUSIVE);
    events & !modes | bits(libc::EPOLLERR | libc::EPOLLHUP)
}
