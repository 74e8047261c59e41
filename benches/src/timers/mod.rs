//! Timer queues that do the same: arm, take back, arm anew, hand out what is due.

mod bare_wheel;
mod heap;
mod reactor;
mod tokio;
mod tree;

pub use bare_wheel::BareWheel;
pub use heap::LazyHeap;
pub use reactor::ReactorTimers;
pub use tokio::{TokioDelayQueue, TokioSleeps, tokio_runtime};
pub use tree::Tree;

/// A queue of timers, in milliseconds.
///
/// The same two steps make timers fire everywhere: time passes, which is not measured, and then what is due is taken out.
pub trait Timers {
    /// What a timer is known by.
    type Id;

    /// Arms a timer.
    fn insert(&mut self, after_ms: u64) -> Self::Id;

    /// Takes a timer back.
    fn cancel(&mut self, id: Self::Id);

    /// Arms a timer anew.
    fn rearm(&mut self, id: &mut Self::Id, after_ms: u64);

    /// Lets time pass, in reality where the queue has a clock of its own.
    fn pass(&mut self, ms: u64);

    /// Takes out `count` timers that are due, and answers how many there were.
    fn fire(&mut self, count: usize) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires_what_is_due_and_not_cancelled(mut timers: impl Timers) {
        let mut ids: Vec<_> = (0..100).map(|n| timers.insert(5 + n % 7)).collect();
        let far: Vec<_> = (0..50).map(|_| timers.insert(60_000)).collect();
        let mut late = ids.pop().unwrap();
        timers.rearm(&mut late, 50_000);
        for id in ids.drain(..30) {
            timers.cancel(id);
        }
        timers.pass(20);
        assert_eq!(timers.fire(69), 69);
        drop((ids, far, late));
    }

    #[test]
    fn every_queue_fires_what_is_due_and_not_cancelled() {
        let runtime = tokio_runtime().unwrap();
        let _context = runtime.enter();
        fires_what_is_due_and_not_cancelled(ReactorTimers::default());
        fires_what_is_due_and_not_cancelled(BareWheel::default());
        fires_what_is_due_and_not_cancelled(LazyHeap::default());
        fires_what_is_due_and_not_cancelled(Tree::default());
        fires_what_is_due_and_not_cancelled(TokioDelayQueue::new(&runtime));
    }

    #[test]
    fn a_bare_wheel_reuses_its_places() {
        let mut wheel = BareWheel::default();
        let ids = [3, 3, 9].map(|after| wheel.insert(after));
        wheel.cancel(ids[1]);
        assert_eq!(wheel.insert(3), ids[1]);
        wheel.pass(3);
        assert_eq!(wheel.fire(10), 2);
        wheel.pass(6);
        assert_eq!(wheel.fire(10), 1);
    }
}
