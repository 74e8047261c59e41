//! The main thread: it starts the others, lets them begin together, shows how far they are, and adds up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use reactor::{EventLoop, LoopContext, LoopHandle};

use crate::plan::Plan;
use crate::progress::Progress;
use crate::tally::Tally;
use crate::worker::{self, End, Worker};

/// The state of the main thread's loop.
pub(crate) struct Coordinator {
    plan: Arc<Plan>,
    progress: Progress,
    workers: Vec<LoopHandle<Worker>>,
    /// Threads whose connections are made.
    ready: usize,
    /// Threads that have not ended.
    running: usize,
    begin: Option<Instant>,
    end: End,
    tally: Tally,
    error: Option<anyhow::Error>,
}

/// How a run went.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// How long was measured.
    pub(crate) elapsed: Duration,
    /// Whether it ended before its time.
    pub(crate) ended_early: bool,
}

/// A loop for the main thread, which ends the run at the first of `signals` and breaks it off at the second. Threads that
/// are to leave the signals to it are started later.
pub(crate) fn event_loop(
    plan: Arc<Plan>,
    progress: Progress,
    signals: &[i32],
) -> anyhow::Result<EventLoop<Coordinator>> {
    let coordinator = Coordinator {
        running: plan.threads,
        plan,
        progress,
        workers: Vec::new(),
        ready: 0,
        begin: None,
        end: End::Planned,
        tally: Tally::new()?,
        error: None,
    };
    let mut event_loop = EventLoop::new(coordinator).context("cannot start")?;
    let on_signal = |cx: &mut LoopContext<'_, Coordinator>, _signal| {
        let this = cx.state();
        this.end(if this.end == End::Planned { End::Early } else { End::Forced });
    };
    event_loop.on_signals(signals, on_signal).context("cannot wait for signals")?;
    Ok(event_loop)
}

/// Runs the plan to its end.
pub(crate) fn run(mut event_loop: EventLoop<Coordinator>) -> anyhow::Result<Outcome> {
    let plan = Arc::clone(&event_loop.state().plan);
    for index in 0..plan.threads {
        let (plan, handle) = (Arc::clone(&plan), event_loop.handle());
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(|| worker::run(index, plan, handle.clone())));
            let result = result.unwrap_or_else(|_| Err(anyhow!("thread {index} panicked")));
            let _ = handle.execute(move |cx| Coordinator::left(cx, result));
        };
        thread::Builder::new().name(format!("load-{index}")).spawn(work).context("cannot start a thread")?;
    }
    Coordinator::show_progress(&mut event_loop.context());
    event_loop.run()?;
    let state = event_loop.state_mut();
    state.progress.clear();
    if let Some(error) = state.error.take() {
        return Err(error);
    }
    let measured_from = state.begin.map(|begin| plan.window(begin).measured_from);
    let elapsed = measured_from.zip(state.tally.ended).map(|(from, ended)| ended.saturating_duration_since(from));
    let tally = std::mem::replace(&mut state.tally, Tally::new()?);
    Ok(Outcome { tally, elapsed: elapsed.unwrap_or_default(), ended_early: state.end > End::Planned })
}

impl Coordinator {
    /// A thread has started.
    pub(crate) fn joined(cx: &mut LoopContext<'_, Self>, worker: LoopHandle<Worker>) {
        let this = cx.state();
        this.workers.push(worker);
        if this.end > End::Planned {
            this.end(this.end);
        }
    }

    /// A thread has made its connections. The last one is what all wait for.
    pub(crate) fn ready(cx: &mut LoopContext<'_, Self>) {
        let this = cx.state();
        this.ready += 1;
        if this.ready == this.plan.threads {
            let begin = Instant::now();
            this.begin = Some(begin);
            for worker in &this.workers {
                let _ = worker.execute(move |cx| cx.state().begin(begin));
            }
        }
    }

    /// Ends the run before its time.
    pub(crate) fn end(&mut self, end: End) {
        self.end = self.end.max(end);
        for worker in &self.workers {
            let _ = worker.execute(move |cx| cx.state().end(end));
        }
    }

    /// A thread has ended. When it was the last one, the run has ended.
    fn left(cx: &mut LoopContext<'_, Self>, result: anyhow::Result<Tally>) {
        let this = cx.state();
        this.running -= 1;
        if let Err(error) = result.and_then(|tally| this.tally.add(tally)) {
            this.error.get_or_insert(error);
            this.end(End::Forced);
        }
        if this.running == 0 {
            cx.stop();
        }
    }

    /// Shows how far the run is, now and every tenth of a second.
    fn show_progress(cx: &mut LoopContext<'_, Self>) {
        let this = cx.state();
        if this.progress.is_hidden() {
            return;
        }
        let bytes: u64 = this.workers.iter().map(|worker| worker.metrics().bytes_in).sum();
        let window = this.begin.map(|begin| this.plan.window(begin));
        this.progress.show(window, bytes / this.plan.pattern.size() as u64);
        let _ = cx.run_after(PROGRESS_EVERY, Self::show_progress);
    }
}

/// Often enough to look alive.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
