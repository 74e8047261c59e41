//! What one connection is held to besides its readiness: deadlines, rates, and a seat. Only who has any of them has a governor.

use std::time::Duration;

use crate::per_address::Seat;
use crate::rate::{Direction, Rates, TokenBucket};
use crate::timeouts::{ReadProgress, Timeouts};
use crate::timer::TimerId;

/// What a connection is to be held to, as its listener or its connect says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) timeouts: Timeouts,
    pub(crate) rates: Rates,
}

impl Terms {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The deadlines and rates of one connection. Times are milliseconds of the loop's clock.
#[derive(Default)]
pub(crate) struct Governor {
    pub(crate) read: Option<ReadWatch>,
    pub(crate) write: Option<WriteWatch>,
    /// The end of its life.
    pub(crate) ends_ms: Option<u64>,
    input: Pace,
    output: Pace,
    /// The one timer, and when it is due.
    pub(crate) timer: Option<(TimerId, u64)>,
    /// Its place among the connections of its address.
    pub(crate) seat: Option<Seat>,
}

/// What is to come within the present period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadWatch {
    pub(crate) progress: ReadProgress,
    pub(crate) received: u64,
    /// `None` while it is we who do not read.
    pub(crate) due_ms: Option<u64>,
}

/// When the kernel is to have taken some of what waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteWatch {
    pub(crate) patience: Duration,
    /// `None` while nothing waits.
    pub(crate) due_ms: Option<u64>,
}

/// One direction: how fast it may go, and whether it rests.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) bucket: Option<TokenBucket>,
    /// The loop has a limit for all its connections together.
    pub(crate) of_loop: bool,
    /// Tokens of the loop's bucket that were set aside for this connection.
    pub(crate) grant: u64,
    pub(crate) hold: Hold,
}

/// Why a direction rests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    #[default]
    None,
    /// Its own bucket is empty until then.
    Until(u64),
    /// The loop's bucket is empty, or others wait for it already.
    ForLoop,
}

impl Governor {
    pub(crate) fn pace(&self, direction: Direction) -> &Pace {
        match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        }
    }

    pub(crate) fn pace_mut(&mut self, direction: Direction) -> &mut Pace {
        match direction {
            Direction::Input => &mut self.input,
            Direction::Output => &mut self.output,
        }
    }

    pub(crate) fn is_held(&self, direction: Direction) -> bool {
        self.pace(direction).hold != Hold::None
    }

    /// Whether reads and sends have to ask here first.
    pub(crate) fn meters(&self) -> bool {
        let counts = self.read.is_some_and(|watch| watch.progress.counts());
        counts || Direction::BOTH.into_iter().any(|direction| self.pace(direction).is_limited())
    }

    /// Whether there is nothing left to be held to.
    pub(crate) fn is_idle(&self) -> bool {
        let deadlines = self.read.is_some() || self.write.is_some() || self.ends_ms.is_some();
        !deadlines && !self.meters() && self.seat.is_none()
    }

    /// The next time at which something is to be looked at.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let read = self.read.and_then(|watch| watch.due_ms);
        let write = self.write.and_then(|watch| watch.due_ms);
        let [input, output] = Direction::BOTH.map(|direction| self.pace(direction).until());
        [self.ends_ms, read, write, input, output].into_iter().flatten().min()
    }
}

impl Pace {
    pub(crate) fn is_limited(&self) -> bool {
        self.of_loop || self.bucket.is_some()
    }

    fn until(&self) -> Option<u64> {
        match self.hold {
            Hold::Until(ms) => Some(ms),
            Hold::None | Hold::ForLoop => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_governor_is_small() {
        assert!(size_of::<Governor>() <= 360, "{}", size_of::<Governor>());
    }

    #[test]
    fn one_that_holds_nobody_to_anything_is_idle() {
        let mut governor = Governor::default();
        assert!(governor.is_idle() && governor.next_ms().is_none());
        governor.ends_ms = Some(7);
        governor.pace_mut(Direction::Output).hold = Hold::Until(5);
        assert!(!governor.is_idle() && !governor.meters());
        assert_eq!(governor.next_ms(), Some(5));
        governor.pace_mut(Direction::Output).hold = Hold::ForLoop;
        assert_eq!(governor.next_ms(), Some(7));
    }
}
