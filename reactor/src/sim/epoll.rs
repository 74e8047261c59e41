//! Simulated epoll instances; see epoll(7).

use std::collections::BTreeMap;

use crate::sim::words::{Id, bits};

/// One epoll instance.
#[derive(Default)]
pub(super) struct Epoll {
    pub(super) watched: BTreeMap<Id, Watch>,
    /// What something has happened to since it was last told, in that order.
    pub(super) ready: Vec<Id>,
    /// A thread sleeps on it.
    pub(super) waiting: bool,
}

/// What is watched, and what for.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    pub(super) events: u32,
    pub(super) word: u64,
    /// Counts registrations, over all instances.
    pub(super) order: Id,
}

impl Epoll {
    /// The descriptor was closed: of what happened to it, nothing is told any more.
    pub(super) fn forget(&mut self, id: Id) {
        if self.watched.remove(&id).is_some() {
            self.ready.retain(|ready| *ready != id);
        }
    }

    /// Something has happened: it is told at the next wait, once however often it happens until then.
    pub(super) fn mark(&mut self, id: Id) {
        if !self.ready.contains(&id) {
            self.ready.push(id);
        }
    }
}

/// What is told to who asks for these events: errors and hang-ups need no asking.
pub(super) fn told(events: u32) -> u32 {
    let modes = bits(libc::EPOLLET) | bits(libc::EPOLLEXCLUSIVE);
    events & !modes | bits(libc::EPOLLERR | libc::EPOLLHUP)
}
