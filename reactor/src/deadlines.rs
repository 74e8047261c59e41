//! What a governor's timer brings: rests that end, and connections that are judged.

use crate::close_reason::CloseReason;
use crate::event_loop::EventLoop;
use crate::timer::TimerId;
use crate::token::Token;

impl<S: 'static> EventLoop<S> {
    /// A timer of this connection is due; `false` if it is not the one of its governor.
    pub(crate) fn governor_due(&mut self, token: Token, timer: TimerId) -> bool {
        if !self.engine.take_governor_timer(token, timer) {
            return false;
        }
        self.engine.release_due(token);
        self.close_if_overdue(token);
        self.engine.schedule_next(token);
        true
    }

    /// What has arrived wins over the deadline, and so does what the kernel takes now: the connection is served once more, and
    /// then judged.
    fn close_if_overdue(&mut self, token: Token) {
        if self.engine.overdue(token).is_none() {
            return;
        }
        if let Some(connection) = self.engine.connection_mut(token) {
            connection.look_again();
        }
        self.serve(token);
        if let Some(timeout) = self.engine.overdue(token) {
            self.engine.end(token, CloseReason::Timeout(timeout));
        }
    }
}
