//! Work that blocks: given to the worker pool by code on the loop, and its outcome brought back.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::Result;
use crate::application::{Done, Outcome, call_beside, run_task};
use crate::connection::Phase;
use crate::context::Context;
use crate::event_loop::EventLoop;
use crate::handle::Errand;
use crate::loop_context::LoopContext;
use crate::metrics::Counters;
use crate::unwind::{catch, drop_safely};
use crate::worker_pool::Report;

/// What the panic of a job said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPanic {
    message: String,
}

impl JobPanic {
    /// The message of the panic.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for JobPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a job panicked: {}", self.message)
    }
}

impl std::error::Error for JobPanic {}

impl From<JobPanic> for io::Error {
    fn from(panic: JobPanic) -> Self {
        Self::other(panic)
    }
}

impl<S: 'static> LoopContext<'_, S> {
    /// Runs a job that blocks on a thread of the worker pool, and `done` with its outcome on this loop.
    ///
    /// The bounds of the pool are [`WorkerOptions`](crate::WorkerOptions). Jobs begin in the order in which they were given. `done`
    /// need not be `Send`: it stays on the loop's thread. A job cannot be taken back; it runs even if nobody waits for it any
    /// more.
    ///
    /// # When the loop ends
    /// A drain waits for the jobs of the loop, until its deadline; for those of connections only as long as these are open.
    /// When the loop has ended, no `done` is called. When the last loop that shares the pool ends, jobs that wait are
    /// dropped, and those that run are waited for, for [`exit_wait`](crate::WorkerOptions::exit_wait).
    ///
    /// # Errors
    /// `QuotaExceeded`, at once: as many jobs wait as [`queue`](crate::WorkerOptions::queue) allows, or as many of this loop are
    /// under way as the pool has threads and places. Or no thread can be started. Job and `done` are dropped.
    ///
    /// ```
    /// use reactor::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new(0_u64)?;
    /// let sum = || (1..=1_000_u64).sum::<u64>();
    /// event_loop.context().spawn_blocking(sum, |cx, sum| {
    ///     *cx.state() = sum.unwrap_or_default();
    ///     cx.stop();
    /// })?;
    /// event_loop.run()?;
    /// assert_eq!(*event_loop.state(), 500_500);
    /// # reactor::Result::Ok(())
    /// ```
    pub fn spawn_blocking<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut LoopContext<'_, S>, std::result::Result<T, JobPanic>) + 'static,
    ) -> io::Result<()> {
        self.give_job(job, Done::OnLoop(Box::new(|cx, outcome| done(cx, typed(outcome)))))
    }

    fn give_job<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        done: Done<S>,
    ) -> io::Result<()> {
        // Outcomes wait in the mailbox beyond its bound, so the jobs are bounded until their outcomes are here.
        if self.app.jobs.len() >= self.app.workers.capacity() {
            return Err(self.app.workers.full());
        }
        let place = self.app.jobs.vacant_key();
        let (waiting, handle) = (Waiting::new(&self.engine.counters), self.app.handle.clone());
        self.app.workers.submit(Box::new(move || {
            let running = waiting.begin();
            let outcome = catch(job).map(|value| Box::new(value) as Box<dyn Any + Send>);
            Box::new(move || {
                drop(running);
                // A loop that has ended asks for no outcome.
                let _ = handle.post_urgent(Errand::JobDone(place, outcome));
            }) as Report
        }))?;
        self.app.jobs.insert(done);
        Ok(())
    }
}

impl<S: 'static> Context<'_, S> {
    /// Runs a job that blocks on a thread of the worker pool, and `done` with its outcome on this loop, in the name of this
    /// connection: an error or a panic of `done` closes it. If the connection has ended by then, `done` is dropped,
    /// and the outcome on a thread of the pool, for that may block too.
    ///
    /// `done` is called beside the handler, which it can visit by [`with`](LoopContext::with). For the bounds and the end of
    /// jobs see [`LoopContext::spawn_blocking`].
    ///
    /// # Errors
    /// As [`LoopContext::spawn_blocking`].
    ///
    /// ```
    /// use reactor::{Context, Handler, Input, Result};
    ///
    /// /// Answers the name of a file with what is in it.
    /// struct Files {
    ///     answered: u64,
    /// }
    ///
    /// impl Handler for Files {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         while let Some(name) = input.take_until(b'\n') {
    ///             let name = String::from_utf8_lossy(name).into_owned();
    ///             cx.spawn_blocking(move || std::fs::read(name), |cx, contents| {
    ///                 // The first error is a panic, the second that the file cannot be read. Both close the connection.
    ///                 cx.send(contents??)?;
    ///                 let id = cx.id();
    ///                 cx.with(id, |handler: &mut Files, _| handler.answered += 1);
    ///                 Ok(())
    ///             })?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn spawn_blocking<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(&mut Context<'_, S>, std::result::Result<T, JobPanic>) -> Result + 'static,
    ) -> io::Result<()> {
        let token = self.id().0;
        let done = Done::OnConnection(token, Box::new(|cx, outcome| done(cx, typed(outcome))));
        self.give_job(job, done)
    }
}

impl<S: 'static> EventLoop<S> {
    /// A job has ended: what was to be done with its outcome is done, unless its connection is gone.
    pub(crate) fn finish_job(&mut self, job: usize, outcome: Outcome) {
        match self.app.jobs.remove(job) {
            Done::OnLoop(done) => run_task(&mut self.engine, &mut self.app, |cx| done(cx, outcome)),
            Done::OnConnection(token, done) => {
                let is_open = |phase| phase != Phase::Closed;
                if self.engine.connection(token).is_some_and(|connection| is_open(connection.phase)) {
                    call_beside(&mut self.engine, &mut self.app, token, |cx| done(cx, outcome));
                } else {
                    drop_safely(done);
                    self.drop_elsewhere(outcome);
                }
            }
        }
    }

    /// Drops what nobody waits for any more where it may take its time: to close the last descriptor of a large file does. If
    /// the pool is full, it is dropped here.
    fn drop_elsewhere(&self, outcome: Outcome) {
        let job = move || {
            drop_safely(outcome);
            Box::new(|| ()) as Report
        };
        // A job that is refused is dropped with what it holds.
        let _ = catch(|| self.app.workers.submit(Box::new(job)));
    }

    /// Whether the loop itself, and no connection, waits for jobs.
    pub(crate) fn awaits_jobs(&self) -> bool {
        self.app.jobs.iter().any(|(_, done)| matches!(done, Done::OnLoop(_)))
    }
}

/// The outcome of a job that answers a `T`.
fn typed<T: 'static>(outcome: Outcome) -> std::result::Result<T, JobPanic> {
    let value = outcome.map_err(|message| JobPanic { message })?;
    Ok(*value.downcast().expect("an outcome is given to what its job was given with"))
}

/// Counts a job among those that wait.
struct Waiting {
    counters: Arc<Counters>,
    begun: bool,
}

impl Waiting {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.jobs.given();
        Self { counters: Arc::clone(counters), begun: false }
    }

    fn begin(mut self) -> Running {
        self.begun = true;
        self.counters.jobs.begun();
        Running { counters: Arc::clone(&self.counters) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.begun {
            self.counters.jobs.dropped();
        }
    }
}

/// Counts a job among those that run.
struct Running {
    counters: Arc<Counters>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.counters.jobs.ended();
    }
}
