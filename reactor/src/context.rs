//! What a callback can do: with its own connection, with its loop, and with every other connection of the loop.

use std::any::Any;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::address::SocketAddress;
use crate::application::Application;
use crate::connection::{Flag, Phase};
use crate::engine::{Engine, gone};
use crate::group::Group;
use crate::handle::LoopHandle;
use crate::handler::Handler;
use crate::mailbox::PostError;
use crate::net::address_error::AddressError;
use crate::net::connect::ConnectOptions;
use crate::net::socket_options::SocketOptions;
use crate::net::target::Target;
use crate::peer::Peer;
use crate::rate::Rates;
use crate::shared_bytes::SharedBytes;
use crate::socket_reader::SocketReader;
use crate::source::Source;
use crate::sys::socket;
use crate::timeouts::{ReadProgress, Timeouts};
use crate::timer::TimerId;
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
    pub fn broadcast(&mut self, group: Group, bytes: impl Into<SharedBytes>) -> std::result::Result<(), PostError> {
        self.broadcast_but_to(None, group, &bytes.into())
    }

    fn broadcast_but_to(
        &mut self,
        except: Option<Token>,
        group: Group,
        bytes: &SharedBytes,
    ) -> std::result::Result<(), PostError> {
        self.engine.broadcast(group, bytes, except);
        let posts = self.app.siblings.iter().map(|handle| handle.broadcast(group, bytes.clone()));
        posts.fold(Ok(()), std::result::Result::and)
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
        let token = self.engine.insert(Source::Waker)?;
        match self.engine.arm(delay, token) {
            Ok(timer) => {
                if let Some(source) = self.engine.sources.get_mut(token.key()) {
                    *source = Source::Task(timer);
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
        let Some(Source::Task(timer)) = self.engine.sources.get(token.key()) else { return false };
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

/// What a callback can do: everything of its [`LoopContext`], and more with its own connection.
pub struct Context<'a, S = ()> {
    scope: LoopContext<'a, S>,
    token: Token,
}

impl<'a, S> Context<'a, S> {
    #[inline]
    pub(crate) fn new(engine: &'a mut Engine, app: &'a mut Application<S>, token: Token) -> Self {
        Self { scope: LoopContext::new(engine, app), token }
    }

    /// The name of this connection.
    #[must_use]
    #[inline]
    pub fn id(&self) -> ConnId {
        ConnId(self.token)
    }

    /// Sends bytes. All that one callback sends leaves in one system call as the callback returns; what the kernel does
    /// not take waits in the connection's queue.
    ///
    /// # Errors
    /// The connection is closing, its socket has failed, or more would wait than
    /// [`Limits::max_output`](crate::Limits::max_output). To pass the error on is enough.
    #[inline]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        self.scope.engine.send(self.token, bytes.as_ref())
    }

    /// See [`Peer::send_shared`]. Many bytes leave at once, in one call with what the callback sent before, so that nothing is
    /// queued for a client that reads.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_shared(&mut self, bytes: impl Into<SharedBytes>) -> Result {
        self.this().send_shared(bytes)
    }

    /// See [`Peer::send_file`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_file(&mut self, file: impl Into<Arc<File>>, range: Range<u64>) -> Result {
        self.this().send_file(file, range)
    }

    /// See [`Peer::join`].
    ///
    /// # Errors
    /// As there.
    pub fn join(&mut self, group: Group) -> Result {
        self.this().join(group)
    }

    /// See [`Peer::leave`].
    pub fn leave(&mut self, group: Group) -> bool {
        self.this().leave(group)
    }

    /// [`broadcast`](LoopContext::broadcast) to all members but this connection.
    ///
    /// # Errors
    /// As there.
    pub fn broadcast_to_others(
        &mut self,
        group: Group,
        bytes: impl Into<SharedBytes>,
    ) -> std::result::Result<(), PostError> {
        self.scope.broadcast_but_to(Some(self.token), group, &bytes.into())
    }

    /// Sets a timer: [`Handler::on_timer`] is called with the same id after `delay`, at a resolution of one millisecond
    /// and never early. It ends with the connection.
    ///
    /// # Errors
    /// The connection has as many timers as [`Limits::timers_per_connection`](crate::Limits::timers_per_connection) allows,
    /// or the loop as many as [`Limits::timers`](crate::Limits::timers).
    pub fn set_timer(&mut self, delay: Duration) -> io::Result<TimerId> {
        self.scope.engine.set_timer(self.token, delay)
    }

    /// Takes a timer back: it will not fire. `false`: it has fired, or is none of this connection.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.scope.engine.cancel_timer(self.token, timer)
    }

    /// Takes out the input that [`Handler::on_data`] left.
    #[must_use]
    pub fn take_unread(&mut self) -> Vec<u8> {
        self.scope.engine.take_input(self.token).into()
    }

    /// See [`Peer::close_after_flush`]. It never fails; the result is there to be returned.
    ///
    /// # Errors
    /// None.
    pub fn close_after_flush(&mut self) -> Result {
        self.this().close_after_flush();
        Ok(())
    }

    /// Serves what has arrived by now, then closes when the output is sent: the end of a connection in a drain. One that is
    /// [relayed](Peer::relay_to) goes on. It never fails; the result is there to be returned.
    ///
    /// # Errors
    /// None.
    pub fn finish(&mut self) -> Result {
        self.scope.engine.finish_input(self.token);
        Ok(())
    }

    /// See [`Peer::close`].
    pub fn close(&mut self) {
        self.this().close();
    }

    /// See [`Peer::abort`].
    pub fn abort(&mut self) {
        self.this().abort();
    }

    /// See [`Peer::shutdown_write`].
    pub fn shutdown_write(&mut self) {
        self.this().shutdown_write();
    }

    /// See [`Peer::pause`].
    pub fn pause(&mut self) {
        self.this().pause();
    }

    /// See [`Peer::resume`].
    pub fn resume(&mut self) {
        self.this().resume();
    }

    /// See [`Peer::quickack`].
    pub fn quickack(&self) {
        self.scope.engine.acknowledge(self.token);
    }

    /// Lends the receiving direction of this connection to another thread; reading is paused until it is
    /// [taken back](Self::take_back_input). Meanwhile the loop learns nothing of the socket but its failure: output that has to
    /// wait, waits until then.
    ///
    /// # Errors
    /// No descriptor is left, or the connection is gone. `Unsupported`: it is a simulated one.
    pub fn lend_input(&mut self) -> io::Result<SocketReader> {
        self.scope.engine.lend_input(self.token)
    }

    /// Takes back what was lent, and [resumes](Self::resume) reading. What the other thread took is counted as received.
    ///
    /// # Errors
    /// The kernel does not watch the socket any more, which is the end of the connection.
    pub fn take_back_input(&mut self, reader: SocketReader) -> Result {
        self.scope.engine.take_back_input(self.token, reader)
    }

    /// See [`Peer::want_drained`].
    pub fn want_drained(&mut self) {
        self.this().want_drained();
    }

    /// See [`Peer::set_options`].
    ///
    /// # Errors
    /// As there.
    pub fn set_options(&mut self, options: &SocketOptions) -> Result {
        self.this().set_options(options)
    }

    /// See [`Peer::relay_to`].
    ///
    /// # Errors
    /// As there.
    pub fn relay_to(&mut self, peer: ConnId) -> Result {
        self.this().relay_to(peer)
    }

    /// See [`Peer::queued`].
    #[must_use]
    pub fn queued(&self) -> usize {
        self.scope.engine.queued(self.token)
    }

    /// See [`Peer::set_idle_timeout`].
    pub fn set_idle_timeout(&mut self, timeout: impl Into<Option<Duration>>) {
        self.this().set_idle_timeout(timeout);
    }

    /// See [`Peer::set_timeouts`].
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.this().set_timeouts(timeouts);
    }

    /// See [`Peer::set_rates`].
    pub fn set_rates(&mut self, rates: Rates) {
        self.this().set_rates(rates);
    }

    /// Says what input is expected from now on ([`Timeouts::read`]), in the place of what was expected before; `None`: nothing in
    /// particular, for any time. If it does not come, the connection is closed with [`CloseReason::Timeout`](crate::CloseReason::Timeout). It costs no timer
    /// of its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use reactor::{Context, Handler, Input, ReadProgress, Result};
    ///
    /// /// A request is a line, and has ten seconds from its first byte on; between two of them a client may be silent.
    /// #[derive(Default)]
    /// struct Requests {
    ///     begun: bool,
    /// }
    ///
    /// impl Handler for Requests {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         while let Some(request) = input.take_until(b'\n') {
    ///             cx.send(request)?;
    ///             self.begun = false;
    ///         }
    ///         let begins = !input.is_empty();
    ///         if begins && !self.begun {
    ///             cx.expect_input(ReadProgress::all_within(Duration::from_secs(10)));
    ///         } else if !begins {
    ///             cx.expect_input(None);
    ///         }
    ///         self.begun = begins;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn expect_input(&mut self, progress: impl Into<Option<ReadProgress>>) {
        self.scope.engine.expect_input(self.token, progress.into());
    }

    /// See [`Peer::peer_address`].
    ///
    /// # Errors
    /// The peer is gone.
    pub fn peer_address(&self) -> io::Result<SocketAddress> {
        let connection = self.scope.engine.connection(self.token).ok_or_else(gone)?;
        socket::peer_address(connection.fd().as_fd())
    }

    /// See [`Peer::local_address`].
    ///
    /// # Errors
    /// The kernel refuses, which it does not on an open socket.
    pub fn local_address(&self) -> io::Result<SocketAddress> {
        let connection = self.scope.engine.connection(self.token).ok_or_else(gone)?;
        socket::local_address(connection.fd().as_fd())
    }

    /// This connection, as other connections see it.
    pub(crate) fn this(&mut self) -> Peer<'_> {
        Peer { engine: self.scope.engine, token: self.token }
    }
}

impl<S: 'static> Context<'_, S> {
    /// Gives this connection another handler when the callback returns; the present one is dropped without an `on_close`.
    /// It is how one protocol hands over to another. What the callback leaves in its input is shown to the new handler.
    pub fn replace_handler(&mut self, handler: impl Handler<S>) {
        self.scope.app.put(self.token, Box::new(handler));
        if let Some(connection) = self.scope.engine.connection_mut(self.token) {
            connection.set(Flag::REVISIT);
        }
        self.scope.engine.push_pending(self.token);
    }
}

impl<'a, S> Deref for Context<'a, S> {
    type Target = LoopContext<'a, S>;

    fn deref(&self) -> &Self::Target {
        &self.scope
    }
}

impl<S> DerefMut for Context<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.scope
    }
}
