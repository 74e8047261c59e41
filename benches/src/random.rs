//! Random numbers that are the same in every run.

/// A xorshift generator: fast, and good enough to scatter deadlines and slots.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The start of the one sequence there is.
    #[must_use]
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// The next number, below `bound`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high half of a product instead of a division, which would cost as much as what is measured.
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
