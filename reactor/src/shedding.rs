//! Memory in the engine: what is given up when too many bytes wait, and in which order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::budget::Excess;
use crate::close_reason::{CloseReason, Overflow};
use crate::connection::Phase;
use crate::engine::Engine;
use crate::registered::Registered;
use crate::token::Token;

impl Engine {
    /// More bytes wait than before; `true` if there was something to look at.
    #[inline]
    pub(crate) fn note_growth(&mut self) -> bool {
        let calm = self.budget.is_calm(self.counters.buffered.get());
        if !calm {
            self.look_at_budget();
        }
        !calm
    }

    /// The turn is over: less may wait than before, here or on other loops.
    #[inline]
    pub(crate) fn note_turn(&mut self) {
        if self.budget.watches_turns() || !self.budget.is_calm(self.counters.buffered.get()) {
            let pressed = self.budget.pressed;
            self.look_at_budget();
            // Listeners that rested for want of memory go on.
            self.vacancy |= pressed && !self.budget.pressed;
        }
    }

    #[cold]
    fn look_at_budget(&mut self) {
        match self.budget.look(self.counters.buffered.get()) {
            Excess::None => {}
            Excess::Own(goal) => self.shed(|engine| engine.counters.buffered.get() <= goal),
            Excess::Shared => self.shed(|engine| engine.budget.has_eased(engine.counters.buffered.get())),
        }
    }

    /// Closes the connections with the most bytes, until it is enough or none has any.
    fn shed(&mut self, mut is_enough: impl FnMut(&mut Self) -> bool) {
        loop {
            let largest = self.largest();
            if largest.is_empty() {
                return;
            }
            for token in largest {
                self.close_for_memory(token);
                if is_enough(self) {
                    return;
                }
            }
        }
    }

    /// Some of the connections on which bytes wait: those with the most, in that order.
    fn largest(&self) -> Vec<Token> {
        let mut largest = BinaryHeap::with_capacity(AT_ONCE + 1);
        for (key, source) in self.sources.iter() {
            let Registered::Connection(connection) = source else { continue };
            let bytes = connection.held() + connection.unread();
            if bytes > 0 && connection.phase != Phase::Closed {
                largest.push(Reverse((bytes, key.index)));
                if largest.len() > AT_ONCE {
                    largest.pop();
                }
            }
        }
        let sorted = largest.into_sorted_vec().into_iter();
        sorted
            .filter_map(|Reverse((_, index))| self.sources.key_at(index))
            .map(|key| Token::new(self.loop_index, key))
            .collect()
    }

    /// Closes a connection; what waits on it is freed at once.
    fn close_for_memory(&mut self, token: Token) {
        let Some(connection) = self.connection_mut(token) else { return };
        let freed = connection.drop_bytes();
        self.counters.buffered.subtract(freed as u64);
        self.end(token, CloseReason::Overflow(Overflow::Memory));
    }
}

/// So many are found by one look at all connections, which takes as much memory as this.
const AT_ONCE: usize = 256;
