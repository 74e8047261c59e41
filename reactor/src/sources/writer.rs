//! Bytes to be written to a pipe, a terminal or a file, in a bounded queue.

use std::any::Any;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Result;
use crate::buffer::Buffer;
use crate::close_reason::CloseReason;
use crate::engine::Engine;
use crate::loop_context::LoopContext;
use crate::sources::byte_stream::Way;
use crate::sources::source_context::SourceContext;
use crate::timer::TimerId;
use crate::token::{SourceId, Token};

/// What hears how the writing to a [`ByteStream`](crate::sources::ByteStream) goes. `()` is one that hears nothing.
///
/// ```
/// use std::io::Read;
/// use reactor::EventLoop;
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let mut event_loop = EventLoop::new(())?;
/// let mut cx = event_loop.context();
/// let id = cx.add_writer(writer, ())?;
/// let mut writer = cx.writer(id).unwrap();
/// writer.send("hello")?;
/// // Closes when all is written, which a drain waits for.
/// writer.finish();
/// cx.shutdown(std::time::Duration::from_secs(10));
/// event_loop.run()?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # reactor::Result::Ok(())
/// ```
pub trait ByteWriter<S = ()>: Any {
    /// Bytes had to wait, or more than [`Limits::low_mark`](crate::Limits::low_mark) were sent at once, and now no more than
    /// that do.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_drained(&mut self, cx: &mut WriterContext<'_, S>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// A timer set with [`SourceContext::set_timer`] is due.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_timer(&mut self, cx: &mut WriterContext<'_, S>, timer: TimerId) -> Result {
        let _ = (cx, timer);
        Ok(())
    }

    /// The source has ended: called exactly once, after everything else, for whatever reason. That nobody reads any more is an
    /// `Error` of the kind `BrokenPipe`; it is told also while there is nothing to write.
    fn on_close(&mut self, cx: &mut WriterContext<'_, S>, reason: &CloseReason) {
        let _ = (cx, reason);
    }
}

impl<S> ByteWriter<S> for () {}

impl<S> LoopContext<'_, S> {
    /// A writer of this loop; `None` if it is gone, or the name is that of another source.
    #[must_use]
    pub fn writer(&mut self, id: SourceId) -> Option<Writer<'_>> {
        let token = self.engine.live_source(id.0)?;
        self.engine.source_state::<WriterState>(token)?;
        Some(Writer { engine: self.engine, token })
    }
}

/// A writer of this loop.
pub struct Writer<'a> {
    engine: &'a mut Engine,
    token: Token,
}

impl Writer<'_> {
    /// Writes bytes, behind what was sent before, in the next turn and together with what else is sent until then. What there is
    /// no room for waits.
    ///
    /// # Errors
    /// `StorageFull`: more would wait than [`Limits::max_output`](crate::Limits::max_output); nothing of it is taken, and the
    /// writer goes on. `BrokenPipe`: it is closing.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        let (bytes, most, low_mark) = (bytes.as_ref(), self.engine.limits.max_output, self.engine.limits.low_mark);
        let closing = || io::Error::new(io::ErrorKind::BrokenPipe, "the writer is closing");
        let ended = self.engine.watched(self.token).is_none_or(|watched| watched.ended);
        let (_, state) = self.engine.source_state::<WriterState>(self.token).ok_or_else(closing)?;
        if state.finishing || ended {
            return Err(closing());
        }
        if state.queued() + bytes.len() > most {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "as much waits to be written as Limits::max_output allows",
            ));
        }
        if !bytes.is_empty() {
            state.queue.append(bytes);
            // Who has been told that the writer is congested waits to hear that it is not, even if all is written at once.
            state.tell_drained |= state.queued() > low_mark;
            self.engine.hold_drain(self.token, true);
            self.engine.wake_source(self.token);
        }
        Ok(())
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn queued(&mut self) -> usize {
        self.engine.source_state::<WriterState>(self.token).map_or(0, |(_, state)| state.queued())
    }

    /// Whether more waits than [`Limits::high_mark`](crate::Limits::high_mark): who makes the bytes had better stop until
    /// [`ByteWriter::on_drained`].
    #[must_use]
    pub fn is_congested(&mut self) -> bool {
        self.queued() > self.engine.limits.high_mark
    }

    /// Closes when all that waits is written.
    pub fn finish(&mut self) {
        if let Some((_, state)) = self.engine.source_state::<WriterState>(self.token) {
            state.finishing = true;
            self.engine.wake_source(self.token);
        }
    }

    /// Closes at the end of the turn. What waits is written if there is room for it now, or else dropped. A file has room
    /// always, and is waited for.
    pub fn close(&mut self) {
        self.engine.end_source(self.token, CloseReason::Closed);
    }
}

/// What a callback of a writer can do: everything of its [`SourceContext`], and more.
pub struct WriterContext<'a, S = ()> {
    pub(crate) scope: SourceContext<'a, S>,
}

impl<S> WriterContext<'_, S> {
    /// See [`Writer::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        self.this().send(bytes)
    }

    /// See [`Writer::finish`].
    pub fn finish(&mut self) {
        self.this().finish();
    }

    /// This writer, for what else can be done with it.
    pub fn this(&mut self) -> Writer<'_> {
        let token = self.scope.id().0;
        Writer { engine: self.scope.engine, token }
    }
}

impl<'a, S> Deref for WriterContext<'a, S> {
    type Target = SourceContext<'a, S>;

    fn deref(&self) -> &Self::Target {
        &self.scope
    }
}

impl<S> DerefMut for WriterContext<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.scope
    }
}

/// What is known of a writer while its callback runs.
pub(crate) struct WriterState {
    pub(crate) way: Arc<Way>,
    pub(crate) queue: Buffer,
    /// What a job writes now.
    pub(crate) portion: Option<Arc<Portion>>,
    /// What became of a job.
    pub(crate) outcome: Option<io::Result<()>>,
    /// Bytes had to wait, or were many: `on_drained` is due when few do.
    pub(crate) tell_drained: bool,
    /// It closes when all is written.
    pub(crate) finishing: bool,
    /// The timer after which the worker pool is asked again.
    pub(crate) retry: Option<TimerId>,
}

impl WriterState {
    pub(crate) fn new(way: Way) -> Self {
        Self {
            way: Arc::new(way),
            queue: Buffer::new(),
            portion: None,
            outcome: None,
            tell_drained: false,
            finishing: false,
            retry: None,
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.portion.as_ref().map_or(0, |portion| portion.length)
    }
}

/// Bytes that were given to a job.
pub(crate) struct Portion {
    pub(crate) length: usize,
    /// Until somebody writes them, who holds the lock meanwhile.
    bytes: Mutex<Option<Buffer>>,
}

impl Portion {
    pub(crate) fn new(bytes: Buffer) -> Self {
        Self { length: bytes.len(), bytes: Mutex::new(Some(bytes)) }
    }

    /// Writes them, unless somebody else has; one who does so now is waited for.
    pub(crate) fn write(&self, way: &Way) -> io::Result<()> {
        let mut bytes = self.lock();
        match (bytes.take(), way) {
            (Some(bytes), Way::Elsewhere(file)) => (&mut &**file).write_all(bytes.as_slice()),
            _ => Ok(()),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Buffer>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
