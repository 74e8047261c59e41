//! Idle timeouts: one stored timestamp an event, one link a connection, no timer moved.

use std::array;

use crate::clock::low_bits;
use crate::registered::Registered;
use crate::registry::Registry;
use crate::wheel::{FIRST_NODE, HEADS, Link, Links, Wheel};

/// Connections in the order in which their idle timeouts are to be looked at.
///
/// A connection is linked by the deadline it had when it was linked. Activity only moves its timestamp; when the wheel
/// comes by, a connection that was active meanwhile is linked anew.
pub(crate) struct IdleQueue {
    wheel: Wheel,
    heads: Box<[Link; HEADS]>,
    elapsed: u64,
}

impl IdleQueue {
    pub(crate) fn new() -> Self {
        Self { wheel: Wheel::new(0), heads: Box::new(array::from_fn(|head| Link::head(head as u32))), elapsed: 0 }
    }

    /// Begins to watch the connection at `index`, or watches it anew after its timeout was changed.
    pub(crate) fn watch(&mut self, sources: &mut Registry<Registered>, index: u32) {
        let (wheel, mut links) = self.parts(sources);
        wheel.insert(&mut links, FIRST_NODE + index);
    }

    /// No longer watches the connection at `index`.
    pub(crate) fn forget(&mut self, sources: &mut Registry<Registered>, index: u32) {
        let (wheel, mut links) = self.parts(sources);
        wheel.remove(&mut links, FIRST_NODE + index);
    }

    /// The millisecond at which to look again.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// Time has come to `now_ms`.
    pub(crate) fn advance(&mut self, sources: &mut Registry<Registered>, now_ms: u64) {
        let (wheel, mut links) = self.parts(sources);
        wheel.advance(&mut links, now_ms);
        self.elapsed = self.elapsed.max(now_ms);
    }

    /// The next connection that was idle for its timeout. It is no longer watched.
    pub(crate) fn pop_due(&mut self, sources: &mut Registry<Registered>) -> Option<u32> {
        let (wheel, mut links) = self.parts(sources);
        loop {
            let node = wheel.pop_due(&mut links)?;
            if links.deadline(node) <= links.elapsed {
                return Some(node - FIRST_NODE);
            }
            wheel.insert(&mut links, node);
        }
    }

    fn parts<'a>(&'a mut self, sources: &'a mut Registry<Registered>) -> (&'a mut Wheel, IdleLinks<'a>) {
        (&mut self.wheel, IdleLinks { heads: &mut self.heads, sources, elapsed: self.elapsed })
    }
}

/// Connections as the wheel sees them. Their timestamps are 32 bits of the clock: taken as near `elapsed`, they are exact,
/// since no timeout is as long as half of that range.
struct IdleLinks<'a> {
    heads: &'a mut [Link; HEADS],
    sources: &'a mut Registry<Registered>,
    elapsed: u64,
}

impl Links for IdleLinks<'_> {
    fn link(&mut self, index: u32) -> &mut Link {
        let Some(slot) = index.checked_sub(FIRST_NODE) else { return &mut self.heads[index as usize] };
        match self.sources.at_mut(slot) {
            Some((_, Registered::Connection(connection))) => &mut connection.link,
            _ => unreachable!("a connection leaves the wheel before it leaves the registry"),
        }
    }

    fn deadline(&self, index: u32) -> u64 {
        match self.sources.at(index - FIRST_NODE) {
            Some((_, Registered::Connection(connection))) => {
                let due = connection.last_activity.wrapping_add(connection.idle_ms);
                let ahead = due.wrapping_sub(low_bits(self.elapsed)).cast_signed();
                self.elapsed.saturating_add_signed(ahead.into())
            }
            _ => unreachable!("a connection leaves the wheel before it leaves the registry"),
        }
    }
}

/// The longest idle timeout: within it, the order of 32-bit timestamps is certain.
pub(crate) const MAX_IDLE_MS: u32 = 1 << 31 >> 1;
