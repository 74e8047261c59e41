//! Sharing a turn in the engine: it ends soon, however many connections have bulk to move.

use crate::connection::{Connection, Flag};
use crate::engine::Engine;

impl Engine {
    /// Bulk may be moved again.
    #[inline]
    pub(crate) fn begin_bulk(&mut self) {
        let moved = self.moved();
        self.bulk.renew(&self.limits, moved);
    }

    /// Whether no more bulk is to be moved this turn.
    #[inline]
    pub(crate) fn is_bulk_used_up(&self) -> bool {
        self.bulk.is_used_up(self.moved())
    }

    /// Whether the output of a connection is to wait for the next turn. A little of it is sent whatever else there is.
    pub(crate) fn holds_back_output(&self, connection: &Connection) -> bool {
        connection.queued() > self.limits.low_mark && self.is_bulk_used_up()
    }

    /// Whether a connection that stopped in an earlier turn is to wait for one more.
    pub(crate) fn holds_back(&self, connection: &Connection) -> bool {
        let moves =
            connection.queued() > self.limits.low_mark || connection.may_read() || connection.has(Flag::RELAYED);
        moves && self.is_bulk_used_up()
    }

    /// Bytes that were read and sent since the loop was made, which are counted anyway: a message pays nothing for this.
    #[inline]
    fn moved(&self) -> u64 {
        self.counters.bytes_in.get().wrapping_add(self.counters.bytes_out.get())
    }
}
