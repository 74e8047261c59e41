//! The end of a loop: serve what has arrived, flush, close, and at the deadline cut.

use std::time::{Duration, Instant};

use crate::application::call;
use crate::close_reason::CloseReason;
use crate::connection::Phase;
use crate::drain_report::{Drain, DrainReport};
use crate::event_loop::EventLoop;
use crate::registered::Registered;
use crate::token::Token;

impl<S: 'static> EventLoop<S> {
    /// What a turn does for the end of the loop, once that was asked for.
    pub(crate) fn drain_step(&mut self) {
        let Some(deadline_ms) = self.engine.exit_deadline() else { return };
        if self.drain.is_none() {
            self.begin_drain(deadline_ms);
        }
        self.settle();
        let is_late = deadline_ms <= self.engine.clock.now_ms();
        if is_late {
            self.cut_all();
        }
        if self.engine.connections() + self.engine.counters.datagrams.sockets.get() == 0
            && (is_late || !self.awaits_sockets() && !self.awaits_jobs() && self.engine.holding == 0)
        {
            self.end_sources();
            if let Some(drain) = &mut self.drain {
                drain.done = true;
            }
        }
    }

    /// How the drain went, if it is over.
    pub(crate) fn drain_report(&self) -> Option<DrainReport> {
        let drain = self.drain.as_ref().filter(|drain| drain.done)?;
        let closed = self.metrics().closed.total() - drain.closed_before;
        Some(DrainReport { clean: closed - drain.cut, cut: drain.cut, unsent: drain.unsent })
    }

    fn begin_drain(&mut self, deadline_ms: u64) {
        let closed_before = self.metrics().closed.total();
        self.drain = Some(Drain { closed_before, cut: 0, unsent: 0, done: false });
        if deadline_ms > self.engine.clock.now_ms() {
            // Who waits in the backlog was told "connected" by the kernel already.
            self.accept_backlog();
        }
        self.engine.draining = true;
        self.drop_listeners();
        if deadline_ms > self.engine.clock.now_ms() {
            self.connection_tokens().into_iter().for_each(|token| self.tell_shutdown(token, deadline_ms));
            self.datagram_tokens().into_iter().for_each(|token| self.tell_datagram_shutdown(token, deadline_ms));
            let deadline = self.instant(deadline_ms);
            self.source_tokens().into_iter().for_each(|token| self.tell_source_shutdown(token, deadline));
        }
    }

    pub(crate) fn tell_shutdown(&mut self, token: Token, deadline_ms: u64) {
        let deadline = self.instant(deadline_ms);
        match self.engine.connection(token).map(|connection| connection.phase) {
            // What waits for a relayed one is passed on yet.
            Some(Phase::Connecting) if !self.engine.is_relayed(token) => self.engine.end(token, CloseReason::Shutdown),
            Some(Phase::Open) => {
                call(&mut self.engine, &mut self.app, token, |handler, cx| handler.on_shutdown(cx, deadline));
            }
            _ => {}
        }
    }

    fn tell_datagram_shutdown(&mut self, token: Token, deadline_ms: u64) {
        let deadline = self.instant(deadline_ms);
        if self.engine.datagram(token).is_some_and(|datagram| datagram.phase == Phase::Open) {
            self.call_datagram(token, |handler, cx| handler.on_shutdown(cx, deadline));
        }
    }

    fn instant(&self, deadline_ms: u64) -> Instant {
        self.engine.clock.now() + self.engine.clock.until(deadline_ms).min(A_YEAR)
    }

    /// Closes everything by force.
    pub(crate) fn cut_all(&mut self) {
        for token in self.connection_tokens() {
            let Some(connection) = self.engine.connection(token) else { continue };
            if connection.phase == Phase::Closed {
                continue;
            }
            let unsent = connection.queued() as u64;
            self.engine.end(token, CloseReason::Cut);
            if let Some(drain) = &mut self.drain {
                drain.cut += 1;
                drain.unsent += unsent;
            }
        }
        self.datagram_tokens().into_iter().for_each(|token| self.cut_datagram(token));
        self.settle();
        for token in self.lingering_tokens() {
            self.engine.end_linger(token);
        }
    }

    fn cut_datagram(&mut self, token: Token) {
        let Some(datagram) = self.engine.datagram(token).filter(|datagram| datagram.phase != Phase::Closed) else {
            return;
        };
        let unsent = datagram.queue.bytes() as u64;
        self.engine.end_datagram(token, CloseReason::Cut);
        if let Some(drain) = &mut self.drain {
            drain.cut += 1;
            drain.unsent += unsent;
        }
    }

    fn datagram_tokens(&self) -> Vec<Token> {
        self.tokens(|source| matches!(source, Registered::Datagram(_)))
    }

    pub(crate) fn source_tokens(&self) -> Vec<Token> {
        self.tokens(|source| matches!(source, Registered::Watched(_)))
    }

    fn connection_tokens(&self) -> Vec<Token> {
        self.tokens(|source| matches!(source, Registered::Connection(_)))
    }

    fn lingering_tokens(&self) -> Vec<Token> {
        self.tokens(|source| matches!(source, Registered::Lingering { .. }))
    }

    fn tokens(&self, wanted: impl Fn(&Registered) -> bool) -> Vec<Token> {
        let sources = self.engine.sources.iter().filter(|(_, source)| wanted(source));
        sources.map(|(key, _)| Token::new(self.engine.loop_index, key)).collect()
    }
}

/// Further off than any shutdown waits; keeps the deadline within what the clock can tell.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);
