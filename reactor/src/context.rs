//! What a callback can do with its own connection.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::address::SocketAddress;
use crate::application::Application;
use crate::connection::Flag;
use crate::engine::{Engine, gone};
use crate::group::Group;
use crate::handler::Handler;
use crate::loop_context::LoopContext;
use crate::mailbox::PostError;
use crate::net::socket_options::SocketOptions;
use crate::peer::Peer;
use crate::rate::Rates;
use crate::shared_bytes::SharedBytes;
use crate::socket_reader::SocketReader;
use crate::sys::socket;
use crate::timeouts::{ReadProgress, Timeouts};
use crate::timer::TimerId;
use crate::token::{ConnId, Token};

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
