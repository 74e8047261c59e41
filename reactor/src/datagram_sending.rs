//! Datagrams in the engine: watched, sent together, queued while the kernel takes none, closed.

use std::io;
use std::mem;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection::Phase;
use crate::datagram::{Datagram, FIRST_RETRY_MS};
use crate::datagram_error::DatagramError;
use crate::datagram_queue::Outcome;
use crate::engine::{Engine, gone};
use crate::interest::Interest;
use crate::registered::Registered;
use crate::sys::datagram::{self, Message};
use crate::sys::sockaddr::RawAddress;
use crate::timer::TimerId;
use crate::token::Token;

impl Engine {
    /// The datagram socket of this name, unless the name is stale or names something else.
    pub(crate) fn datagram(&self, token: Token) -> Option<&Datagram> {
        match self.sources.get(token.key()) {
            Some(Registered::Datagram(datagram)) => Some(datagram),
            _ => None,
        }
    }

    pub(crate) fn datagram_mut(&mut self, token: Token) -> Option<&mut Datagram> {
        match self.sources.get_mut(token.key()) {
            Some(Registered::Datagram(datagram)) => Some(datagram),
            _ => None,
        }
    }

    /// Enters a datagram socket. On failure nothing is left behind.
    pub(crate) fn insert_datagram(&mut self, datagram: Datagram) -> io::Result<Token> {
        let interest = if datagram.shared { Interest::SHARED_LISTENER } else { Interest::READ };
        let token = self.insert(Registered::Datagram(Box::new(datagram)))?;
        let datagram = self.datagram(token).expect("it was entered just now");
        if let Err(error) = self.poller.register(datagram.socket.as_fd(), interest, token) {
            self.sources.remove(token.key());
            return Err(error);
        }
        self.counters.datagrams.sockets.add(1);
        Ok(token)
    }

    /// The callbacks of a batch begin.
    pub(crate) fn begin_datagram_callback(&mut self, token: Token) {
        self.speaker = Some(token);
        self.gathering = None;
    }

    /// The callbacks have returned: what they said leaves.
    pub(crate) fn end_datagram_callback(&mut self, token: Token) {
        self.speaker = None;
        if !self.datagram_outbox.is_empty() {
            self.send_outbox(token);
        }
    }

    /// Sends a datagram; see [`DatagramContext::send_to`](crate::DatagramContext::send_to).
    pub(crate) fn send_datagram(&mut self, token: Token, message: Message<'_>) -> io::Result<()> {
        let (speaking, high_mark) = (self.speaker == Some(token), self.limits.high_mark);
        let Some(datagram) = self.datagram(token) else { return Err(gone()) };
        if !datagram.may_send() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "sending on a datagram socket that is being closed"));
        }
        let udp = message.to.and_then(RawAddress::longest_udp);
        if message.bytes.len() > udp.unwrap_or_else(|| longest_of(datagram)) {
            return Err(datagram::too_long());
        }
        if !speaking {
            return self.queue_datagram(token, message);
        }
        self.datagram_outbox.push(message);
        if self.datagram_outbox.is_full(high_mark) {
            self.send_outbox(token);
        }
        Ok(())
    }

    /// Puts a datagram that is not said in its socket's own callback behind what waits; it leaves at the end of the turn.
    fn queue_datagram(&mut self, token: Token, message: Message<'_>) -> io::Result<()> {
        let max = self.limits.max_datagram_queue;
        let has_room = |datagram: &Datagram| datagram.queue.has_room(&message, datagram.policy(max));
        if self.datagram(token).is_some_and(|datagram| datagram.untried && !has_room(datagram)) {
            // Perhaps there is only much to say in this turn.
            self.flush_datagrams(token);
        }
        let Some(datagram) = self.datagram_mut(token) else { return Err(gone()) };
        if !has_room(datagram) {
            self.counters.datagrams.dropped.add(1);
            let full = "more datagrams wait than Limits::max_datagram_queue allows";
            return Err(io::Error::new(io::ErrorKind::StorageFull, full));
        }
        datagram.queue.push(message, datagram.sends_apart());
        datagram.untried = true;
        self.counters.buffered.add(message.bytes.len() as u64);
        self.flush_datagrams_soon(token);
        Ok(())
    }

    /// Looks at the socket at the end of the turn.
    pub(crate) fn flush_datagrams_soon(&mut self, token: Token) {
        let Some(datagram) = self.datagram_mut(token) else { return };
        if !mem::replace(&mut datagram.dirty, true) {
            self.dirty.push(token);
        }
    }

    /// Sends what the callbacks have said, in one call if nothing is in the way.
    fn send_outbox(&mut self, token: Token) {
        let mut outbox = mem::take(&mut self.datagram_outbox);
        if let Some(Registered::Datagram(datagram)) = self.sources.get_mut(token.key()) {
            let messages = || (0..outbox.len()).map(|index| outbox.get(index));
            let sent = match datagram.queue.is_empty() {
                // An error is met again when what is left is tried once more.
                true => {
                    let fd = datagram.socket.as_fd();
                    datagram::send_cut(fd, &mut self.send_batch, &mut datagram.cuts, messages()).unwrap_or(0)
                }
                false => 0,
            };
            self.counters.datagrams.sent.add(sent as u64);
            self.counters.bytes_out.add(outbox.bytes_of_first(sent) as u64);
            if sent < outbox.len() {
                self.queue_said(token, messages().skip(sent));
            }
        }
        outbox.clear();
        self.datagram_outbox = outbox;
    }

    /// Queues what the callbacks have said and the kernel did not take at once. What is to go behind something else waits with
    /// that, unless there is no room; the rest is tried.
    fn queue_said<'m>(&mut self, token: Token, messages: impl Iterator<Item = Message<'m>>) {
        let Some(Registered::Datagram(datagram)) = self.sources.get_mut(token.key()) else { return };
        let policy = datagram.policy(self.limits.max_datagram_queue);
        let queue = &mut datagram.queue;
        // Of a full socket all wait; among peers that are told apart only those do that something waits for already.
        let (behind, free): (Vec<_>, Vec<_>) =
            messages.partition(|message| queue.goes_before(message.to, policy.apart));
        let sent = datagram::send_some(datagram.socket.as_fd(), &mut self.send_batch, &free);
        self.counters.datagrams.sent.add(sent as u64);
        self.counters.bytes_out.add(free[..sent].iter().map(|message| message.bytes.len() as u64).sum());
        for message in behind {
            if !queue.has_room(&message, policy) {
                self.counters.datagrams.dropped.add(1);
                continue;
            }
            queue.push(message, policy.apart);
            self.counters.buffered.add(message.bytes.len() as u64);
        }
        for message in &free[sent..] {
            queue.push(*message, policy.apart);
            self.counters.buffered.add(message.bytes.len() as u64);
        }
        if sent < free.len() {
            self.flush_datagrams(token);
        }
    }

    /// Sends from the queue what the kernel takes, and sees to it that the rest is tried again.
    pub(crate) fn flush_datagrams(&mut self, token: Token) {
        let Some(Registered::Datagram(datagram)) = self.sources.get_mut(token.key()) else { return };
        if datagram.phase == Phase::Closed {
            return;
        }
        datagram.untried = false;
        let policy = datagram.policy(self.limits.max_datagram_queue);
        let (counters, mut failures, mut sent) = (&self.counters, Vec::new(), 0);
        datagram.queue.flush(datagram.socket.as_fd(), &mut self.send_batch, policy, |message, outcome| {
            let length = message.bytes.len() as u64;
            counters.buffered.subtract(length);
            match outcome {
                Outcome::Sent => {
                    sent += 1;
                    counters.bytes_out.add(length);
                }
                Outcome::Failed(error) => failures.push((error, message.to.copied())),
                Outcome::Dropped => counters.datagrams.dropped.add(1),
            }
        });
        counters.datagrams.sent.add(sent);
        if sent > 0 {
            datagram.retry_ms = FIRST_RETRY_MS;
        }
        for (error, to) in failures {
            counters.datagrams.errors.add(1);
            datagram.keep_error(DatagramError::local(error, to.and_then(|to| to.decode().ok())));
        }
        self.after_flush_datagrams(token);
    }

    /// Waits for room if datagrams wait, and else does what was to be done once none does.
    fn after_flush_datagrams(&mut self, token: Token) {
        let Some(datagram) = self.datagram_mut(token) else { return };
        if !datagram.queue.is_empty() {
            datagram.tell_drained = true;
            return self.await_room(token);
        }
        if let Some(timer) = datagram.retry.take() {
            self.timers.cancel(timer);
        }
        self.watch_for_room(token, false);
        let Some(datagram) = self.datagram_mut(token) else { return };
        if datagram.phase == Phase::Closing {
            return self.finish_datagram(token);
        }
        if datagram.tell_drained || datagram.errors() > 0 {
            self.push_pending(token);
        }
    }

    /// The kernel takes no more for now. Where it tells when it does, it is asked to; and as it does not always, a timer tries
    /// again: of a peer of a Unix socket that is not connected nobody tells, and a socket that loops share is registered in a
    /// way that cannot be changed.
    fn await_room(&mut self, token: Token) {
        let longest = u64::try_from(self.limits.datagram_retry.as_millis()).unwrap_or(u64::MAX).max(1);
        let Some(datagram) = self.datagram_mut(token) else { return };
        let (told, armed) = (!datagram.shared && !datagram.sends_apart(), datagram.retry.is_some());
        let delay = datagram.retry_ms.min(longest);
        if datagram.errors() > 0 {
            self.push_pending(token);
        }
        if told {
            self.watch_for_room(token, true);
        }
        if !armed {
            // With no timer left, what is said next tries again.
            let retry = self.arm(Duration::from_millis(delay), token).ok();
            let Some(datagram) = self.datagram_mut(token) else { return };
            datagram.retry = retry;
            datagram.retry_ms = (2 * delay).min(longest);
        }
    }

    /// Asks the kernel to tell of room, or no longer. Not all the time, as of a stream: of a datagram socket it would tell
    /// after each datagram that has left.
    fn watch_for_room(&mut self, token: Token, on: bool) {
        let Some(Registered::Datagram(datagram)) = self.sources.get_mut(token.key()) else { return };
        if datagram.awaits_room == on {
            return;
        }
        let interest = if on { Interest::BOTH } else { Interest::READ };
        // If it cannot be asked, the timer is still there.
        if self.poller.change(datagram.socket.as_fd(), interest, token).is_ok() {
            datagram.awaits_room = on;
        }
    }

    /// Serves what has arrived by now, then closes once the queue is sent.
    pub(crate) fn finish_datagram_input(&mut self, token: Token) {
        let Some(datagram) = self.datagram_mut(token) else { return };
        if datagram.phase == Phase::Open {
            datagram.phase = Phase::Finishing;
            // Datagrams keep coming; those that the kernel holds now are no more than this.
            datagram.still_served = datagram.socket.most_waiting();
            datagram.readable = true;
            self.push_pending(token);
        }
    }

    /// Closes once the queue is sent; nothing more is received.
    pub(crate) fn close_datagram_after_flush(&mut self, token: Token) {
        let Some(datagram) = self.datagram_mut(token) else { return };
        datagram.phase = datagram.phase.max(Phase::Closing);
        self.flush_datagrams_soon(token);
    }

    /// Ends a socket whose queue is sent.
    fn finish_datagram(&mut self, token: Token) {
        let reason = if self.draining { CloseReason::Shutdown } else { CloseReason::Closed };
        self.end_datagram(token, reason);
    }

    /// The socket has ended, for the first reason that is given. Its handler is told at the end of the turn.
    pub(crate) fn end_datagram(&mut self, token: Token, reason: CloseReason) {
        let Some(datagram) = self.datagram_mut(token) else { return };
        if datagram.phase != Phase::Closed {
            datagram.phase = Phase::Closed;
            self.ended.push_back((token, reason));
        }
    }

    /// Takes a socket whose handler has been told out of the loop. What waits is dropped.
    pub(crate) fn retire_datagram(&mut self, token: Token, reason: &CloseReason) {
        let Some(Registered::Datagram(datagram)) = self.sources.remove(token.key()) else { return };
        for timer in datagram.timers.iter().copied().chain(datagram.retry) {
            self.timers.cancel(timer);
        }
        if datagram.shared {
            // It stays open in other loops.
            let _ = self.poller.deregister(datagram.socket.as_fd());
        }
        self.counters.datagrams.dropped.add(datagram.queue.len() as u64);
        self.counters.buffered.subtract(datagram.queue.bytes() as u64);
        self.counters.datagrams.sockets.subtract(1);
        self.counters.count_close(reason);
    }

    /// Arms a timer of the socket's handler.
    pub(crate) fn set_datagram_timer(&mut self, token: Token, delay: Duration) -> io::Result<TimerId> {
        let limit = self.limits.timers_per_connection;
        if self.datagram(token).ok_or_else(gone)?.timers.len() >= limit {
            let message = format!("the socket has {limit} timers, as many as Limits::timers_per_connection allows");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        let timer = self.arm(delay, token)?;
        self.datagram_mut(token).ok_or_else(gone)?.timers.push(timer);
        Ok(timer)
    }

    /// Disarms a timer of the socket's handler; `false` if it is none or has fired.
    pub(crate) fn cancel_datagram_timer(&mut self, token: Token, timer: TimerId) -> bool {
        let ours = self.datagram_mut(token).is_some_and(|datagram| datagram.remove_timer(timer));
        ours && self.timers.cancel(timer).is_some()
    }
}

/// The longest datagram that a socket sends to its own peer.
fn longest_of(datagram: &Datagram) -> usize {
    let peer = datagram.socket.peer_address().and_then(|peer| RawAddress::encode(peer).ok());
    peer.and_then(|peer| peer.longest_udp()).unwrap_or_else(|| datagram.socket.longest_unix())
}
