//! What code that runs on a loop can do: with its state, and with every connection by name.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::application::Application;
use crate::connection::Phase;
use crate::context::Context;
use crate::engine::Engine;
use crate::group::Group;
use crate::handle::LoopHandle;
use crate::handler::Handler;
use crate::mailbox::PostError;
use crate::net::address_error::AddressError;
use crate::net::connect::ConnectOptions;
use crate::net::target::Target;
use crate::peer::Peer;
use crate::registered::Registered;
use crate::shared_bytes::SharedBytes;
use crate::token::{ConnId, TaskId, Token};

/// The loop as code that runs on it sees it: its state, and every connection by name.
///
/// Closures posted with [`LoopHandle::execute`] get one; a callback's [`Context`] derefs to one.
pub struct LoopContext<'a, S = ()> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) app: &'a mut Application<S>,
}

impl<'a, S> LoopContext<'a, S> {
    pub(crate) fn new(engine: &'a mut Engine, app: &'a mut Application<S>) -> Self {
        Self { engine, app }
    }

    /// The state that the connections of this loop share. It never leaves the loop's thread, so it needs no lock.
    pub fn state(&mut self) -> &mut S {
        &mut self.app.state
    }

    /// The loop as other threads see it.
    #[must_use]
    pub fn handle(&self) -> LoopHandle<S> {
        self.app.handle.clone()
    }

    /// The time as the loop knows it: when it last looked at the clock, at most 32 callbacks ago. Looking costs nothing.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.engine.clock.now()
    }

    /// Sends bytes to a connection of this loop. `false`: it is gone, closing, or has more output waiting than
    /// [`Limits::max_output`](crate::Limits::max_output) allows, for which it is closed.
    ///
    /// The bytes leave at the end of the turn, together with what else was sent there.
    pub fn send_to(&mut self, id: ConnId, bytes: impl AsRef<[u8]>) -> bool {
        self.live(id).is_some_and(|token| self.engine.send(token, bytes.as_ref()).is_ok())
    }

    /// Sends to all members of a group, on all loops of the server; the bytes are not copied. Members of this loop get them at
    /// the end of the turn, other loops are posted one message each.
    ///
    /// A member with more output waiting than [`Limits::max_output`](crate::Limits::max_output) allows is closed.
    ///
    /// ```
    /// use reactor::{Context, Group, Handler, Input, Result, Server};
    ///
    /// const ROOM: Group = Group(1);
    ///
    /// struct Member;
    ///
    /// impl Handler for Member {
    ///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
    ///         cx.join(ROOM)
    ///     }
    ///
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         // A full mailbox of another loop is no reason to close this connection.
    ///         let _ = cx.broadcast(ROOM, input.take());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let server = Server::builder().threads(2).listen("127.0.0.1:0", |_peer| Member)?.start()?;
    /// # drop(server);
    /// # Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// [`PostError`]: the mailbox of another loop is full, or the loop has ended. Its members get nothing; those of others do.
    pub fn broadcast(&mut self, group: Group, bytes: impl Into<SharedBytes>) -> Result<(), PostError> {
        self.broadcast_but_to(None, group, &bytes.into())
    }

    pub(crate) fn broadcast_but_to(
        &mut self,
        except: Option<Token>,
        group: Group,
        bytes: &SharedBytes,
    ) -> Result<(), PostError> {
        self.engine.broadcast(group, bytes, except);
        let posts = self.app.siblings.iter().map(|handle| handle.broadcast(group, bytes.clone()));
        posts.fold(Ok(()), Result::and)
    }

    /// A connection of this loop, to be used in the way a handler uses its own; `None` if it is gone.
    #[must_use]
    pub fn peer(&mut self, id: ConnId) -> Option<Peer<'_>> {
        let token = self.live(id)?;
        Some(Peer { engine: self.engine, token })
    }

    /// The token of a connection that is of this loop and has not ended.
    fn live(&self, id: ConnId) -> Option<Token> {
        let token = self.engine.ours(id.0)?;
        let connection = self.engine.connection(token)?;
        (connection.phase != Phase::Closed).then_some(token)
    }

    /// Ends the loop after a drain that takes at most `grace`; see [`EventLoop::run`](crate::EventLoop::run).
    pub fn shutdown(&mut self, grace: Duration) {
        self.engine.request_exit(self.engine.clock.deadline_in(grace));
    }

    /// Ends the loop at the end of the turn; open connections are cut.
    pub fn stop(&mut self) {
        self.engine.request_exit(0);
    }
}

impl<S: 'static> LoopContext<'_, S> {
    /// Calls a closure with the handler of another connection, if it is of type `T`, and that connection's context.
    ///
    /// `None`: the connection is gone, its handler is of another type, or one of its callbacks is running right now (a
    /// handler does not reach itself by this).
    ///
    /// ```
    /// use reactor::{ConnId, Context, Handler, Input, Result};
    ///
    /// struct Player {
    ///     score: u32,
    ///     opponent: ConnId,
    /// }
    ///
    /// impl Handler for Player {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         input.take();
    ///         cx.with(self.opponent, |other: &mut Player, cx| {
    ///             other.score += 1;
    ///             cx.send("point for you\n")
    ///         });
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn with<T, R>(&mut self, id: ConnId, visit: impl FnOnce(&mut T, &mut Context<'_, S>) -> R) -> Option<R>
    where
        T: Handler<S>,
    {
        let token = self.live(id)?;
        let mut handler = self.app.take(token)?;
        let mut cx = Context::new(self.engine, self.app, token);
        let any: &mut dyn Any = &mut *handler;
        let visit = || any.downcast_mut::<T>().map(|handler| visit(handler, &mut cx));
        // A panic is the visitor's, not the visited one's, who gets its handler back first.
        let outcome = catch_unwind(AssertUnwindSafe(visit));
        self.app.put_back(token, handler);
        outcome.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Runs a closure on this loop after `delay` (millisecond resolution, never early).
    ///
    /// # Errors
    /// The loop has as many timers as [`Limits::timers`](crate::Limits::timers) allows.
    pub fn run_after(
        &mut self,
        delay: Duration,
        task: impl FnOnce(&mut LoopContext<'_, S>) + 'static,
    ) -> io::Result<TaskId> {
        // The timer wants the name and the name wants the timer: the slot is entered with a stand-in first.
        let token = self.engine.insert(Registered::Waker)?;
        match self.engine.arm(delay, token) {
            Ok(timer) => {
                if let Some(source) = self.engine.sources.get_mut(token.key()) {
                    *source = Registered::Task(timer);
                }
                self.app.tasks.insert(token, Box::new(task));
                Ok(TaskId(token))
            }
            Err(error) => {
                self.engine.sources.remove(token.key());
                Err(error)
            }
        }
    }

    /// Takes back a task that has not run. `false`: it has run, or was taken back before.
    pub fn cancel_task(&mut self, id: TaskId) -> bool {
        let Some(token) = self.engine.ours(id.0) else { return false };
        let Some(Registered::Task(timer)) = self.engine.sources.get(token.key()) else { return false };
        let timer = *timer;
        self.engine.timers.cancel(timer);
        self.engine.sources.remove(token.key());
        self.app.tasks.remove(&token).is_some()
    }

    /// Connects to `target`: an address, several that are tried in turn, or a host by name, which is looked up on a thread of
    /// its own. See [`Target`] for what it may be, [`ConnectOptions`] for deadlines and for tries after a failure.
    ///
    /// The handler sees what an accepted connection's handler sees: `on_open` once the connection is up, and if it cannot be
    /// made, `on_close` alone, with [`CloseReason::ConnectFailed`](crate::CloseReason::ConnectFailed). Meanwhile the name that is answered works: output may be
    /// queued, and [`Peer::close`] gives the attempt up.
    ///
    /// A socket that meets itself, as a connect to a free local port can, counts as refused.
    ///
    /// # Errors
    /// What is known at once: the text of the target is no address; no descriptor is free; the local address cannot be used,
    /// or no address of the target is reachable (unless [`ConnectOptions::reconnect`] is set); as many names wait to be
    /// looked up as [`ResolverOptions::queue`](crate::ResolverOptions::queue) allows; the loop is draining or full. The handler is
    /// dropped without a callback.
    ///
    /// ```
    /// use reactor::{CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, ListenOptions, Result};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         cx.send(input.take())
    ///     }
    /// }
    ///
    /// struct Client;
    ///
    /// impl Handler for Client {
    ///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
    ///         cx.send("hello")
    ///     }
    ///
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         assert_eq!(input.take(), b"hello");
    ///         cx.close_after_flush()
    ///     }
    ///
    ///     fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
    ///         assert!(matches!(reason, CloseReason::Closed), "{reason}");
    ///         cx.stop();
    ///     }
    /// }
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_peer| Echo)?;
    /// let address = event_loop.local_addresses()[0].clone();
    /// event_loop.connect(address, &ConnectOptions::default(), Client)?;
    /// event_loop.run()?;
    /// # Result::Ok(())
    /// ```
    pub fn connect<A>(&mut self, target: A, options: &ConnectOptions, handler: impl Handler<S>) -> io::Result<ConnId>
    where
        A: TryInto<Target>,
        A::Error: Into<AddressError>,
    {
        let target = target.try_into().map_err(Into::<AddressError>::into)?;
        let token = self
            .engine
            .connect(target.clone(), options)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {target}: {error}")))?;
        self.app.put(token, Box::new(handler));
        Ok(ConnId(token))
    }
}
