//! Serving one datagram socket: what waits to be sent, what is told of what was sent, what has arrived, each within its budget.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Result;
use crate::application::Application;
use crate::close_reason::CloseReason;
use crate::connection::Phase;
use crate::datagram::Datagram;
use crate::datagram_context::DatagramContext;
use crate::datagram_error::DatagramError;
use crate::datagram_handler::DatagramHandler;
use crate::engine::Engine;
use crate::event::Readiness;
use crate::event_loop::EventLoop;
use crate::limits::Limits;
use crate::registered::Registered;
use crate::sys::datagram::{self, Layout, ReceiveBatch};
use crate::sys::option;
use crate::timer::TimerId;
use crate::token::Token;
use crate::unwind::{drop_safely, panic_message};

impl<S: 'static> EventLoop<S> {
    /// The kernel has told something of a datagram socket.
    pub(crate) fn serve_datagram_event(&mut self, token: Token, readiness: Readiness) {
        let Some(datagram) = self.engine.datagram_mut(token) else { return };
        datagram.note(readiness);
        let (pending, has_room) = (datagram.pending, datagram.awaits_room && readiness.is_writable());
        if has_room {
            self.engine.flush_datagrams(token);
        }
        if !pending {
            self.serve_datagram(token);
        }
    }

    /// Does for a socket what its readiness allows. What the budget stops goes on next turn.
    pub(crate) fn serve_datagram(&mut self, token: Token) {
        let Some(datagram) = self.engine.datagram_mut(token) else { return };
        if !datagram.opened {
            datagram.opened = true;
            self.call_datagram(token, DatagramHandler::on_open);
        }
        let Some(datagram) = self.engine.datagram_mut(token) else { return };
        if datagram.tell_drained && datagram.queue.is_empty() {
            datagram.tell_drained = false;
            self.call_datagram(token, DatagramHandler::on_drained);
        }
        if self.engine.datagram(token).is_some_and(|datagram| datagram.erroneous) {
            self.engine.collect_errors(token);
        }
        if self.engine.datagram(token).is_some_and(Datagram::may_read) {
            self.receive_datagrams(token);
        }
        self.tell_errors(token);
        self.finish_datagram_if_served(token);
    }

    /// Receives batches until there is nothing, the budget ends, or the socket closes.
    ///
    /// A batch that is shorter than was asked for is the last: unlike the reader of a stream, the kernel itself has gone on
    /// to the end of the queue. What comes after that makes an edge. It may also have met an error, which it keeps, and
    /// which was announced by an edge when it came. So a datagram that comes alone costs one call.
    fn receive_datagrams(&mut self, token: Token) {
        let Limits { datagrams_per_turn, read_per_turn, strict_drain, .. } = self.engine.limits;
        let (mut count_left, mut bytes_left) = (datagrams_per_turn, read_per_turn);
        while count_left > 0 && bytes_left > 0 {
            let Some(Registered::Datagram(datagram)) = self.engine.sources.get_mut(token.key()) else { return };
            if !datagram.may_read() {
                return;
            }
            self.inbox.lay_out(layout(datagram, &self.engine.limits));
            let fit = (bytes_left / datagram.socket.max_size()).max(1);
            let asked = self.inbox.slots().min(count_left).min(fit);
            match datagram::receive(datagram.socket.as_fd(), &mut self.inbox, asked) {
                Ok(count) => {
                    datagram.readable = count == asked || strict_drain;
                    count_left -= count;
                    bytes_left = bytes_left.saturating_sub(self.deliver_datagrams(token, count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    datagram.readable = false;
                    return;
                }
                Err(error) => {
                    count_left -= 1;
                    self.engine.receiving_failed(token, error);
                }
            }
        }
        self.engine.push_pending(token);
    }

    /// Shows the handler a batch of datagrams; answers how many bytes they have.
    fn deliver_datagrams(&mut self, token: Token, count: usize) -> usize {
        let mut bytes = 0;
        let inbox = &self.inbox;
        for received in (0..count).map(|index| inbox.get(index)) {
            bytes += received.bytes.len();
            self.engine.counters.datagrams.truncated.add(u64::from(received.bytes.len() < received.length));
        }
        self.engine.counters.datagrams.received.add(count as u64);
        self.engine.counters.bytes_in.add(bytes as u64);
        if let Some(datagram) = self.engine.datagram_mut(token)
            && datagram.phase == Phase::Finishing
        {
            datagram.still_served = datagram.still_served.saturating_sub(count);
        }
        call(&mut self.engine, &mut self.app, token, Some(inbox), |handler, cx| {
            for index in 0..count {
                let received = inbox.get(index);
                cx.show(index);
                let result = received.from.decode().and_then(|from| handler.on_datagram(cx, &from, received.bytes));
                if let Err(error) = result {
                    cx.count_failure(&error);
                }
                if !cx.receives() {
                    break;
                }
            }
            Ok(())
        });
        bytes
    }

    /// Tells the handler what became of datagrams it has sent.
    fn tell_errors(&mut self, token: Token) {
        // What a callback sends in turn may fail in turn: that is for the next turn.
        let count = self.engine.datagram(token).map_or(0, Datagram::errors);
        for _ in 0..count {
            let Some(error) = self.engine.datagram_mut(token).and_then(Datagram::take_error) else { return };
            self.call_datagram(token, |handler, cx| handler.on_error(cx, &error));
        }
    }

    /// A socket in a drain closes once all that had arrived is served.
    fn finish_datagram_if_served(&mut self, token: Token) {
        let Some(datagram) = self.engine.datagram(token) else { return };
        if datagram.phase == Phase::Finishing && !datagram.may_read() {
            self.engine.close_datagram_after_flush(token);
        }
    }

    /// A timer is due: the one that tries to send again, or one of the handler's.
    pub(crate) fn expire_datagram(&mut self, token: Token, timer: TimerId) {
        let Some(datagram) = self.engine.datagram_mut(token) else { return };
        if datagram.retry == Some(timer) {
            datagram.retry = None;
            return self.engine.flush_datagrams(token);
        }
        if datagram.remove_timer(timer) && datagram.phase != Phase::Closed {
            self.call_datagram(token, |handler, cx| handler.on_timer(cx, timer));
        }
    }

    /// The end of a socket: its handler is told, and it leaves the loop.
    pub(crate) fn reap_datagram(&mut self, token: Token, reason: &CloseReason) {
        self.call_datagram(token, |handler, cx| {
            handler.on_close(cx, reason);
            Ok(())
        });
        if let Some(place) = self.engine.datagram(token).map(|datagram| datagram.handler)
            && let Some(handler) = self.app.datagram_handlers.try_remove(place)
        {
            drop_safely(handler);
        }
        self.engine.retire_datagram(token, reason);
    }

    /// Calls the handler of a socket.
    pub(crate) fn call_datagram(
        &mut self,
        token: Token,
        callback: impl FnOnce(&mut dyn DatagramHandler<S>, &mut DatagramContext<'_, S>) -> Result,
    ) {
        call(&mut self.engine, &mut self.app, token, None, callback);
    }
}

/// Runs a callback of a datagram socket, or those of a batch. What they say leaves as they return; an error is counted, and a
/// panic ends the socket.
fn call<S: 'static>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    batch: Option<&ReceiveBatch>,
    callback: impl FnOnce(&mut dyn DatagramHandler<S>, &mut DatagramContext<'_, S>) -> Result,
) {
    let Some(place) = engine.datagram(token).map(|datagram| datagram.handler) else { return };
    let Some(mut handler) = app.datagram_handlers.get_mut(place).and_then(Option::take) else { return };
    engine.begin_datagram_callback(token);
    let mut cx = DatagramContext::new(engine, app, token, batch);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if let Err(error) = callback(&mut *handler, &mut cx) {
            cx.count_failure(&error);
        }
    }));
    app.put_back_datagram(place, handler);
    engine.end_datagram_callback(token);
    if let Err(payload) = outcome {
        let message = panic_message(payload);
        log::error!("a callback of datagram socket {token:?} panicked: {message}");
        engine.counters.panics.add(1);
        engine.end_datagram(token, CloseReason::Panic(message));
    }
}

impl Engine {
    /// Takes the errors that the kernel has kept, up to the budget.
    fn collect_errors(&mut self, token: Token) -> usize {
        for count in 0..self.limits.datagrams_per_turn {
            let Some(Registered::Datagram(datagram)) = self.sources.get_mut(token.key()) else { return count };
            match next_error(datagram) {
                Some(error) => {
                    self.counters.datagrams.errors.add(1);
                    datagram.keep_error(error);
                }
                None => {
                    datagram.erroneous = false;
                    return count;
                }
            }
        }
        self.push_pending(token);
        self.limits.datagrams_per_turn
    }

    /// Receiving brought an error. Mostly it is of a datagram sent before, and the kernel has kept more about it; only one
    /// that says that the socket is none ends it.
    fn receiving_failed(&mut self, token: Token, error: io::Error) {
        if matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL)) {
            return self.end_datagram(token, CloseReason::Error(error));
        }
        if self.collect_errors(token) == 0 {
            self.counters.datagrams.errors.add(1);
            let Some(datagram) = self.datagram_mut(token) else { return };
            let peer = datagram.socket.peer_address().cloned();
            datagram.keep_error(DatagramError::local(error, peer));
        }
    }
}

/// The next error that the kernel has kept for the socket.
fn next_error(datagram: &Datagram) -> Option<DatagramError> {
    let fd = datagram.socket.as_fd();
    if datagram.socket.is_unix() {
        // It has no queue of errors, and would receive a datagram if it were asked for one.
        let error = option::take_error(fd).ok().flatten()?;
        return Some(DatagramError::local(error, datagram.socket.peer_address().cloned()));
    }
    loop {
        let undelivered = datagram::receive_error(fd).ok()?;
        if let Some(error) = undelivered.error {
            let destination = undelivered.to.decode().ok();
            return Some(DatagramError::told(error, destination, undelivered.reporter));
        }
    }
}

/// How the datagrams of this socket are received: as many in one call as the limits allow.
fn layout(datagram: &Datagram, limits: &Limits) -> Layout {
    let size = datagram.socket.max_size();
    let slots = limits.datagrams_per_call.min(limits.read_per_turn / size).clamp(1, datagram::MOST);
    Layout { slots, size, control: datagram.socket.tells_destination() }
}
