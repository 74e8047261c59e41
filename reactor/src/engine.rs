//! Everything of a loop that does not know the application: sources, readiness, queues, time.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::acceptor::Reserve;
use crate::budget::LoopBudget;
use crate::buffer::Buffer;
use crate::bulk_share::BulkShare;
use crate::clock::Clock;
use crate::close_reason::{CloseReason, Overflow};
use crate::connection::{Connection, Fill, Flag, Phase};
use crate::datagram_outbox::DatagramOutbox;
use crate::group::Groups;
use crate::idle::{IdleQueue, MAX_IDLE_MS};
use crate::interest::Interest;
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::outbox::{DIRECT, Outbox};
use crate::pacer::Pacer;
use crate::pipe_pool::PipePool;
use crate::poller::Poller;
use crate::rate::Direction;
use crate::registered::Registered;
use crate::registry::Registry;
use crate::resolver::Names;
use crate::scratch::Scratch;
use crate::socket_reader::SocketReader;
use crate::sys::datagram::SendBatch;
use crate::sys::fd::Fd;
use crate::sys::option;
use crate::timer::{TimerId, TimerQueue};
use crate::token::Token;

/// The engine of one loop. It is compiled once, whatever the application's state is.
pub(crate) struct Engine {
    pub(crate) loop_index: u16,
    pub(crate) limits: Limits,
    pub(crate) poller: Poller,
    pub(crate) sources: Registry<Registered>,
    pub(crate) clock: Clock,
    pub(crate) timers: TimerQueue<Token>,
    pub(crate) idle: IdleQueue,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reserve: Reserve,
    /// Sources that stopped before `EAGAIN`: no edge will come for them.
    pub(crate) pending: Vec<Token>,
    /// What may be moved in bulk now.
    pub(crate) bulk: BulkShare,
    pub(crate) groups: Groups,
    /// What relays move bytes through.
    pub(crate) pipes: PipePool,
    /// Connections that others queued output to in this turn.
    pub(crate) dirty: Vec<Token>,
    /// Connections that have ended and not yet been told.
    pub(crate) ended: VecDeque<(Token, CloseReason)>,
    /// What the running callback has sent so far; it leaves as the callback returns.
    pub(crate) outbox: Outbox,
    /// The same of datagrams.
    pub(crate) datagram_outbox: DatagramOutbox,
    /// Room for the headers of one `sendmmsg`.
    pub(crate) send_batch: SendBatch,
    /// Whose callback runs.
    pub(crate) speaker: Option<Token>,
    /// Whose callback runs, as long as what it sends there goes to the outbox.
    pub(crate) gathering: Option<Token>,
    /// A place has become free since accepting was last tried.
    pub(crate) vacancy: bool,
    /// No more connections are made: the loop is on its way out.
    pub(crate) draining: bool,
    /// How many sources hold a drain up.
    pub(crate) holding: usize,
    /// What may wait in memory.
    pub(crate) budget: LoopBudget,
    /// The rates that all connections share.
    pub(crate) pacer: Option<Box<Pacer>>,
    /// How host names are looked up; set as the loop is made.
    pub(crate) names: Option<Names>,
    /// The millisecond at which the loop ends by force, once its end was asked for.
    pub(crate) exit_ms: Option<u64>,
}

impl Engine {
    pub(crate) fn new(loop_index: u16, limits: Limits) -> io::Result<Self> {
        limits.check()?;
        Ok(Self {
            loop_index,
            poller: Poller::new(limits.events_per_wait)?,
            sources: Registry::new(),
            clock: Clock::new(),
            timers: TimerQueue::with_max(limits.timers),
            idle: IdleQueue::new(),
            counters: Arc::default(),
            reserve: Reserve::new(),
            pending: Vec::new(),
            bulk: BulkShare::unbounded(&limits),
            groups: Groups::new(),
            pipes: PipePool::new(limits.relay_pipes),
            dirty: Vec::new(),
            ended: VecDeque::new(),
            outbox: Outbox::new(DIRECT.min(limits.high_mark)),
            datagram_outbox: DatagramOutbox::default(),
            send_batch: SendBatch::default(),
            speaker: None,
            gathering: None,
            vacancy: false,
            draining: false,
            holding: 0,
            budget: LoopBudget::new(limits.memory_soft, limits.memory_hard),
            pacer: None,
            names: None,
            exit_ms: None,
            limits,
        })
    }

    /// Enters a source and says its name.
    pub(crate) fn insert(&mut self, source: Registered) -> io::Result<Token> {
        match self.sources.insert(source) {
            Ok(key) => Ok(Token::new(self.loop_index, key)),
            Err(_) => Err(io::Error::other("the loop has no more names to give: it watches 4 million sources")),
        }
    }

    /// The token, if it is of this loop: a token of another loop may have the same slot and generation.
    pub(crate) fn ours(&self, token: Token) -> Option<Token> {
        (token.loop_index() == self.loop_index).then_some(token)
    }

    /// The connection of this name, unless the name is stale or names something else.
    #[inline]
    pub(crate) fn connection(&self, token: Token) -> Option<&Connection> {
        match self.sources.get(token.key()) {
            Some(Registered::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn connection_mut(&mut self, token: Token) -> Option<&mut Connection> {
        match self.sources.get_mut(token.key()) {
            Some(Registered::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    /// Connections that count for the limit: the open ones and those that linger.
    pub(crate) fn connections(&self) -> u64 {
        self.counters.open.get() + self.counters.lingering.get()
    }

    /// Whether the limit leaves room for one more connection.
    pub(crate) fn has_room(&self) -> bool {
        self.connections() < self.limits.connections as u64
    }

    /// Enters a socket as a connection. On failure the socket is closed and nothing is left behind.
    pub(crate) fn adopt(&mut self, fd: Fd, idle_ms: u32) -> io::Result<Token> {
        let token = self.enter(fd, Phase::Open, idle_ms)?;
        let connection = self.connection(token).expect("it was entered just now");
        if let Err(error) = self.poller.register(connection.fd().as_fd(), Interest::STREAM, token) {
            self.forget(token);
            return Err(error);
        }
        if idle_ms != 0 {
            self.idle.watch(&mut self.sources, token.key().index);
        }
        Ok(token)
    }

    /// Gives a socket that the poller does not watch yet its place.
    pub(crate) fn enter(&mut self, fd: Fd, phase: Phase, idle_ms: u32) -> io::Result<Token> {
        let now = self.clock.stamp();
        let mut connection = match phase {
            Phase::Connecting => Connection::connecting(fd, now),
            _ => Connection::open(fd, now),
        };
        connection.idle_ms = idle_ms;
        let token = self.insert(Registered::Connection(connection))?;
        self.counters.open.add(1);
        Ok(token)
    }

    /// Takes back what was entered, with no trace.
    pub(crate) fn forget(&mut self, token: Token) {
        if self.sources.remove(token.key()).is_some() {
            self.counters.open.subtract(1);
            self.vacancy = true;
        }
    }

    /// Changes the idle timeout, counted from now.
    pub(crate) fn set_idle_timeout(&mut self, token: Token, timeout: Option<Duration>) {
        // The callback may have run for long.
        self.clock.update();
        let stamp = self.clock.stamp();
        let Some(connection) = self.connection_mut(token) else { return };
        connection.idle_ms = idle_ms(timeout);
        connection.last_activity = stamp;
        if connection.phase == Phase::Connecting || connection.phase == Phase::Closed {
            return;
        }
        match timeout {
            Some(_) => self.idle.watch(&mut self.sources, token.key().index),
            None => self.idle.forget(&mut self.sources, token.key().index),
        }
    }

    /// Counts the idle timeout from now.
    pub(crate) fn set_active(&mut self, token: Token) {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connection_mut(token) else { return };
        connection.last_activity = stamp;
        self.idle.watch(&mut self.sources, token.key().index);
    }

    /// Serves this source again next turn, once.
    pub(crate) fn push_pending(&mut self, token: Token) {
        let newly = match self.sources.get_mut(token.key()) {
            Some(Registered::Connection(connection)) => connection.newly_set(Flag::PENDING),
            Some(Registered::Listener(acceptor)) => !mem::replace(&mut acceptor.pending, true),
            Some(Registered::Lingering { pending, .. }) => !mem::replace(pending, true),
            Some(Registered::Datagram(datagram)) => !mem::replace(&mut datagram.pending, true),
            Some(Registered::Watched(watched)) => !mem::replace(&mut watched.pending, true),
            _ => false,
        };
        if newly {
            self.pending.push(token);
        }
    }

    /// Reads once. Answers also whether input waits that the handler left.
    #[inline]
    pub(crate) fn read(&mut self, token: Token, scratch: &mut Scratch, budget: usize) -> (Fill, bool) {
        let Some(Registered::Connection(connection)) = self.sources.get_mut(token.key()) else {
            return (Fill::Empty, false);
        };
        if connection.has(Flag::METERED) {
            return self.read_metered(token, scratch, budget);
        }
        Self::read_on(connection, (&self.clock, &self.limits, &self.counters), scratch, budget)
    }

    /// [`read`](Self::read) of a connection whose governor counts what comes, or says how much may.
    #[cold]
    fn read_metered(&mut self, token: Token, scratch: &mut Scratch, budget: usize) -> (Fill, bool) {
        let allowed = self.allow(token, Direction::Input, budget);
        let Some(Registered::Connection(connection)) = self.sources.get_mut(token.key()).filter(|_| allowed > 0) else {
            return (Fill::Empty, false);
        };
        let read = Self::read_on(connection, (&self.clock, &self.limits, &self.counters), scratch, allowed);
        let count = if let Fill::Data(count) = read.0 { count } else { 0 };
        self.note_input(token, count);
        self.give_back(token, Direction::Input, allowed - count);
        read
    }

    #[inline]
    fn read_on(
        connection: &mut Connection,
        (clock, limits, counters): (&Clock, &Limits, &Counters),
        scratch: &mut Scratch,
        budget: usize,
    ) -> (Fill, bool) {
        let unread = connection.unread();
        // A handler that left all there may be has been closed or has paused, so there is room for a byte at least.
        let room = limits.max_input.saturating_sub(unread).max(1).min(budget);
        let fill = connection.fill(scratch.up_to(room), clock, limits);
        if let Fill::Data(count) = fill {
            counters.bytes_in.add(count as u64);
        }
        (fill, unread > 0)
    }

    /// Acknowledges what has arrived. A failure is the connection's end, of which it hears in its own way, or says that there
    /// is no TCP here.
    pub(crate) fn acknowledge(&self, token: Token) {
        if let Some(connection) = self.connection(token) {
            let _ = option::set_quickack(connection.fd().as_fd());
        }
    }

    /// Stops reading; what comes waits in the kernel.
    pub(crate) fn pause(&mut self, token: Token) {
        if let Some(connection) = self.connection_mut(token) {
            connection.set(Flag::PAUSED);
        }
    }

    /// Another thread reads from the connection from now on. What arrives meanwhile would wake the loop for nothing.
    pub(crate) fn lend_input(&mut self, token: Token) -> io::Result<SocketReader> {
        let connection = self.connection(token).ok_or_else(gone)?;
        let socket = connection.fd().as_fd().duplicate()?;
        self.poller.change(connection.fd().as_fd(), Interest::LENT, token)?;
        self.pause(token);
        Ok(SocketReader::new(socket.into()))
    }

    /// The loop reads again. The kernel tells anew of all that is ready.
    pub(crate) fn take_back_input(&mut self, token: Token, reader: SocketReader) -> io::Result<()> {
        let bytes = reader.taken();
        drop(reader);
        self.counters.bytes_in.add(bytes);
        let stamp = self.clock.stamp();
        let Some(connection) = self.connection_mut(token) else { return Ok(()) };
        if bytes > 0 {
            connection.last_activity = stamp;
        }
        if let Some(connection) = self.connection(token) {
            self.poller.change(connection.fd().as_fd(), Interest::STREAM, token)?;
        }
        self.resume(token);
        Ok(())
    }

    /// Reads again, beginning with what the handler left.
    pub(crate) fn resume(&mut self, token: Token) {
        // A callback that pauses and resumes may leave input yet, which only then becomes the connection's.
        let speaking = self.speaker == Some(token);
        let Some(connection) = self.connection_mut(token) else { return };
        let paused = connection.has(Flag::PAUSED);
        connection.clear(Flag::PAUSED);
        if connection.unread() > 0 || speaking && paused {
            connection.set(Flag::REVISIT);
        }
        if connection.may_read() || connection.may_revisit() || connection.has(Flag::RELAYED) {
            self.push_pending(token);
        }
        if paused {
            self.restart_read_watch(token);
        }
    }

    /// Asks for `on_drained` when little output is left, at the earliest next turn.
    pub(crate) fn want_drained(&mut self, token: Token) {
        let low_mark = self.limits.low_mark;
        let Some(connection) = self.connection_mut(token) else { return };
        connection.set(Flag::TELL_DRAINED);
        if connection.queued() <= low_mark {
            self.push_pending(token);
        }
    }

    /// Arms a timer of the connection.
    pub(crate) fn set_timer(&mut self, token: Token, delay: Duration) -> io::Result<TimerId> {
        let limit = self.limits.timers_per_connection;
        let connection = self.connection(token).ok_or_else(gone)?;
        if connection.timers().len() >= limit {
            let message = format!("the connection has {limit} timers, as many as Limits::timers_per_connection allows");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        let timer = self.arm(delay, token)?;
        self.connection_mut(token).ok_or_else(gone)?.add_timer(timer);
        Ok(timer)
    }

    /// Arms a timer of any source.
    pub(crate) fn arm(&mut self, delay: Duration, token: Token) -> io::Result<TimerId> {
        let deadline = self.clock.deadline_in(delay);
        let full =
            || io::Error::new(io::ErrorKind::QuotaExceeded, "the loop has as many timers as Limits::timers allows");
        self.timers.insert(deadline, token).ok_or_else(full)
    }

    /// Disarms a timer of this connection; `false` if it is none or has fired.
    pub(crate) fn cancel_timer(&mut self, token: Token, timer: TimerId) -> bool {
        let ours = self.connection_mut(token).is_some_and(|connection| connection.remove_timer(timer));
        ours && self.timers.cancel(timer).is_some()
    }

    /// Asks for the end of the loop, with a drain until `deadline_ms`. The earliest that was asked for holds.
    pub(crate) fn request_exit(&mut self, deadline_ms: u64) {
        self.exit_ms = Some(self.exit_ms.map_or(deadline_ms, |before| before.min(deadline_ms)));
    }

    /// The millisecond at which the loop ends by force, if its end was asked for.
    pub(crate) fn exit_deadline(&self) -> Option<u64> {
        self.exit_ms
    }

    /// Keeps the input that a handler left, within the bound; beyond it the connection ends.
    ///
    /// Answers whether the connection is to be read on.
    pub(crate) fn keep_input(&mut self, token: Token, input: Buffer) -> bool {
        let (max_input, length) = (self.limits.max_input, input.len());
        let Some(connection) = self.connection_mut(token) else { return false };
        connection.keep_input(input);
        let rests = [Flag::PAUSED, Flag::BLOCKED, Flag::RELAYED].into_iter().any(|flag| connection.has(flag));
        let stuck = length >= max_input && !rests;
        self.counters.buffered.add(length as u64);
        self.note_growth();
        if stuck {
            self.end(token, CloseReason::Overflow(Overflow::Input));
        }
        self.connection(token).is_some_and(Connection::may_read)
    }

    /// Takes out the input that a handler left.
    pub(crate) fn take_input(&mut self, token: Token) -> Buffer {
        let Some(connection) = self.connection_mut(token) else { return Buffer::new() };
        let input = connection.take_input();
        self.counters.buffered.subtract(input.len() as u64);
        input
    }
}

/// An idle timeout as connections keep it: at most about 12 days, and a millisecond more than asked for, because the time
/// of the last activity is cut to whole ones and a timeout is never early.
pub(crate) fn idle_ms(timeout: Option<Duration>) -> u32 {
    let to_ms = |timeout: Duration| u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
    timeout.map_or(0, |timeout| to_ms(timeout).min(MAX_IDLE_MS - 1) + 1)
}

pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is gone")
}
