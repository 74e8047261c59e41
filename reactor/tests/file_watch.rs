//! A watcher of files tells what happens to them, in order, with names as bytes, whether the loop comes to it or is asked.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use common::{Echo, TestLoop};
use reactor::sources::{FileEvent, FileMask, WatchId};
use reactor::{EventLoop, LoopContext, Result, SourceId};
use tempfile::TempDir;

/// What was told of: the watch, the kinds asked for that are in it, the name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    watch: Option<WatchId>,
    mask: FileMask,
    name: Vec<u8>,
    ends: bool,
    overflow: bool,
    cookie: u32,
}

type Log = Vec<Seen>;

fn keep(cx: &mut LoopContext<'_, Log>, event: &FileEvent<'_>) -> Result {
    let (watch, mask, name) = (event.watch(), event.mask(), event.name().to_vec());
    let (ends, overflow, cookie) = (event.is_end_of_watch(), event.is_overflow(), event.cookie());
    cx.state().push(Seen { watch, mask, name, ends, overflow, cookie });
    Ok(())
}

struct Watching {
    event_loop: EventLoop<Log>,
    id: SourceId,
    directory: TempDir,
}

impl Watching {
    fn new() -> Self {
        let mut event_loop = EventLoop::new(Log::new()).unwrap();
        let id = event_loop.context().watch_files(keep).unwrap();
        Self { event_loop, id, directory: tempfile::tempdir().unwrap() }
    }

    fn watch(&mut self, path: impl AsRef<Path>, mask: FileMask) -> WatchId {
        let path = self.directory.path().join(path);
        self.event_loop.context().file_watcher(self.id).unwrap().watch(path, mask).unwrap()
    }

    fn path(&self, name: impl AsRef<Path>) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn drain(&mut self) -> Log {
        self.event_loop.context().drain_file_events(self.id).unwrap();
        std::mem::take(self.event_loop.state_mut())
    }

    /// Lets the loop come to it by itself.
    fn next(&mut self) -> Log {
        while self.event_loop.state().is_empty() {
            self.event_loop.turn(Some(common::DEADLINE)).unwrap();
        }
        std::mem::take(self.event_loop.state_mut())
    }
}

#[test]
fn the_loop_tells_what_happens_in_order_with_names() {
    let mut watching = Watching::new();
    let id = watching.watch("", FileMask::CREATE | FileMask::MODIFY | FileMask::DELETE);
    let name = OsStr::from_bytes(b"not \xff utf-8");
    fs::write(watching.path(name), "contents").unwrap();
    fs::remove_file(watching.path(name)).unwrap();
    let seen = watching.next();
    let masks: Vec<_> = seen.iter().map(|seen| seen.mask).collect();
    assert_eq!(masks, [FileMask::CREATE, FileMask::MODIFY, FileMask::DELETE]);
    assert!(seen.iter().all(|seen| seen.watch == Some(id) && seen.name == name.as_bytes()), "{seen:?}");
}

#[test]
fn asked_for_it_tells_at_once_and_the_loop_does_not_tell_again() {
    let mut watching = Watching::new();
    watching.watch("", FileMask::CREATE);
    assert_eq!(watching.drain(), []);
    for name in ["a", "b"] {
        fs::write(watching.path(name), "").unwrap();
        let seen = watching.drain();
        assert_eq!(seen.iter().map(|seen| &seen.name[..]).collect::<Vec<_>>(), [name.as_bytes()]);
    }
    watching.event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert!(watching.event_loop.state().is_empty());
    fs::write(watching.path("c"), "").unwrap();
    assert_eq!(watching.next()[0].name, b"c");
}

#[test]
fn a_rename_is_told_of_both_names_under_one_number() {
    let mut watching = Watching::new();
    fs::write(watching.path("from"), "").unwrap();
    watching.watch("", FileMask::MOVED_FROM | FileMask::MOVED_TO);
    fs::rename(watching.path("from"), watching.path("to")).unwrap();
    let seen = watching.drain();
    assert_eq!((&seen[0].name[..], &seen[1].name[..]), (&b"from"[..], &b"to"[..]));
    assert!(seen[0].cookie != 0 && seen[0].cookie == seen[1].cookie);
}

#[test]
fn a_file_that_is_deleted_ends_its_watch() {
    let mut watching = Watching::new();
    fs::write(watching.path("file"), "").unwrap();
    let id = watching.watch("file", FileMask::DELETE_SELF);
    fs::remove_file(watching.path("file")).unwrap();
    let seen = watching.drain();
    assert_eq!((seen.len(), seen[0].mask, seen[1].ends), (2, FileMask::DELETE_SELF, true));
    assert!(seen.iter().all(|seen| seen.watch == Some(id) && seen.name.is_empty()));
    let mut cx = watching.event_loop.context();
    let error = cx.file_watcher(watching.id).unwrap().unwatch(id).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_watch_that_is_taken_back_ends_and_others_go_on() {
    let mut watching = Watching::new();
    fs::create_dir(watching.path("one")).unwrap();
    fs::create_dir(watching.path("other")).unwrap();
    let (one, other) = (watching.watch("one", FileMask::CREATE), watching.watch("other", FileMask::CREATE));
    watching.event_loop.context().file_watcher(watching.id).unwrap().unwatch(one).unwrap();
    fs::write(watching.path("one/file"), "").unwrap();
    fs::write(watching.path("other/file"), "").unwrap();
    let seen = watching.drain();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].watch, seen[0].ends), (Some(one), true));
    assert_eq!((seen[1].watch, seen[1].mask), (Some(other), FileMask::CREATE));
}

#[test]
fn the_same_file_is_one_watch() {
    let mut watching = Watching::new();
    let first = watching.watch("", FileMask::CREATE);
    assert_eq!(watching.watch(".", FileMask::DELETE), first);
    fs::write(watching.path("file"), "").unwrap();
    fs::remove_file(watching.path("file")).unwrap();
    assert_eq!(watching.drain().iter().map(|seen| seen.mask).collect::<Vec<_>>(), [FileMask::DELETE]);
}

#[test]
fn what_is_not_there_is_an_error() {
    let mut watching = Watching::new();
    let missing = watching.path("missing");
    let mut cx = watching.event_loop.context();
    let mut watcher = cx.file_watcher(watching.id).unwrap();
    assert_eq!(watcher.watch(missing, FileMask::CHANGES).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let error = watcher.watch("with\0zero", FileMask::CHANGES).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn more_than_one_turn_takes_is_told_in_the_next_ones() {
    let mut watching = Watching::new();
    watching.watch("", FileMask::CREATE);
    // 5000 events of 32 bytes: more than a turn takes, and less than the kernel keeps.
    for number in 0..5000 {
        fs::write(watching.path(format!("{number:08}")), "").unwrap();
    }
    watching.event_loop.turn(Some(common::DEADLINE)).unwrap();
    let first = watching.event_loop.state().len();
    assert!((1000..5000).contains(&first), "{first} events in one turn");
    while watching.event_loop.state().len() < 5000 {
        watching.event_loop.turn(Some(common::DEADLINE)).unwrap();
    }
    let names = watching.event_loop.state().iter().map(|seen| String::from_utf8(seen.name.clone()).unwrap());
    assert!(names.eq((0..5000).map(|number| format!("{number:08}"))));
}

#[test]
fn an_overflow_is_told() {
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if most > 1 << 17 {
        // It would take too many files.
        return;
    }
    let mut watching = Watching::new();
    watching.watch("", FileMask::OPEN | FileMask::CLOSE_WRITE);
    // Two names in turn: the kernel joins events that are the same.
    for _ in 0..most / 2 + 1 {
        fs::write(watching.path("file"), "").unwrap();
    }
    let seen = watching.drain();
    let last = seen.last().unwrap();
    assert!(last.overflow && last.watch.is_none(), "{last:?}");
    assert_eq!(seen.len(), most + 1);
    // It watches on.
    fs::write(watching.path("another"), "").unwrap();
    assert_eq!(watching.drain()[0].name, b"another");
}

#[test]
fn closing_in_the_callback_tells_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut event_loop = EventLoop::new((None, 0)).unwrap();
    let mut cx = event_loop.context();
    let id = cx
        .watch_files(|cx: &mut LoopContext<'_, (Option<SourceId>, u32)>, _| {
            let (id, calls) = cx.state();
            *calls += 1;
            let id = id.unwrap();
            assert_eq!(cx.drain_file_events(id), None);
            assert!(cx.close_source(id));
            Ok(())
        })
        .unwrap();
    cx.state().0 = Some(id);
    cx.file_watcher(id).unwrap().watch(directory.path(), FileMask::CREATE).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    event_loop.turn(Some(common::DEADLINE)).unwrap();
    assert_eq!(event_loop.state().1, 1);
    assert!(event_loop.context().file_watcher(id).is_none());
    assert_eq!(event_loop.context().drain_file_events(id), None);
    assert_eq!(event_loop.metrics().sources, 0);
}

#[test]
fn an_error_or_a_panic_ends_the_watcher_and_not_who_drains_it() {
    for (panics, failed) in [(false, 1), (true, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let mut event_loop = EventLoop::new(()).unwrap();
        let mut cx = event_loop.context();
        let id = cx
            .watch_files(move |_, _| {
                assert!(!panics, "on purpose");
                Err(std::io::Error::other("on purpose"))
            })
            .unwrap();
        cx.file_watcher(id).unwrap().watch(directory.path(), FileMask::CREATE).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(cx.drain_file_events(id), None);
        assert!(cx.file_watcher(id).is_none());
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let metrics = event_loop.metrics();
        assert_eq!((metrics.sources, metrics.sources_failed, metrics.panics), (0, failed, u64::from(panics)));
    }
}

#[test]
fn a_name_of_another_source_is_no_watcher() {
    let server = TestLoop::serve(|| Echo);
    assert!(server.on_loop(|cx| {
        let (reader, _writer) = std::io::pipe().unwrap();
        struct Quiet;
        impl reactor::Source for Quiet {
            fn on_ready(
                &mut self,
                _: &mut reactor::SourceContext<'_>,
                _: reactor::Readiness,
            ) -> Result<reactor::Progress> {
                Ok(reactor::Progress::Drained)
            }
        }
        let id = cx.add_source(reader, reactor::Interest::READ, Quiet).unwrap();
        cx.file_watcher(id).is_none() && cx.drain_file_events(id).is_none()
    }));
}
