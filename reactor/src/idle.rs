//! Idle timeouts: one stored timestamp an event, one link a connection, no timer moved.

use crate::clock::low_bits;
use crate::registry::Registry;
use crate::source::Source;
use crate::wheel::{Link, Links, Wheel};

/// Connections in the order in which their idle timeouts are to be looked at.
///
/// A connection is linked by the deadline it had when it was linked. Activity only moves its timestamp; when the wheel
/// comes by, a connection that was active meanwhile is linked anew.
pub(crate) struct IdleQueue {
    wheel: Wheel,
    elapsed: u64,
}

impl IdleQueue {
    pub(crate) fn new() -> Self {
        Self { wheel: Wheel::new(0), elapsed: 0 }
    }

    /// Begins to watch the connection at `index`, or watches it anew after its timeout was changed.
    pub(crate) fn watch(&mut self, sources: &mut Registry<Source>, index: u32) {
        self.wheel.insert(&mut IdleLinks { sources, elapsed: self.elapsed }, index);
    }

    /// No longer watches the connection at `index`.
    pub(crate) fn forget(&mut self, sources: &mut Registry<Source>, index: u32) {
        self.wheel.remove(&mut IdleLinks { sources, elapsed: self.elapsed }, index);
    }

    /// The millisecond at which to look again.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// Time has come to `now_ms`.
    pub(crate) fn advance(&mut self, sources: &mut Registry<Source>, now_ms: u64) {
        self.wheel.advance(&mut IdleLinks { sources, elapsed: self.elapsed }, now_ms);
        self.elapsed = self.elapsed.max(now_ms);
    }

    /// The next connection that was idle for its timeout. It is no longer watched.
    pub(crate) fn pop_due(&mut self, sources: &mut Registry<Source>) -> Option<u32> {
        loop {
            let mut links = IdleLinks { sources, elapsed: self.elapsed };
            let index = self.wheel.pop_due(&mut links)?;
            if links.deadline(index) <= self.elapsed {
                return Some(index);
            }
            self.wheel.insert(&mut links, index);
        }
    }
}

/// Connections as the wheel sees them. Their timestamps are 32 bits of the clock: taken as near `elapsed`, they are exact,
/// since no timeout is as long as half of that range.
struct IdleLinks<'a> {
    sources: &'a mut Registry<Source>,
    elapsed: u64,
}

impl Links for IdleLinks<'_> {
    fn link(&mut self, index: u32) -> &mut Link {
        match self.sources.at_mut(index) {
            Some((_, Source::Connection(connection))) => &mut connection.link,
            _ => unreachable!("a connection leaves the wheel before it leaves the registry"),
        }
    }

    fn deadline(&self, index: u32) -> u64 {
        match self.sources.at(index) {
            Some((_, Source::Connection(connection))) => {
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
