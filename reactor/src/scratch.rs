//! The loop's one read buffer, which grows while a connection keeps filling it and shrinks when none does.

/// The buffer that all reads of a loop go through. It is made at the first read: a loop that idles has none.
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    min: usize,
    max: usize,
    /// Reads of at least so many bytes teach something: of a buffer of the smallest size those that fill it, of one that
    /// has grown all.
    teaches: usize,
    full_reads: u32,
    reads_since_large: u32,
}

impl Scratch {
    pub(crate) fn new(min: usize, max: usize) -> Self {
        Self { bytes: Vec::new(), min, max, teaches: min, full_reads: 0, reads_since_large: 0 }
    }

    /// Makes the buffer, unless it is made.
    #[inline]
    pub(crate) fn make(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.min];
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.make();
        &mut self.bytes
    }

    /// The buffer after [`make`](Self::make). An empty one would read nothing, which looks like an end of stream.
    #[inline]
    pub(crate) fn made(&mut self) -> &mut [u8] {
        debug_assert!(!self.bytes.is_empty());
        &mut self.bytes
    }

    /// The buffer, or its first `count` bytes if it is longer.
    #[inline]
    pub(crate) fn up_to(&mut self, count: usize) -> &mut [u8] {
        let bytes = self.bytes();
        let length = bytes.len().min(count);
        &mut bytes[..length]
    }

    #[inline]
    pub(crate) fn filled(&self, count: usize) -> &[u8] {
        &self.bytes[..count]
    }

    /// A read brought so many bytes: grows after a few reads in a row that filled the buffer, shrinks after many that
    /// would have fitted the smallest.
    #[inline]
    pub(crate) fn learn(&mut self, count: usize) {
        if count >= self.teaches {
            self.learn_from(count);
        }
    }

    fn learn_from(&mut self, count: usize) {
        if count == self.bytes.len() {
            self.grow();
        } else {
            self.shrink(count);
        }
    }

    fn grow(&mut self) {
        self.reads_since_large = 0;
        self.full_reads += 1;
        if self.full_reads >= FULL_READS && self.bytes.len() < self.max {
            self.full_reads = 0;
            self.bytes = vec![0; (self.bytes.len() * 2).min(self.max)];
            self.teaches = 0;
        }
    }

    fn shrink(&mut self, count: usize) {
        if count > self.min {
            self.reads_since_large = 0;
            return;
        }
        self.full_reads = 0;
        self.reads_since_large += 1;
        if self.reads_since_large >= SMALL_READS {
            self.reads_since_large = 0;
            self.bytes = vec![0; self.min];
            self.teaches = self.min;
        }
    }
}

/// Reads in a row that fill the buffer before it doubles.
const FULL_READS: u32 = 2;

/// Reads in a row that would fit the smallest buffer before it is that again.
const SMALL_READS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_while_it_is_filled_and_shrinks_when_it_is_not() {
        let mut scratch = Scratch::new(64, 256);
        scratch.bytes();
        (0..100).for_each(|_| scratch.learn(scratch.bytes.len()));
        assert_eq!(scratch.bytes.len(), 256);
        (0..SMALL_READS).for_each(|_| scratch.learn(1));
        assert_eq!(scratch.bytes.len(), 64);
    }

    #[test]
    fn large_reads_keep_it_large() {
        let mut scratch = Scratch::new(64, 256);
        scratch.bytes();
        (0..100).for_each(|_| scratch.learn(scratch.bytes.len()));
        (0..10 * SMALL_READS).for_each(|n| scratch.learn(if n % 100 == 0 { 200 } else { 1 }));
        assert_eq!(scratch.bytes.len(), 256);
    }
}
