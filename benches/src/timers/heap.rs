//! A binary heap that forgets cancelled timers late, as many programs have one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use slab::Slab;

use super::Timers;

/// A cancelled or re-armed timer leaves its old entry in the heap. When more than half of the entries are such, all of them
/// are thrown out at once: cheap on average, and a pause of milliseconds among a million.
#[derive(Default)]
pub struct LazyHeap {
    heap: BinaryHeap<Reverse<Entry>>,
    /// The number of the entry that counts, for each timer.
    live: Slab<u64>,
    entries: u64,
    now_ms: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline_ms: u64,
    number: u64,
    timer: usize,
}

impl LazyHeap {
    #[inline]
    fn push(&mut self, after_ms: u64, timer: usize) {
        self.heap.push(Reverse(Entry { deadline_ms: self.now_ms + after_ms, number: self.entries, timer }));
        if self.heap.len() > 2 * self.live.len() + SLACK {
            let live = &self.live;
            self.heap.retain(|Reverse(entry)| live.get(entry.timer) == Some(&entry.number));
        }
    }
}

impl Timers for LazyHeap {
    type Id = usize;

    #[inline]
    fn insert(&mut self, after_ms: u64) -> usize {
        self.entries += 1;
        let timer = self.live.insert(self.entries);
        self.push(after_ms, timer);
        timer
    }

    #[inline]
    fn cancel(&mut self, id: usize) {
        self.live.remove(id);
    }

    #[inline]
    fn rearm(&mut self, id: &mut usize, after_ms: u64) {
        self.entries += 1;
        self.live[*id] = self.entries;
        self.push(after_ms, *id);
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn fire(&mut self, count: usize) -> usize {
        let mut fired = 0;
        while fired < count {
            if self.heap.peek().is_none_or(|Reverse(first)| first.deadline_ms > self.now_ms) {
                break;
            }
            let Some(Reverse(first)) = self.heap.pop() else { break };
            if self.live.get(first.timer) == Some(&first.number) {
                self.live.remove(first.timer);
                fired += 1;
            }
        }
        fired
    }
}

/// Old entries that are never worth a sweep.
const SLACK: usize = 64;
