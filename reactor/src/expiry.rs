//! Deadlines that have come: timers, tasks, connects, lingering, and connections that were idle for too long.

use crate::application::{call, run_task};
use crate::close_reason::{CloseReason, Timeout};
use crate::connection::Phase;
use crate::event_loop::EventLoop;
use crate::rate::Direction;
use crate::registered::Registered;
use crate::timer::TimerId;
use crate::token::Token;

impl<S: 'static> EventLoop<S> {
    pub(crate) fn expire_timers(&mut self) {
        let now = self.engine.clock.now_ms();
        if self.engine.timers.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.engine.timers.advance(now);
        for _ in 0..self.engine.limits.deadlines_per_turn {
            let Some((timer, token)) = self.engine.timers.pop_due() else { break };
            self.expire(timer, token);
            self.end_stretch();
        }
    }

    /// A timer is due: what that means depends on whose it is.
    fn expire(&mut self, timer: TimerId, token: Token) {
        match self.engine.sources.get_mut(token.key()) {
            Some(Registered::Connection(connection)) => {
                if connection.phase == Phase::Closed {
                    return;
                }
                if connection.remove_timer(timer) {
                    call(&mut self.engine, &mut self.app, token, |handler, cx| handler.on_timer(cx, timer));
                } else if !self.governor_due(token, timer) {
                    self.engine.attempt_due(token, timer);
                }
            }
            Some(Registered::Datagram(_)) => self.expire_datagram(token, timer),
            Some(Registered::Watched(_)) => self.expire_source(token, timer),
            Some(Registered::Listener(_)) => self.accept_after_shortage(token),
            Some(Registered::Lingering { .. }) => self.engine.look_at_lingering(token),
            Some(Registered::Task(_)) => {
                self.engine.sources.remove(token.key());
                if let Some(task) = self.app.tasks.remove(&token) {
                    run_task(&mut self.engine, &mut self.app, task);
                }
            }
            Some(Registered::Pacer) => self.engine.share_out(token, timer),
            Some(Registered::Waker | Registered::Signals(_)) | None => {}
        }
    }

    /// Closes connections on which nothing has moved for their idle timeout. What has arrived wins over the deadline: a
    /// process that was stopped for an hour finds its clients' bytes first.
    pub(crate) fn expire_idle(&mut self) {
        let now = self.engine.clock.now_ms();
        if self.engine.idle.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.engine.idle.advance(&mut self.engine.sources, now);
        for _ in 0..self.engine.limits.deadlines_per_turn {
            let Some(index) = self.engine.idle.pop_due(&mut self.engine.sources) else { break };
            let Some(key) = self.engine.sources.key_at(index) else { continue };
            self.expire_if_still_idle(Token::new(self.engine.loop_index, key));
        }
        self.end_stretch();
    }

    fn expire_if_still_idle(&mut self, token: Token) {
        let Some(connection) = self.engine.connection_mut(token) else { return };
        let before = connection.last_activity;
        connection.look_again();
        self.serve(token);
        let Some(connection) = self.engine.connection(token) else { return };
        // One that rests for want of tokens is not idle.
        let is_held = Direction::BOTH.into_iter().any(|direction| connection.is_held(direction));
        if is_held {
            self.engine.set_active(token);
        } else if connection.last_activity != before {
            self.engine.idle.watch(&mut self.engine.sources, token.key().index);
        } else {
            self.engine.end(token, CloseReason::Timeout(Timeout::Idle));
        }
    }
}
