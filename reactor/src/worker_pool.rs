//! Threads for work that blocks, and the bounded queue before them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::affinity::Processors;
use crate::sys::thread::{self, Monitor, Thread};
use crate::unwind::{catch, drop_safely};

/// The bounds of the threads that run [`spawn_blocking`](crate::LoopContext::spawn_blocking)'s jobs.
///
/// All loops of a server share one pool; a loop by itself has its own. A thread is started when a job comes and all
/// that run are busy, so a program that gives no jobs has no such threads.
///
/// ```
/// use std::time::Duration;
/// use reactor::WorkerOptions;
///
/// let options = WorkerOptions::default().threads(16).queue(64).exit_wait(Duration::from_secs(1));
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// How many jobs run at once, each on a thread: at least 1. Default 4: what blocks waits, mostly for one disk, and more
    /// threads would wait for the same.
    pub threads: usize,
    /// How many jobs may wait for a thread; one more is an error at once. Default 1024: with jobs of a millisecond on four
    /// threads the last one waits a quarter of a second, which is as long as a client likes to wait.
    pub queue: usize,
    /// How long the end of the server, or of the loop, waits for jobs that run; then they are left behind. Default 5 s.
    pub exit_wait: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { threads: 4, queue: 1024, exit_wait: Duration::from_secs(5) }
    }
}

impl WorkerOptions {
    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count;
        self
    }

    /// Sets [`queue`](Self::queue).
    #[must_use]
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    /// Sets [`exit_wait`](Self::exit_wait).
    #[must_use]
    pub fn exit_wait(mut self, wait: Duration) -> Self {
        self.exit_wait = wait;
        self
    }

    /// Whether a pool can be made of them.
    ///
    /// # Errors
    /// `InvalidInput`: there is no thread that would run a job.
    pub fn check(&self) -> io::Result<()> {
        match self.threads {
            0 => Err(io::Error::new(io::ErrorKind::InvalidInput, "WorkerOptions::threads must be at least 1")),
            _ => Ok(()),
        }
    }
}

/// What a worker runs. What it answers is run when the worker is free again, so that whoever hears of the outcome finds a
/// place for another job.
pub(crate) type Job = Box<dyn FnOnce() -> Report + Send>;
pub(crate) type Report = Box<dyn FnOnce()>;

/// What the threads of [`spawn_blocking`](crate::LoopContext::spawn_blocking) are called.
pub(crate) const WORKERS: &str = "reactor-job";

/// The name of a job that waits, to take it back.
pub(crate) struct Ticket(u64);

/// Threads that run jobs, in the order in which they came. Dropping it ends them: what waits is dropped, what runs is
/// waited for, for a while.
///
/// The queue is not a channel, for a job that nobody waits for any more is taken out of its middle.
pub(crate) struct WorkerPool {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the threads are called, before their numbers.
    name: &'static str,
    options: WorkerOptions,
    /// Where the threads run, if it is not where those run that give the jobs.
    processors: Option<Processors>,
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Job)>,
    /// Jobs given so far.
    given: u64,
    /// Threads that run, and those among them that run no job. A thread that has just been started counts as idle.
    running: usize,
    idle: usize,
    closed: bool,
    threads: Vec<Thread>,
}

impl WorkerPool {
    /// A pool without threads yet.
    pub(crate) fn new(
        name: &'static str,
        options: WorkerOptions,
        processors: Option<Processors>,
    ) -> io::Result<Arc<Self>> {
        options.check()?;
        let shared = Shared { name, options, processors, state: Monitor::default() };
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// Jobs that can be under way at once, those that wait included.
    pub(crate) fn capacity(&self) -> usize {
        self.shared.options.threads.saturating_add(self.shared.options.queue)
    }

    /// Gives a job to the next thread that is free. It never waits.
    pub(crate) fn submit(&self, job: Job) -> io::Result<Ticket> {
        self.shared.state.change_for_one(|state| {
            // Each idle thread takes one of those that wait.
            if state.queue.len() >= state.idle && state.running < self.shared.options.threads {
                self.start_thread(state)?;
            }
            if state.queue.len() >= state.idle.saturating_add(self.shared.options.queue) {
                return Err(self.full());
            }
            let number = state.given;
            state.given += 1;
            state.queue.push_back((number, job));
            Ok(Ticket(number))
        })
    }

    /// Takes back a job that waits still; its place is free. One that runs runs on.
    pub(crate) fn take_back(&self, ticket: &Ticket) {
        let mut state = self.shared.state.lock();
        let place = state.queue.iter().position(|(number, _)| *number == ticket.0);
        let job = place.and_then(|place| state.queue.remove(place));
        drop(state);
        drop_safely(job);
    }

    /// Starts another thread. If the system gives none, those that run have to do.
    fn start_thread(&self, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let name = format!("{}-{}", shared.name, state.threads.len());
        match thread::spawn(name, move || shared.work()) {
            Ok(thread) => {
                state.threads.push(thread);
                state.running += 1;
                state.idle += 1;
                Ok(())
            }
            Err(_) if state.running > 0 => Ok(()),
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("cannot start the thread {}-0: {error}", self.shared.name)))
            }
        }
    }

    pub(crate) fn full(&self) -> io::Error {
        let WorkerOptions { threads, queue, .. } = self.shared.options;
        let message = format!("all {threads} threads are busy, and {queue} jobs wait, as many as may");
        io::Error::new(io::ErrorKind::QuotaExceeded, message)
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        let waiting = self.shared.state.change(|state| {
            state.closed = true;
            std::mem::take(&mut state.queue)
        });
        waiting.into_iter().for_each(drop_safely);
        let mut state = self.shared.state.wait_while_for(self.shared.options.exit_wait, |state| state.running > 0);
        if state.running > 0 {
            log::warn!(
                "{} of the threads {}-* are left behind, with jobs that do not end",
                state.running,
                self.shared.name
            );
            return;
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        // They are through their work, and none panics.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    /// The life of a thread.
    fn work(&self) {
        if let Some(Err(error)) = self.processors.as_ref().map(Processors::run_there) {
            log::warn!("a thread of {} runs where its starter does: {error}", self.name);
        }
        while let Some(job) = self.next_job() {
            let report = catch(job);
            self.state.lock().idle += 1;
            if let Err(message) = report.and_then(catch) {
                log::error!("a job panicked: {message}");
            }
        }
        self.state.change(|state| {
            state.running -= 1;
            state.idle -= 1;
        });
    }

    /// Waits for a job; `None` at the end.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.state.wait_while(|state| state.queue.is_empty() && !state.closed);
        let (_, job) = state.queue.pop_front()?;
        state.idle -= 1;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(threads: usize, queue: usize) -> Arc<WorkerPool> {
        let options = WorkerOptions::default().threads(threads).queue(queue).exit_wait(Duration::from_millis(20));
        WorkerPool::new("pool-test", options, None).unwrap()
    }

    fn job(run: impl FnOnce() + Send + 'static) -> Job {
        Box::new(|| {
            run();
            Box::new(|| ())
        })
    }

    /// A job that runs until the sender is dropped.
    fn stuck() -> (mpsc::Sender<()>, Job) {
        let (release, released) = mpsc::channel();
        (release, job(move || released.recv().unwrap_or(())))
    }

    #[test]
    fn a_pool_without_jobs_has_no_threads() {
        assert_eq!(pool(4, 4).shared.state.lock().running, 0);
    }

    #[test]
    fn as_many_jobs_fit_as_there_are_threads_and_places() {
        for (threads, queue) in [(1, 0), (1, 1), (3, 2)] {
            let pool = pool(threads, queue);
            let jobs: Vec<_> = (0..pool.capacity()).map(|_| stuck()).collect();
            let releases: Vec<_> =
                jobs.into_iter().map(|(release, job)| (release, pool.submit(job).unwrap())).collect();
            let refused = pool.submit(job(|| ())).err().unwrap();
            assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
            assert_eq!(pool.shared.state.lock().threads.len(), threads);
            drop(releases);
        }
    }

    #[test]
    fn a_thread_that_is_idle_is_used_again() {
        let pool = pool(1, 0);
        for round in 0..100 {
            let (done, is_done) = mpsc::channel();
            pool.submit(Box::new(move || Box::new(move || done.send(round).unwrap()))).unwrap();
            // Who hears of the end of one job finds a place for the next.
            assert_eq!(is_done.recv(), Ok(round));
        }
    }

    #[test]
    fn a_job_that_is_taken_back_frees_its_place_and_never_runs() {
        let pool = pool(1, 1);
        let (release, stuck) = stuck();
        let running = pool.submit(stuck).unwrap();
        for _ in 0..3 {
            let ticket = pool.submit(job(|| unreachable!("it is taken back"))).unwrap();
            pool.take_back(&ticket);
        }
        // One that runs is not there to be taken back.
        pool.take_back(&running);
        let (done, is_done) = mpsc::channel();
        pool.submit(job(move || done.send(()).unwrap())).unwrap();
        drop(release);
        assert_eq!(is_done.recv(), Ok(()));
    }

    #[test]
    fn a_panic_ends_a_job_and_not_its_thread() {
        let pool = pool(1, 9);
        pool.submit(job(|| panic!("on purpose"))).unwrap();
        let (done, is_done) = mpsc::channel();
        pool.submit(job(move || done.send(()).unwrap())).unwrap();
        assert_eq!(is_done.recv(), Ok(()));
        assert_eq!(pool.shared.state.lock().running, 1);
    }

    #[test]
    fn dropping_waits_for_what_runs_and_drops_what_waits() {
        let pool = WorkerPool::new("pool-test", WorkerOptions::default().threads(1), None).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let (may_end, ends) = mpsc::channel::<()>();
        pool.submit(job(move || {
            begun.send(()).unwrap();
            let _ = ends.recv();
            done.send(()).unwrap();
        }))
        .unwrap();
        // Its drop, with the queue, is what lets the first one end.
        pool.submit(Box::new(move || unreachable!("{may_end:?} is dropped"))).unwrap();
        has_begun.recv().unwrap();
        drop(pool);
        assert_eq!(is_done.try_recv(), Ok(()));
    }

    #[test]
    fn a_job_that_does_not_end_does_not_hold_up_the_end() {
        let pool = pool(1, 1);
        let (_release, job) = stuck();
        pool.submit(job).unwrap();
        drop(pool);
    }

    #[test]
    fn a_pool_of_no_threads_is_refused() {
        let error = WorkerPool::new("pool-test", WorkerOptions::default().threads(0), None).err().unwrap();
        assert!(error.to_string().contains("WorkerOptions::threads"), "{error}");
    }
}
