//! One turn of the loop: wait, dispatch, pending, mail, timers, settle.

use std::io;
use std::time::Duration;

use crate::application::{call, run_task};
use crate::close_reason::CloseReason;
use crate::connection::Flag;
use crate::event::Event;
use crate::event_loop::EventLoop;
use crate::registered::Registered;
use crate::sys::signal;
use crate::token::Token;
use crate::unwind::drop_safely;

impl<S: 'static> EventLoop<S> {
    /// Runs one turn, which waits for at most `max_wait` (`None`: until something happens). For programs that have a loop
    /// of their own, and for tests.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn turn(&mut self, max_wait: Option<Duration>) -> io::Result<()> {
        let count = self.wait(max_wait)?;
        self.begin_turn();
        self.dispatch_batch(count);
        if count == self.engine.poller.capacity() {
            self.dispatch_more();
        }
        self.serve_pending();
        self.read_mail();
        self.end_stretch();
        self.expire_timers();
        self.expire_idle();
        if self.engine.exit_deadline().is_some() {
            self.drain_step();
            self.end_stretch();
        }
        self.settle();
        self.engine.note_turn();
        self.offer_vacancy();
        self.end_turn();
        Ok(())
    }

    /// Waits until something happens or is due.
    fn wait(&mut self, max_wait: Option<Duration>) -> io::Result<usize> {
        // Spinning and interruptions eat up the wait, so it ends at a time and not after a time.
        let until_ns = max_wait.map(|wait| {
            self.engine.clock.update();
            u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).saturating_add(self.engine.clock.now_ns())
        });
        loop {
            let result = match self.timeout(until_ns) {
                Some(Duration::ZERO) => self.engine.poller.wait(Some(Duration::ZERO)),
                timeout if self.engine.limits.spin.is_zero() => self.sleep(timeout),
                timeout => match self.spin(timeout)? {
                    0 if !self.mailbox.has_mail() => self.sleep(self.timeout(until_ns)),
                    count => return Ok(count),
                },
            };
            match result {
                // A signal, or the process was stopped and continued: time has passed, and events may have come with it.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.engine.clock.update(),
                result => return result,
            }
        }
    }

    /// Sleeps, unless a message has come.
    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if !self.mailbox.sleep() {
            return self.engine.poller.wait(Some(Duration::ZERO));
        }
        let result = self.engine.poller.wait(timeout);
        self.mailbox.awake();
        result
    }

    /// Polls without sleeping for as long as [`Limits::spin`] says, or until something happens or is due.
    fn spin(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let spin = self.engine.limits.spin.min(timeout.unwrap_or(Duration::MAX)).as_nanos();
        let start = self.engine.clock.now_ns();
        loop {
            match self.engine.poller.wait(Some(Duration::ZERO)) {
                Ok(0) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
            self.engine.clock.update();
            if self.mailbox.has_mail() || u128::from(self.engine.clock.now_ns() - start) >= spin {
                return Ok(0);
            }
        }
    }

    /// How long the loop may sleep: not at all while anything waits here, else until the next deadline.
    fn timeout(&self, until_ns: Option<u64>) -> Option<Duration> {
        let engine = &self.engine;
        let max_wait = until_ns.map(|until| Duration::from_nanos(until.saturating_sub(engine.clock.now_ns())));
        // Between two turns the program may have sent and closed.
        let unsettled = !engine.dirty.is_empty() || !engine.ended.is_empty();
        if unsettled || !engine.pending.is_empty() || self.mailbox.has_mail() {
            return Some(Duration::ZERO);
        }
        let next = earlier(engine.timers.next_deadline(), engine.idle.next_deadline());
        let next = earlier(next, engine.exit_deadline()).map(|deadline| engine.clock.until(deadline));
        earlier(next, max_wait)
    }

    fn begin_turn(&mut self) {
        self.engine.clock.update();
        let now = self.engine.clock.now_ns();
        self.engine.counters.waited_ns.add(now - self.timed_at_ns);
        (self.timed_at_ns, self.turn_began_ns) = (now, now);
        self.engine.counters.turns.add(1);
        // What stops in this turn goes on in the next one.
        std::mem::swap(&mut self.working, &mut self.engine.pending);
        self.engine.begin_bulk();
    }

    fn end_turn(&mut self) {
        let counters = &self.engine.counters;
        counters.timers.set(self.engine.timers.len() as u64);
        counters.pending.set(self.engine.pending.len() as u64);
        // Up to the last look at the clock, which is behind the last callback.
        counters.turn_times.add(self.timed_at_ns - self.turn_began_ns);
    }

    /// More happened than one wait can tell, and what has arrived goes before deadlines: asks again, a few times.
    fn dispatch_more(&mut self) {
        for _ in 0..MORE_BATCHES {
            let count = self.engine.poller.wait(Some(Duration::ZERO)).unwrap_or(0);
            self.dispatch_batch(count);
            if count < self.engine.poller.capacity() {
                return;
            }
        }
    }

    // Out of line, so that the registers are for what every message passes.
    #[inline(never)]
    fn dispatch_batch(&mut self, count: usize) {
        self.engine.counters.events.add(count as u64);
        if count > 0 {
            self.scratch.make();
        }
        // The loop is needed whole for each event, so the events are taken out of it meanwhile.
        let events = self.engine.poller.take_events();
        for events in events.first(count).chunks(CALLBACKS_PER_LOOK) {
            events.iter().filter_map(Event::from_raw).for_each(|event| self.dispatch(event));
            if events.len() == CALLBACKS_PER_LOOK {
                self.end_stretch();
            }
        }
        self.engine.poller.give_back(events);
    }

    /// Sends an event to what it is about. A stale token is dropped.
    #[inline]
    fn dispatch(&mut self, event: Event) {
        if let Some(Registered::Connection(connection)) = self.engine.sources.get_mut(event.token.key())
            && connection.only_reads(event.readiness)
        {
            // The common case, on the connection at hand: looking it up again would cost as much as reading.
            connection.note(event.readiness);
            let moved = connection.fill_once(self.scratch.made(), &self.engine.clock, &self.engine.limits);
            return match moved.any() {
                Some(count) => self.serve_first_read(event.token, count),
                None => self.serve_no_bytes(event.token, moved),
            };
        }
        self.dispatch_rare(event);
    }

    #[cold]
    #[inline(never)]
    fn dispatch_rare(&mut self, Event { token, readiness }: Event) {
        match self.engine.sources.get_mut(token.key()) {
            Some(Registered::Connection(connection)) => {
                connection.note(readiness);
                if readiness.is_error() {
                    connection.set(Flag::BROKEN);
                }
                if readiness.is_error() && !connection.may_read() && !connection.has(Flag::RELAYED) {
                    self.engine.take_socket_error(token);
                } else if !connection.has(Flag::PENDING) {
                    self.serve_unless_held_back(token);
                }
            }
            Some(Registered::Listener(acceptor)) => {
                acceptor.ready = true;
                self.accept_from(token);
            }
            Some(Registered::Datagram(_)) => self.serve_datagram_event(token, readiness),
            Some(Registered::Watched(_)) => self.serve_source_event(token, readiness),
            Some(Registered::Lingering { .. }) => self.discard(token),
            Some(Registered::Waker) => self.engine.counters.wakeups.add(1),
            Some(Registered::Signals(_)) => self.read_signals(token),
            Some(Registered::Task(_) | Registered::Pacer) | None => {}
        }
    }

    /// Serves a connection of which an event has told, at once if there is little to send.
    fn serve_unless_held_back(&mut self, token: Token) {
        if self.engine.connection(token).is_some_and(|connection| self.engine.holds_back_output(connection)) {
            return self.engine.push_pending(token);
        }
        self.serve(token);
    }

    /// Serves what stopped before `EAGAIN` last turn; what stops again is there next turn, behind what had to wait now.
    fn serve_pending(&mut self) {
        if self.working.is_empty() {
            return;
        }
        self.engine.begin_bulk();
        self.engine.bulk.divide(self.working.len(), &self.engine.limits);
        let mut held_back = 0;
        for index in 0..self.working.len() {
            let token = self.working[index];
            if self.engine.connection(token).is_some_and(|connection| self.engine.holds_back(connection)) {
                self.working[held_back] = token;
                held_back += 1;
                continue;
            }
            self.serve_pending_source(token);
            self.end_stretch();
        }
        self.working.truncate(held_back);
        if held_back > 0 {
            self.working.append(&mut self.engine.pending);
            std::mem::swap(&mut self.working, &mut self.engine.pending);
        }
    }

    fn serve_pending_source(&mut self, token: Token) {
        match self.engine.sources.get_mut(token.key()) {
            Some(Registered::Connection(connection)) => {
                connection.clear(Flag::PENDING);
                self.serve(token);
            }
            Some(Registered::Listener(acceptor)) => {
                acceptor.pending = false;
                self.wake_listener(token);
            }
            Some(Registered::Datagram(datagram)) => {
                datagram.pending = false;
                self.serve_datagram(token);
            }
            Some(Registered::Watched(watched)) => {
                watched.pending = false;
                self.serve_source(token);
            }
            Some(Registered::Lingering { pending, .. }) => {
                *pending = false;
                self.discard(token);
            }
            _ => {}
        }
    }

    fn read_signals(&mut self, token: Token) {
        while let Some(Registered::Signals(fd)) = self.engine.sources.get(token.key()) {
            let Ok(number) = signal::read(fd.as_fd()) else { return };
            let Some(mut callback) = self.app.signals.remove(&token) else { return };
            run_task(&mut self.engine, &mut self.app, |cx| callback(cx, number));
            self.app.signals.insert(token, callback);
        }
    }

    /// Flushes what callbacks queued for others and tells those that have ended, which may queue and end more.
    #[inline]
    pub(crate) fn settle(&mut self) {
        while !self.engine.dirty.is_empty() || !self.engine.ended.is_empty() {
            self.settle_once();
            self.end_stretch();
        }
    }

    fn settle_once(&mut self) {
        // A flush adds no more, for it calls no handler; should it ever, that is flushed by the next round.
        let mut dirty = std::mem::take(&mut self.engine.dirty);
        for token in dirty.drain(..) {
            match self.engine.sources.get_mut(token.key()) {
                Some(Registered::Connection(connection)) => {
                    connection.clear(Flag::DIRTY);
                    self.engine.flush_unless_held_back(token);
                }
                Some(Registered::Datagram(datagram)) => {
                    datagram.dirty = false;
                    self.engine.flush_datagrams(token);
                }
                _ => {}
            }
        }
        if self.engine.dirty.is_empty() {
            // Its memory serves again.
            self.engine.dirty = dirty;
        }
        while let Some((token, reason)) = self.engine.ended.pop_front() {
            match self.engine.sources.get(token.key()) {
                Some(Registered::Datagram(_)) => self.reap_datagram(token, &reason),
                Some(Registered::Watched(_)) => self.reap_source(token, &reason),
                _ => self.reap(token, &reason),
            }
        }
    }

    /// The end of a connection: its handler is told, and it leaves the loop.
    fn reap(&mut self, token: Token, reason: &CloseReason) {
        call(&mut self.engine, &mut self.app, token, |handler, cx| {
            handler.on_close(cx, reason);
            Ok(())
        });
        if let Some(handler) = self.app.take(token) {
            drop_safely(handler);
        }
        self.engine.retire(token, reason);
    }

    /// Ends a stretch of callbacks: notes how long it took, and what time it is.
    pub(crate) fn end_stretch(&mut self) {
        self.engine.clock.update();
        let now = self.engine.clock.now_ns();
        let nanos = now - std::mem::replace(&mut self.timed_at_ns, now);
        let counters = &self.engine.counters;
        counters.callback_times.add(nanos);
        if nanos > counters.longest_callback_ns.get() {
            counters.longest_callback_ns.set(nanos);
        }
    }
}

/// The earlier of two times, where `None` is never.
#[inline]
fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The clock is looked at after so many events at the latest.
const CALLBACKS_PER_LOOK: usize = 32;

/// Batches of events that one turn takes after a full one, before deadlines are looked at.
const MORE_BATCHES: usize = 7;
