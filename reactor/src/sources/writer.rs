//! Writing bytes to a pipe, a terminal or a file, through a bounded queue.

use std::any::Any;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Result;
use crate::buffer::Buffer;
use crate::close_reason::CloseReason;
use crate::context::LoopContext;
use crate::engine::Engine;
use crate::event::Readiness;
use crate::interest::Interest;
use crate::sources::byte_stream::{ByteStream, Direction, Way};
use crate::sources::reader::RETRY;
use crate::sources::source::{Progress, Source};
use crate::sources::source_context::SourceContext;
use crate::timer::TimerId;
use crate::token::{SourceId, Token};

/// What hears how the writing to a [`ByteStream`] goes. `()` is one that hears nothing.
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
    /// Bytes had to wait, and now no more than [`Limits::low_mark`](crate::Limits::low_mark) do.
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

impl<S: 'static> LoopContext<'_, S> {
    /// Writes to a pipe, a terminal, a socket or a file: see [`ByteStream`], and [`Writer`] for how.
    ///
    /// As long as bytes wait it holds up a drain of the loop, until the deadline.
    ///
    /// # Errors
    /// No descriptor is free, or the loop is draining or in a simulation. The writer is dropped without a callback.
    pub fn add_writer(&mut self, stream: impl Into<ByteStream>, writer: impl ByteWriter<S>) -> io::Result<SourceId> {
        let (fd, way) = stream.into().open(Direction::Write)?;
        let id = self.enter_source(fd, Writing { writer }, Some(Box::new(WriterState::new(way))))?;
        match self.watch_stream(id, Interest::WRITE) {
            Ok(way) => {
                if let (Some(way), Some((_, state))) = (way, self.engine.source_state::<WriterState>(id.0)) {
                    state.way = Arc::new(way);
                }
                Ok(id)
            }
            Err(error) => {
                self.forget_source(id);
                Err(error)
            }
        }
    }
}

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
        let (bytes, most) = (bytes.as_ref(), self.engine.limits.max_output);
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
    scope: SourceContext<'a, S>,
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
struct WriterState {
    way: Arc<Way>,
    queue: Buffer,
    /// What a job writes now.
    portion: Option<Arc<Portion>>,
    /// What became of a job.
    outcome: Option<io::Result<()>>,
    /// Bytes had to wait: `on_drained` is due when few do.
    tell_drained: bool,
    /// It closes when all is written.
    finishing: bool,
    /// The timer after which the worker pool is asked again.
    retry: Option<TimerId>,
}

impl WriterState {
    fn new(way: Way) -> Self {
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

    fn queued(&self) -> usize {
        self.queue.len() + self.portion.as_ref().map_or(0, |portion| portion.length)
    }
}

/// Bytes that were given to a job.
struct Portion {
    length: usize,
    /// Until somebody writes them, who holds the lock meanwhile.
    bytes: Mutex<Option<Buffer>>,
}

impl Portion {
    fn new(bytes: Buffer) -> Self {
        Self { length: bytes.len(), bytes: Mutex::new(Some(bytes)) }
    }

    /// Writes them, unless somebody else has; one who does so now is waited for.
    fn write(&self, way: &Way) -> io::Result<()> {
        let mut bytes = self.lock();
        match (bytes.take(), way) {
            (Some(bytes), Way::Elsewhere(file)) => (&mut &**file).write_all(bytes.as_slice()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Buffer>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source that writes.
struct Writing<W> {
    writer: W,
}

impl<W> Writing<W> {
    fn state<'c, S>(cx: &'c mut SourceContext<'_, S>) -> &'c mut WriterState {
        let token = cx.id().0;
        let (_, state) = cx.engine.source_state(token).expect("a writer has its state as long as it is there");
        state
    }

    /// Writes on this thread until nothing waits, there is no room, or the budget ends.
    fn write_here<S>(cx: &mut SourceContext<'_, S>, calls: usize) -> io::Result<Progress> {
        let token = cx.id().0;
        for _ in 0..calls {
            let Some((fd, state)) = cx.engine.source_state::<WriterState>(token) else { break };
            if state.queue.is_empty() {
                if state.queue.room() > KEPT {
                    state.queue = Buffer::new();
                }
                return Ok(Progress::Drained);
            }
            match state.way.write(fd, state.queue.as_slice()) {
                Ok(count) => {
                    state.queue.consume(count);
                    cx.engine.counters.bytes_out.add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.tell_drained = true;
                    return Ok(Progress::Drained);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::More)
    }

    /// Has a job write all that waits, one job at a time.
    fn write_elsewhere<S: 'static>(cx: &mut SourceContext<'_, S>, way: Arc<Way>) -> io::Result<Progress> {
        let state = Self::state(cx);
        state.outcome.take().unwrap_or(Ok(()))?;
        if state.portion.is_none() && !state.queue.is_empty() {
            Self::begin_job(cx, way)?;
        }
        Ok(Progress::Drained)
    }

    fn begin_job<S: 'static>(cx: &mut SourceContext<'_, S>, way: Arc<Way>) -> io::Result<()> {
        let token = cx.id().0;
        let portion = Arc::new(Portion::new(std::mem::take(&mut Self::state(cx).queue)));
        let given = Arc::clone(&portion);
        let job = move || given.write(&way);
        let given = cx.spawn_blocking(job, move |cx, outcome| {
            if let Some((_, state)) = cx.engine.source_state::<WriterState>(token) {
                let written = state.portion.take().map_or(0, |portion| portion.length);
                state.tell_drained = true;
                state.outcome = Some(outcome.unwrap_or_else(|panic| Err(panic.into())));
                cx.engine.counters.bytes_out.add(written as u64);
                cx.engine.wake_source(token);
            }
        });
        match given {
            Ok(()) => Self::state(cx).portion = Some(portion),
            // Others have all places of the pool.
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                Self::state(cx).queue = portion.lock().take().unwrap_or_default();
                let retry = cx.set_timer(RETRY)?;
                Self::state(cx).retry = Some(retry);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes as much as there is to write and room for.
    fn flush<S: 'static>(cx: &mut SourceContext<'_, S>, calls: usize) -> io::Result<Progress> {
        let way = Arc::clone(&Self::state(cx).way);
        match *way {
            Way::Elsewhere(_) => Self::write_elsewhere(cx, way),
            _ => Self::write_here(cx, calls),
        }
    }

    /// The last chance for what waits. A pipe takes what it has room for, and a file takes all.
    fn flush_at_end<S: 'static>(cx: &mut SourceContext<'_, S>) {
        let state = Self::state(cx);
        let first = state.portion.take().map_or(Ok(()), |portion| portion.write(&state.way));
        if let Err(error) = first.and_then(|()| Self::write_here(cx, CALLS_AT_END)) {
            log::warn!("the last bytes of a writer were not taken: {error}");
        }
        let lost = Self::state(cx).queue.len();
        if lost > 0 {
            log::warn!("a writer was closed with {lost} bytes that were not written");
        }
    }
}

impl<S: 'static, W: ByteWriter<S>> Source<S> for Writing<W> {
    fn on_ready(&mut self, cx: &mut SourceContext<'_, S>, readiness: Readiness) -> Result<Progress> {
        let calls = cx.engine.limits.calls_per_turn;
        let has_waited = Self::state(cx).tell_drained;
        let progress = match Self::flush(cx, calls) {
            Ok(progress) => progress,
            Err(error) => {
                cx.end(CloseReason::Error(error));
                return Ok(Progress::Drained);
            }
        };
        let low_mark = cx.engine.limits.low_mark;
        let state = Self::state(cx);
        let (queued, finishing) = (state.queued(), state.finishing);
        if has_waited && queued <= low_mark && !finishing {
            state.tell_drained = false;
            self.writer.on_drained(&mut WriterContext { scope: cx.again() })?;
        }
        let state = Self::state(cx);
        let (is_empty, finishing) = (state.queued() == 0, state.finishing);
        let token = cx.id().0;
        cx.engine.hold_drain(token, !is_empty);
        if is_empty && finishing {
            cx.end(CloseReason::Closed);
        } else if is_empty && readiness.is_error() {
            cx.end(CloseReason::Error(io::ErrorKind::BrokenPipe.into()));
        }
        Ok(progress)
    }

    fn on_timer(&mut self, cx: &mut SourceContext<'_, S>, timer: TimerId) -> Result {
        if Self::state(cx).retry == Some(timer) {
            let id = cx.id();
            cx.wake_source(id);
            return Ok(());
        }
        self.writer.on_timer(&mut WriterContext { scope: cx.again() }, timer)
    }

    fn on_close(&mut self, cx: &mut SourceContext<'_, S>, reason: &CloseReason) {
        if !matches!(reason, CloseReason::Error(_)) {
            Self::flush_at_end(cx);
        }
        self.writer.on_close(&mut WriterContext { scope: cx.again() }, reason);
    }
}

/// What a burst needed beyond this is given back when it is over.
const KEPT: usize = 64 << 10;

/// Writes at the end of a writer: a file takes all in one, and a pipe its fill in a few.
const CALLS_AT_END: usize = 16;
