//! What a loop does with the letters it gets, the same in every loop.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};

/// What a letter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// To be counted.
    Note,
    /// To be answered: the thread that made the desk waits.
    Answer,
    /// To do nothing else until released.
    Hold,
    /// To end the loop.
    Stop,
}

/// The place where letters are read.
#[derive(Debug)]
pub struct Desk {
    notes: AtomicU64,
    answered: AtomicBool,
    held: AtomicBool,
    poster: Thread,
}

impl Desk {
    /// A desk for letters of the calling thread.
    #[must_use]
    pub fn new() -> Self {
        Self {
            notes: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            held: AtomicBool::new(false),
            poster: thread::current(),
        }
    }

    /// Does what the letter asks for; the loop's thread calls it. `false`: the loop is to end.
    #[inline]
    pub fn read(&self, letter: Letter) -> bool {
        match letter {
            Letter::Note => {
                // Only the loop's thread writes it, so no locked instruction is needed.
                self.notes.store(self.notes.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            Letter::Answer => {
                self.answered.store(true, Ordering::Release);
                self.poster.unpark();
            }
            Letter::Hold => self.stay(),
            Letter::Stop => return false,
        }
        true
    }

    /// How many notes were read.
    #[must_use]
    pub fn notes(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }

    /// Sleeps until an answer has come.
    pub fn wait_for_answer(&self) {
        while !self.answered.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }

    /// Sleeps until the loop reads a [`Letter::Hold`].
    pub fn wait_until_held(&self) {
        while !self.held.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Lets a held loop go on.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    fn stay(&self) {
        self.held.store(true, Ordering::Release);
        self.poster.unpark();
        while self.held.load(Ordering::Acquire) {
            // On one processor the other thread could not release it otherwise.
            thread::yield_now();
            hint::spin_loop();
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}
