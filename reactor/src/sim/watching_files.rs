//! Watches of files in the simulated kernel, and what happens to files, which the test says.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sim::inotify::{Change, Event, Inotify, Watch};
use crate::sim::kernel::{Kernel, Object, Occurrence};
use crate::sim::sim::Sim;
use crate::sim::stream::ANYTHING;
use crate::sim::words::{Id, error};
#[cfg(test)]
use crate::sim::world;
use crate::sources::file_event::FileMask;

impl Sim {
    /// Something happens to the file or directory at `path`: each kind of `changes`, in the order of their bits. Who watches it is
    /// told, and so is who watches the directory that it is in, with its name. There are no files behind it: any
    /// path can be watched, and changes in any way.
    ///
    /// It may take a while to be told, but changes keep their order. Equal ones in a row are told as one while they wait, and of
    /// what is beyond [the bound](Self::limit_file_events) it is told only that it is lost, as by the real kernel.
    ///
    /// ```
    /// use reactor::EventLoop;
    /// use reactor::sim::Sim;
    /// use reactor::sources::FileMask;
    ///
    /// let sim = Sim::new(1);
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// let mut cx = event_loop.context();
    /// let watcher = cx.watch_files(|cx, event| {
    ///     cx.state().push(String::from_utf8_lossy(event.name()).into_owned());
    ///     cx.stop();
    ///     Ok(())
    /// })?;
    /// cx.file_watcher(watcher).unwrap().watch("/etc/program", FileMask::CHANGES)?;
    /// sim.change("/etc/program/settings", FileMask::MODIFY);
    /// event_loop.run()?;
    /// assert_eq!(*event_loop.state(), ["settings"]);
    /// # reactor::Result::Ok(())
    /// ```
    pub fn change(&self, path: impl AsRef<Path>, changes: FileMask) {
        let path = path.as_ref().to_path_buf();
        self.world.call_as_current(|kernel| {
            kernel.change_file(Change { path, mask: changes.bits(), cookie: 0, becomes: None });
        });
    }

    /// The file or directory at `from` gets the name `to`: [`MOVED_FROM`](FileMask::MOVED_FROM) and
    /// [`MOVED_TO`](FileMask::MOVED_TO) with one cookie, and [`MOVE_SELF`](FileMask::MOVE_SELF). Watches of it are watches of
    /// what is at `to` from then on.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        self.world.call_as_current(|kernel| kernel.rename_file(from.as_ref(), to.as_ref()));
    }

    /// Sets how many events may wait for each watcher that is made from now on (`fs.inotify.max_queued_events`): 16384 at first. With
    /// [`Faults::small_buffers`](crate::sim::Faults::small_buffers) some have room for less.
    pub fn limit_file_events(&self, most: usize) {
        self.world.lock().kernel.file_events = most.max(1);
    }
}

impl Kernel {
    /// See inotify_init1(2).
    pub(super) fn create_inotify(&mut self) -> io::Result<i32> {
        self.meets_shortage()?;
        let small = self.fails(|faults| faults.small_buffers);
        let bound = if small { 1 + self.random.index(self.file_events.min(64)) } else { self.file_events };
        self.open(Object::Inotify(Box::new(Inotify::new(bound))))
    }

    pub(super) fn inotify(&mut self, number: i32) -> io::Result<&mut Inotify> {
        match self.object(number)? {
            Object::Inotify(inotify) => Ok(inotify),
            _ => Err(error(libc::EINVAL)),
        }
    }

    /// See inotify_add_watch(2).
    pub(super) fn watch_file(&mut self, number: i32, path: &Path, mask: u32) -> io::Result<i32> {
        if self.fails(|faults| faults.shortage) {
            return Err(error(*self.random.pick(&[libc::ENOSPC, libc::ENOMEM])));
        }
        let inotify = self.inotify(number)?;
        if mask == 0 {
            return Err(error(libc::EINVAL));
        }
        let kept = mask & (libc::IN_ALL_EVENTS | libc::IN_ONESHOT);
        let same = inotify.watches.iter_mut().find(|(_, watch)| watch.path == path);
        if let Some((number, watch)) = same {
            watch.mask = if mask & libc::IN_MASK_ADD == 0 { kept } else { watch.mask | kept };
            return Ok(*number);
        }
        inotify.last_watch += 1;
        inotify.watches.insert(inotify.last_watch, Watch { path: path.to_path_buf(), mask: kept });
        Ok(inotify.last_watch)
    }

    /// See inotify_rm_watch(2).
    pub(super) fn unwatch_file(&mut self, number: i32, watch: i32) -> io::Result<()> {
        let id = self.id_of(number)?;
        if !self.inotify(number)?.watches.contains_key(&watch) {
            return Err(error(libc::EINVAL));
        }
        self.end_watch(id, watch);
        Ok(())
    }

    /// See read(2) of an inotify instance: as many whole events as there is room for.
    pub(super) fn read_file_events(&mut self, number: i32, into: &mut [u8]) -> io::Result<usize> {
        let waiting = &mut self.inotify(number)?.waiting;
        if waiting.is_empty() {
            return Err(error(libc::EAGAIN));
        }
        let mut used = 0;
        while let Some(event) = waiting.front()
            && let Some(room) = into[used..].get_mut(..event.len())
        {
            room.copy_from_slice(&event.bytes());
            used += event.len();
            waiting.pop_front();
        }
        if used == 0 { Err(error(libc::EINVAL)) } else { Ok(used) }
    }

    fn rename_file(&mut self, from: &Path, to: &Path) {
        let cookie = self.new_id() as u32;
        for (path, mask, cookie, becomes) in [
            (from, libc::IN_MOVED_FROM, cookie, None),
            (to, libc::IN_MOVED_TO, cookie, None),
            (from, libc::IN_MOVE_SELF, 0, Some(to.to_path_buf())),
        ] {
            self.change_file(Change { path: path.to_path_buf(), mask, cookie, becomes });
        }
    }

    /// Something happens to a file, in a while.
    fn change_file(&mut self, change: Change) {
        self.changes.push_back(change);
        let delay = self.delay();
        self.schedule(delay, Occurrence::FileChange);
    }

    /// The change that waits longest comes about.
    pub(super) fn file_changes(&mut self) {
        let Some(Change { path, mask, cookie, becomes }) = self.changes.pop_front() else { return };
        self.note("file changes", mask.into(), ());
        for kind in (0..u32::BITS).map(|bit| 1 << bit).filter(|kind| mask & kind != 0) {
            if kind & OF_NAMES != 0
                && let (Some(directory), Some(name)) = (path.parent(), path.file_name())
            {
                self.tell_watchers(directory, kind, cookie, name.as_bytes());
            }
            if kind & OF_THE_FILE != 0 {
                self.tell_watchers(&path, kind, 0, b"");
            }
        }
        if let Some(name) = becomes {
            self.rename_watched(&path, &name);
        }
    }

    fn tell_watchers(&mut self, path: &Path, kind: u32, cookie: u32, name: &[u8]) {
        let mut told: Vec<(Id, i32, u32)> = Vec::new();
        for (&id, object) in &self.objects {
            let Object::Inotify(inotify) = object else { continue };
            let watches = inotify.watches.iter().filter(|(_, watch)| watch.path == path && watch.mask & kind != 0);
            told.extend(watches.map(|(&number, watch)| (id, number, watch.mask)));
        }
        for (id, watch, mask) in told {
            self.push_file_event(id, Event { watch, mask: kind, cookie, name: name.to_vec() });
            if mask & libc::IN_ONESHOT != 0 {
                self.end_watch(id, watch);
            }
        }
        if kind == libc::IN_DELETE_SELF {
            self.end_watches_of(path);
        }
    }

    fn rename_watched(&mut self, from: &Path, to: &Path) {
        for object in self.objects.values_mut() {
            let Object::Inotify(inotify) = object else { continue };
            for watch in inotify.watches.values_mut().filter(|watch| watch.path == from) {
                watch.path = to.to_path_buf();
            }
        }
    }

    /// What is watched is gone, whether that was to be told or not.
    fn end_watches_of(&mut self, path: &Path) {
        let mut ended: Vec<(Id, i32)> = Vec::new();
        for (&id, object) in &self.objects {
            let Object::Inotify(inotify) = object else { continue };
            let watches = inotify.watches.iter().filter(|(_, watch)| watch.path == path);
            ended.extend(watches.map(|(&number, _)| (id, number)));
        }
        ended.into_iter().for_each(|(id, watch)| self.end_watch(id, watch));
    }

    fn end_watch(&mut self, id: Id, watch: i32) {
        if let Some(Object::Inotify(inotify)) = self.objects.get_mut(&id) {
            inotify.watches.remove(&watch);
            self.push_file_event(id, Event { watch, mask: libc::IN_IGNORED, cookie: 0, name: Vec::new() });
        }
    }

    fn push_file_event(&mut self, id: Id, event: Event) {
        if let Some(Object::Inotify(inotify)) = self.objects.get_mut(&id)
            && inotify.push(event)
        {
            self.notify(id, ANYTHING);
        }
    }
}

/// What is told of a name in a directory.
const OF_NAMES: u32 = libc::IN_ALL_EVENTS & !(libc::IN_DELETE_SELF | libc::IN_MOVE_SELF);

/// What is told of what is watched itself.
const OF_THE_FILE: u32 =
    libc::IN_ALL_EVENTS & !(libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_FROM | libc::IN_MOVED_TO);

/// [`Sim::change`] of the simulation that the calling thread is part of.
#[cfg(test)]
pub(super) fn change_here(path: &Path, changes: FileMask) {
    world::call(|kernel| {
        kernel.change_file(Change { path: path.into(), mask: changes.bits(), cookie: 0, becomes: None });
    });
}

#[cfg(test)]
pub(super) fn rename_here(from: &Path, to: &Path) {
    world::call(|kernel| kernel.rename_file(from, to));
}
