//! Governors in the engine: set, changed, and the one timer of each.

use std::io;
use std::time::Duration;

use crate::close_reason::{CloseReason, Timeout};
use crate::connection::{Connection, Flag, Phase};
use crate::engine::Engine;
use crate::governor::{Governor, ReadWatch, Terms, WriteWatch};
use crate::per_address::Seat;
use crate::rate::Direction;
use crate::timeouts::{ReadProgress, Timeouts};
use crate::timer::TimerId;
use crate::token::Token;

impl Engine {
    /// Holds a connection that has just opened to its terms, and to the loop's.
    #[cold]
    pub(crate) fn govern(&mut self, token: Token, terms: &Terms) {
        let Some(connection) = self.connection_mut(token).filter(|connection| connection.phase != Phase::Closed) else {
            return;
        };
        connection.make_governor();
        self.set_rates(token, terms.rates);
        self.set_timeouts(token, terms.timeouts);
    }

    /// Gives a connection its place among those of its address, to be freed as it ends.
    pub(crate) fn seat(&mut self, token: Token, seat: Seat) {
        if let Some(connection) = self.connection_mut(token) {
            connection.make_governor().seat = Some(seat);
        }
    }

    /// What a connection that is being made is to be held to once it is up.
    pub(crate) fn terms_of_attempt(&mut self, token: Token) -> Terms {
        let attempt = self.connection_mut(token).and_then(Connection::attempt_mut);
        attempt.map_or_else(Terms::default, |attempt| Terms {
            timeouts: attempt.options.timeouts,
            rates: attempt.options.rates,
        })
    }

    /// Changes the deadlines of a connection, all counted from now.
    pub(crate) fn set_timeouts(&mut self, token: Token, timeouts: Timeouts) {
        let ends_ms = timeouts.lifetime.map(|lifetime| self.clock.deadline_in(lifetime));
        let write_ms = timeouts.write.map(|patience| (patience, self.clock.deadline_in(patience)));
        let Some(connection) = self.connection_mut(token) else { return };
        if let Some(attempt) = connection.attempt_mut() {
            attempt.options.timeouts = timeouts;
            return;
        }
        if timeouts == Timeouts::default() && connection.governor().is_none() {
            return;
        }
        let waits = connection.queued() > 0;
        let governor = connection.make_governor();
        governor.ends_ms = ends_ms;
        governor.write = write_ms.map(|(patience, due_ms)| WriteWatch { patience, due_ms: waits.then_some(due_ms) });
        self.expect_input(token, timeouts.read);
    }

    /// Changes what input is expected, counted from now.
    pub(crate) fn expect_input(&mut self, token: Token, progress: Option<ReadProgress>) {
        let due_ms = progress.map(|progress| self.clock.deadline_in(progress.period));
        let Some(connection) = self.connection_mut(token) else { return };
        if let Some(attempt) = connection.attempt_mut() {
            attempt.options.timeouts.read = progress;
            return;
        }
        if progress.is_none() && connection.governor().is_none() {
            return;
        }
        let watch = progress.map(|progress| ReadWatch { progress, received: 0, due_ms });
        connection.make_governor().read = watch;
        self.governor_changed(token);
    }

    /// Notes whether reads and sends have to ask the governor, lets it go if there is nothing left to be held to, and sets its
    /// timer.
    pub(crate) fn governor_changed(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        let Some(governor) = connection.governor() else { return };
        let (meters, is_idle, next) = (governor.meters(), governor.is_idle(), governor.next_ms());
        if meters {
            connection.set(Flag::METERED);
        } else {
            connection.clear(Flag::METERED);
        }
        if is_idle {
            self.drop_governor(token);
        } else if let Some(due_ms) = next {
            self.schedule(token, due_ms);
        }
    }

    /// Takes the governor off a connection that needs none, or has ended.
    #[cold]
    pub(crate) fn drop_governor(&mut self, token: Token) {
        self.return_grants(token);
        let Some(connection) = self.connection_mut(token) else { return };
        connection.clear(Flag::METERED);
        if let Some((timer, _)) = connection.take_governor().and_then(|governor| governor.timer) {
            self.timers.cancel(timer);
        }
    }

    /// Has the governor look at this time, if it does not look earlier. Without a timer the connection cannot go on.
    pub(crate) fn schedule(&mut self, token: Token, due_ms: u64) {
        let Some(governor) = self.governor_mut(token) else { return };
        let timer = match governor.timer {
            Some((_, at_ms)) if at_ms <= due_ms => return,
            Some((timer, _)) => {
                self.timers.reset(timer, due_ms);
                Ok(timer)
            }
            None => self.arm_at(due_ms, token),
        };
        match (timer, self.governor_mut(token)) {
            (Ok(timer), Some(governor)) => governor.timer = Some((timer, due_ms)),
            (Err(error), _) => self.end(token, CloseReason::Error(error)),
            (Ok(_), None) => {}
        }
    }

    /// Arms a timer for a time rather than after one. Out of the way of the timers of handlers.
    #[cold]
    pub(crate) fn arm_at(&mut self, due_ms: u64, token: Token) -> io::Result<TimerId> {
        let timer = self.arm(Duration::ZERO, token)?;
        self.timers.reset(timer, due_ms);
        Ok(timer)
    }

    /// A timer is due; `true` if it is that of this connection's governor.
    pub(crate) fn take_governor_timer(&mut self, token: Token, timer: TimerId) -> bool {
        let Some(governor) = self.governor_mut(token) else { return false };
        let ours = governor.timer.is_some_and(|(other, _)| other == timer);
        if ours {
            governor.timer = None;
        }
        ours
    }

    /// Has the governor look again when next something is due.
    pub(crate) fn schedule_next(&mut self, token: Token) {
        let Some(connection) = self.connection(token).filter(|connection| connection.phase != Phase::Closed) else {
            return;
        };
        if let Some(due_ms) = connection.governor().and_then(Governor::next_ms) {
            self.schedule(token, due_ms);
        }
    }

    pub(crate) fn governor_mut(&mut self, token: Token) -> Option<&mut Governor> {
        self.connection_mut(token)?.governor_mut()
    }

    /// So many bytes have come.
    pub(crate) fn note_input(&mut self, token: Token, count: usize) {
        if let Some(watch) = self.governor_mut(token).and_then(|governor| governor.read.as_mut()) {
            watch.received = watch.received.saturating_add(count as u64);
        }
    }

    /// Reading goes on after a rest: the peer has a whole period from now.
    pub(crate) fn restart_read_watch(&mut self, token: Token) {
        let Some(watch) = self.governor_mut(token).and_then(|governor| governor.read) else { return };
        let due_ms = self.clock.deadline_in(watch.progress.period);
        if let Some(governor) = self.governor_mut(token) {
            governor.read = Some(ReadWatch { received: 0, due_ms: Some(due_ms), ..watch });
        }
        self.schedule(token, due_ms);
    }

    /// Output waits, and some of it has left, or it waits only now: the kernel has all its time to take more.
    #[cold]
    pub(crate) fn restart_write_watch(&mut self, token: Token) {
        let Some(watch) = self.governor_mut(token).and_then(|governor| governor.write) else { return };
        let waits = self.connection(token).is_some_and(|connection| connection.queued() > 0);
        let due_ms = waits.then(|| self.clock.deadline_in(watch.patience));
        if let Some(governor) = self.governor_mut(token) {
            governor.write = Some(WriteWatch { due_ms, ..watch });
        }
        if let Some(due_ms) = due_ms {
            self.schedule(token, due_ms);
        }
    }

    /// Output has been queued.
    #[cold]
    pub(crate) fn output_waits(&mut self, token: Token) {
        let watch = self.governor_mut(token).and_then(|governor| governor.write);
        if watch.is_some_and(|watch| watch.due_ms.is_none()) {
            self.restart_write_watch(token);
        }
    }

    /// The deadline that has passed, if one has. Periods that went well begin anew.
    pub(crate) fn overdue(&mut self, token: Token) -> Option<Timeout> {
        let now_ms = self.clock.now_ms();
        let connection = self.connection(token).filter(|connection| connection.phase != Phase::Closed)?;
        let governor = connection.governor()?;
        if governor.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms) {
            return Some(Timeout::Lifetime);
        }
        let write_due = governor.write.and_then(|watch| watch.due_ms).is_some_and(|due_ms| due_ms <= now_ms);
        let read_due = |watch: &ReadWatch| watch.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if let Some(watch) = governor.read.filter(read_due) {
            if connection.phase != Phase::Open || connection.has(Flag::EOF) {
                self.governor_mut(token)?.read = None;
            } else if connection.rests() {
                // It begins anew when reading goes on.
                self.governor_mut(token)?.read = Some(ReadWatch { due_ms: None, ..watch });
            } else if watch.received >= watch.progress.bytes {
                self.restart_read_watch(token);
            } else {
                return Some(Timeout::Read);
            }
        }
        if write_due {
            let connection = self.connection(token)?;
            if connection.queued() > 0 && !connection.is_held(Direction::Output) {
                return Some(Timeout::Write);
            }
            self.restart_write_watch(token);
        }
        None
    }
}

impl Connection {
    /// Whether it is we who do not read.
    fn rests(&self) -> bool {
        self.has(Flag::PAUSED) || self.has(Flag::BLOCKED) || self.is_held(Direction::Input)
    }
}
