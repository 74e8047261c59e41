//! What reads bytes from a pipe, a terminal or a file, as a handler reads them from a connection.

use std::any::Any;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::Result;
use crate::buffer::Buffer;
use crate::close_reason::CloseReason;
use crate::engine::Engine;
use crate::input::Input;
use crate::loop_context::LoopContext;
use crate::sources::byte_stream::Way;
use crate::sources::source_context::SourceContext;
use crate::timer::TimerId;
use crate::token::{SourceId, Token};

/// What reads the bytes of a [`ByteStream`](crate::sources::ByteStream). Callbacks run as those of a [`Handler`](crate::Handler) do.
///
/// ```
/// use std::io::Write;
/// use reactor::sources::{ByteReader, ReaderContext};
/// use reactor::{EventLoop, Input, Result};
///
/// /// Keeps lines.
/// struct Lines;
///
/// impl ByteReader<Vec<String>> for Lines {
///     fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Vec<String>>, input: &mut Input<'_>) -> Result {
///         while let Some(line) = input.take_until(b'\n') {
///             let line = String::from_utf8_lossy(line).into_owned();
///             cx.state().push(line);
///         }
///         Ok(())
///     }
///
///     fn on_end(&mut self, cx: &mut ReaderContext<'_, Vec<String>>) -> Result {
///         cx.stop();
///         Ok(())
///     }
/// }
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let mut event_loop = EventLoop::new(Vec::new())?;
/// event_loop.context().add_reader(reader, Lines)?;
/// writer.write_all(b"one\ntwo\n")?;
/// drop(writer);
/// event_loop.run()?;
/// assert_eq!(*event_loop.state(), ["one", "two"]);
/// # Result::Ok(())
/// ```
pub trait ByteReader<S = ()>: Any {
    /// Bytes are there. What is not taken out of `input` stays and is shown again, in front of what comes next.
    ///
    /// At most [`Limits::max_input`](crate::Limits::max_input) may stay; a reader that wants no more for now calls
    /// [`ReaderContext::pause`], and what is not read waits where it is.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_, S>, input: &mut Input<'_>) -> Result;

    /// The end: of the file, of all who wrote to the pipe, of a terminal's input. The source closes after it, with
    /// [`CloseReason::Eof`]. Bytes that `on_bytes` left are had by [`ReaderContext::take_unread`].
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_end(&mut self, cx: &mut ReaderContext<'_, S>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// A timer set with [`SourceContext::set_timer`] is due.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_timer(&mut self, cx: &mut ReaderContext<'_, S>, timer: TimerId) -> Result {
        let _ = (cx, timer);
        Ok(())
    }

    /// The source has ended: called exactly once, after everything else, for whatever reason.
    fn on_close(&mut self, cx: &mut ReaderContext<'_, S>, reason: &CloseReason) {
        let _ = (cx, reason);
    }
}

impl<S> LoopContext<'_, S> {
    /// A reader of this loop, to be stopped for a while by others than itself; `None` if it is gone, or the name is that of
    /// another source.
    #[must_use]
    pub fn reader(&mut self, id: SourceId) -> Option<Reader<'_>> {
        let token = self.engine.live_source(id.0)?;
        self.engine.source_state::<ReaderState>(token)?;
        Some(Reader { engine: self.engine, token })
    }
}

/// A reader of this loop, seen from outside.
pub struct Reader<'a> {
    engine: &'a mut Engine,
    token: Token,
}

impl Reader<'_> {
    /// Stops reading. What is not read waits where it is: a pipe fills up and stops who writes to it.
    pub fn pause(&mut self) {
        if let Some((_, state)) = self.engine.source_state::<ReaderState>(self.token) {
            state.paused = true;
        }
    }

    /// Reads again, in the next turn, and first shows the reader again what it left.
    pub fn resume(&mut self) {
        if let Some((_, state)) = self.engine.source_state::<ReaderState>(self.token) {
            state.paused = false;
            state.revisit = true;
            self.engine.wake_source(self.token);
        }
    }

    /// Closes at the end of the turn.
    pub fn close(&mut self) {
        self.engine.end_source(self.token, CloseReason::Closed);
    }
}

/// What a callback of a reader can do: everything of its [`SourceContext`], and more.
pub struct ReaderContext<'a, S = ()> {
    pub(crate) scope: SourceContext<'a, S>,
}

impl<S> ReaderContext<'_, S> {
    /// See [`Reader::pause`].
    pub fn pause(&mut self) {
        self.this().pause();
    }

    /// See [`Reader::resume`].
    pub fn resume(&mut self) {
        self.this().resume();
    }

    /// Takes out the bytes that [`ByteReader::on_bytes`] left.
    #[must_use]
    pub fn take_unread(&mut self) -> Vec<u8> {
        let token = self.scope.id().0;
        let state = self.scope.engine.source_state::<ReaderState>(token);
        state.map(|(_, state)| std::mem::take(&mut state.unread)).unwrap_or_default().into()
    }

    fn this(&mut self) -> Reader<'_> {
        let token = self.scope.id().0;
        Reader { engine: self.scope.engine, token }
    }
}

impl<'a, S> Deref for ReaderContext<'a, S> {
    type Target = SourceContext<'a, S>;

    fn deref(&self) -> &Self::Target {
        &self.scope
    }
}

impl<S> DerefMut for ReaderContext<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.scope
    }
}

/// What is known of a reader while its callback runs.
pub(crate) struct ReaderState {
    pub(crate) way: Arc<Way>,
    /// Bytes that the reader left.
    pub(crate) unread: Buffer,
    pub(crate) paused: bool,
    /// The reader is to be shown again what it left.
    pub(crate) revisit: bool,
    /// A job reads.
    pub(crate) reading: bool,
    /// What a job has read.
    pub(crate) chunk: Option<io::Result<Vec<u8>>>,
    /// The timer after which the worker pool is asked again.
    pub(crate) retry: Option<TimerId>,
}

impl ReaderState {
    pub(crate) fn new(way: Way) -> Self {
        let way = Arc::new(way);
        Self { way, unread: Buffer::new(), paused: false, revisit: false, reading: false, chunk: None, retry: None }
    }
}
