//! Serving one connection: output first, then input, each within its budget.

use crate::application::{call, call_begun};
use crate::buffer::Buffer;
use crate::close_reason::CloseReason;
use crate::connection::{Connection, Fill, Flag, Phase};
use crate::event_loop::EventLoop;
use crate::handler::Handler;
use crate::input::Input;
use crate::limits::Limits;
use crate::rate::Direction;
use crate::registered::Registered;
use crate::sys::stream::{self, Moved};
use crate::token::Token;

impl<S: 'static> EventLoop<S> {
    /// Does for a connection what its readiness allows. What the budget stops goes on next turn.
    #[inline]
    pub(crate) fn serve(&mut self, token: Token) {
        let Some(connection) = self.engine.connection_mut(token) else { return };
        if connection.phase == Phase::Connecting {
            return self.finish_connecting(token);
        }
        if connection.has(Flag::RELAYED) {
            return self.engine.serve_relay(token, &mut self.scratch);
        }
        if connection.queued() > 0 || connection.has(Flag::TELL_DRAINED) {
            self.serve_output(token);
        }
        if self.engine.connection(token).is_some_and(Connection::may_revisit) {
            self.show_again(token);
        }
        if self.engine.connection(token).is_some_and(Connection::may_read) {
            let Limits { read_per_turn, calls_per_turn, .. } = self.engine.limits;
            self.serve_input(token, read_per_turn, calls_per_turn);
        } else {
            self.finish_if_drained(token);
        }
    }

    /// Flushes, and tells the handler when little is left.
    fn serve_output(&mut self, token: Token) {
        self.engine.flush(token);
        let low_mark = self.engine.limits.low_mark;
        let Some(connection) = self.engine.connection_mut(token) else { return };
        if connection.has(Flag::TELL_DRAINED) && connection.queued() <= low_mark && connection.phase < Phase::Closing {
            connection.clear(Flag::TELL_DRAINED);
            call(&mut self.engine, &mut self.app, token, Handler::on_drained);
        }
    }

    /// Delivers what was just read on a connection that had nothing waiting, and reads on.
    #[inline(always)]
    pub(crate) fn serve_first_read(&mut self, token: Token, count: usize) {
        self.engine.counters.bytes_in.add(count as u64);
        self.engine.begin_gathering_callback(token);
        let reads_on = self.deliver(token, count);
        self.scratch.learn(count);
        if reads_on {
            let Limits { read_per_turn, calls_per_turn, .. } = self.engine.limits;
            self.serve_input(token, read_per_turn.saturating_sub(count), calls_per_turn - 1);
        }
    }

    /// Looks at why a first read brought no bytes.
    #[cold]
    pub(crate) fn serve_no_bytes(&mut self, token: Token, moved: Moved) {
        let Some(Registered::Connection(connection)) = self.engine.sources.get_mut(token.key()) else { return };
        match connection.fill_nothing(self.scratch.bytes(), &self.engine.clock, &self.engine.limits, moved) {
            Fill::Data(count) => self.serve_first_read(token, count),
            other => self.serve_end(token, other),
        }
    }

    /// Reads and delivers until there is nothing, the budget ends, or something stops the reading.
    fn serve_input(&mut self, token: Token, mut budget: usize, calls: usize) {
        for _ in 0..calls {
            if budget == 0 || self.engine.is_bulk_used_up() {
                break;
            }
            let (read, waiting) = self.engine.read(token, &mut self.scratch, budget);
            let count = match read {
                Fill::Data(count) => count,
                other => return self.serve_end(token, other),
            };
            let reads_on = if waiting {
                self.deliver_behind(token, count)
            } else {
                self.engine.begin_callback(token);
                self.deliver(token, count)
            };
            self.scratch.learn(count);
            budget -= count;
            if !reads_on {
                return self.finish_if_drained(token);
            }
        }
        self.engine.push_pending(token);
    }

    /// A read brought no bytes: nothing for now, the end, or an error.
    fn serve_end(&mut self, token: Token, read: Fill) {
        match read {
            Fill::Data(_) | Fill::Empty => {}
            Fill::End => {
                call(&mut self.engine, &mut self.app, token, Handler::on_eof);
            }
            Fill::Failed(error) => self.engine.end(token, CloseReason::Error(error)),
        }
        self.finish_if_drained(token);
    }

    /// Shows the handler what was just read.
    #[inline(always)]
    fn deliver(&mut self, token: Token, count: usize) -> bool {
        let mut input = Input::new(self.scratch.filled(count));
        let reads_on =
            call_begun(&mut self.engine, &mut self.app, token, |handler, cx| handler.on_data(cx, &mut input));
        if input.is_empty() {
            return reads_on;
        }
        let left = Buffer::from(input.as_slice());
        self.engine.keep_input(token, left)
    }

    /// Shows the handler what was just read, behind what it left before.
    fn deliver_behind(&mut self, token: Token, count: usize) -> bool {
        let mut waiting = self.engine.take_input(token);
        waiting.append(self.scratch.filled(count));
        self.show(token, waiting)
    }

    /// Shows the handler what it left before.
    fn show_again(&mut self, token: Token) {
        if let Some(connection) = self.engine.connection_mut(token) {
            connection.clear(Flag::REVISIT);
        }
        let waiting = self.engine.take_input(token);
        if !waiting.is_empty() {
            self.show(token, waiting);
        }
    }

    fn show(&mut self, token: Token, mut waiting: Buffer) -> bool {
        let mut input = Input::new(waiting.as_slice());
        call(&mut self.engine, &mut self.app, token, |handler, cx| handler.on_data(cx, &mut input));
        let taken = waiting.len() - input.len();
        waiting.consume(taken);
        self.engine.keep_input(token, waiting)
    }

    /// In a drain, a connection closes once all that had arrived is served. One of which the kernel has told an error closes once
    /// it is read no more, for no other edge tells of that.
    #[inline]
    fn finish_if_drained(&mut self, token: Token) {
        let Some(connection) = self.engine.connection(token) else { return };
        if connection.has(Flag::BROKEN) && !connection.may_read() {
            return self.engine.take_socket_error(token);
        }
        let rests =
            [Flag::BLOCKED, Flag::PAUSED, Flag::REVISIT, Flag::RELAYED].into_iter().any(|flag| connection.has(flag))
                || connection.is_held(Direction::Input);
        if connection.phase == Phase::Finishing && !rests {
            self.engine.close_after_flush(token);
        }
    }

    /// Something has come of an attempt to connect, one way or the other.
    fn finish_connecting(&mut self, token: Token) {
        if !self.engine.check_connecting(token) {
            return;
        }
        let terms = self.engine.terms_of_attempt(token);
        self.engine.drop_attempt(token);
        let stamp = self.engine.clock.stamp();
        let Some(connection) = self.engine.connection_mut(token) else { return };
        connection.phase = Phase::Open;
        connection.last_activity = stamp;
        if connection.idle_ms != 0 {
            self.engine.idle.watch(&mut self.engine.sources, token.key().index);
        }
        if !terms.is_none() || self.engine.pacer.is_some() {
            self.engine.govern(token, &terms);
        }
        self.engine.counters.connected.add(1);
        call(&mut self.engine, &mut self.app, token, Handler::on_open);
        // What was queued, or ended, while the attempt was under way.
        self.engine.flush(token);
        self.serve(token);
    }

    /// Reads and forgets what still comes on a closed connection, until the peer's end.
    pub(crate) fn discard(&mut self, token: Token) {
        for _ in 0..self.engine.limits.calls_per_turn {
            let Some(Registered::Lingering { fd, time, .. }) = self.engine.sources.get_mut(token.key()) else { return };
            match stream::recv(fd.as_fd(), self.scratch.bytes()) {
                Ok(count) if count > 0 => time.note_talk(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                _ => return self.engine.end_linger(token),
            }
        }
        self.engine.push_pending(token);
    }
}
