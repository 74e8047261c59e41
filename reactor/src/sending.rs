//! Sending in the engine: what a callback says is gathered, what the kernel does not take waits, and what was to follow follows.

use std::io;
use std::mem;

use crate::close_reason::{CloseReason, Overflow};
use crate::connection::{Connection, Flag, Phase};
use crate::engine::{Engine, gone};
use crate::limits::Limits;
use crate::outbox::DIRECT;
use crate::rate::Direction;
use crate::registered::Registered;
use crate::sys::socket;
use crate::sys::stream::Moved;
use crate::token::Token;

impl Engine {
    /// A callback of this connection begins. Callbacks do not nest.
    #[inline]
    pub(crate) fn begin_callback(&mut self, token: Token) {
        let gathers = self.connection(token).is_some_and(Connection::gathers);
        self.speaker = Some(token);
        self.gathering = gathers.then_some(token);
    }

    /// [`begin_callback`](Self::begin_callback) of a connection that is known to gather what it sends.
    #[inline]
    pub(crate) fn begin_gathering_callback(&mut self, token: Token) {
        self.speaker = Some(token);
        self.gathering = Some(token);
    }

    /// The callback has returned: what it sent leaves. Answers whether the connection is to be read on.
    #[inline(always)]
    pub(crate) fn end_callback(&mut self, token: Token) -> bool {
        self.speaker = None;
        self.gathering = None;
        // No connection leaves its slot during a callback, so the slot is the one of the token.
        if let Some(Registered::Connection(connection)) = self.sources.slot_mut(token.key().index)
            && connection.phase == Phase::Open
        {
            if !self.outbox.is_empty() {
                let moved = connection.send_once(self.outbox.as_slice());
                if !moved.is(self.outbox.len()) {
                    return self.end_callback_short(token, moved);
                }
                connection.last_activity = self.clock.stamp();
                self.counters.bytes_out.add(self.outbox.len() as u64);
                self.outbox.clear();
            }
            return connection.may_read();
        }
        self.end_callback_rare(token)
    }

    /// The kernel did not take all that the callback sent.
    #[cold]
    fn end_callback_short(&mut self, token: Token, moved: Moved) -> bool {
        self.flush_outbox_after(token, Some(moved));
        self.end_callback_rare(token)
    }

    /// The connection is not just open: something is to follow once what the callback sent has left.
    #[cold]
    fn end_callback_rare(&mut self, token: Token) -> bool {
        if !self.outbox.is_empty() {
            self.flush_outbox(token);
        }
        self.after_flush(token);
        self.connection(token).is_some_and(Connection::may_read)
    }

    /// Sends or queues bytes; see [`Context::send`](crate::Context::send).
    #[inline]
    pub(crate) fn send(&mut self, token: Token, bytes: &[u8]) -> io::Result<()> {
        if self.gathers(token) && bytes.len() < DIRECT && self.outbox.gather(bytes) {
            return Ok(());
        }
        self.send_ungathered(token, bytes)
    }

    /// Whether what is sent there goes to the outbox. Words compare in one instruction, options do not.
    #[inline]
    fn gathers(&self, token: Token) -> bool {
        self.gathering.map_or(0, Token::word) == token.word()
    }

    fn send_ungathered(&mut self, token: Token, bytes: &[u8]) -> io::Result<()> {
        let speaking = self.speaker == Some(token);
        let Some(connection) = self.connection(token) else { return Err(gone()) };
        if !connection.may_send() {
            return Err(ending());
        }
        let direct = speaking && connection.gathers();
        if speaking && !self.outbox.is_empty() {
            // What the running callback sent before goes first; together they leave in one call if they are small.
            if direct && self.outbox.len() + bytes.len() < self.limits.high_mark {
                self.outbox.reserve(bytes.len(), self.limits.high_mark);
                self.outbox.gather(bytes);
                return Ok(());
            }
            self.flush_outbox(token);
            return self.send_ungathered(token, bytes);
        }
        if direct { self.send_directly(token, bytes) } else { self.queue(token, bytes) }
    }

    /// Sends a large slice past the empty queue, without a copy of what the kernel takes.
    #[inline(always)]
    fn send_directly(&mut self, token: Token, bytes: &[u8]) -> io::Result<()> {
        let Some(connection) = self.connection_mut(token) else { return Err(gone()) };
        let result = connection.send_now(bytes);
        self.sent(token, bytes, result)
    }

    /// Sends relayed bytes: past an empty queue, or behind what waits. A failure has ended the connection.
    #[inline(never)]
    pub(crate) fn send_relayed(&mut self, token: Token, bytes: &[u8]) {
        let _ = match self.connection(token).is_some_and(Connection::gathers) {
            true => self.send_directly(token, bytes),
            false => self.queue(token, bytes),
        };
    }

    /// Puts bytes behind what waits, and sees to it that they leave this turn if they can.
    pub(crate) fn queue(&mut self, token: Token, bytes: &[u8]) -> io::Result<()> {
        self.queue_by(token, bytes.len(), |connection| connection.queue(bytes))
    }

    /// Queues by a call that adds this cost.
    pub(crate) fn queue_by(
        &mut self,
        token: Token,
        cost: usize,
        queue: impl FnOnce(&mut Connection),
    ) -> io::Result<()> {
        let Limits { low_mark, high_mark, max_output, .. } = self.limits;
        let Some(connection) = self.connection_mut(token) else { return Err(gone()) };
        if connection.phase == Phase::Closed {
            // What is to be dropped need not wait for it.
            return Err(ending());
        }
        if connection.output_cost() + cost > max_output {
            self.end(token, CloseReason::Overflow(Overflow::Output));
            return Err(io::Error::new(io::ErrorKind::StorageFull, "more output waits than Limits::max_output allows"));
        }
        let held = connection.held();
        queue(connection);
        let added = connection.held() - held;
        let waits = connection.queued() > low_mark || !connection.takes_output();
        if waits {
            connection.set(Flag::TELL_DRAINED);
        }
        if connection.queued() > high_mark {
            connection.set(Flag::BLOCKED);
        }
        let flushable = connection.has(Flag::WRITABLE) && connection.newly_set(Flag::DIRTY);
        self.gathering = None;
        self.counters.buffered.add(added as u64);
        if flushable {
            self.dirty.push(token);
        }
        if waits {
            self.output_waits(token);
        }
        if self.note_growth() || self.budget.pressed { self.queued_under_pressure(token) } else { Ok(()) }
    }

    /// Without memory to spare, who has output waiting is read no more until it is out, if it is not given up.
    #[cold]
    fn queued_under_pressure(&mut self, token: Token) -> io::Result<()> {
        self.check_not_given_up(token)?;
        if self.budget.pressed
            && let Some(connection) = self.connection_mut(token).filter(|connection| connection.queued() > 0)
        {
            connection.set(Flag::BLOCKED);
        }
        Ok(())
    }

    /// What was queued just now may have been too much for the loop.
    #[cold]
    fn check_not_given_up(&self, token: Token) -> io::Result<()> {
        match self.connection(token) {
            Some(connection) if connection.phase == Phase::Closed => {
                Err(io::Error::new(io::ErrorKind::OutOfMemory, "more waits on all connections than may"))
            }
            _ => Ok(()),
        }
    }

    /// Sends what the running callback has gathered, in one call if the kernel takes it all.
    fn flush_outbox(&mut self, token: Token) {
        self.flush_outbox_after(token, None);
    }

    /// Sends what the running callback has gathered, of which a first call may have moved something.
    fn flush_outbox_after(&mut self, token: Token, first: Option<Moved>) {
        let mut outbox = mem::take(&mut self.outbox);
        if let Some(connection) = self.connection_mut(token) {
            let bytes = outbox.as_slice();
            let result = match first {
                Some(moved) => connection.send_rest(bytes, moved),
                None => connection.send_now(bytes),
            };
            // The callback has been told "sent", so a failure here only ends the connection.
            let _ = self.sent(token, bytes, result);
        }
        outbox.clear();
        outbox.shrink_to(OUTBOX_KEPT);
        self.outbox = outbox;
    }

    /// Looks at how sending past an empty queue went, and queues what is left.
    #[inline]
    fn sent(&mut self, token: Token, bytes: &[u8], result: io::Result<usize>) -> io::Result<()> {
        match result {
            Ok(sent) => {
                self.count_sent(token, sent);
                if sent == bytes.len() { Ok(()) } else { self.queue(token, &bytes[sent..]) }
            }
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.keep_unsent(token, |connection| connection.queue(bytes));
                self.end(token, CloseReason::Error(error));
                Err(told)
            }
        }
    }

    /// What the kernel has refused stays where it counts as unsent, for who is told of the end.
    #[cold]
    pub(crate) fn keep_unsent(&mut self, token: Token, keep: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.connection_mut(token) else { return };
        let held = connection.held();
        keep(connection);
        let added = connection.held() - held;
        self.counters.buffered.add(added as u64);
    }

    #[inline]
    pub(crate) fn count_sent(&mut self, token: Token, bytes: usize) {
        self.counters.bytes_out.add(bytes as u64);
        let stamp = self.clock.stamp();
        if let Some(connection) = self.connection_mut(token)
            && bytes > 0
        {
            connection.last_activity = stamp;
            if connection.governor().is_some() {
                self.restart_write_watch(token);
            }
        }
    }

    /// Sends what waits if it is little, or if the turn may still move more.
    pub(crate) fn flush_unless_held_back(&mut self, token: Token) {
        if self.connection(token).is_some_and(|connection| self.holds_back_output(connection)) {
            return self.push_pending(token);
        }
        self.flush(token);
    }

    /// Sends what waits, within the budget, and does what was to be done once it is sent.
    pub(crate) fn flush(&mut self, token: Token) {
        let (calls_per_turn, share) = (self.limits.calls_per_turn, self.bulk.per_connection());
        // By its field, for the pipes are needed too.
        let Some(Registered::Connection(connection)) = self.sources.get_mut(token.key()) else { return };
        // A send would take the error that says how the attempt to connect ended.
        if matches!(connection.phase, Phase::Connecting | Phase::Closed) {
            return;
        }
        let (sent, left, result) = if connection.paces_output() {
            self.flush_paced(token)
        } else {
            let (held, tries) = (connection.held(), connection.has(Flag::WRITABLE));
            let (sent, result) = connection.flush(calls_per_turn, share, &mut self.pipes);
            let left = held - connection.held();
            let emptied = if connection.has(Flag::RELAYED) { connection.take_empty_pipe() } else { None };
            // Who is told already is told again only of what the kernel did not take this time.
            if tries && connection.queued() > 0 {
                connection.set(Flag::TELL_DRAINED);
                self.output_waits(token);
            }
            if let Some(pipe) = emptied {
                self.pipes.give(pipe);
            }
            (sent, left, result)
        };
        self.counters.buffered.subtract(left as u64);
        self.count_sent(token, sent);
        match result {
            Ok(()) => self.after_flush(token),
            Err(error) => self.end(token, CloseReason::Error(error)),
        }
    }

    /// Sends what waits, as far as the rate allows: says how many bytes left, how many of them from memory, and how it went.
    #[cold]
    fn flush_paced(&mut self, token: Token) -> (usize, usize, io::Result<()>) {
        let (calls_per_turn, share) = (self.limits.calls_per_turn, self.bulk.per_connection());
        let waits = |connection: &&Connection| connection.takes_output() && connection.queued() > 0;
        let Some(queued) = self.connection(token).filter(waits).map(Connection::queued) else { return (0, 0, Ok(())) };
        let most = self.allow(token, Direction::Output, share.min(queued));
        let Some(connection) = self.connection_mut(token).filter(|_| most > 0) else { return (0, 0, Ok(())) };
        let held = connection.held();
        let (sent, result) = connection.flush_some(calls_per_turn, most);
        let left = held - connection.held();
        if connection.queued() > 0 {
            connection.set(Flag::TELL_DRAINED);
        }
        self.give_back(token, Direction::Output, most - sent);
        (sent, left, result)
    }

    /// Sends our end of stream or closes, if that was asked for and the output is out; goes on reading if it rested.
    pub(crate) fn after_flush(&mut self, token: Token) {
        let (low_mark, pressed) = (self.limits.low_mark, self.budget.pressed);
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.phase == Phase::Closed {
            return;
        }
        let (queued, is_relayed) = (connection.queued(), connection.has(Flag::RELAYED));
        let mut again = queued > 0 && connection.takes_output();
        let mut unblocked = false;
        if queued <= low_mark {
            if connection.has(Flag::BLOCKED) && (queued == 0 || !pressed) {
                connection.clear(Flag::BLOCKED);
                unblocked = true;
                if connection.unread() > 0 {
                    connection.set(Flag::REVISIT);
                }
            }
            // A handler that is closing, or relayed, is told of no room, so looking again would be for nothing.
            let told = connection.phase < Phase::Closing && !is_relayed;
            let tells = connection.has(Flag::TELL_DRAINED) && told;
            again |= tells || connection.may_read() || connection.may_revisit();
        }
        let connection = if unblocked {
            self.restart_read_watch(token);
            let Some(connection) = self.connection_mut(token) else { return };
            connection
        } else {
            connection
        };
        if queued == 0 && connection.has(Flag::END_QUEUED) && connection.phase != Phase::Connecting {
            connection.clear(Flag::END_QUEUED);
            if let Err(error) = socket::shutdown_write(connection.fd().as_fd()) {
                return self.end(token, CloseReason::Error(error));
            }
        }
        if queued == 0 && connection.phase == Phase::Closing {
            return self.finish(token);
        }
        if again {
            self.push_pending(token);
        }
        if is_relayed {
            self.wake_relay(token);
        }
    }

    /// Looks at the connection at the end of the turn, unless its callback runs and it is looked at right after.
    pub(crate) fn flush_soon(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.newly_set(Flag::DIRTY) {
            self.dirty.push(token);
        }
    }

    /// Bytes of output that wait, those of the running callback included.
    pub(crate) fn queued(&self, token: Token) -> usize {
        let gathered = if self.speaker == Some(token) { self.outbox.len() } else { 0 };
        gathered + self.connection(token).map_or(0, Connection::queued)
    }
}

pub(crate) fn ending() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "sending on a connection that is being closed")
}

/// What the gathering of one callback's output may keep allocated for the next.
const OUTBOX_KEPT: usize = 64 << 10;
