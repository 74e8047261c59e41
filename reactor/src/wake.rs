//! The agreement between a loop that may sleep and the threads that post to it: nobody is missed, few are woken.

use crate::sync::{AtomicIsize, Ordering};

/// How many messages were posted and whether the loop sleeps, in one word.
///
/// Bit 0 says that the loop sleeps or is about to; the bits above count messages. Both sides change the one word by
/// read-modify-write, so either the poster finds the loop asleep and wakes it, or the loop finds the message and stays
/// awake: there is no third order. The message is in the queue before it is counted.
#[derive(Debug, Default)]
pub(crate) struct WakeFlag(AtomicIsize);

impl WakeFlag {
    /// Counts a message that has just been queued. `true`: the loop sleeps, and this caller is the one to wake it.
    pub(crate) fn post(&self) -> bool {
        let before = self.0.fetch_add(ONE, Ordering::AcqRel);
        before & ASLEEP != 0 && self.0.fetch_and(!ASLEEP, Ordering::AcqRel) & ASLEEP != 0
    }

    /// The loop means to sleep. `false`: it must not, a message waits.
    pub(crate) fn sleep(&self) -> bool {
        let before = self.0.fetch_or(ASLEEP, Ordering::AcqRel);
        if before >= ONE {
            self.awake();
            return false;
        }
        true
    }

    /// The loop is awake again, whoever woke it: from here posting costs no system call.
    pub(crate) fn awake(&self) {
        self.0.fetch_and(!ASLEEP, Ordering::AcqRel);
    }

    /// The loop has taken `count` messages out of the queue.
    pub(crate) fn taken(&self, count: usize) {
        let count = isize::try_from(count).expect("a batch of messages is small");
        self.0.fetch_sub(count * ONE, Ordering::AcqRel);
    }

    /// How many messages wait. One that is being posted right now may be missing.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        usize::try_from(self.0.load(Ordering::Relaxed) >> 1).unwrap_or(0)
    }
}

const ASLEEP: isize = 1;
/// A message in the count above bit 0. The count may be negative for a moment, when a message is taken before its poster
/// has counted it; the arithmetic comes out even.
const ONE: isize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_burst_wakes() {
        let flag = WakeFlag::default();
        assert!(flag.sleep());
        assert!(flag.post());
        assert!(!flag.post());
        assert_eq!(flag.waiting(), 2);
    }

    #[test]
    fn nobody_wakes_a_loop_that_runs() {
        let flag = WakeFlag::default();
        assert!(flag.sleep());
        flag.awake();
        assert!(!flag.post());
    }

    #[test]
    fn a_loop_with_messages_does_not_sleep() {
        let flag = WakeFlag::default();
        flag.post();
        assert!(!flag.sleep());
        flag.taken(1);
        assert!(flag.sleep());
    }

    #[test]
    fn taking_before_counting_comes_out_even() {
        let flag = WakeFlag::default();
        flag.taken(1);
        assert_eq!(flag.waiting(), 0);
        flag.post();
        assert_eq!(flag.waiting(), 0);
        assert!(flag.sleep());
    }
}
