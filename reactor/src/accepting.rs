//! Accepting in a loop: until nobody waits, within a budget, and through every shortage.

use std::io;

use crate::acceptor::{Accepted, Acceptor, Rest, Turned};
use crate::address::SocketAddress;
use crate::application::call;
use crate::clock::NANOS_PER_MS;
use crate::event_loop::EventLoop;
use crate::handle::Errand;
use crate::handler::Handler;
use crate::per_address::{Admission, Seat};
use crate::placement::VacancyBell;
use crate::registered::Registered;
use crate::sys::fd::Fd;
use crate::token::Token;
use crate::unwind::drop_safely;

impl<S: 'static> EventLoop<S> {
    /// Accepts until nobody waits, or the budget ends, or there is no room.
    pub(crate) fn accept_from(&mut self, token: Token) {
        let now_ns = self.engine.clock.now_ns();
        for _ in 0..self.engine.limits.accepts_per_turn {
            let Some(acceptor) = self.acceptor(token) else { return };
            if acceptor.rest.is_some() || !acceptor.ready {
                return;
            }
            let factory = acceptor.factory;
            if !acceptor.is_in_pace(now_ns) {
                return self.rest_for_pace(token);
            }
            if !self.has_room(factory) {
                return self.rest_while_full(token);
            }
            let Some(acceptor) = self.acceptor(token) else { return };
            match acceptor.accept() {
                Accepted::Connection(fd, peer) => self.place(fd, &peer, factory),
                Accepted::Gone => {}
                Accepted::Empty => return,
                Accepted::Shortage(error) => return self.rest_in_shortage(token, &error),
                Accepted::Failed(error) => {
                    log::error!("accepting failed for good, the listener is closed: {error}");
                    return self.engine.remove_listener(token);
                }
            }
        }
        self.engine.push_pending(token);
    }

    /// Another loop says that somebody waits in a backlog that is shared.
    pub(crate) fn accept_from_all(&mut self) {
        for token in self.listeners().to_vec() {
            self.wake_listener(token);
        }
    }

    /// The last chance of those who wait: takes in all, whatever the budget of a turn is.
    pub(crate) fn accept_backlog(&mut self) {
        for token in self.listeners().to_vec() {
            if let Some(acceptor) = self.acceptor(token) {
                acceptor.pace = None;
            }
            for _ in 0..LONGEST_BACKLOG.div_ceil(self.engine.limits.accepts_per_turn) {
                self.wake_listener(token);
                if self.acceptor(token).is_none_or(|acceptor| !acceptor.ready || acceptor.rest.is_some()) {
                    break;
                }
            }
        }
    }

    /// Connections have closed: listeners that rest for want of room or descriptors try again next turn.
    pub(crate) fn offer_vacancy(&mut self) {
        if !std::mem::take(&mut self.engine.vacancy) {
            return;
        }
        self.vacancy_bells.iter().for_each(VacancyBell::ring);
        for index in 0..self.listeners().len() {
            let token = self.listeners()[index];
            if self.acceptor(token).is_some_and(|acceptor| acceptor.rest.is_some()) {
                self.engine.push_pending(token);
            }
        }
    }

    /// The timer of a shortage is up. Clients that have waited for too long are turned away: they may go elsewhere.
    pub(crate) fn accept_after_shortage(&mut self, token: Token) {
        self.wake_listener(token);
        let (now, patience) = (self.engine.clock.now(), self.engine.limits.accept_patience);
        let Some(acceptor) = self.acceptor(token) else { return };
        // Only who has found the shortage again: a loop that is merely full lets its clients wait.
        let is_short = matches!(acceptor.rest, Some(Rest::Shortage { .. }));
        if is_short && acceptor.short_since.is_some_and(|since| now - since >= patience) {
            self.turn_away(token);
        }
    }

    fn acceptor(&mut self, token: Token) -> Option<&mut Acceptor> {
        match self.engine.sources.get_mut(token.key()) {
            Some(Registered::Listener(acceptor)) => Some(acceptor),
            _ => None,
        }
    }

    /// Whether one more connection has room, here or on a loop that it can be handed to.
    fn has_room(&mut self, factory: usize) -> bool {
        let waiting = self.engine.counters.buffered.get();
        let budget = &mut self.engine.budget;
        let Some(placement) = self.placements.get(&factory) else {
            // The turn in which memory is to spare again ends the rest.
            budget.pressed |= budget.is_pressed_with(waiting);
            return !budget.pressed && self.engine.has_room();
        };
        budget.pressed |= budget.is_pressed_by_all();
        !budget.is_pressed_by_all() && placement.has_room()
    }

    /// Takes a new connection in, or hands it over to the loop that is to have it.
    fn place(&mut self, fd: Fd, peer: &SocketAddress, factory: usize) {
        let ours = match self.placements.get_mut(&factory) {
            Some(placement) => placement.place(fd, peer, factory),
            None => Some(fd),
        };
        if let Some(fd) = ours {
            self.adopt(fd, peer, factory);
        }
    }

    /// Ends the rest of a listener, if it rests, and accepts.
    pub(crate) fn wake_listener(&mut self, token: Token) {
        self.engine.reserve.refill();
        let now_ns = self.engine.clock.now_ns();
        let Some(acceptor) = self.acceptor(token) else { return };
        acceptor.ready = true;
        // Who rests for its pace has a timer, and is not to be woken in vain.
        if matches!(acceptor.rest, Some(Rest::Paced { .. })) && !acceptor.is_in_pace(now_ns) {
            return;
        }
        let (factory, rest) = (acceptor.factory, acceptor.rest.take());
        if let Some(retry) = rest.and_then(Rest::retry) {
            self.engine.timers.cancel(retry);
        }
        if self.has_room(factory)
            && let Err(error) = self.engine.register_listener(token)
        {
            return self.rest_in_shortage(token, &error);
        }
        self.accept_from(token);
    }

    /// The loop is full: new clients wait in the backlog, or another loop takes them.
    fn rest_while_full(&mut self, token: Token) {
        let Some(acceptor) = self.acceptor(token) else { return };
        if acceptor.rest.is_none() {
            acceptor.rest = Some(Rest::Full);
            self.leave_to_others(token);
        }
    }

    /// As many were accepted as the rate allows: the next clients wait in the backlog for a timer, or another loop takes them.
    fn rest_for_pace(&mut self, token: Token) {
        let Some(bucket) = self.acceptor(token).and_then(|acceptor| acceptor.pace.as_ref()) else { return };
        let due_ms = bucket.chunk_ns().div_ceil(NANOS_PER_MS);
        let retry = self.engine.timers.insert(due_ms, token);
        let Some(acceptor) = self.acceptor(token) else { return };
        // Without a timer, the next connection that closes ends the rest.
        acceptor.rest = Some(retry.map_or(Rest::Full, |retry| Rest::Paced { retry }));
        self.leave_to_others(token);
    }

    /// Descriptors or memory are short. No edge will tell when they are back, so a timer tries again.
    fn rest_in_shortage(&mut self, token: Token, error: &io::Error) {
        let (now, pause) = (self.engine.clock.now(), self.engine.limits.accept_retry);
        let retry = self.engine.arm(pause, token);
        let Some(acceptor) = self.acceptor(token) else { return };
        // Without a timer, the next connection that closes ends the rest.
        acceptor.rest = Some(retry.map_or(Rest::Full, |retry| Rest::Shortage { retry }));
        if acceptor.short_since.is_none() {
            acceptor.short_since = Some(now);
            self.engine.counters.accept_shortages.add(1);
            log::warn!("clients wait to be accepted, tried again every {pause:?}: {error}");
        }
        self.leave_to_others(token);
    }

    /// A listener that rests is watched no longer if others watch it too: a wake-up that came here would be lost to them.
    /// Who waits already, they are told of.
    fn leave_to_others(&mut self, token: Token) {
        if self.engine.deregister_shared_listener(token) {
            for sibling in &self.app.siblings {
                // A sibling whose mailbox is full is awake and will look at the listener when it has an edge.
                let _ = sibling.post_urgent(Errand::AcceptAgain);
            }
        }
    }

    /// Holds an accepted connection to the terms of its listener.
    #[cold]
    fn govern(&mut self, token: Token, factory: usize) {
        let terms = self.app.factories[factory].terms.as_deref().copied().unwrap_or_default();
        self.engine.govern(token, &terms);
    }

    fn turn_away(&mut self, token: Token) {
        for _ in 0..self.engine.limits.accepts_per_turn {
            let Some(Registered::Listener(acceptor)) = self.engine.sources.get_mut(token.key()) else { return };
            let factory = acceptor.factory;
            match self.engine.reserve.turn_away(acceptor) {
                Turned::Away => self.engine.counters.refused.add(1),
                Turned::Nobody => return,
                Turned::In(fd, peer) => {
                    self.place(fd, &peer, factory);
                    return self.wake_listener(token);
                }
            }
        }
    }

    /// Takes a place for a connection of this peer; the error says that there is none.
    #[cold]
    fn admit(&self, peer: &SocketAddress, factory: usize) -> Result<Option<Box<Seat>>, ()> {
        match self.app.factories[factory].per_address.as_ref().map(|table| table.admit(peer)) {
            Some(Admission::Seated(seat)) => Ok(Some(Box::new(seat))),
            Some(Admission::Refused) => Err(()),
            Some(Admission::Unlimited) | None => Ok(None),
        }
    }

    /// Enters an accepted socket, with a handler, if its address may have one more.
    pub(crate) fn adopt(&mut self, fd: Fd, peer: &SocketAddress, factory: usize) -> Option<Token> {
        let counted = self.app.factories[factory].per_address.is_some();
        let Ok(seat) = (if counted { self.admit(peer, factory) } else { Ok(None) }) else {
            self.engine.counters.refused.add(1);
            return None;
        };
        let Some(handler) = self.app.make_handler(factory, peer) else {
            self.engine.counters.panics.add(1);
            self.engine.counters.refused.add(1);
            return None;
        };
        let idle_ms = self.app.factories[factory].idle_ms;
        match self.engine.adopt(fd, idle_ms) {
            Ok(token) => {
                self.engine.counters.accepted.add(1);
                self.app.put(token, handler);
                if let Some(seat) = seat {
                    self.engine.seat(token, *seat);
                }
                if self.app.factories[factory].terms.is_some() || self.engine.pacer.is_some() {
                    self.govern(token, factory);
                }
                call(&mut self.engine, &mut self.app, token, Handler::on_open);
                Some(token)
            }
            Err(error) => {
                log::warn!("closed the connection from {peer}, which could not be watched: {error}");
                self.engine.counters.refused.add(1);
                drop_safely(handler);
                None
            }
        }
    }
}

/// More than the default of `net.core.somaxconn`; bounds what a drain still accepts while new clients keep coming.
const LONGEST_BACKLOG: usize = 8192;
