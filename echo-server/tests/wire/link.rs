//! One direction of the wire: packets on their way, in the order in which they will arrive.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::fate::{Fate, Rates};

/// One direction.
pub(crate) struct Link {
    rates: Rates,
    seed: u64,
    /// Packets that were offered.
    count: u64,
    /// When the last one that entered will have left the queue.
    busy_until: Instant,
    /// By arrival, then in the order in which they entered.
    on_the_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
}

/// How many packets met which fate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) offered: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) flipped: u64,
    pub(crate) held_back: u64,
    /// Lost because the queue was full.
    pub(crate) overflowed: u64,
}

impl Link {
    pub(crate) fn new(rates: Rates, seed: u64) -> Self {
        Self { rates, seed, count: 0, busy_until: Instant::now(), on_the_way: BinaryHeap::new() }
    }

    /// A packet enters the wire, and meets its fate.
    pub(crate) fn offer(&mut self, mut packet: Vec<u8>, now: Instant, tally: &mut Tally) {
        let fate = Fate::of(&self.rates, self.seed, self.count);
        self.count += 1;
        tally.offered += 1;
        let begins = self.busy_until.max(now);
        if begins - now > self.rates.queue {
            tally.overflowed += 1;
            return;
        }
        self.busy_until = begins + Duration::from_nanos(packet.len() as u64 * 1_000_000_000 / self.rates.speed);
        let mut arrives = self.busy_until + self.rates.delay;
        match fate {
            Fate::Passes => {}
            Fate::Lost => {
                tally.lost += 1;
                return;
            }
            Fate::Doubled => {
                tally.doubled += 1;
                self.send(arrives + self.rates.delay, packet.clone());
            }
            Fate::Flipped(bit) => {
                tally.flipped += 1;
                let bit = bit % (packet.len() as u64 * 8);
                packet[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            Fate::HeldBack => {
                tally.held_back += 1;
                arrives += 2 * self.rates.delay;
            }
        }
        self.send(arrives, packet);
    }

    fn send(&mut self, arrives: Instant, packet: Vec<u8>) {
        self.on_the_way.push(Reverse((arrives, self.count, packet)));
    }

    /// When the next packet arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse((arrives, ..))| *arrives)
    }

    /// The next packet that has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        self.on_the_way.pop().map(|Reverse((_, _, packet))| packet)
    }
}
