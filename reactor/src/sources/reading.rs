//! Reading bytes as a source: on the loop where that is possible, else on the worker pool.

use std::io::{self, Read};
use std::sync::Arc;

use crate::Result;
use crate::buffer::Buffer;
use crate::close_reason::{CloseReason, Overflow};
use crate::event::Readiness;
use crate::input::Input;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::byte_stream::{ByteStream, Direction, RETRY, Way};
use crate::sources::reader::{ByteReader, ReaderContext, ReaderState};
use crate::sources::source::{Progress, Source};
use crate::sources::source_context::SourceContext;
use crate::timer::TimerId;
use crate::token::SourceId;

impl<S: 'static> LoopContext<'_, S> {
    /// Reads from a pipe, a terminal, a socket or a file: see [`ByteStream`].
    ///
    /// In one turn at most [`Limits::read_per_turn`](crate::Limits::read_per_turn) bytes are read, in
    /// [`Limits::calls_per_turn`](crate::Limits::calls_per_turn) calls; then others have their turn. A reader does not hold
    /// up a drain of the loop.
    ///
    /// # Errors
    /// No descriptor is free, or the loop is draining; `Unsupported`: a real pipe in a simulation. The reader is dropped without a callback.
    pub fn add_reader(&mut self, stream: impl Into<ByteStream>, reader: impl ByteReader<S>) -> io::Result<SourceId> {
        let (fd, way) = stream.into().open(Direction::Read)?;
        let id = self.enter_source(fd, Reading { reader }, Some(Box::new(ReaderState::new(way))))?;
        match self.watch_stream(id, Interest::READ) {
            Ok(way) => {
                if let (Some(way), Some((_, state))) = (way, self.engine.source_state::<ReaderState>(id.0)) {
                    state.way = Arc::new(way);
                }
                self.engine.wake_source(id.0);
                Ok(id)
            }
            Err(error) => {
                self.forget_source(id);
                Err(error)
            }
        }
    }
}

/// The source that reads.
struct Reading<R> {
    reader: R,
}

impl<R> Reading<R> {
    fn state<'c, S>(cx: &'c mut SourceContext<'_, S>) -> &'c mut ReaderState {
        let token = cx.id().0;
        let (_, state) = cx.engine.source_state(token).expect("a reader has its state as long as it is there");
        state
    }

    /// Whether the reader wants to read on.
    fn goes_on<S>(cx: &mut SourceContext<'_, S>) -> bool {
        !cx.has_ended() && !Self::state(cx).paused
    }

    /// Reads on this thread until there is nothing, the budget ends, or the reader wants no more.
    fn read_here<S: 'static>(&mut self, cx: &mut SourceContext<'_, S>) -> Result<Progress>
    where
        R: ByteReader<S>,
    {
        let mut buffer = vec![0; CHUNK];
        let mut budget = cx.engine.limits.read_per_turn;
        for _ in 0..cx.engine.limits.calls_per_turn {
            if !Self::goes_on(cx) {
                return Ok(Progress::Drained);
            }
            if budget == 0 {
                break;
            }
            let room = budget.min(CHUNK);
            let token = cx.id().0;
            let Some((fd, state)) = cx.engine.source_state::<ReaderState>(token) else { break };
            let read = state.way.read(fd, &mut buffer[..room]);
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Drained),
                read => {
                    budget -= read.as_ref().map_or(0, |count| *count);
                    self.take_in(cx, read.map(|count| &buffer[..count]))?;
                }
            }
        }
        Ok(Progress::More)
    }

    /// Shows what a job has read, and has the next piece read.
    fn read_elsewhere<S: 'static>(&mut self, cx: &mut SourceContext<'_, S>, file: Arc<Way>) -> Result<Progress>
    where
        R: ByteReader<S>,
    {
        if let Some(chunk) = Self::state(cx).chunk.take() {
            let bytes = chunk.as_deref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
            self.take_in(cx, bytes)?;
        }
        let state = Self::state(cx);
        let is_under_way = state.reading || state.retry.is_some();
        // A drain would wait for the job.
        let rests = is_under_way || cx.engine.draining;
        if Self::goes_on(cx) && !rests {
            Self::begin_job(cx, file)?;
        }
        Ok(Progress::Drained)
    }

    fn begin_job<S: 'static>(cx: &mut SourceContext<'_, S>, file: Arc<Way>) -> Result {
        let token = cx.id().0;
        let job = move || {
            let mut bytes = vec![0; CHUNK];
            let count = match &*file {
                Way::Elsewhere(file) => (&mut &**file).read(&mut bytes)?,
                _ => 0,
            };
            bytes.truncate(count);
            Ok(bytes)
        };
        let given = cx.spawn_blocking(job, move |cx, outcome| {
            if let Some((_, state)) = cx.engine.source_state::<ReaderState>(token) {
                state.reading = false;
                state.chunk = Some(outcome.unwrap_or_else(|panic| Err(panic.into())));
                cx.engine.wake_source(token);
            }
        });
        match given {
            Ok(()) => Self::state(cx).reading = true,
            // Others have all places of the pool.
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                let retry = cx.set_timer(RETRY)?;
                Self::state(cx).retry = Some(retry);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Deals with what a read brought: bytes, the end, or an error.
    fn take_in<S: 'static>(&mut self, cx: &mut SourceContext<'_, S>, read: io::Result<&[u8]>) -> Result
    where
        R: ByteReader<S>,
    {
        match read {
            Ok([]) => {
                self.reader.on_end(&mut ReaderContext { scope: cx.again() })?;
                cx.end(CloseReason::Eof);
            }
            Ok(bytes) => {
                cx.engine.counters.bytes_in.add(bytes.len() as u64);
                self.show(cx, bytes)?;
            }
            Err(error) => cx.end(CloseReason::Error(error)),
        }
        Ok(())
    }

    /// Shows the reader what was just read, behind what it left before.
    fn show<S: 'static>(&mut self, cx: &mut SourceContext<'_, S>, bytes: &[u8]) -> Result
    where
        R: ByteReader<S>,
    {
        let mut waiting = std::mem::take(&mut Self::state(cx).unread);
        let left = if waiting.is_empty() {
            let mut input = Input::new(bytes);
            self.reader.on_bytes(&mut ReaderContext { scope: cx.again() }, &mut input)?;
            Buffer::from(input.as_slice())
        } else {
            waiting.append(bytes);
            let mut input = Input::new(waiting.as_slice());
            self.reader.on_bytes(&mut ReaderContext { scope: cx.again() }, &mut input)?;
            let taken = waiting.len() - input.len();
            waiting.consume(taken);
            waiting
        };
        let is_full = left.len() >= cx.engine.limits.max_input;
        Self::state(cx).unread = left;
        if is_full && Self::goes_on(cx) {
            cx.end(CloseReason::Overflow(Overflow::Input));
        }
        Ok(())
    }
}

impl<S: 'static, R: ByteReader<S>> Source<S> for Reading<R> {
    fn on_ready(&mut self, cx: &mut SourceContext<'_, S>, _readiness: Readiness) -> Result<Progress> {
        if !Self::goes_on(cx) {
            return Ok(Progress::Drained);
        }
        let state = Self::state(cx);
        if std::mem::take(&mut state.revisit) && !state.unread.is_empty() {
            self.show(cx, &[])?;
        }
        if !Self::goes_on(cx) {
            return Ok(Progress::Drained);
        }
        let way = Arc::clone(&Self::state(cx).way);
        match *way {
            Way::Elsewhere(_) => self.read_elsewhere(cx, way),
            _ => self.read_here(cx),
        }
    }

    fn on_timer(&mut self, cx: &mut SourceContext<'_, S>, timer: TimerId) -> Result {
        if Self::state(cx).retry.take_if(|retry| *retry == timer).is_some() {
            let id = cx.id();
            cx.wake_source(id);
            return Ok(());
        }
        self.reader.on_timer(&mut ReaderContext { scope: cx.again() }, timer)
    }

    fn on_close(&mut self, cx: &mut SourceContext<'_, S>, reason: &CloseReason) {
        self.reader.on_close(&mut ReaderContext { scope: cx.again() }, reason);
    }
}

/// As much as a pipe holds, unless it was told otherwise.
const CHUNK: usize = 64 << 10;
