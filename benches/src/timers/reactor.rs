//! This project's timer queue.

use std::num::NonZeroU64;

use reactor::timer::{TimerId, TimerQueue};

use super::Timers;

/// [`TimerQueue`] with the value that the loop gives it: a name of 64 bits.
#[derive(Default)]
pub struct ReactorTimers {
    queue: TimerQueue<NonZeroU64>,
    now_ms: u64,
}

impl Timers for ReactorTimers {
    type Id = TimerId;

    #[inline]
    fn insert(&mut self, after_ms: u64) -> TimerId {
        self.queue.insert(self.now_ms + after_ms, NonZeroU64::MIN).expect("a bench stays below the queue's bound")
    }

    #[inline]
    fn cancel(&mut self, id: TimerId) {
        self.queue.cancel(id);
    }

    #[inline]
    fn rearm(&mut self, id: &mut TimerId, after_ms: u64) {
        self.queue.reset(*id, self.now_ms + after_ms);
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn fire(&mut self, count: usize) -> usize {
        self.queue.advance(self.now_ms);
        (0..count).take_while(|_| self.queue.pop_due().is_some()).count()
    }
}
