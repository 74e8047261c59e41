//! One connection: it sends its messages, checks what comes back, and times it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use reactor::{CloseReason, Context, Handler, Input, LoopContext, Result};

use crate::pattern::Flaw;
use crate::plan::Plan;
use crate::tally::Failure;
use crate::worker::{Place, Worker};

/// A place for one connection at a time, with its own sequence of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Which one it is, among those of all threads.
    pub(crate) number: u32,
    /// Its next message.
    pub(crate) next: u64,
}

/// The state of one connection.
pub(crate) struct Session {
    plan: Arc<Plan>,
    slot: Slot,
    /// The message that comes back next, and how many of its bytes have.
    awaited: u64,
    position: usize,
    /// The times from which the messages on their way are counted, oldest first. At most the depth.
    in_flight: VecDeque<Instant>,
    /// The time of the one message of a connection that is made for it.
    sole: Option<Instant>,
    stage: Stage,
    /// Whether it waits in the worker's queue for something to send.
    queued: bool,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Open,
    /// All is answered and our end of stream is on its way; the server's is awaited.
    Ending,
    /// It has ended as it should.
    Done,
    /// It has failed, and that is counted.
    Failed,
}

impl Session {
    /// A connection that stays.
    pub(crate) fn lasting(plan: Arc<Plan>, slot: Slot) -> Self {
        let (awaited, in_flight) = (slot.next, VecDeque::new());
        Self { plan, slot, awaited, position: 0, in_flight, sole: None, stage: Stage::Connecting, queued: false }
    }

    /// A connection for one message, whose time counts from `base`.
    pub(crate) fn for_one_message(plan: Arc<Plan>, slot: Slot, base: Instant) -> Self {
        Self { sole: Some(base), ..Self::lasting(plan, slot) }
    }

    /// Sends the next message if one is due: the worker's queue has come to this connection.
    pub(crate) fn take_turn(&mut self, cx: &mut Context<'_, Worker>, now: Instant) {
        self.queued = false;
        if self.stage != Stage::Open {
            return;
        }
        if let Some(base) = cx.state().claim(now) {
            self.send(cx, base);
        }
        self.queue_if_free(cx);
    }

    /// Ends the connection if it waits for nothing: no more is to be sent.
    pub(crate) fn end_if_idle(&mut self, cx: &mut Context<'_, Worker>) {
        if self.stage == Stage::Open && self.in_flight.is_empty() {
            self.stage = Stage::Ending;
            cx.shutdown_write();
        }
    }

    fn send(&mut self, cx: &mut Context<'_, Worker>, base: Instant) {
        self.in_flight.push_back(base);
        cx.state().sent();
        // A send that fails ends the connection, and `on_close` is told why.
        let _ = cx.send(self.plan.pattern.message(self.slot.number, self.slot.next));
        self.slot.next += 1;
    }

    /// Sends what may be sent now that something has come back.
    fn refill(&mut self, cx: &mut Context<'_, Worker>, now: Instant) {
        while self.in_flight.len() < self.plan.depth
            && let Some(base) = cx.state().claim(now)
        {
            self.send(cx, base);
        }
        self.queue_if_free(cx);
        if cx.state().is_ending() {
            self.end_if_idle(cx);
        }
    }

    /// Waits in the worker's queue if one more message could be on its way.
    fn queue_if_free(&mut self, cx: &mut Context<'_, Worker>) {
        if !self.queued && self.in_flight.len() < self.plan.depth {
            self.queued = true;
            let id = cx.id();
            cx.state().queue(Place::Open(id));
        }
    }

    /// Takes what came back, and counts each message that is whole.
    fn take_echo(&mut self, worker: &mut Worker, bytes: &[u8], now: Instant) -> std::result::Result<(), Flaw> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(base) = self.in_flight.front() else {
                return Err(Flaw::Surplus { messages: self.slot.next, bytes: rest.len() });
            };
            let pattern = &self.plan.pattern;
            let count = pattern.check(self.slot.number, self.awaited, self.position, rest)?;
            self.position += count;
            rest = &rest[count..];
            if self.position == pattern.size() {
                worker.echoed(*base, now);
                self.in_flight.pop_front();
                self.awaited += 1;
                self.position = 0;
            }
        }
        Ok(())
    }

    fn fail(&mut self, worker: &mut Worker, kind: Failure, words: impl FnOnce(&Self) -> String) {
        self.stage = Stage::Failed;
        worker.fail(kind, 1, || words(self));
    }

    fn count_end(&mut self, worker: &mut Worker, reason: &CloseReason) {
        let number = self.slot.number;
        match reason {
            CloseReason::Cut if self.stage == Stage::Ending => worker.held_open(),
            _ if matches!(self.stage, Stage::Ending | Stage::Done | Stage::Failed) => {}
            CloseReason::ConnectFailed(error) => {
                self.fail(worker, Failure::Connect, |this| format!("cannot connect to {}: {error}", this.plan.target));
            }
            CloseReason::Cut => {
                let (count, awaited) = (self.in_flight.len() as u64, self.awaited);
                if count > 0 && !worker.is_forced() {
                    worker.fail(Failure::Unanswered, count, || {
                        format!("connection {number}: message {awaited} had not come back when waiting ended")
                    });
                }
            }
            CloseReason::Eof => {
                self.fail(worker, Failure::Broken, |this| {
                    format!("connection {number}: the server closed it {}", this.progress())
                });
            }
            reason => {
                self.fail(worker, Failure::Broken, |this| {
                    format!("connection {number}: it broke {}: {reason}", this.progress())
                });
            }
        }
    }

    fn progress(&self) -> String {
        let (awaited, waiting) = (self.awaited, self.in_flight.len());
        format!("after {awaited} echoed messages, with {waiting} on their way")
    }
}

impl Handler<Worker> for Session {
    fn on_open(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        self.stage = Stage::Open;
        let id = cx.id();
        cx.state().opened(id);
        if let Some(base) = self.sole.take() {
            self.send(cx, base);
        } else {
            self.queue_if_free(cx);
            Worker::connect_more(cx);
        }
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Worker>, input: &mut Input<'_>) -> Result {
        let (now, bytes) = (Instant::now(), input.take());
        if self.stage == Stage::Failed {
            return Ok(());
        }
        if let Err(flaw) = self.take_echo(cx.state(), bytes, now) {
            let number = self.slot.number;
            self.fail(cx.state(), Failure::Wrong, |_| format!("wrong echo on connection {number}: {flaw}"));
            cx.abort();
            return Ok(());
        }
        if !self.plan.churn {
            self.refill(cx, now);
        } else if self.in_flight.is_empty() {
            self.stage = Stage::Done;
            cx.close();
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        if self.stage == Stage::Ending {
            self.stage = Stage::Done;
        }
        cx.close_after_flush()
    }

    fn on_close(&mut self, cx: &mut Context<'_, Worker>, reason: &CloseReason) {
        let was_connecting = self.stage == Stage::Connecting;
        self.count_end(cx.state(), reason);
        let lives_on = self.stage == Stage::Done && self.plan.churn;
        let cx: &mut LoopContext<'_, Worker> = cx;
        if lives_on {
            Worker::reuse(cx, self.slot);
        } else {
            cx.state().retire();
        }
        if was_connecting && !self.plan.churn {
            cx.state().attempt_failed();
            Worker::connect_more(cx);
        }
    }
}
