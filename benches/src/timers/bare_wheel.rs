//! A timing wheel without anything around it: the practical limit of timers.

use std::hint::black_box;

use super::Timers;

/// One ring of lists, a list for each millisecond of a minute, in which later minutes wait too and are passed over; ids are
/// places, reused at once and never checked.
///
/// It gives no order within a millisecond, does not know when the next timer is due, walks every millisecond that passes,
/// and breaks when a timer is cancelled twice: what a queue offers more costs more.
pub struct BareWheel {
    /// For each millisecond the first timer, or `NONE`.
    heads: Vec<u32>,
    nodes: Vec<Node>,
    free: u32,
    now_ms: u64,
    fired_ms: u64,
}

#[derive(Clone, Copy)]
struct Node {
    next: u32,
    /// The timer before, or for the first of a list the list itself, marked by `HEAD`.
    previous: u32,
    deadline_ms: u64,
    /// What the timer is for.
    value: u64,
}

impl Default for BareWheel {
    fn default() -> Self {
        Self { heads: vec![NONE; RING as usize], nodes: Vec::new(), free: NONE, now_ms: 0, fired_ms: 0 }
    }
}

impl BareWheel {
    #[inline]
    fn link(&mut self, index: u32, after_ms: u64) {
        let deadline_ms = self.now_ms + after_ms;
        let list = (deadline_ms % RING) as u32;
        let next = std::mem::replace(&mut self.heads[list as usize], index);
        let node = &mut self.nodes[index as usize];
        (node.next, node.previous, node.deadline_ms) = (next, list | HEAD, deadline_ms);
        if next != NONE {
            self.nodes[next as usize].previous = index;
        }
    }

    #[inline]
    fn unlink(&mut self, index: u32) {
        let Node { next, previous, .. } = self.nodes[index as usize];
        if previous & HEAD == 0 {
            self.nodes[previous as usize].next = next;
        } else {
            self.heads[(previous & !HEAD) as usize] = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
    }

    #[inline]
    fn release(&mut self, index: u32) {
        self.nodes[index as usize].next = self.free;
        self.free = index;
    }
}

impl Timers for BareWheel {
    type Id = u32;

    #[inline]
    fn insert(&mut self, after_ms: u64) -> u32 {
        let index = self.free;
        if index == NONE {
            let index = self.nodes.len() as u32;
            self.nodes.push(Node { next: NONE, previous: NONE, deadline_ms: 0, value: VALUE });
            self.link(index, after_ms);
            return index;
        }
        let node = &mut self.nodes[index as usize];
        node.value = VALUE;
        self.free = node.next;
        self.link(index, after_ms);
        index
    }

    #[inline]
    fn cancel(&mut self, id: u32) {
        self.unlink(id);
        self.release(id);
    }

    #[inline]
    fn rearm(&mut self, id: &mut u32, after_ms: u64) {
        self.unlink(*id);
        self.link(*id, after_ms);
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn fire(&mut self, count: usize) -> usize {
        let mut fired = 0;
        loop {
            let mut index = self.heads[(self.fired_ms % RING) as usize];
            while index != NONE {
                let Node { next, deadline_ms, value, .. } = self.nodes[index as usize];
                if deadline_ms <= self.now_ms {
                    if fired == count {
                        return fired;
                    }
                    black_box(value);
                    self.cancel(index);
                    fired += 1;
                }
                index = next;
            }
            if self.fired_ms == self.now_ms {
                return fired;
            }
            self.fired_ms += 1;
        }
    }
}

/// Milliseconds that have a list of their own.
const RING: u64 = 1 << 16;

const NONE: u32 = u32::MAX;

/// What timers are for in a bench.
const VALUE: u64 = 1;

/// Marks a list among the timers.
const HEAD: u32 = 1 << 31;
