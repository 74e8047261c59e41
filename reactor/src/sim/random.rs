//! The source of all chance in a simulation: small, fast, and the same on every machine.

/// Numbers that a seed decides, by SplitMix64 (Steele, Lea and Flood, 2014). Not for secrets.
///
/// ```
/// use reactor::sim::Random;
///
/// let (mut one, mut other) = (Random::new(7), Random::new(7));
/// assert_eq!(one.below(1000), other.below(1000));
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, each about as likely; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: a remainder would favour small numbers and cost a division.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// [`below`](Self::below) for lengths and places.
    pub fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    /// A number from 1 to `most`, small ones likelier: each number of binary digits is about as likely. 1 if `most` is 0.
    pub fn magnitude(&mut self, most: u64) -> u64 {
        let most = most.max(1);
        let digits = 1 + self.below(u64::from(u64::BITS - most.leading_zeros()));
        let below = u64::MAX >> (u64::from(u64::BITS) - digits);
        1 + self.below(most.min(below))
    }

    /// Whether something happens that does so with this probability, 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        // No number is drawn for what never happens, so that a fault that is off changes nothing else.
        probability > 0.0 && ((self.bits() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// One of these, each as likely.
    ///
    /// # Panics
    /// There is none to pick.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// Puts the items in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_bounds() {
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            assert!(random.below(7) < 7);
            assert!((1..=100).contains(&random.magnitude(100)));
        }
        assert_eq!((random.below(0), random.below(1), random.magnitude(1), random.magnitude(0)), (0, 0, 1, 1));
    }

    #[test]
    fn every_number_in_the_bounds_comes() {
        let mut random = Random::new(2);
        let mut seen = [false; 101];
        (0..10_000).for_each(|_| seen[usize::try_from(random.magnitude(100)).unwrap()] = true);
        assert!(seen[1..].iter().all(|&seen| seen));
    }

    #[test]
    fn a_chance_is_as_likely_as_it_says() {
        let mut random = Random::new(3);
        let count = (0..10_000).filter(|_| random.chance(0.3)).count();
        assert!((2800..3200).contains(&count), "{count}");
        assert!(!random.chance(0.0) && random.chance(1.0));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(4).shuffle(&mut items);
        assert!(items.windows(2).any(|pair| pair[0] > pair[1]));
        items.sort_unstable();
        assert!(items.into_iter().eq(0..50));
    }
}
