//! What a callback of a datagram socket can do, and what others of its loop can do with the socket.

use std::any::Any;
use std::io;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::Result;
use crate::address::SocketAddress;
use crate::application::Application;
use crate::close_reason::CloseReason;
use crate::connection::Phase;
use crate::datagram::Datagram;
use crate::datagram_handler::DatagramHandler;
use crate::engine::{Engine, gone};
use crate::loop_context::LoopContext;
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::net::datagram_options::DatagramOptions;
use crate::net::datagram_socket::DatagramSocket;
use crate::sys::ancillary::Source;
use crate::sys::datagram::{Message, ReceiveBatch};
use crate::sys::datagram_option;
use crate::sys::fd::FdRef;
use crate::sys::sockaddr::RawAddress;
use crate::timer::TimerId;
use crate::token::{DatagramId, Token};

impl<S: 'static> LoopContext<'_, S> {
    /// Binds a datagram socket: `udp://HOST:PORT`, `unix-dgram:/path` or `unix-dgram:@name`.
    ///
    /// # Errors
    /// As [`DatagramSocket::bind`], or the loop is draining. The handler is dropped without a callback.
    pub fn bind_datagram<A>(
        &mut self,
        address: A,
        options: &DatagramOptions,
        handler: impl DatagramHandler<S>,
    ) -> io::Result<DatagramId>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        self.add_datagram(DatagramSocket::bind(address, options)?, handler)
    }

    /// Makes a socket that exchanges datagrams with one peer alone; see [`DatagramSocket::connect`].
    ///
    /// # Errors
    /// As [`DatagramSocket::connect`], or the loop is draining. The handler is dropped without a callback.
    pub fn connect_datagram(
        &mut self,
        peer: impl Into<SocketAddress>,
        options: &DatagramOptions,
        handler: impl DatagramHandler<S>,
    ) -> io::Result<DatagramId> {
        self.add_datagram(DatagramSocket::connect(peer, options)?, handler)
    }

    /// Serves a socket that is made already. [`DatagramHandler::on_open`] is called at the end of the turn.
    ///
    /// # Errors
    /// The kernel does not let it be watched, or the loop is draining. The handler is dropped without a callback.
    pub fn add_datagram(&mut self, socket: DatagramSocket, handler: impl DatagramHandler<S>) -> io::Result<DatagramId> {
        self.watch_datagram(socket, Box::new(handler), false)
    }

    pub(crate) fn watch_datagram(
        &mut self,
        socket: DatagramSocket,
        handler: Box<dyn DatagramHandler<S>>,
        shared: bool,
    ) -> io::Result<DatagramId> {
        if self.engine.draining {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the loop is shutting down"));
        }
        let place = self.app.datagram_handlers.insert(Some(handler));
        match self.engine.insert_datagram(Datagram::new(socket, place, shared)) {
            Ok(token) => {
                self.engine.push_pending(token);
                Ok(DatagramId(token))
            }
            Err(error) => {
                self.app.datagram_handlers.remove(place);
                Err(error)
            }
        }
    }

    /// Calls a closure with the handler of a datagram socket, if it is of type `T`, and that socket's context; as
    /// [`with`](Self::with) does for connections.
    pub fn with_datagram<T, R>(
        &mut self,
        id: DatagramId,
        visit: impl FnOnce(&mut T, &mut DatagramContext<'_, S>) -> R,
    ) -> Option<R>
    where
        T: DatagramHandler<S>,
    {
        let token = self.live_datagram(id)?;
        let place = self.engine.datagram(token)?.handler;
        let mut handler = self.app.datagram_handlers.get_mut(place)?.take()?;
        let mut cx = DatagramContext::new(self.engine, self.app, token, None);
        let any: &mut dyn Any = &mut *handler;
        let visit = || any.downcast_mut::<T>().map(|handler| visit(handler, &mut cx));
        // A panic is the visitor's, not the visited one's, who gets its handler back first.
        let outcome = catch_unwind(AssertUnwindSafe(visit));
        self.app.put_back_datagram(place, handler);
        outcome.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

impl<S> LoopContext<'_, S> {
    /// A datagram socket of this loop, to be used by others than its own handler; `None` if it is gone.
    #[must_use]
    pub fn datagram(&mut self, id: DatagramId) -> Option<DatagramRef<'_>> {
        let token = self.live_datagram(id)?;
        Some(DatagramRef { engine: self.engine, token })
    }

    fn live_datagram(&self, id: DatagramId) -> Option<Token> {
        let token = self.engine.ours(id.0)?;
        let datagram = self.engine.datagram(token)?;
        (datagram.phase != Phase::Closed).then_some(token)
    }
}

/// What a callback of a datagram socket can do: everything of its [`LoopContext`], and more with its own socket.
pub struct DatagramContext<'a, S = ()> {
    scope: LoopContext<'a, S>,
    token: Token,
    batch: Option<&'a ReceiveBatch>,
    /// Which datagram of the batch is shown now.
    shown: usize,
}

impl<'a, S> DatagramContext<'a, S> {
    pub(crate) fn new(
        engine: &'a mut Engine,
        app: &'a mut Application<S>,
        token: Token,
        batch: Option<&'a ReceiveBatch>,
    ) -> Self {
        Self { scope: LoopContext::new(engine, app), token, batch, shown: 0 }
    }

    /// The next datagram of the batch is shown.
    #[inline]
    pub(crate) fn show(&mut self, index: usize) {
        self.shown = index;
    }

    /// A callback has returned an error.
    #[cold]
    pub(crate) fn count_failure(&mut self, error: &io::Error) {
        log::debug!("a callback of datagram socket {:?} failed: {error}", self.token);
        self.scope.engine.counters.datagrams.failed.add(1);
    }

    /// Whether the socket still receives.
    #[inline]
    pub(crate) fn receives(&self) -> bool {
        self.scope.engine.datagram(self.token).is_some_and(|datagram| datagram.phase <= Phase::Finishing)
    }

    /// The name of this socket.
    #[must_use]
    pub fn id(&self) -> DatagramId {
        DatagramId(self.token)
    }

    /// Sends a datagram; see [`DatagramRef::send_to`]. What the callbacks of one batch say leaves in one call after the last
    /// of them.
    ///
    /// # Errors
    /// As [`DatagramRef::send_to`].
    pub fn send_to(&mut self, to: &SocketAddress, bytes: impl AsRef<[u8]>) -> Result {
        self.socket().send_to(to, bytes)
    }

    /// Sends a datagram to the peer of a connected socket.
    ///
    /// # Errors
    /// As [`DatagramRef::send`].
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        self.socket().send(bytes)
    }

    /// Answers the datagram that is shown by [`DatagramHandler::on_datagram`]: to where it came from, and from the address of
    /// ours that it was sent to, without which a client that asked another address than the routes prefer would not
    /// take it for an answer.
    ///
    /// # Errors
    /// As [`DatagramRef::send_to`]; or no datagram is shown, or its sender has no name, as a Unix socket may.
    #[inline]
    pub fn reply(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        let none_shown = || io::Error::new(io::ErrorKind::NotConnected, "there is no datagram to answer");
        let batch = self.batch.ok_or_else(none_shown)?;
        let to = batch.get(self.shown).from;
        let connected = self.scope.engine.datagram(self.token).is_some_and(|datagram| datagram.socket.is_connected());
        if !connected && to.is_unnamed() {
            let unnamed = "the sender has no name, so it cannot be answered";
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, unnamed));
        }
        let from = batch.asked(self.shown).and_then(|asked| asked.answer_from());
        let to = (!connected).then_some(to);
        self.scope.engine.send_datagram(self.token, Message { bytes: bytes.as_ref(), to, from: from.as_ref() })
    }

    /// The address that the datagram now shown was sent to: one of this machine, a group, or everybody. `None`: the socket is
    /// bound to one address alone ([`local_address`](DatagramRef::local_address)) or is a Unix one.
    #[must_use]
    pub fn destination(&self) -> Option<IpAddr> {
        Some(self.batch?.asked(self.shown)?.destination.to_canonical())
    }

    /// The number of the network interface through which the datagram now shown came, where the
    /// [`destination`](Self::destination) is known.
    #[must_use]
    pub fn interface(&self) -> Option<u32> {
        Some(self.batch?.asked(self.shown)?.interface)
    }

    /// How many bytes the datagram now shown had when it was sent.
    #[must_use]
    pub fn full_length(&self) -> usize {
        self.batch.map_or(0, |batch| batch.get(self.shown).length)
    }

    /// Whether the datagram now shown was longer than [`DatagramOptions::max_size`], so that its end is lost.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.batch.is_some_and(|batch| {
            let shown = batch.get(self.shown);
            shown.bytes.len() < shown.length
        })
    }

    /// Sets a timer: [`DatagramHandler::on_timer`] is called with the same id after `delay`, at a resolution of one
    /// millisecond and never early. It ends with the socket.
    ///
    /// # Errors
    /// The socket has as many timers as [`Limits::timers_per_connection`](crate::Limits::timers_per_connection) allows, or
    /// the loop as many as [`Limits::timers`](crate::Limits::timers).
    pub fn set_timer(&mut self, delay: Duration) -> io::Result<TimerId> {
        self.scope.engine.set_datagram_timer(self.token, delay)
    }

    /// Takes a timer back: it will not fire. `false`: it has fired, or is none of this socket.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.scope.engine.cancel_datagram_timer(self.token, timer)
    }

    /// Serves what has arrived by now, sends what waits, then closes: the end of a socket in a drain. It never fails; the
    /// result is there to be returned.
    ///
    /// # Errors
    /// None.
    pub fn finish(&mut self) -> Result {
        self.scope.engine.finish_datagram_input(self.token);
        Ok(())
    }

    /// See [`DatagramRef::close`]. The rest of the batch that is shown now is dropped.
    pub fn close(&mut self) {
        self.socket().close();
    }

    /// This socket, for what else can be done with it.
    pub fn socket(&mut self) -> DatagramRef<'_> {
        DatagramRef { engine: self.scope.engine, token: self.token }
    }
}

impl<'a, S> Deref for DatagramContext<'a, S> {
    type Target = LoopContext<'a, S>;

    fn deref(&self) -> &Self::Target {
        &self.scope
    }
}

impl<S> DerefMut for DatagramContext<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.scope
    }
}

/// A datagram socket of this loop.
pub struct DatagramRef<'a> {
    engine: &'a mut Engine,
    token: Token,
}

impl DatagramRef<'_> {
    /// The name of the socket.
    #[must_use]
    pub fn id(&self) -> DatagramId {
        DatagramId(self.token)
    }

    /// Sends a datagram, which may be empty. It leaves at the end of the turn; what the kernel has no room for waits, up to
    /// [`Limits::max_datagram_queue`](crate::Limits::max_datagram_queue).
    ///
    /// `Ok` is no promise: a datagram may be lost here, where losses are counted
    /// ([`Datagrams::dropped`](crate::Datagrams::dropped)), as it may be in the network. What is told of it later comes to
    /// [`DatagramHandler::on_error`].
    ///
    /// # Errors
    /// `EMSGSIZE`: it is longer than the protocol carries, 65 507 bytes over IPv4 and 65 527 over IPv6, or on a Unix socket
    /// than its send buffer takes. `StorageFull`: as much waits as may. Or the address is no valid one, or the socket is
    /// closing.
    pub fn send_to(&mut self, to: &SocketAddress, bytes: impl AsRef<[u8]>) -> Result {
        let to = RawAddress::encode(to)?;
        self.engine.send_datagram(self.token, Message { bytes: bytes.as_ref(), to: Some(&to), from: None })
    }

    /// [`send_to`](Self::send_to), from one of the addresses of this machine, for a socket that is bound to all of them.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to). That the address is none of this machine is told to [`DatagramHandler::on_error`].
    pub fn send_to_from(&mut self, to: &SocketAddress, from: IpAddr, bytes: impl AsRef<[u8]>) -> Result {
        let to = RawAddress::encode(to)?;
        let from = Source::of(from);
        self.engine.send_datagram(self.token, Message { bytes: bytes.as_ref(), to: Some(&to), from: Some(&from) })
    }

    /// Sends a datagram to the peer of a connected socket.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to); `NotConnected` on a socket without a peer.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        if !self.engine.datagram(self.token).ok_or_else(gone)?.socket.is_connected() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the socket is not connected: say where to send"));
        }
        self.engine.send_datagram(self.token, Message { bytes: bytes.as_ref(), to: None, from: None })
    }

    /// Bytes that wait because the kernel had no room for them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.engine.datagram(self.token).map_or(0, |datagram| datagram.queue.bytes())
    }

    /// The address it is bound to.
    #[must_use]
    pub fn local_address(&self) -> SocketAddress {
        self.datagram().socket.local_address().clone()
    }

    /// The peer of a connected socket.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddress> {
        self.datagram().socket.peer_address().cloned()
    }

    /// Becomes a member of a multicast group: what is sent there to the socket's port arrives. `interface` is its number
    /// ([`interface_index`](crate::net::interface_index)), or 0 to let the routes choose. See `IP_ADD_MEMBERSHIP` in ip(7).
    ///
    /// # Errors
    /// It is no group, the socket is of the other family or a member already, there is no such interface or no route.
    pub fn join(&self, group: impl Into<IpAddr>, interface: u32) -> io::Result<()> {
        datagram_option::join(self.fd(), group.into(), interface)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// It is no member through this interface.
    pub fn leave(&self, group: impl Into<IpAddr>, interface: u32) -> io::Result<()> {
        datagram_option::leave(self.fd(), group.into(), interface)
    }

    /// Sets how many routers a datagram may pass, at least 1. See `IP_TTL` in ip(7).
    ///
    /// # Errors
    /// It is a Unix socket, or the number is 0.
    pub fn set_ttl(&self, hops: u8) -> io::Result<()> {
        datagram_option::set_ttl(self.fd(), self.is_v6()?, hops)
    }

    /// Sets how many routers a datagram to a group may pass; 0 stays on this machine. See `IP_MULTICAST_TTL` in ip(7).
    ///
    /// # Errors
    /// It is a Unix socket.
    pub fn set_multicast_ttl(&self, hops: u8) -> io::Result<()> {
        datagram_option::set_multicast_ttl(self.fd(), self.is_v6()?, hops)
    }

    /// Sets whether members on this machine get what the socket sends to a group. See `IP_MULTICAST_LOOP` in ip(7).
    ///
    /// # Errors
    /// It is a Unix socket.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        datagram_option::set_multicast_loop(self.fd(), self.is_v6()?, on)
    }

    /// Sets through which interface datagrams to groups leave; 0 lets the routes choose. See `IP_MULTICAST_IF` in ip(7).
    ///
    /// # Errors
    /// It is a Unix socket, or there is no such interface.
    pub fn set_multicast_interface(&self, interface: u32) -> io::Result<()> {
        datagram_option::set_multicast_interface(self.fd(), self.is_v6()?, interface)
    }

    /// Sets whether datagrams may be sent to everybody on the network. See `SO_BROADCAST` in socket(7).
    ///
    /// # Errors
    /// The kernel refuses, which it does not on an open socket.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        datagram_option::set_broadcast(self.fd(), on)
    }

    /// Closes at the end of the turn. What the running callbacks have said still leaves if the kernel takes it; what had to
    /// wait is dropped, and counted.
    pub fn close(&mut self) {
        self.engine.end_datagram(self.token, CloseReason::Closed);
    }

    /// Closes once all that waits is sent; nothing more is received.
    pub fn close_after_flush(&mut self) {
        self.engine.close_datagram_after_flush(self.token);
    }

    fn datagram(&self) -> &Datagram {
        self.engine.datagram(self.token).expect("a socket leaves its loop when no callback runs")
    }

    fn fd(&self) -> FdRef<'_> {
        self.datagram().socket.as_fd()
    }

    fn is_v6(&self) -> io::Result<bool> {
        let unix = || io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no such option");
        self.datagram().socket.is_v6().ok_or_else(unix)
    }
}
