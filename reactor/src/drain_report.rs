//! How a drain goes and how it went.

use std::ops::AddAssign;

/// How the connections and datagram sockets of a loop ended when it drained. Add reports up for several loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Those that ended in the drain by themselves: all that were not cut.
    pub clean: u64,
    /// Those that were cut at the deadline.
    pub cut: u64,
    /// Bytes of output that waited on the ones that were cut.
    pub unsent: u64,
}

impl AddAssign for DrainReport {
    fn add_assign(&mut self, other: Self) {
        self.clean += other.clean;
        self.cut += other.cut;
        self.unsent += other.unsent;
    }
}

/// A drain under way.
pub(crate) struct Drain {
    pub(crate) closed_before: u64,
    pub(crate) cut: u64,
    pub(crate) unsent: u64,
    pub(crate) done: bool,
}
