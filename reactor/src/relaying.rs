//! Relays in the engine: two connections of which each gets what comes on the other.

use std::io;

use crate::close_reason::CloseReason;
use crate::connection::{Connection, Fill, Flag, Phase};
use crate::engine::{Engine, gone};
use crate::limits::Limits;
use crate::output::Piece;
use crate::pipe_pool::Pipe;
use crate::relay::Relay;
use crate::scratch::Scratch;
use crate::token::Token;

impl Engine {
    /// Joins two connections of this loop; see [`Context::relay_to`](crate::Context::relay_to).
    pub(crate) fn relay(&mut self, one: Token, other: Token) -> io::Result<()> {
        if one == other {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a connection is not relayed to itself"));
        }
        let other = self.ours(other).ok_or_else(of_another_loop)?;
        self.check_relayable(one)?;
        self.check_relayable(other)?;
        for (token, peer) in [(one, other), (other, one)] {
            if let Some(connection) = self.connection_mut(token) {
                connection.set_relay(Relay::new(peer));
                self.push_pending(token);
            }
        }
        Ok(())
    }

    fn check_relayable(&self, token: Token) -> io::Result<()> {
        let connection = self.connection(token).ok_or_else(gone)?;
        if connection.has(Flag::RELAYED) {
            let message = "the connection is relayed already";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        match connection.phase {
            Phase::Closed => Err(gone()),
            Phase::Closing => Err(io::Error::new(io::ErrorKind::NotConnected, "the connection is being closed")),
            Phase::Connecting | Phase::Open | Phase::Finishing => Ok(()),
        }
    }

    /// Moves what has come on a connection to the other side, within the budget. What the budget stops goes on next turn.
    #[inline(never)]
    pub(crate) fn serve_relay(&mut self, from: Token, scratch: &mut Scratch) {
        let Some(connection) = self.connection_mut(from) else { return };
        connection.clear(Flag::TELL_DRAINED);
        if connection.queued() > 0 {
            self.flush(from);
        }
        let Some(to) = self.relay_of(from).map(|relay| relay.peer) else { return };
        let Limits { read_per_turn, calls_per_turn, .. } = self.limits;
        let mut budget = read_per_turn;
        for _ in 0..calls_per_turn {
            if budget == 0 {
                break;
            }
            match self.relay_once(from, to, scratch, budget) {
                Some(_) if self.is_bulk_used_up() => break,
                Some(moved) => budget -= moved,
                None => {
                    self.close_if_over(from, to);
                    return self.look_at_told_error(from);
                }
            }
        }
        self.push_pending(from);
    }

    /// Moves bytes once and says how many; `None` when there are none for now, or no room for them.
    fn relay_once(&mut self, from: Token, to: Token, scratch: &mut Scratch, budget: usize) -> Option<usize> {
        let room = self.relay_room(from, to)?.min(budget);
        let connection = self.connection(from)?;
        if connection.unread() > 0 {
            return self.relay_unread(from, to, room);
        }
        if connection.has(Flag::EOF) {
            self.shutdown_write(to);
            return None;
        }
        if !connection.has(Flag::READABLE) {
            return None;
        }
        // What is counted is not moved past whoever counts.
        let is_metered = connection.has(Flag::METERED) || self.connection(to)?.has(Flag::METERED);
        if is_metered || !self.relay_of(from)?.is_bulk() {
            return self.relay_by_copy(from, to, scratch, room);
        }
        if self.connection(to)?.queued() > 0 {
            // What waits there waits in a pipe, and another one is not filled before that is empty.
            self.wait_for_room(from);
            return None;
        }
        match self.pipes.take() {
            Some(pipe) => self.relay_by_pipe(from, to, pipe, scratch, room),
            None => {
                self.relay_mut(from)?.copy_next();
                self.relay_by_copy(from, to, scratch, room)
            }
        }
    }

    /// How many bytes the other side may be given; `None` if reading is to rest.
    fn relay_room(&mut self, from: Token, to: Token) -> Option<usize> {
        let open = self.connection(from).is_some_and(Connection::may_pass_on);
        let room = room_on(self.connection(to).filter(|target| open && target.may_send())?, &self.limits);
        let target = self.connection_mut(to)?;
        if room == 0 {
            target.set(Flag::BLOCKED);
        }
        if target.has(Flag::BLOCKED) {
            self.wait_for_room(from);
            return None;
        }
        Some(room)
    }

    /// Passes on what the handler had left.
    fn relay_unread(&mut self, from: Token, to: Token, room: usize) -> Option<usize> {
        let mut input = self.take_input(from);
        let count = room.min(input.len());
        self.send_relayed(to, &input.as_slice()[..count]);
        input.consume(count);
        self.keep_input(from, input);
        Some(count)
    }

    /// Moves bytes by way of the loop's buffer: for small messages it is the cheapest.
    fn relay_by_copy(&mut self, from: Token, to: Token, scratch: &mut Scratch, room: usize) -> Option<usize> {
        match self.read(from, scratch, room).0 {
            Fill::Data(count) => {
                self.send_relayed(to, scratch.filled(count));
                scratch.learn(count);
                self.relay_mut(from)?.learn(count);
                Some(count)
            }
            Fill::Empty => None,
            Fill::End => {
                self.shutdown_write(to);
                None
            }
            Fill::Failed(error) => {
                self.end(from, CloseReason::Error(error));
                None
            }
        }
    }

    /// Moves bytes through a pipe. Few of them say nothing of what is left: a pipe may be full of small pieces.
    fn relay_by_pipe(
        &mut self,
        from: Token,
        to: Token,
        mut pipe: Box<Pipe>,
        scratch: &mut Scratch,
        room: usize,
    ) -> Option<usize> {
        let stamp = self.clock.stamp();
        let connection = self.connection_mut(from)?;
        let result = pipe.fill(connection.fd().as_fd(), room);
        match result {
            Ok(0) => {
                connection.note_end();
                self.pipes.give(pipe);
                self.shutdown_write(to);
                None
            }
            Ok(count) => {
                connection.last_activity = stamp;
                self.counters.bytes_in.add(count as u64);
                self.relay_mut(from)?.learn(count);
                self.connection_mut(to)?.queue_piece(Piece::Pipe(pipe));
                self.flush(to);
                Some(count)
            }
            Err(error) => {
                self.pipes.give(pipe);
                match error.kind() {
                    // It stops at urgent data, too, which a read passes over: no other edge would come for what is behind.
                    io::ErrorKind::WouldBlock => self.relay_by_copy(from, to, scratch, room),
                    _ => self.pipe_failed(from, error),
                }
            }
        }
    }

    fn pipe_failed(&mut self, from: Token, error: io::Error) -> Option<usize> {
        let connection = self.connection_mut(from)?;
        match error.kind() {
            // The socket is of a kind that knows no splice(2), or the process may not use it.
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied => {
                self.relay_mut(from)?.always_copy();
                Some(0)
            }
            _ => {
                connection.set(Flag::BROKEN);
                self.end(from, CloseReason::Error(error));
                None
            }
        }
    }

    /// Reading rests until output has left the other side.
    fn wait_for_room(&mut self, from: Token) {
        if let Some(relay) = self.relay_mut(from) {
            relay.waits = true;
        }
    }

    /// Output has left a relayed connection: the other side goes on, if it waits for that.
    #[inline(never)]
    pub(crate) fn wake_relay(&mut self, to: Token) {
        let Some(target) = self.connection(to) else { return };
        let is_empty = target.queued() == 0;
        // Below the low mark there may be no room yet: the high mark may be the same.
        let has_room = !target.has(Flag::BLOCKED) && room_on(target, &self.limits) > 0;
        let Some(from) = self.relay_of(to).map(|relay| relay.peer) else { return };
        let Some(relay) = self.relay_mut(from) else { return };
        if relay.waits && (is_empty || has_room && !relay.is_bulk()) {
            relay.waits = false;
            self.push_pending(from);
        }
    }

    /// When both directions have ended, both connections close.
    fn close_if_over(&mut self, one: Token, other: Token) {
        let is_over = |token| {
            self.connection(token)
                .is_some_and(|connection| connection.has(Flag::WRITE_ENDED) && connection.phase != Phase::Connecting)
        };
        if is_over(one) && is_over(other) {
            self.close_after_flush(one);
            self.close_after_flush(other);
        }
    }

    /// A relayed connection has ended, and its handler was told: the other side ends too.
    ///
    /// A stream that came whole, or that was closed here on purpose, is closed on the other side once all has left. One that
    /// broke off is reset there: an end of stream would tell that it was whole.
    #[inline(never)]
    pub(crate) fn end_relay(&mut self, token: Token, reason: &CloseReason) {
        use CloseReason::{Closed, Eof, Shutdown, Timeout};
        let Some(connection) = self.connection_mut(token) else { return };
        let is_whole = connection.has(Flag::EOF) && connection.unread() == 0;
        let Some(peer) = connection.take_relay().map(|relay| relay.peer) else { return };
        let Some(other) = self.connection_mut(peer) else { return };
        other.take_relay();
        if other.phase >= Phase::Closing {
            return;
        }
        if is_whole || matches!(reason, Closed | Eof | Shutdown | Timeout(_)) {
            self.close_after_flush(peer);
        } else {
            self.end(peer, CloseReason::Aborted);
        }
    }

    /// Whether what comes on the connection goes to another one.
    pub(crate) fn is_relayed(&self, token: Token) -> bool {
        self.connection(token).is_some_and(|connection| connection.has(Flag::RELAYED))
    }

    /// The kernel may have told of an error: once the connection is read no more, nothing else brings that to light.
    fn look_at_told_error(&mut self, from: Token) {
        if self.connection(from).is_some_and(|connection| connection.has(Flag::BROKEN)) && !self.relay_reads(from) {
            self.take_socket_error(from);
        }
    }

    /// Whether a relayed connection goes on to be read.
    fn relay_reads(&self, token: Token) -> bool {
        let waits = self.relay_of(token).is_none_or(|relay| relay.waits);
        !waits
            && self.connection(token).is_some_and(|connection| {
                connection.may_pass_on() && connection.has(Flag::READABLE) && !connection.has(Flag::EOF)
            })
    }

    fn relay_of(&self, token: Token) -> Option<&Relay> {
        self.connection(token)?.relay()
    }

    fn relay_mut(&mut self, token: Token) -> Option<&mut Relay> {
        self.connection_mut(token)?.relay_mut()
    }
}

/// How many bytes a connection may be given before its output stands at the high mark, or at its bound.
fn room_on(target: &Connection, limits: &Limits) -> usize {
    let left = limits.max_output.saturating_sub(target.output_cost());
    limits.high_mark.saturating_sub(target.queued()).min(left)
}

fn of_another_loop() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a connection of another loop cannot be relayed to")
}
