//! How much a turn moves in bulk.

use crate::limits::Limits;

/// The bulk that may be moved before others are looked at.
#[derive(Debug)]
pub(crate) struct BulkShare {
    /// It is used up when the loop has moved so many bytes in all.
    until: u64,
    /// Bytes of files that one connection is sent at once.
    per_connection: usize,
}

impl BulkShare {
    /// That of a loop before its first turn.
    pub(crate) fn unbounded(limits: &Limits) -> Self {
        Self { until: u64::MAX, per_connection: limits.write_per_turn }
    }

    /// A whole share, of a loop that has moved so much by now.
    #[inline]
    pub(crate) fn renew(&mut self, limits: &Limits, moved: u64) {
        self.until = moved.saturating_add(limits.bytes_per_turn as u64);
        self.per_connection = limits.write_per_turn;
    }

    /// So many connections wait for it: each is sent as much at once as lets all of them have something soon, and no less than it
    /// takes, for many small sends cost more than a few large ones.
    pub(crate) fn divide(&mut self, waiting: usize, limits: &Limits) {
        let each = limits.bytes_per_turn.saturating_mul(TURNS_PER_ROUND) / waiting.max(1);
        self.per_connection = each.max(limits.low_mark).clamp(1, limits.write_per_turn);
    }

    pub(crate) fn per_connection(&self) -> usize {
        self.per_connection
    }

    /// Whether nothing is left of it when so much has been moved.
    pub(crate) fn is_used_up(&self, moved: u64) -> bool {
        moved >= self.until
    }
}

/// Turns within which all who wait have been sent something, if that takes no less than the low mark for each: some 30 ms.
const TURNS_PER_ROUND: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_wait_the_less_each_is_sent() {
        let limits = Limits { bytes_per_turn: 1000, write_per_turn: 400, low_mark: 50, ..Limits::default() };
        let mut share = BulkShare::unbounded(&limits);
        let shares = [0, 1, 2, 4, 10, 100, 10_000].map(|waiting| {
            share.divide(waiting, &limits);
            share.per_connection()
        });
        assert_eq!(shares, [400, 400, 400, 400, 400, 160, 50]);
    }

    #[test]
    fn it_counts_from_where_it_begins() {
        let limits = Limits { bytes_per_turn: 1000, ..Limits::default() };
        let mut share = BulkShare::unbounded(&limits);
        share.renew(&limits, 5000);
        assert!(!share.is_used_up(5999) && share.is_used_up(6000));
    }
}
