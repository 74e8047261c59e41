//! What a callback of a source can do, and what others of its loop can do with a source.

use std::any::Any;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::Result;
use crate::application::Application;
use crate::close_reason::CloseReason;
use crate::engine::Engine;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::descriptor::Descriptor;
use crate::sources::source::Source;
use crate::sources::watched::Watched;
use crate::sources::watching::fitted;
use crate::sys::bytes;
use crate::sys::fd::{Fd, FdRef};
use crate::timer::TimerId;
use crate::token::{SourceId, Token};
use crate::unwind::panic_message;

impl<S: 'static> LoopContext<'_, S> {
    /// Watches a descriptor of any kind that epoll(7) takes: a pipe, a device, a socket, an eventfd, another epoll instance. If
    /// it is ready now, the source is called in the next turn. To a loop of a server it is added by
    /// [`LoopHandle::execute`](crate::LoopHandle::execute).
    ///
    /// The loop owns the descriptor from here on, and closes it with the source. It is made nonblocking and close-on-exec;
    /// nonblocking is a property of the open file, so everybody else who has that notices. For standard input and output see
    /// [`sources`](crate::sources).
    ///
    /// # Errors
    /// `PermissionDenied`: it is a regular file or a directory, which is always ready and which epoll refuses. The message
    /// says what to do. Or the loop is draining, or has no names or memory left. The descriptor is closed, and the source
    /// dropped without a callback.
    pub fn add_source(
        &mut self,
        fd: impl Into<Descriptor>,
        interest: Interest,
        source: impl Source<S>,
    ) -> io::Result<SourceId> {
        self.insert_source(fitted(fd.into().into_fd())?, interest, source, None)
    }

    /// Watches a descriptor that is fit for it.
    pub(crate) fn insert_source(
        &mut self,
        fd: Fd,
        interest: Interest,
        source: impl Source<S>,
        state: Option<Box<dyn Any>>,
    ) -> io::Result<SourceId> {
        let id = self.enter_source(fd, source, state)?;
        match self.engine.register_source(id.0, interest) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.forget_source(id);
                Err(error)
            }
        }
    }

    /// Gives a descriptor its place, unwatched.
    pub(crate) fn enter_source(
        &mut self,
        fd: Fd,
        source: impl Source<S>,
        state: Option<Box<dyn Any>>,
    ) -> io::Result<SourceId> {
        let place = self.app.sources.insert(Some(Box::new(source)));
        let token = self.engine.insert_source(Watched::new(fd, place, state));
        if token.is_err() {
            self.app.sources.remove(place);
        }
        token.map(SourceId)
    }

    /// Takes back what was entered, with no trace.
    pub(crate) fn forget_source(&mut self, id: SourceId) {
        if let Some(watched) = self.engine.watched(id.0) {
            self.app.sources.remove(watched.place);
        }
        self.engine.retire_source(id.0);
    }

    /// Calls a closure with a source, if it is of type `T`, and its context; as [`with`](Self::with) does for connections.
    pub fn with_source<T, R>(
        &mut self,
        id: SourceId,
        visit: impl FnOnce(&mut T, &mut SourceContext<'_, S>) -> R,
    ) -> Option<R>
    where
        T: Source<S>,
    {
        let token = self.engine.live_source(id.0)?;
        let place = self.engine.watched(token)?.place;
        let mut source = self.app.sources.get_mut(place)?.take()?;
        let mut cx = SourceContext::new(self.engine, self.app, token);
        let any: &mut dyn Any = &mut *source;
        let visit = || any.downcast_mut::<T>().map(|source| visit(source, &mut cx));
        // A panic is the visitor's, not the visited one's, which gets its place back first.
        let outcome = catch_unwind(AssertUnwindSafe(visit));
        self.app.put_back_source(place, source);
        outcome.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

impl<S> LoopContext<'_, S> {
    /// Closes a source at the end of the turn. `false`: it is gone.
    pub fn close_source(&mut self, id: SourceId) -> bool {
        let Some(token) = self.engine.live_source(id.0) else { return false };
        self.engine.end_source(token, CloseReason::Closed);
        true
    }

    /// Calls [`Source::on_ready`] next turn, whether the kernel tells anything or not: for a source that had said it was
    /// drained though it was not, because it wanted no more for a while. `false`: it is gone.
    pub fn wake_source(&mut self, id: SourceId) -> bool {
        let Some(token) = self.engine.live_source(id.0) else { return false };
        self.engine.wake_source(token);
        true
    }
}

/// What a callback of a source can do: everything of its [`LoopContext`], and more with its own descriptor.
pub struct SourceContext<'a, S = ()> {
    scope: LoopContext<'a, S>,
    token: Token,
}

impl<'a, S> SourceContext<'a, S> {
    pub(crate) fn new(engine: &'a mut Engine, app: &'a mut Application<S>, token: Token) -> Self {
        Self { scope: LoopContext::new(engine, app), token }
    }

    /// The name of this source.
    #[must_use]
    pub fn id(&self) -> SourceId {
        SourceId(self.token)
    }

    /// The descriptor.
    ///
    /// # Panics
    /// It is one of a simulation, which is none outside: use [`read`](Self::read) and [`write`](Self::write) there.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.watched().fd.lend()
    }

    /// Reads from the descriptor; see read(2). `Ok(0)` is the end.
    ///
    /// # Errors
    /// `WouldBlock`: there is nothing for now, and the kernel will tell when there is. Otherwise the kernel's own.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        bytes::read(self.raw(), into)
    }

    /// Writes to the descriptor, perhaps only the first of the bytes; see write(2).
    ///
    /// On a pipe that nobody reads any more it raises SIGPIPE, which Rust programs ignore from the start.
    ///
    /// # Errors
    /// `WouldBlock`: there is no room for now, and the kernel will tell when there is. `BrokenPipe`: nobody reads any more.
    /// Otherwise the kernel's own.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes::write(self.raw(), bytes)
    }

    /// Sets a timer: [`Source::on_timer`] is called with the same id after `delay`, at a resolution of one millisecond and
    /// never early. It ends with the source.
    ///
    /// # Errors
    /// The source has as many timers as [`Limits::timers_per_connection`](crate::Limits::timers_per_connection) allows, or
    /// the loop as many as [`Limits::timers`](crate::Limits::timers).
    pub fn set_timer(&mut self, delay: Duration) -> io::Result<TimerId> {
        self.scope.engine.set_source_timer(self.token, delay)
    }

    /// Takes a timer back: it will not fire. `false`: it has fired, or is none of this source.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.scope.engine.cancel_source_timer(self.token, timer)
    }

    /// Asks to be told of something else from now on. What is so already is told anew.
    ///
    /// # Errors
    /// The kernel refuses, which it does not unless its memory is short.
    pub fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        let engine = &self.scope.engine;
        engine.poller.change(self.raw(), interest, self.token)
    }

    /// Sets whether a drain of the loop waits for this source to close, until its deadline. At first it does not.
    pub fn hold_drain(&mut self, holds: bool) {
        self.scope.engine.hold_drain(self.token, holds);
    }

    /// Closes this source at the end of the turn.
    pub fn close(&mut self) {
        self.scope.engine.end_source(self.token, CloseReason::Closed);
    }

    /// The same for a shorter time, to be part of another context.
    pub(crate) fn again(&mut self) -> SourceContext<'_, S> {
        SourceContext::new(self.scope.engine, self.scope.app, self.token)
    }

    /// Ends the source for a reason of its own.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        self.scope.engine.end_source(self.token, reason);
    }

    /// Whether the source has been closed in this turn.
    pub(crate) fn has_ended(&self) -> bool {
        self.watched().ended
    }

    fn watched(&self) -> &Watched {
        self.scope.engine.watched(self.token).expect("a source leaves its loop when no callback runs")
    }

    pub(crate) fn raw(&self) -> FdRef<'_> {
        self.watched().fd.as_fd()
    }
}

impl<'a, S> Deref for SourceContext<'a, S> {
    type Target = LoopContext<'a, S>;

    fn deref(&self) -> &Self::Target {
        &self.scope
    }
}

impl<S> DerefMut for SourceContext<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.scope
    }
}

/// Runs a callback of a source; an error or a panic ends it. `None`: it failed, or is gone, or a callback of it runs.
pub(crate) fn call<S: 'static, R>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    callback: impl FnOnce(&mut dyn Source<S>, &mut SourceContext<'_, S>) -> Result<R>,
) -> Option<R> {
    let place = engine.watched(token)?.place;
    let mut source = app.sources.get_mut(place)?.take()?;
    let mut cx = SourceContext::new(engine, app, token);
    let outcome = catch_unwind(AssertUnwindSafe(|| callback(&mut *source, &mut cx)));
    app.put_back_source(place, source);
    let reason = match outcome {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => CloseReason::Error(error),
        Err(payload) => {
            engine.counters.panics.add(1);
            CloseReason::Panic(panic_message(payload))
        }
    };
    log::error!("a callback of source {token:?} failed: {reason}");
    engine.counters.sources_failed.add(1);
    engine.end_source(token, reason);
    None
}
