//! Says what happens to files and directories, as it happens.
//!
//! The trap: to look every second is late, and misses what was changed and changed back. To watch the *file* misses most editors, who write a
//! new one and rename it over the old: the watch stays with the file that has no name any more. And a queue of the kernel that was
//! not read in time drops events, after which anything may have changed. Here the watcher is a source of the loop beside all others; watch the
//! directory, and an overflow is told as such.
//!
//! Try:
//!
//!     cargo run -p examples --example file_watch -- /tmp
//!     echo hello > /tmp/greeting; mv /tmp/greeting /tmp/salute; rm /tmp/salute
//!
//! It says `greeting: created`, `greeting: modified`, `greeting: closed after writing`, `greeting: moved away`, `salute: moved here` and `salute:
//! deleted`. Ctrl-C ends it.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Parser;
use examples::{printable, say};
use reactor::sources::{FileEvent, FileMask, WatchId};
use reactor::{EventLoop, LoopContext, Result};

/// Says what happens to files and directories.
#[derive(Parser)]
struct Options {
    /// What to watch; of a directory what is directly in it.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

type Watched = HashMap<WatchId, PathBuf>;

fn tell(cx: &mut LoopContext<'_, Watched>, event: &FileEvent<'_>) -> Result {
    let Some(watch) = event.watch() else {
        say!("events were lost: anything may have changed");
        return Ok(());
    };
    if event.is_end_of_watch() {
        if let Some(path) = cx.state().remove(&watch) {
            say!("{} is watched no more", path.display());
        }
        if cx.state().is_empty() {
            cx.stop();
        }
        return Ok(());
    }
    let name = match (event.name(), cx.state().get(&watch)) {
        (&[], Some(path)) => path.display().to_string(),
        (name, _) => printable(name),
    };
    for (kind, words) in KINDS {
        if event.mask().intersects(kind) {
            say!("{name}: {words}");
        }
    }
    Ok(())
}

fn main() -> Result {
    let options = Options::parse();
    let mut event_loop = EventLoop::new(Watched::new())?;
    let mut context = event_loop.context();
    let watcher = context.watch_files(tell)?;
    for path in options.paths {
        let mut files = context.file_watcher(watcher).expect("the watcher has just been made");
        let watch = files.watch(&path, FileMask::CHANGES)?;
        say!("watching {}", path.display());
        context.state().insert(watch, path);
    }
    event_loop.run().map(drop)
}

/// What happened, in words.
const KINDS: [(FileMask, &str); 9] = [
    (FileMask::CREATE, "created"),
    (FileMask::MODIFY, "modified"),
    (FileMask::ATTRIBUTES, "its attributes changed"),
    (FileMask::CLOSE_WRITE, "closed after writing"),
    (FileMask::MOVED_FROM, "moved away"),
    (FileMask::MOVED_TO, "moved here"),
    (FileMask::DELETE, "deleted"),
    (FileMask::DELETE_SELF, "deleted"),
    (FileMask::MOVE_SELF, "renamed"),
];
