//! A connection as code on its loop reaches it by name: what can be asked of it without knowing its handler.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::address::SocketAddress;
use crate::close_reason::CloseReason;
use crate::engine::{Engine, gone};
use crate::file_range::FileRange;
use crate::group::Group;
use crate::net::socket_options::{Role, SocketOptions};
use crate::output::Piece;
use crate::rate::Rates;
use crate::shared_bytes::SharedBytes;
use crate::sys::socket;
use crate::timeouts::Timeouts;
use crate::token::{ConnId, Token};

/// A connection of this loop, seen from outside of its own handler.
pub struct Peer<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) token: Token,
}

impl Peer<'_> {
    /// The name of the connection.
    #[must_use]
    pub fn id(&self) -> ConnId {
        ConnId(self.token)
    }

    /// Sends bytes; they leave at the end of the turn.
    ///
    /// # Errors
    /// As [`Context::send`](crate::Context::send).
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        self.engine.send(self.token, bytes.as_ref())
    }

    /// Sends bytes without a copy: they leave at the end of the turn, and what the kernel does not take waits as a reference
    /// to them. It pays from some hundred bytes on, or when many connections send the same.
    ///
    /// # Errors
    /// As [`Context::send`](crate::Context::send).
    pub fn send_shared(&mut self, bytes: impl Into<SharedBytes>) -> Result {
        self.engine.send_piece(self.token, Piece::Shared(bytes.into()))
    }

    /// Sends a part of a file, behind what was sent before, by sendfile(2): the bytes do not pass through this process. At most
    /// [`Limits::write_per_turn`](crate::Limits::write_per_turn) leave in one turn, so that a large file does not hold up other
    /// connections; [`Handler::on_drained`](crate::Handler::on_drained) tells when little is left.
    ///
    /// The file's own offset is neither used nor moved, so one open file serves any number of connections. Bytes that are not
    /// in the page cache are read from the disk *on the loop's thread*: have large cold files read ahead elsewhere.
    ///
    /// A file that ends before `range` does closes the connection with [`CloseReason::Error`] of the kind `UnexpectedEof`, which
    /// tells how many bytes were sent: the peer was promised more. On a connection whose peer is gone sendfile(2) raises
    /// SIGPIPE, which Rust programs ignore from the start; a library in another program has to see to that.
    ///
    /// # Errors
    /// As [`Context::send`](crate::Context::send); `InvalidInput` for a range that ends before it begins, or beyond 2^63.
    pub fn send_file(&mut self, file: impl Into<Arc<File>>, range: Range<u64>) -> Result {
        let piece = FileRange::new(file.into(), range)?;
        self.engine.send_piece(self.token, Piece::File(piece))
    }

    /// Enters the connection into a group, to get what is [broadcast](crate::LoopContext::broadcast) there. A second time changes
    /// nothing. It leaves when it ends.
    ///
    /// # Errors
    /// The connection is in as many groups as
    /// [`Limits::groups_per_connection`](crate::Limits::groups_per_connection) allows, or gone.
    pub fn join(&mut self, group: Group) -> Result {
        self.engine.join(self.token, group)
    }

    /// Takes the connection out of a group. `false`: it was not in.
    pub fn leave(&mut self, group: Group) -> bool {
        self.engine.leave(self.token, group)
    }

    /// Bytes sent that the kernel has not taken yet, those of files among them. In `on_close` they are those that it will not take.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.engine.queued(self.token)
    }

    /// Closes once everything queued is sent. No more input is served; what still comes is discarded for a while, so that
    /// a reset does not eat what was sent ([`Limits::linger`](crate::Limits::linger)).
    pub fn close_after_flush(&mut self) {
        self.engine.close_after_flush(self.token);
    }

    /// Closes at the end of the turn. What the running callback sent still leaves if the kernel takes it; what had to wait
    /// is dropped.
    pub fn close(&mut self) {
        self.engine.end(self.token, CloseReason::Closed);
    }

    /// Resets: queued output is dropped and the peer gets an error. See `SO_LINGER` in socket(7).
    pub fn abort(&mut self) {
        self.engine.end(self.token, CloseReason::Aborted);
    }

    /// Ends the sending direction once everything queued is sent: the peer reads end of stream. Input goes on. See
    /// shutdown(2).
    pub fn shutdown_write(&mut self) {
        self.engine.shutdown_write(self.token);
    }

    /// Stops reading. What the peer sends waits in the kernel, which in time stops the peer. No system call is made.
    pub fn pause(&mut self) {
        self.engine.pause(self.token);
    }

    /// Reads again, at the latest next turn, and first shows the handler again what it left.
    pub fn resume(&mut self) {
        self.engine.resume(self.token);
    }

    /// Acknowledges now what has arrived (`TCP_QUICKACK`, see tcp(7)), at the cost of one system call. On a Unix socket, and on
    /// a connection that has failed, it does nothing.
    ///
    /// A kernel puts off an acknowledgement for up to 40 ms, in the hope that an answer takes it along. A peer that writes
    /// in small pieces and has not set `TCP_NODELAY` waits for it with its next piece: where no answer is due before more
    /// has come, call this in each [`Handler::on_data`](crate::Handler::on_data), for it does not last.
    pub fn quickack(&self) {
        self.engine.acknowledge(self.token);
    }

    /// Asks for [`Handler::on_drained`](crate::Handler::on_drained) as soon as no more than the low mark waits, at the earliest next turn: the way to
    /// produce output without end and without a queue.
    pub fn want_drained(&mut self) {
        self.engine.want_drained(self.token);
    }

    /// Joins this connection and another one of the loop for the rest of their lives: what comes on one goes to the other, both
    /// ways. It is all that a proxy does once it knows where to:
    ///
    /// ```
    /// use reactor::{ConnectOptions, Context, Handler, Input, Result};
    ///
    /// /// A client, or what is connected to the target for it.
    /// struct Side {
    ///     target: Option<&'static str>,
    /// }
    ///
    /// impl Handler for Side {
    ///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
    ///         let Some(target) = self.target else { return Ok(()) };
    ///         let other = cx.connect(target, &ConnectOptions::default(), Side { target: None })?;
    ///         cx.relay_to(other)
    ///     }
    ///
    ///     fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
    ///         unreachable!("what comes is relayed")
    ///     }
    /// }
    /// ```
    ///
    /// **Order.** Output that waits leaves first, then input that a handler left, that of the running callback included, then what
    /// comes. Either may still be connecting: what comes for it waits, up to the high mark.
    ///
    /// **Callbacks.** `on_data`, `on_eof` and `on_drained` are called no more. `on_open` of one that is still connecting, timers,
    /// `on_shutdown` and `on_close` are. What a handler sends goes between the relayed bytes, at no certain place. Idle timeouts
    /// count on both for themselves; [`pause`](Self::pause) stops the reading of one.
    ///
    /// **Back-pressure.** One is not read while the output of the other stands above [`Limits::high_mark`](crate::Limits::high_mark),
    /// until it is down at [`Limits::low_mark`](crate::Limits::low_mark).
    ///
    /// **The end.** An end of stream on one is told the other once all has left ([`shutdown_write`](Self::shutdown_write)); when both
    /// have ended, both close with [`CloseReason::Eof`]. When one ends otherwise, its `on_close` is called, and then the other ends,
    /// unless that callback has closed it already: it closes once its output has left ([`CloseReason::Closed`]) if the one was closed
    /// on purpose, idle for too long, or had sent its whole stream; else it is reset ([`CloseReason::Aborted`]), because an end of
    /// stream would say that the stream was whole. In a drain both go on until they end, or until the deadline:
    /// [`Context::finish`](crate::Context::finish) does nothing.
    ///
    /// **Cost.** Small messages are copied once, through the loop's read buffer. While much comes at once the bytes stay in the
    /// kernel and pass by splice(2) through a pipe, of which the loop has at most
    /// [`Limits::relay_pipes`](crate::Limits::relay_pipes); where none can be had they are copied. On a connection whose peer is gone
    /// splice(2) raises SIGPIPE, which Rust programs ignore from the start; a library in another program has to see to that. In a
    /// simulation (feature `sim`) all is copied. A side takes some 200 bytes of memory.
    ///
    /// # Errors
    /// `NotConnected`: one of the two is gone, or is being closed. `InvalidInput`: the two are one, or are of different loops.
    /// `AlreadyExists`: one of them is relayed already. Neither is changed.
    pub fn relay_to(&mut self, peer: ConnId) -> Result {
        self.engine.relay(self.token, peer.0)
    }

    /// Closes the connection when nothing moves in either direction for `timeout` (1 ms to 12 days; `None`: never).
    /// Counted from now.
    pub fn set_idle_timeout(&mut self, timeout: impl Into<Option<Duration>>) {
        self.engine.set_idle_timeout(self.token, timeout.into());
    }

    /// Changes options of the socket; those that are `None` stay as they are.
    ///
    /// ```
    /// use reactor::{Context, Handler, Input, Result, SocketOptions};
    ///
    /// struct Bulk;
    ///
    /// impl Handler for Bulk {
    ///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
    ///         cx.set_options(&SocketOptions::default().nodelay(false).send_buffer(1_u32 << 20))
    ///     }
    ///
    ///     fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         input.take();
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Names the option, the value and the address of the peer: what the kernel refuses, or, as `InvalidInput`, an option that is not
    /// for live connections. Options before it are set. `NotConnected`: the connection is gone, or not up yet.
    pub fn set_options(&mut self, options: &SocketOptions) -> Result {
        let connection = self.engine.connection(self.token).ok_or_else(gone)?;
        let fd = connection.fd().as_fd();
        options.apply(fd, &socket::peer_address(fd)?, Role::Live)
    }

    /// Changes the deadlines besides the idle timeout, all of them, and all counted from now. On a connection that is being
    /// made, they are counted from when it is up.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.engine.set_timeouts(self.token, timeouts);
    }

    /// Changes the rate limits of both directions. The buckets begin full.
    pub fn set_rates(&mut self, rates: Rates) {
        self.engine.set_rates(self.token, rates);
    }

    /// The address of the other end; see getpeername(2).
    ///
    /// # Errors
    /// The peer is gone.
    pub fn peer_address(&self) -> io::Result<SocketAddress> {
        let connection = self.engine.connection(self.token).ok_or_else(gone)?;
        socket::peer_address(connection.fd().as_fd())
    }

    /// The address of this end; see getsockname(2).
    ///
    /// # Errors
    /// The kernel refuses, which it does not on an open socket.
    pub fn local_address(&self) -> io::Result<SocketAddress> {
        let connection = self.engine.connection(self.token).ok_or_else(gone)?;
        socket::local_address(connection.fd().as_fd())
    }
}
