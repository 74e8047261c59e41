//! One thread: its loop, its connections, and what they may send when.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{ConnId, EventLoop, LoopContext, LoopHandle};

use crate::coordinator::Coordinator;
use crate::plan::{Plan, Window};
use crate::schedule::{self, Schedule};
use crate::session::{Session, Slot};
use crate::tally::{Failure, Tally};

/// The state of one thread's loop: what its connections share.
pub(crate) struct Worker {
    plan: Arc<Plan>,
    index: usize,
    coordinator: LoopHandle<Coordinator>,
    tally: Tally,
    phase: Phase,
    /// What is sent when, once the run has begun.
    window: Option<Window>,
    /// The times of a fixed rate.
    schedule: Option<Schedule>,
    /// Measured messages left to send, if their number ends the run.
    budget: Option<u64>,
    /// Slots whose connection is not asked for yet.
    unconnected: VecDeque<u32>,
    /// Attempts to connect under way.
    connecting: usize,
    /// Slots that have not come to their end.
    live: usize,
    /// The connections that stay.
    connections: Vec<ConnId>,
    /// Who could send, in turn.
    places: VecDeque<Place>,
    /// Connections that the server did not close when the client had.
    held_open: u64,
    end: End,
}

/// Where one more message could go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A connection with room in its depth.
    Open(ConnId),
    /// A slot without a connection, when each message gets its own.
    Vacant(Slot),
}

/// How far the thread has come.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    /// Its connections are made; those of the other threads are awaited.
    Ready,
    Sending,
    /// Nothing more is sent; what is on its way is awaited until then.
    Ending(Instant),
}

/// How the run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// As planned.
    Planned,
    /// Now, but for what is on its way.
    Early,
    /// Now.
    Forced,
}

/// What the thread does next.
enum Step {
    /// Another turn of the loop, which sleeps for at most so long.
    Turn(Option<Duration>),
    Done,
}

/// Runs one thread's share of the plan, and answers what it counted.
pub(crate) fn run(index: usize, plan: Arc<Plan>, coordinator: LoopHandle<Coordinator>) -> anyhow::Result<Tally> {
    if plan.rate.is_some() {
        schedule::wake_punctually();
    }
    let limits = plan.limits();
    let mut event_loop = EventLoop::with_limits(limits, Worker::new(index, plan, coordinator)?)?;
    let handle = event_loop.handle();
    let _ = event_loop.state().coordinator.execute(move |cx| Coordinator::joined(cx, handle));
    Worker::connect_more(&mut event_loop.context());
    // The loop's own timers tick in milliseconds. A wait is more precise than that, so the sending of a fixed rate is
    // paced by waits, between the turns.
    while let Step::Turn(max_wait) = Worker::step(&mut event_loop.context()) {
        event_loop.turn(max_wait)?;
    }
    event_loop.context().stop();
    event_loop.run()?;
    let held_open = event_loop.state().held_open;
    if held_open > 0 {
        tracing::warn!("{held_open} connections were still open {PATIENCE:?} after their last message");
    }
    let empty = Tally::new()?;
    Ok(mem::replace(&mut event_loop.state_mut().tally, empty))
}

impl Worker {
    fn new(index: usize, plan: Arc<Plan>, coordinator: LoopHandle<Coordinator>) -> anyhow::Result<Self> {
        let slots = plan.slots(index).collect::<VecDeque<_>>();
        let vacant = |number: &u32| Place::Vacant(Slot { number: *number, next: 0 });
        Ok(Self {
            tally: Tally::new()?,
            phase: Phase::Connecting,
            window: None,
            schedule: None,
            budget: plan.budget(index),
            connecting: 0,
            live: slots.len(),
            connections: Vec::new(),
            places: if plan.churn { slots.iter().map(vacant).collect() } else { VecDeque::new() },
            unconnected: if plan.churn { VecDeque::new() } else { slots },
            held_open: 0,
            end: End::Planned,
            plan,
            index,
            coordinator,
        })
    }

    /// All threads are ready: the run begins.
    pub(crate) fn begin(&mut self, begin: Instant) {
        if matches!(self.phase, Phase::Ready) {
            let Plan { rate, threads, .. } = *self.plan;
            self.schedule = rate.map(|rate| Schedule::new(begin, rate, threads, self.index));
            self.window = Some(self.plan.window(begin));
            self.phase = Phase::Sending;
        }
    }

    /// The run is to end before its time. What was asked for first can become more urgent, not less.
    pub(crate) fn end(&mut self, end: End) {
        self.end = self.end.max(end);
    }

    /// Whether the end does not wait for what is on its way.
    pub(crate) fn is_forced(&self) -> bool {
        self.end == End::Forced
    }

    /// Whether nothing more is sent.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_))
    }

    /// Asks for leave to send one message now; answers the time from which it counts.
    #[inline]
    pub(crate) fn claim(&mut self, now: Instant) -> Option<Instant> {
        let base = self.next_base(now)?;
        let window = self.window.as_ref()?;
        if let Some(budget) = &mut self.budget
            && base >= window.measured_from
        {
            *budget -= 1;
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.advance();
        }
        Some(base)
    }

    /// The time from which a message counts that is sent now, if one may be sent.
    #[inline]
    fn next_base(&self, now: Instant) -> Option<Instant> {
        let window = self.window.as_ref().filter(|_| matches!(self.phase, Phase::Sending))?;
        let base = self.schedule.as_ref().map_or(now, Schedule::next);
        let is_over = window.end.is_some_and(|end| base >= end) || self.budget == Some(0);
        (base <= now && !is_over).then_some(base)
    }

    /// There is room for one more message.
    pub(crate) fn queue(&mut self, place: Place) {
        self.places.push_back(place);
    }

    /// A message was sent.
    #[inline]
    pub(crate) fn sent(&mut self) {
        self.tally.sent += 1;
    }

    /// A message came back right.
    #[inline]
    pub(crate) fn echoed(&mut self, base: Instant, now: Instant) {
        self.tally.echoed += 1;
        if self.window.is_some_and(|window| base >= window.measured_from) {
            self.tally.record(now.saturating_duration_since(base), now);
        }
    }

    /// A connection was made.
    pub(crate) fn opened(&mut self, id: ConnId) {
        self.tally.opened += 1;
        if !self.plan.churn {
            self.connecting -= 1;
            self.connections.push(id);
        }
    }

    /// An attempt to make a connection that stays has failed.
    pub(crate) fn attempt_failed(&mut self) {
        self.connecting -= 1;
    }

    /// A slot has come to its end.
    pub(crate) fn retire(&mut self) {
        self.live -= 1;
    }

    /// The server has answered everything and not closed when the client had, which is no failure of the echo.
    pub(crate) fn held_open(&mut self) {
        self.held_open += u64::from(!self.is_forced());
    }

    /// Counts something that went wrong.
    pub(crate) fn fail(&mut self, kind: Failure, times: u64, words: impl FnOnce() -> String) {
        self.tally.failures.count(kind, times, words);
        if kind == Failure::Wrong {
            // To go on would only repeat it.
            let _ = self.coordinator.execute(|cx| cx.state().end(End::Early));
        }
    }

    /// Makes more of the connections that stay, some at a time: a backlog is finite.
    pub(crate) fn connect_more(cx: &mut LoopContext<'_, Self>) {
        while cx.state().connecting < CONNECTING_AT_ONCE && cx.state().end == End::Planned {
            let Some(number) = cx.state().unconnected.pop_front() else { return };
            let session = Session::lasting(Arc::clone(&cx.state().plan), Slot { number, next: 0 });
            if Self::connect(cx, session) {
                cx.state().connecting += 1;
            }
        }
    }

    /// Uses a slot again whose connection has had its one message.
    pub(crate) fn reuse(cx: &mut LoopContext<'_, Self>, slot: Slot) {
        let this = cx.state();
        if this.is_ending() {
            this.retire();
        } else {
            match this.claim(Instant::now()) {
                Some(base) => Self::exchange(cx, slot, base),
                None => this.queue(Place::Vacant(slot)),
            }
        }
    }

    /// Sends a message on a connection of its own.
    fn exchange(cx: &mut LoopContext<'_, Self>, slot: Slot, base: Instant) {
        let session = Session::for_one_message(Arc::clone(&cx.state().plan), slot, base);
        Self::connect(cx, session);
    }

    fn connect(cx: &mut LoopContext<'_, Self>, session: Session) -> bool {
        let plan = Arc::clone(&cx.state().plan);
        let result = cx.connect(plan.address.clone(), &plan.connect, session);
        if let Err(error) = &result {
            let taken = error.kind() == io::ErrorKind::AddrNotAvailable && plan.connect.local.is_none();
            let hint = if taken { " (every local port is taken, or rests in TIME_WAIT)" } else { "" };
            cx.state().fail(Failure::Connect, 1, || format!("{error}{hint}"));
            cx.state().retire();
        }
        result.is_ok()
    }

    /// Between two turns: sends what is due, and goes from one phase to the next.
    fn step(cx: &mut LoopContext<'_, Self>) -> Step {
        let now = Instant::now();
        let this = cx.state();
        match this.phase {
            Phase::Connecting | Phase::Ready if this.end > End::Planned => Step::Done,
            Phase::Connecting if this.connecting + this.unconnected.len() == 0 => {
                this.phase = Phase::Ready;
                let _ = this.coordinator.execute(Coordinator::ready);
                Step::Turn(Some(Duration::ZERO))
            }
            Phase::Ready if this.live == 0 => Step::Done,
            Phase::Connecting | Phase::Ready => Step::Turn(None),
            Phase::Sending if this.sends_no_more(now) => {
                Self::wind_down(cx, now);
                Step::Turn(Some(Duration::ZERO))
            }
            Phase::Sending => Step::Turn(Self::pump(cx, now)),
            Phase::Ending(deadline) if this.live == 0 || this.is_forced() || now >= deadline => Step::Done,
            Phase::Ending(deadline) => Step::Turn(Some(deadline - now)),
        }
    }

    fn sends_no_more(&self, now: Instant) -> bool {
        let is_over = self.window.and_then(|window| window.end).is_some_and(|end| now >= end);
        is_over || self.budget == Some(0) || self.live == 0 || self.end > End::Planned
    }

    /// Sends what is due as far as there is room, and answers how long the next turn may sleep.
    fn pump(cx: &mut LoopContext<'_, Self>, now: Instant) -> Option<Duration> {
        let mut sends = false;
        while cx.state().next_base(now).is_some()
            && let Some(place) = cx.state().places.pop_front()
        {
            sends = true;
            match place {
                Place::Open(id) => drop(cx.with(id, |session: &mut Session, cx| session.take_turn(cx, now))),
                Place::Vacant(slot) => {
                    if let Some(base) = cx.state().claim(now) {
                        Self::exchange(cx, slot, base);
                    }
                }
            }
        }
        // What was sent between two turns leaves at the end of the next one.
        if sends { Some(Duration::ZERO) } else { cx.state().time_to_next(now) }
    }

    fn time_to_next(&self, now: Instant) -> Option<Duration> {
        let due = self.schedule.as_ref().filter(|_| !self.places.is_empty()).map(Schedule::next);
        let end = self.window.and_then(|window| window.end);
        due.into_iter().chain(end).min().map(|next| next.saturating_duration_since(now))
    }

    /// Sends no more; connections end when what is on its way is back.
    fn wind_down(cx: &mut LoopContext<'_, Self>, now: Instant) {
        let this = cx.state();
        let ended = this.window.and_then(|window| window.end).map_or(now, |end| end.min(now));
        this.tally.lasted_until(ended);
        if let Some(schedule) = &this.schedule {
            this.tally.unsent = schedule.due_before(ended).min(this.budget.unwrap_or(u64::MAX));
        }
        this.phase = Phase::Ending(now + PATIENCE);
        this.live -= this.places.drain(..).filter(|place| matches!(place, Place::Vacant(_))).count();
        for id in mem::take(&mut this.connections) {
            cx.with(id, |session: &mut Session, cx| session.end_if_idle(cx));
        }
    }
}

/// Attempts to connect that one thread has under way at once.
const CONNECTING_AT_ONCE: usize = 128;

/// How long messages on their way are awaited at the end, and then the server's end of stream.
const PATIENCE: Duration = Duration::from_secs(5);
