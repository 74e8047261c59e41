//! What only local sockets can: to say who is at the other end, to pass descriptors; and to take sockets over that were made
//! elsewhere.

use std::io;
use std::os::fd::OwnedFd;

use crate::Result;
use crate::address::SocketAddress;
use crate::buffer::Buffer;
use crate::connection::{Connection, Flag, Phase};
use crate::context::Context;
use crate::credentials::Credentials;
use crate::engine::{Engine, gone};
use crate::handler::Handler;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::output::{Passing, Piece};
use crate::peer::Peer;
use crate::sys::fd::{Fd, FdRef};
use crate::sys::{fd_passing, option, socket};
use crate::token::{ConnId, Token};

impl<S: 'static> LoopContext<'_, S> {
    /// Serves a connected stream socket that was made elsewhere: an end of a
    /// [socket pair](std::os::unix::net::UnixStream::pair), one that was passed from another process, one that another library
    /// has connected. It is made nonblocking and close-on-exec.
    ///
    /// The handler sees what an accepted connection's handler sees, beginning with `on_open` in the next turn.
    ///
    /// # Errors
    /// `InvalidInput`: it is no stream socket. `NotConnected`: it has no peer. Or the loop is draining or full. The socket is
    /// closed and the handler dropped without a callback.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use reactor::{Context, EventLoop, Handler, Input, Result};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         cx.send(input.take())
    ///     }
    /// }
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.context().adopt(ours, Echo)?;
    /// theirs.write_all(b"hello")?;
    /// while event_loop.metrics().bytes_out < 5 {
    ///     event_loop.turn(None)?;
    /// }
    /// let mut answer = [0; 5];
    /// theirs.read_exact(&mut answer)?;
    /// assert_eq!(&answer, b"hello");
    /// # Result::Ok(())
    /// ```
    pub fn adopt(&mut self, socket: impl Into<OwnedFd>, handler: impl Handler<S>) -> io::Result<ConnId> {
        let token = self.engine.adopt_made(socket.into().into())?;
        self.app.put(token, Box::new(handler));
        Ok(ConnId(token))
    }
}

impl Engine {
    /// Enters a connected socket, whose handler is told of it next turn.
    fn adopt_made(&mut self, fd: Fd) -> io::Result<Token> {
        if self.draining {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the loop is shutting down"));
        }
        if !self.has_room() {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "as many connections are open as Limits allows"));
        }
        if self.poller.is_simulated() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the simulated kernel has its own sockets alone"));
        }
        if !option::is_stream(fd.as_fd())? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no stream socket"));
        }
        socket::peer_address(fd.as_fd())?;
        option::set_nonblocking(fd.as_fd())?;
        let token = self.enter(fd, Phase::Connecting, 0)?;
        let connection = self.connection(token).expect("it was entered just now");
        if let Err(error) = self.poller.register(connection.fd().as_fd(), Interest::STREAM, token) {
            self.forget(token);
            return Err(error);
        }
        self.push_pending(token);
        Ok(token)
    }

    /// The socket of a connection, if it is a Unix one.
    fn unix_socket(&self, token: Token) -> io::Result<FdRef<'_>> {
        let fd = self.connection(token).ok_or_else(gone)?.fd().as_fd();
        if fd.is_simulated() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the simulated kernel passes nothing but bytes"));
        }
        match socket::local_address(fd)? {
            SocketAddress::Unix(_) => Ok(fd),
            SocketAddress::Inet(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "it is no Unix socket")),
        }
    }
}

impl Peer<'_> {
    /// Who is at the other end of a Unix socket.
    ///
    /// # Errors
    /// `Unsupported`: it is no Unix socket.
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        let (pid, uid, gid) = option::peer_credentials(self.engine.unix_socket(self.token)?)?;
        Ok(Credentials { pid, uid, gid })
    }

    /// Sends bytes, and with the first of them descriptors, through a Unix socket. The other process gets descriptors of its own to
    /// what these are open on. These are closed once they are sent. See `SCM_RIGHTS` in unix(7).
    ///
    /// The order among what else is sent is kept. They leave at the end of the turn, or when there is room.
    ///
    /// # Errors
    /// As [`Context::send`]. `Unsupported`: it is no Unix socket. `InvalidInput`: there is no byte, or more than 253
    /// descriptors.
    pub fn send_with_fds(&mut self, bytes: impl AsRef<[u8]>, fds: Vec<OwnedFd>) -> Result {
        let bytes = Buffer::from(bytes.as_ref());
        self.engine.unix_socket(self.token)?;
        if bytes.is_empty() || fds.len() > fd_passing::MOST {
            let message = "at most 253 descriptors are sent, and with a byte at least";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.engine.send_piece(self.token, Piece::Passing(Box::new(Passing { bytes, fds })))
    }
}

impl<S> Context<'_, S> {
    /// See [`Peer::peer_credentials`].
    ///
    /// # Errors
    /// As there.
    pub fn peer_credentials(&mut self) -> io::Result<Credentials> {
        self.this().peer_credentials()
    }

    /// See [`Peer::send_with_fds`].
    ///
    /// # Errors
    /// As there.
    pub fn send_with_fds(&mut self, bytes: impl AsRef<[u8]>, fds: Vec<OwnedFd>) -> Result {
        self.this().send_with_fds(bytes, fds)
    }

    /// Takes descriptors that come on this connection from now on; [`take_fds`](Self::take_fds) gives them. Called in
    /// [`Handler::on_open`] it misses none. Without this the kernel closes those that are sent here.
    ///
    /// # Errors
    /// `Unsupported`: it is no Unix socket.
    pub fn receive_fds(&mut self) -> Result {
        let token = self.id().0;
        self.engine.unix_socket(token)?;
        if let Some(connection) = self.engine.connection_mut(token) {
            connection.set(Flag::RECEIVES_FDS);
        }
        Ok(())
    }

    /// The descriptors that have come with the bytes that [`Handler::on_data`] is shown. They are close-on-exec, and come with the
    /// first of the bytes that they were sent with, though bytes that were sent before may be shown in the same call.
    ///
    /// A handler that leaves bytes may leave descriptors too. When it has taken all bytes, the descriptors that it has not taken are
    /// closed; so they are when the connection ends. At most
    /// [`Limits::fds_per_connection`](crate::Limits::fds_per_connection) may wait.
    #[must_use]
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        let token = self.id().0;
        self.engine.connection_mut(token).map(Connection::take_passed).unwrap_or_default()
    }
}
