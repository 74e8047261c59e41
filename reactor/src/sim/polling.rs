//! The calls of epoll(7) in the simulated kernel: watching, waking, telling.

use std::io;

use crate::sim::epoll::{Epoll, Key, Watch, told};
use crate::sim::kernel::{Kernel, Object};
use crate::sim::words::{Id, bits, error};

impl Kernel {
    pub(super) fn create_epoll(&mut self) -> io::Result<i32> {
        let number = self.open(Object::Epoll)?;
        let id = self.id_of(number)?;
        self.epolls.insert(id, Epoll::default());
        Ok(number)
    }

    /// A thread sleeps on it from now on, or does no longer.
    pub(super) fn sleep_on(&mut self, epoll: Id, sleeps: bool) {
        if let Some(epoll) = self.epolls.get_mut(&epoll) {
            epoll.waiting = sleeps;
        }
    }

    /// Whether a thread that sleeps on it has not been woken.
    pub(super) fn sleeps_on(&self, epoll: Id) -> bool {
        self.epolls.get(&epoll).is_some_and(|epoll| epoll.waiting)
    }

    fn epoll(&mut self, number: i32) -> io::Result<(Id, &mut Epoll)> {
        let id = self.id_of(number)?;
        self.epolls.get_mut(&id).map(|epoll| (id, epoll)).ok_or_else(|| error(libc::EINVAL))
    }

    /// The instance that a descriptor names.
    pub(super) fn epoll_id(&mut self, number: i32) -> io::Result<Id> {
        Ok(self.epoll(number)?.0)
    }

    /// `EPOLL_CTL_ADD`: what is ready already is told at once.
    pub(super) fn watch(&mut self, epoll: i32, number: i32, events: u32, word: u64) -> io::Result<()> {
        let (id, order) = (self.id_of(number)?, self.new_id());
        let (instance, watcher) = self.epoll(epoll)?;
        if watcher.watched.contains_key(&(id, number)) {
            return Err(error(libc::EEXIST));
        }
        if self.is_connection(id) {
            self.meets_shortage().map_err(|_| error(libc::ENOMEM))?;
        }
        let ready = self.readiness(id) & told(events) != 0;
        let Some(watcher) = self.epolls.get_mut(&instance) else { return Err(error(libc::EBADF)) };
        watcher.watched.insert((id, number), Watch { events, word, order });
        if ready {
            watcher.mark((id, number));
            watcher.waiting = false;
        }
        Ok(())
    }

    /// `EPOLL_CTL_MOD`: what is ready now is told anew.
    pub(super) fn watch_anew(&mut self, epoll: i32, number: i32, events: u32, word: u64) -> io::Result<()> {
        let id = self.id_of(number)?;
        let ready = self.readiness(id) & told(events) != 0;
        let (_, watcher) = self.epoll(epoll)?;
        let Some(watch) = watcher.watched.get_mut(&(id, number)) else { return Err(error(libc::ENOENT)) };
        (watch.events, watch.word) = (events, word);
        if ready {
            watcher.mark((id, number));
            watcher.waiting = false;
        }
        Ok(())
    }

    /// `EPOLL_CTL_DEL`.
    pub(super) fn unwatch(&mut self, epoll: i32, number: i32) -> io::Result<()> {
        let id = self.id_of(number)?;
        let (_, watcher) = self.epoll(epoll)?;
        if !watcher.watched.contains_key(&(id, number)) {
            return Err(error(libc::ENOENT));
        }
        watcher.unwatch((id, number));
        Ok(())
    }

    /// Something has happened to an object: `key` says what, and those who watch for that are woken. Of those who watch it
    /// with `EPOLLEXCLUSIVE` all are told, up to the first that a thread sleeps on.
    pub(super) fn notify(&mut self, id: Id, key: u32) {
        let mut watchers: Vec<(bool, Id, Id, Key)> = Vec::new();
        for (&instance, epoll) in &self.epolls {
            for (place, watch) in epoll.watches(id).filter(|(_, watch)| told(watch.events) & key != 0) {
                watchers.push((watch.events & bits(libc::EPOLLEXCLUSIVE) != 0, watch.order, instance, place));
            }
        }
        watchers.sort_unstable();
        for (exclusive, _, instance, place) in watchers {
            let Some(epoll) = self.epolls.get_mut(&instance) else { continue };
            epoll.mark(place);
            let slept = std::mem::replace(&mut epoll.waiting, false);
            if exclusive && slept {
                return;
            }
        }
    }

    /// Takes up to `room` events. What is told is how things stand now, and nothing if nothing is ready any more.
    pub(super) fn take_events(&mut self, instance: Id, room: usize) -> Vec<(u32, u64)> {
        let spurious = self.add_spurious(instance);
        let Some(epoll) = self.epolls.get_mut(&instance) else { return Vec::new() };
        let mut ready = std::mem::take(&mut epoll.ready);
        if self.faults.reorder {
            self.random.shuffle(&mut ready);
        }
        let mut events = Vec::new();
        let mut later = Vec::new();
        for key in ready {
            let Some(watch) = self.epolls.get(&instance).and_then(|epoll| epoll.watched.get(&key)).copied() else {
                continue;
            };
            if events.len() == room {
                later.push(key);
                continue;
            }
            let rumour = if spurious == Some(key) { bits(libc::EPOLLIN) } else { 0 };
            let mask = (self.readiness(key.0) | rumour) & told(watch.events);
            if mask == 0 {
                continue;
            }
            events.push((mask, watch.word));
            if watch.events & bits(libc::EPOLLET) == 0 {
                later.push(key);
            }
        }
        if let Some(epoll) = self.epolls.get_mut(&instance) {
            epoll.ready.extend(later);
        }
        events
    }

    /// Now and then input is told of where there is none.
    fn add_spurious(&mut self, instance: Id) -> Option<Key> {
        if !self.fails(|faults| faults.spurious) {
            return None;
        }
        let epoll = self.epolls.get_mut(&instance)?;
        let key = epoll.watched.keys().nth(self.random.index(epoll.watched.len())).copied()?;
        epoll.mark(key);
        Some(key)
    }
}
