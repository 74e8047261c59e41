//! Messages from other threads, as a turn of the loop handles them.

use crate::address::SocketAddress;
use crate::application::run_task;
use crate::event_loop::EventLoop;
use crate::handle::{Errand, Mail};
use crate::placement::awaits_sockets;
use crate::sys::fd::Fd;

impl<S: 'static> EventLoop<S> {
    /// Handles messages from other threads, up to the budget.
    pub(crate) fn read_mail(&mut self) {
        if !self.mailbox.has_mail() {
            return;
        }
        for _ in 0..self.engine.limits.mail_per_turn {
            let Some(mail) = self.mailbox.take() else { return };
            self.engine.counters.messages.add(1);
            match mail {
                Mail::Execute(task) => run_task(&mut self.engine, &mut self.app, task),
                Mail::Errand(errand) => self.run_errand(*errand),
            }
        }
    }

    fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Send(id, bytes) => {
                self.context().send_to(id, &bytes);
            }
            Errand::Close(id) => {
                if let Some(mut peer) = self.context().peer(id) {
                    peer.close_after_flush();
                }
            }
            Errand::Broadcast(group, bytes) => self.engine.broadcast(group, &bytes, None),
            Errand::JobDone(job, outcome) => self.finish_job(job, outcome),
            Errand::LookedUp(token, round, found) => self.engine.looked_up(token, round, found),
            Errand::Adopt { fd, peer, factory } => self.adopt_handed_over(fd, &peer, factory),
            Errand::AcceptAgain => self.accept_from_all(),
            Errand::Shutdown(deadline) => self.engine.request_exit(self.engine.clock.deadline_at(deadline)),
            Errand::Stop => self.engine.request_exit(0),
        }
    }

    /// Enters a socket that another loop accepted; its handler hears of a drain that has begun meanwhile.
    pub(crate) fn adopt_handed_over(&mut self, fd: Fd, peer: &SocketAddress, factory: usize) {
        let adopted = self.adopt(fd, peer, factory);
        // Counted when it is among the open ones, so that the accepting loop never misses it.
        self.engine.counters.handed_over.add_released(1);
        // Its place was taken while it was on its way.
        self.engine.vacancy |= adopted.is_none();
        if let (Some(token), Some(deadline_ms)) = (adopted, self.engine.exit_deadline()) {
            self.tell_shutdown(token, deadline_ms);
        }
    }

    /// Whether sockets may still come from other threads.
    pub(crate) fn awaits_sockets(&self) -> bool {
        awaits_sockets(&self.vacancy_bells, &self.mailbox)
    }
}
