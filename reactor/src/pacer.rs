//! The rates of a loop: a bucket of tokens for each direction, and who waits for them.

use std::collections::VecDeque;

use crate::rate::{Direction, TokenBucket};
use crate::timer::TimerId;
use crate::token::Token;

/// The rates of a loop, for all its connections together.
pub(crate) struct Pacer {
    pub(crate) input: Option<SharedPace>,
    pub(crate) output: Option<SharedPace>,
}

/// One direction of them.
pub(crate) struct SharedPace {
    pub(crate) bucket: TokenBucket,
    /// Who rests for want of tokens, in the order in which they came to it; each gets its share in turn.
    pub(crate) waiters: VecDeque<Token>,
    /// It is always armed, in idle times for the end of time: so it never finds the loop's timers used up.
    pub(crate) timer: TimerId,
}

impl Pacer {
    pub(crate) fn shared(&mut self, direction: Direction) -> Option<&mut SharedPace> {
        match direction {
            Direction::Input => self.input.as_mut(),
            Direction::Output => self.output.as_mut(),
        }
    }
}
