//! Watches of files on both kernels.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{SERVER, Stage, same_at};
use crate::sim::watching_files::{change_here, rename_here};
use crate::sources::file_event::{FileEvent, FileMask};
use crate::sys::fd::Fd;
use crate::sys::{bytes, inotify, option};

/// A directory that is watched, and what is done in it, for real or not.
struct Place {
    watcher: Fd,
    directory: PathBuf,
    /// Removes the directory, if it is there.
    _real: Option<tempfile::TempDir>,
}

/// Runs a script on both kernels.
fn same(name: &str, script: fn(&mut Stage)) {
    same_at(name, |_| SocketAddr::from(([127, 0, 0, 1], 0)).into(), script);
}

impl Place {
    fn new(stage: &mut Stage, mask: FileMask) -> Self {
        let real = (!stage.epoll.as_fd().is_simulated()).then(|| tempfile::tempdir().unwrap());
        let directory = real.as_ref().map_or_else(|| PathBuf::from("/watched"), |real| real.path().to_path_buf());
        let watcher = inotify::create().unwrap();
        stage.watch(&watcher, SERVER);
        let place = Self { watcher, directory, _real: real };
        place.watch(stage, "", mask);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.clone() } else { self.directory.join(name) }
    }

    fn watch(&self, stage: &mut Stage, name: &str, mask: FileMask) {
        let result = inotify::watch(self.watcher.as_fd(), &self.path(name), mask.bits());
        stage.saw_result("watch", result);
    }

    /// Does something to a file: for real, or by the changes that it makes.
    fn act(&self, name: &str, act: fn(&Path), changes: &[FileMask]) {
        match &self._real {
            Some(_) => act(&self.path(name)),
            None => changes.iter().for_each(|change| change_here(&self.path(name), *change)),
        }
    }

    fn create(&self, name: &str) {
        let create = |path: &Path| drop(fs::File::create_new(path).unwrap());
        self.act(name, create, &[FileMask::CREATE, FileMask::OPEN, FileMask::CLOSE_WRITE]);
    }

    fn remove(&self, name: &str) {
        let remove = |path: &Path| fs::remove_file(path).unwrap();
        self.act(name, remove, &[FileMask::DELETE_SELF, FileMask::DELETE]);
    }

    fn rename(&self, from: &str, to: &str) {
        match &self._real {
            Some(_) => fs::rename(self.path(from), self.path(to)).unwrap(),
            None => rename_here(&self.path(from), &self.path(to)),
        }
    }

    fn events(&self, stage: &mut Stage, what: &str, room: usize) {
        stage.saw_result("unread", option::unread(self.watcher.as_fd()));
        let mut buffer = vec![0; room];
        let result = bytes::read(self.watcher.as_fd(), &mut buffer).map(|length| {
            let (mut bytes, mut told) = (&buffer[..length], Vec::new());
            while let Some(event) = FileEvent::take(&mut bytes) {
                let name = String::from_utf8(event.name().to_vec()).unwrap();
                told.push((event.watch(), event.mask(), event.cookie() != 0, name));
            }
            (told, length)
        });
        stage.saw_result(what, result);
    }
}

#[test]
fn a_directory_tells_the_names_in_it() {
    same("names", |stage| {
        let place = Place::new(stage, FileMask::CHANGES);
        stage.events("at first");
        place.events(stage, "nothing", 1000);
        place.create("one");
        stage.events("created");
        place.create("a name of more than sixteen bytes");
        stage.events("another");
        stage.events("no more edges though they are there");
        place.events(stage, "no room", 10);
        place.events(stage, "the first ones", 70);
        place.rename("one", "other");
        stage.events("renamed");
        place.remove("other");
        place.events(stage, "the others", 1000);
        place.events(stage, "nothing", 1000);
    });
}

#[test]
fn equal_events_in_a_row_are_one() {
    same("equal", |stage| {
        let place = Place::new(stage, FileMask::OPEN);
        place.create("one");
        let open = |path: &Path| drop(fs::File::open(path).unwrap());
        for _ in 0..3 {
            place.act("one", open, &[FileMask::OPEN]);
        }
        place.create("two");
        place.act("one", open, &[FileMask::OPEN]);
        stage.events("opened");
        place.act("one", open, &[FileMask::OPEN]);
        stage.events("what is merged makes no edge");
        place.events(stage, "all", 1000);
    });
}

#[test]
fn a_file_that_is_gone_ends_its_watch() {
    same("gone", |stage| {
        let place = Place::new(stage, FileMask::DELETE);
        place.create("one");
        place.watch(stage, "one", FileMask::DELETE_SELF | FileMask::OPEN);
        place.watch(stage, "one", FileMask::DELETE_SELF);
        place.remove("one");
        stage.events("removed");
        place.events(stage, "all", 1000);
        stage.saw_result("its watch", inotify::unwatch(place.watcher.as_fd(), 2));
        stage.saw_result("the other", inotify::unwatch(place.watcher.as_fd(), 1));
        place.events(stage, "its end", 1000);
        place.create("two");
        stage.events("nobody watches");
    });
}

#[test]
fn one_event_and_more_kinds_are_asked_for() {
    same("once", |stage| {
        let place = Place::new(stage, FileMask::CREATE | FileMask::ONCE);
        place.create("one");
        place.create("two");
        place.events(stage, "one alone", 1000);
        place.watch(stage, "", FileMask::CREATE);
        place.watch(stage, "", FileMask::DELETE | FileMask::ADD);
        place.create("three");
        place.remove("three");
        place.events(stage, "both kinds", 1000);
        place.watch(stage, "", FileMask::DELETE);
        place.create("three");
        place.remove("three");
        place.events(stage, "one kind", 1000);
        place.watch(stage, "", FileMask::ONCE);
    });
}
