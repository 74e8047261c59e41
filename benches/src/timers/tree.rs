//! A sorted map by deadline and number of insertion.

use std::collections::BTreeMap;

use super::Timers;

/// The timers of a `BTreeMap`: all operations are O(log n), nothing is left behind.
#[derive(Default)]
pub struct Tree {
    timers: BTreeMap<(u64, u64), ()>,
    inserted: u64,
    now_ms: u64,
}

impl Timers for Tree {
    type Id = (u64, u64);

    #[inline]
    fn insert(&mut self, after_ms: u64) -> (u64, u64) {
        self.inserted += 1;
        let key = (self.now_ms + after_ms, self.inserted);
        self.timers.insert(key, ());
        key
    }

    #[inline]
    fn cancel(&mut self, id: (u64, u64)) {
        self.timers.remove(&id);
    }

    #[inline]
    fn rearm(&mut self, id: &mut (u64, u64), after_ms: u64) {
        self.cancel(*id);
        *id = self.insert(after_ms);
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn fire(&mut self, count: usize) -> usize {
        let mut fired = 0;
        while fired < count {
            let Some(first) = self.timers.first_entry() else { break };
            if first.key().0 > self.now_ms {
                break;
            }
            first.remove();
            fired += 1;
        }
        fired
    }
}
