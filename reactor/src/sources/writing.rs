//! Writing bytes as a source: on the loop where that is possible, else on the worker pool.

use std::io;
use std::sync::Arc;

use crate::Result;
use crate::buffer::Buffer;
use crate::close_reason::CloseReason;
use crate::event::Readiness;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::byte_stream::{ByteStream, Direction, RETRY, Way};
use crate::sources::source::{Progress, Source};
use crate::sources::source_context::SourceContext;
use crate::sources::writer::{ByteWriter, Portion, WriterContext, WriterState};
use crate::timer::TimerId;
use crate::token::SourceId;

impl<S: 'static> LoopContext<'_, S> {
    /// Writes to a pipe, a terminal, a socket or a file: see [`ByteStream`], and
    /// [`Writer`](crate::sources::Writer) for how.
    ///
    /// As long as bytes wait it holds up a drain of the loop, until the deadline.
    ///
    /// # Errors
    /// No descriptor is free, or the loop is draining; `Unsupported`: a real pipe in a simulation. The writer is dropped without a callback.
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
        let is_under_way = state.portion.is_some() || state.retry.is_some();
        if !is_under_way && !state.queue.is_empty() {
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
        if Self::state(cx).retry.take_if(|retry| *retry == timer).is_some() {
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
