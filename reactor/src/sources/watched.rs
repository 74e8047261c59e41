//! One descriptor of any kind: what is known of its readiness, and how far its life has come.

use std::any::Any;

use crate::event::Readiness;
use crate::sys::fd::Fd;
use crate::timer::TimerId;

/// A descriptor in one loop, with a source that is called for it.
pub(crate) struct Watched {
    pub(crate) fd: Fd,
    /// The poller watches it. A regular file it does not.
    pub(crate) registered: bool,
    /// The place of its source among those of the loop.
    pub(crate) place: usize,
    /// What the kernel has told since the source was last drained.
    pub(crate) told: Readiness,
    /// Has an entry in the loop's pending queue.
    pub(crate) pending: bool,
    /// It has ended and waits to be reaped at the end of the turn.
    pub(crate) ended: bool,
    /// A drain of the loop waits for it.
    pub(crate) holds: bool,
    /// The source's timers, which die with it.
    pub(crate) timers: Vec<TimerId>,
    /// What a ready-made source keeps here and not in itself, so that others reach it while a callback of it runs.
    pub(crate) state: Option<Box<dyn Any>>,
}

impl Watched {
    pub(crate) fn new(fd: Fd, place: usize, state: Option<Box<dyn Any>>) -> Self {
        Self {
            fd,
            registered: false,
            place,
            told: Readiness::NONE,
            pending: false,
            ended: false,
            holds: false,
            timers: Vec::new(),
            state,
        }
    }

    /// Forgets a timer; `false` if it was not the source's.
    pub(crate) fn remove_timer(&mut self, timer: TimerId) -> bool {
        let Some(place) = self.timers.iter().position(|&other| other == timer) else { return false };
        self.timers.swap_remove(place);
        true
    }
}
