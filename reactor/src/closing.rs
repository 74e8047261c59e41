//! The end of connections in the engine: flushed, half-closed, lingering, gone.

use std::io;
use std::mem;

use crate::close_reason::{self, CloseReason};
use crate::connection::{Connection, Flag, Phase};
use crate::engine::Engine;
use crate::linger::Linger;
use crate::registered::Registered;
use crate::sys::fd::FdRef;
use crate::sys::{option, socket};
use crate::timer::TimerId;
use crate::token::Token;

impl Engine {
    /// Ends a connection whose output is out.
    pub(crate) fn finish(&mut self, token: Token) {
        let Some(connection) = self.connection(token) else { return };
        let reason = match connection.has(Flag::EOF) {
            true => CloseReason::Eof,
            false if self.draining => CloseReason::Shutdown,
            false => CloseReason::Closed,
        };
        self.end(token, reason);
    }

    /// Ends our direction once what waits is sent.
    pub(crate) fn shutdown_write(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.newly_set(Flag::WRITE_ENDED) {
            connection.set(Flag::END_QUEUED);
            let is_relayed = connection.has(Flag::RELAYED);
            self.gathering = None;
            self.flush_soon(token);
            if is_relayed {
                // It may have been the second of its two ends.
                self.push_pending(token);
            }
        }
    }

    /// Closes once what waits is sent; no more input is served.
    pub(crate) fn close_after_flush(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.phase == Phase::Connecting {
            return self.end(token, CloseReason::Closed);
        }
        connection.phase = connection.phase.max(Phase::Closing);
        self.gathering = None;
        self.flush_soon(token);
    }

    /// Serves what the kernel has received so far, then closes once the output is out.
    pub(crate) fn finish_input(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        // A relay has no end of its own: what one peer asked may be answered later by the other.
        if connection.phase == Phase::Open && !connection.has(Flag::RELAYED) {
            connection.phase = Phase::Finishing;
            // Bytes may have come of which the kernel has not told yet.
            connection.set(Flag::READABLE);
            connection.set(Flag::TO_EAGAIN);
            self.push_pending(token);
        }
    }

    /// The connection has ended, for the first reason that is given. Its handler is told at the end of the turn.
    pub(crate) fn end(&mut self, token: Token, reason: CloseReason) {
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.phase != Phase::Closed {
            connection.phase = Phase::Closed;
            self.gathering = None;
            self.ended.push_back((token, reason));
        }
    }

    /// Ends a connection that is not being read and on which the kernel tells of an error.
    pub(crate) fn take_socket_error(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        if connection.phase == Phase::Connecting {
            return self.push_pending(token);
        }
        match option::take_error(connection.fd().as_fd()) {
            Ok(None) => connection.clear(Flag::BROKEN),
            Ok(Some(error)) | Err(error) => {
                connection.set(Flag::BROKEN);
                self.end(token, CloseReason::Error(error));
            }
        }
    }

    /// Takes a connection whose handler has been told out of the loop. The socket closes, or lingers.
    pub(crate) fn retire(&mut self, token: Token, reason: &CloseReason) {
        let key = token.key();
        let Some(connection) = self.connection(token) else { return };
        if connection.has_extra() {
            self.let_go(token, reason);
        }
        self.idle.forget(&mut self.sources, key.index);
        self.counters.count_close(reason);
        let Some(Registered::Connection(connection)) = self.sources.get_mut(key) else { return };
        if let Some(talks) = lingers(connection, reason) {
            // In this order, for a loop that hands connections over adds the two up.
            self.linger(token, Linger::new(self.limits.linger, talks));
            self.counters.open.subtract_released(1);
            return;
        }
        if matches!(reason, CloseReason::Aborted) {
            // Where it cannot be set, as on a Unix socket, a plain close is as near as it gets.
            let _ = option::set_reset_on_close(connection.fd().as_fd());
        }
        self.sources.remove(key);
        self.counters.open.subtract(1);
        self.vacancy = true;
    }

    /// Ends what an ended connection had under way: its attempt, relay, timers, groups, deadlines, and the bytes that waited.
    fn let_go(&mut self, token: Token, reason: &CloseReason) {
        self.drop_attempt(token);
        if self.is_relayed(token) {
            self.end_relay(token, reason);
        }
        let Some(connection) = self.connection(token) else { return };
        let timers = connection.timers().to_vec();
        let waiting = connection.held() + connection.unread();
        let governed = connection.governor().is_some();
        for timer in timers {
            self.timers.cancel(timer);
        }
        self.leave_all(token);
        if governed {
            self.drop_governor(token);
        }
        self.counters.buffered.subtract(waiting as u64);
    }

    /// Turns an ended connection into a socket that discards input until the peer's end.
    fn linger(&mut self, token: Token, mut time: Linger) {
        let timer = self.arm_look(token, &mut time);
        let Some(source) = self.sources.get_mut(token.key()) else { return };
        let Registered::Connection(connection) = mem::replace(source, Registered::Waker) else { return };
        let fd = connection.into_fd();
        let ended = socket::shutdown_write(fd.as_fd()).is_ok();
        *source = Registered::Lingering { fd, time, timer, pending: false };
        self.counters.lingering.add(1);
        if ended && timer.is_some() {
            // Its edge may have come before.
            self.push_pending(token);
        } else {
            self.end_linger(token);
        }
    }

    fn arm_look(&mut self, token: Token, time: &mut Linger) -> Option<TimerId> {
        time.wait().and_then(|wait| self.arm(wait, token).ok())
    }

    /// A look at a lingering socket is due: it closes if the time is over, or if the peer has got all there was.
    pub(crate) fn look_at_lingering(&mut self, token: Token) {
        let Some(Registered::Lingering { fd, time, .. }) = self.sources.get(token.key()) else { return };
        let mut time = *time;
        let is_over = !time.awaits_end() && at_stake(fd.as_fd()).is_none();
        let next = if is_over { None } else { self.arm_look(token, &mut time) };
        if let Some(Registered::Lingering { time: kept, timer, .. }) = self.sources.get_mut(token.key()) {
            (*kept, *timer) = (time, next);
        }
        if next.is_none() {
            self.end_linger(token);
        }
    }

    /// Closes a lingering socket.
    pub(crate) fn end_linger(&mut self, token: Token) {
        if let Some(Registered::Lingering { timer, .. }) = self.sources.get(token.key()) {
            if let Some(timer) = *timer {
                self.timers.cancel(timer);
            }
            self.sources.remove(token.key());
            self.counters.lingering.subtract(1);
            self.vacancy = true;
        }
    }
}

/// Whether closing the socket now could cost the peer output: a close with unread input makes a reset, and a reset eats
/// what is in flight. See RFC 2525, 2.17, and RFC 9112, 9.6. If so, says whether the peer has sent what nobody has read.
fn lingers(connection: &Connection, reason: &CloseReason) -> Option<bool> {
    use CloseReason::{Aborted, ConnectFailed, Cut, Timeout};
    use close_reason::Timeout::Lifetime;
    if connection.has(Flag::EOF) || connection.has(Flag::BROKEN) {
        return None;
    }
    let silent = matches!(reason, Timeout(timeout) if *timeout != Lifetime);
    if silent || matches!(reason, Aborted | ConnectFailed(_) | Cut) {
        return None;
    }
    at_stake(connection.fd().as_fd())
}

/// Whether anything could be lost if the socket closed now; `true` if that is because there is unread input. The kernel is asked,
/// for it may not have told of the last bytes yet.
fn at_stake(fd: FdRef<'_>) -> Option<bool> {
    let some = |bytes: io::Result<usize>| bytes.is_ok_and(|bytes| bytes > 0);
    if some(option::unread(fd)) {
        return Some(true);
    }
    some(option::unacknowledged(fd)).then_some(false)
}
