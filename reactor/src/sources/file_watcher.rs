//! Being told of changes to files and directories: an inotify instance as a source.

use std::any::Any;
use std::io;
use std::path::Path;

use crate::Result;
use crate::engine::Engine;
use crate::event::Readiness;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::file_event::{FileEvent, FileMask, WatchId};
use crate::sources::source::{Progress, Source};
use crate::sources::source_context::{SourceContext, call};
use crate::sys::{inotify, option};
use crate::token::{SourceId, Token};

impl<S: 'static> LoopContext<'_, S> {
    /// Makes a watcher of files, which watches none yet: [`FileWatcher::watch`]. `on_event` is called for each event, in the
    /// order in which things have happened; an error or a panic of it ends the watcher.
    ///
    /// Events are told when the loop comes to them. Code that must not act on what is out of date, such as a cache, calls
    /// [`drain_file_events`](Self::drain_file_events) first.
    ///
    /// In one turn at most 64 KiB of events are taken from the kernel, which is some thousands; then others have their
    /// turn. What waits beyond `fs.inotify.max_queued_events` the kernel drops, and says so:
    /// [`FileEvent::is_overflow`].
    ///
    /// # Errors
    /// As many instances are open as `fs.inotify.max_user_instances` allows; no descriptor is free; the loop is draining.
    ///
    /// ```
    /// use reactor::EventLoop;
    /// use reactor::sources::FileMask;
    ///
    /// let directory = std::env::temp_dir().join(format!("watched-{}", std::process::id()));
    /// std::fs::create_dir_all(&directory)?;
    ///
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// let mut cx = event_loop.context();
    /// let watcher = cx.watch_files(|cx, event| {
    ///     cx.state().push(String::from_utf8_lossy(event.name()).into_owned());
    ///     Ok(())
    /// })?;
    /// cx.file_watcher(watcher).unwrap().watch(&directory, FileMask::CREATE | FileMask::MOVED_TO)?;
    /// std::fs::write(directory.join("new"), "contents")?;
    /// // The loop would come to it in its next turn; this does not wait for that.
    /// cx.drain_file_events(watcher);
    /// assert_eq!(cx.state().as_slice(), ["new"]);
    /// # std::fs::remove_dir_all(directory)?;
    /// # reactor::Result::Ok(())
    /// ```
    pub fn watch_files(
        &mut self,
        on_event: impl FnMut(&mut LoopContext<'_, S>, &FileEvent<'_>) -> Result + 'static,
    ) -> io::Result<SourceId> {
        let watcher = Watcher { on_event: Box::new(on_event), buffer: Vec::new() };
        self.insert_source(inotify::create()?, Interest::READ, watcher, Some(Box::new(IsWatcher)))
    }

    /// Tells the watcher's `on_event` of all that has happened up to now, without waiting for the loop to come to it. Says of how
    /// many events; `None`: it is gone, or this is called from within its `on_event`.
    pub fn drain_file_events(&mut self, id: SourceId) -> Option<usize> {
        let token = self.engine.live_source(id.0)?;
        let (fd, IsWatcher) = self.engine.source_state(token)?;
        // What happens meanwhile comes behind it and does not count, so this ends.
        let waiting = option::unread(fd).unwrap_or(BYTES_PER_TURN);
        call(self.engine, self.app, token, |source, cx| {
            let any: &mut dyn Any = source;
            any.downcast_mut::<Watcher<S>>().map_or(Ok((0, Progress::Drained)), |watcher| watcher.tell(cx, waiting))
        })
        .map(|(count, _)| count)
    }
}

impl<S> LoopContext<'_, S> {
    /// A watcher of this loop, to watch more and less; `None` if it is gone, or the name is that of another source.
    #[must_use]
    pub fn file_watcher(&mut self, id: SourceId) -> Option<FileWatcher<'_>> {
        let token = self.engine.live_source(id.0)?;
        self.engine.source_state::<IsWatcher>(token)?;
        Some(FileWatcher { engine: self.engine, token })
    }
}

/// A watcher of files in a loop; see [`LoopContext::watch_files`].
pub struct FileWatcher<'a> {
    engine: &'a mut Engine,
    token: Token,
}

impl FileWatcher<'_> {
    /// Watches the file or directory at `path` for the events of `mask`. Of a directory it is told what happens to it and
    /// to what is directly in it, not below.
    ///
    /// A watch is of the file, not of its path. The same file a second time, by whatever path, is the same watch, with the
    /// new mask.
    ///
    /// # Errors
    /// The path cannot be read or is not there; as many files are watched as `fs.inotify.max_user_watches` allows
    /// (`StorageFull`); see inotify_add_watch(2).
    pub fn watch(&mut self, path: impl AsRef<Path>, mask: FileMask) -> io::Result<WatchId> {
        let (fd, IsWatcher) = self.engine.source_state(self.token).ok_or(io::ErrorKind::NotConnected)?;
        inotify::watch(fd, path.as_ref(), mask.bits()).map(WatchId)
    }

    /// Ends a watch. What it has seen before is still told, and then its end
    /// ([`FileEvent::is_end_of_watch`]).
    ///
    /// # Errors
    /// `InvalidInput`: it has ended already.
    pub fn unwatch(&mut self, watch: WatchId) -> io::Result<()> {
        let (fd, IsWatcher) = self.engine.source_state(self.token).ok_or(io::ErrorKind::NotConnected)?;
        inotify::unwatch(fd, watch.0)
    }
}

/// The mark of a source that it is a watcher.
struct IsWatcher;

type OnEvent<S> = Box<dyn FnMut(&mut LoopContext<'_, S>, &FileEvent<'_>) -> Result>;

struct Watcher<S> {
    on_event: OnEvent<S>,
    /// Room for what one read brings, from the first event on.
    buffer: Vec<u8>,
}

impl<S: 'static> Watcher<S> {
    /// Takes events from the kernel and tells them, until there are none or about `most` bytes of them were taken.
    fn tell(&mut self, cx: &mut SourceContext<'_, S>, most: usize) -> Result<(usize, Progress)> {
        self.buffer.resize(BUFFER, 0);
        let (mut taken, mut count) = (0, 0);
        while taken < most {
            let length = match cx.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((count, Progress::Drained)),
                result => result?,
            };
            taken += length;
            let mut bytes = &self.buffer[..length];
            while let Some(event) = FileEvent::take(&mut bytes) {
                count += 1;
                (self.on_event)(cx, &event)?;
                if cx.has_ended() {
                    return Ok((count, Progress::Drained));
                }
            }
        }
        Ok((count, Progress::More))
    }
}

impl<S: 'static> Source<S> for Watcher<S> {
    fn on_ready(&mut self, cx: &mut SourceContext<'_, S>, _readiness: Readiness) -> Result<Progress> {
        let (_, progress) = self.tell(cx, BYTES_PER_TURN)?;
        if progress == Progress::Drained {
            // A watcher is idle mostly.
            self.buffer = Vec::new();
        }
        Ok(progress)
    }
}

/// Some hundred events with the names that files have; one with the longest name takes 272 bytes.
const BUFFER: usize = 16 << 10;

/// Taken in one turn of the loop.
const BYTES_PER_TURN: usize = 64 << 10;
