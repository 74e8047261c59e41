//! Bytes whose place in their stream shows: one lost, doubled or out of order is found at once.

/// A stream of bytes, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) usize);

impl Pattern {
    fn byte(self, place: usize) -> u8 {
        let mixed = (self.0 as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (place as u64).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed >> 32 ^ mixed >> 13).to_le_bytes()[0]
    }

    /// `count` bytes from `place` on.
    pub(crate) fn bytes(self, place: usize, count: usize) -> Vec<u8> {
        (place..place + count).map(|place| self.byte(place)).collect()
    }

    /// Checks that these are the bytes from `place` on.
    pub(crate) fn check(self, place: usize, bytes: &[u8], what: &str) {
        if let Some(wrong) = (0..bytes.len()).find(|&index| bytes[index] != self.byte(place + index)) {
            let found = (0..place + bytes.len() + 5000).find(|&other| {
                (0..8.min(bytes.len() - wrong)).all(|index| self.byte(other + index) == bytes[wrong + index])
            });
            panic!("{what}: byte {} of stream {} is wrong: that is byte {found:?}", place + wrong, self.0);
        }
    }
}
