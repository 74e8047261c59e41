//! One figure that a loop counts.

use crate::sync::{AtomicU64, Ordering};

/// A number that one thread changes and any thread reads: a plain addition, no locked one.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, amount: u64) {
        self.set(self.get().wrapping_add(amount));
    }

    /// Adds, and makes what was counted before visible to who sees the sum by [`get_acquired`](Self::get_acquired).
    pub(crate) fn add_released(&self, amount: u64) {
        self.0.store(self.get().wrapping_add(amount), Ordering::Release);
    }

    pub(crate) fn get_acquired(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Subtracts, and makes what was counted before visible to who sees the rest by [`get_acquired`](Self::get_acquired).
    pub(crate) fn subtract_released(&self, amount: u64) {
        self.0.store(self.get().wrapping_sub(amount), Ordering::Release);
    }

    #[inline]
    pub(crate) fn subtract(&self, amount: u64) {
        self.set(self.get().wrapping_sub(amount));
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
