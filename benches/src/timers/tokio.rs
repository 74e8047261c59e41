//! tokio's two kinds of timers: the sleeps of its runtime, and the delay queue of tokio-util.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use super::Timers;

/// A runtime with a clock. Both kinds want to be used in its context: see [`Runtime::enter`].
///
/// # Errors
/// No descriptor or memory is left.
pub fn tokio_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}

/// Sleeps that are polled once, which arms them. They only arm and disarm here: what fires them is tasks.
#[derive(Default)]
pub struct TokioSleeps;

impl Timers for TokioSleeps {
    type Id = Pin<Box<Sleep>>;

    #[inline]
    fn insert(&mut self, after_ms: u64) -> Self::Id {
        let mut sleep = Box::pin(sleep(Duration::from_millis(after_ms)));
        let armed = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        debug_assert!(armed.is_pending());
        sleep
    }

    #[inline]
    fn cancel(&mut self, id: Self::Id) {
        drop(id);
    }

    #[inline]
    fn rearm(&mut self, id: &mut Self::Id, after_ms: u64) {
        id.as_mut().reset(Instant::now() + Duration::from_millis(after_ms));
    }

    fn pass(&mut self, ms: u64) {
        thread::sleep(Duration::from_millis(ms));
    }

    fn fire(&mut self, _count: usize) -> usize {
        0
    }
}

/// The delay queue: a wheel of its own, and one sleep for the earliest of its timers.
pub struct TokioDelayQueue<'a> {
    runtime: &'a Runtime,
    queue: DelayQueue<u64>,
}

impl<'a> TokioDelayQueue<'a> {
    /// An empty queue.
    #[must_use]
    pub fn new(runtime: &'a Runtime) -> Self {
        Self { runtime, queue: DelayQueue::new() }
    }
}

impl Timers for TokioDelayQueue<'_> {
    type Id = Key;

    #[inline]
    fn insert(&mut self, after_ms: u64) -> Key {
        self.queue.insert(0, Duration::from_millis(after_ms))
    }

    #[inline]
    fn cancel(&mut self, id: Key) {
        self.queue.remove(&id);
    }

    #[inline]
    fn rearm(&mut self, id: &mut Key, after_ms: u64) {
        self.queue.reset(id, Duration::from_millis(after_ms));
    }

    fn pass(&mut self, ms: u64) {
        // One more, for the milliseconds that it rounds up to.
        thread::sleep(Duration::from_millis(ms + 1));
    }

    fn fire(&mut self, count: usize) -> usize {
        let queue = &mut self.queue;
        self.runtime.block_on(async {
            for fired in 0..count {
                if poll_fn(|cx| queue.poll_expired(cx)).await.is_none() {
                    return fired;
                }
            }
            count
        })
    }
}
