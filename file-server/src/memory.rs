//! The memory that bodies on their way to the disk take, counted over all connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much memory the bodies that are being received may take together.
///
/// Within it they are collected in large pieces, for fewer and larger writes. Beyond it each connection has what one read
/// brought, which is written at once, and nothing more is read from it until that is done.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
    /// Connections that a worker reads from.
    direct: AtomicUsize,
}

/// The permission for a worker to read from a connection by itself.
#[derive(Debug)]
pub(crate) struct DirectPlace(Arc<Memory>);

/// Bytes on their way, and their share of the memory.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    charged: usize,
    memory: Arc<Memory>,
}

impl Memory {
    /// So many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), direct: AtomicUsize::new(0) })
    }

    /// What is taken now, in bytes.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A place among those who are read from by workers, if one is free: waiting for a client, they do nothing else.
    pub(crate) fn direct_place(self: &Arc<Self>) -> Option<DirectPlace> {
        let most = |count: usize| (count < DIRECT_AT_ONCE).then_some(count + 1);
        let taken = self.direct.fetch_update(Ordering::Relaxed, Ordering::Relaxed, most);
        taken.is_ok().then(|| DirectPlace(Arc::clone(self)))
    }

    /// Whether all is taken.
    pub(crate) fn is_short(&self) -> bool {
        self.used() >= self.limit
    }
}

impl Piece {
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Self { bytes: Vec::new(), charged: 0, memory: Arc::clone(memory) }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds bytes, up to a length of `most`, and says how many.
    pub(crate) fn fill(&mut self, bytes: &[u8], most: usize) -> usize {
        let count = bytes.len().min(most.saturating_sub(self.bytes.len()));
        self.bytes.extend_from_slice(&bytes[..count]);
        self.charge();
        count
    }

    /// Adds what `read` appends, which is given the bytes and how many may come, up to a length of `most`.
    pub(crate) fn fill_by(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = most.saturating_sub(self.bytes.len());
        self.bytes.reserve_exact(room);
        let count = read(&mut self.bytes, room);
        self.charge();
        count
    }

    /// Empties it, to be filled again; when memory is short it gives its own back.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        if self.memory.is_short() {
            self.bytes.shrink_to_fit();
        }
        self.charge();
    }

    fn charge(&mut self) {
        let capacity = self.bytes.capacity();
        if capacity > self.charged {
            self.memory.used.fetch_add(capacity - self.charged, Ordering::Relaxed);
        } else if capacity < self.charged {
            self.memory.used.fetch_sub(self.charged - capacity, Ordering::Relaxed);
        }
        self.charged = capacity;
    }
}

impl Drop for DirectPlace {
    fn drop(&mut self) {
        self.0.direct.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.charged, Ordering::Relaxed);
    }
}

/// How much is written at once. Twice as much gains nothing measurable, half as much costs a twentieth.
pub(crate) const PIECE: usize = 1 << 20;

/// Half of the workers that there are by default.
const DIRECT_AT_ONCE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let memory = Memory::new(100);
        let mut piece = Piece::new(&memory);
        assert_eq!(piece.fill(&[1; 64], 80), 64);
        assert_eq!(piece.fill(&[2; 64], 80), 16);
        assert_eq!(piece.as_slice()[63..65], [1, 2]);
        assert!(memory.used() >= 80);
        let mut other = Piece::new(&memory);
        other.fill(&[3; 64], 64);
        assert!(memory.is_short());
        piece.clear();
        assert!(piece.is_empty() && memory.used() == other.charged);
        drop((piece, other));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn places_are_few_and_come_back() {
        let memory = Memory::new(100);
        let places: Vec<_> = (0..5).map(|_| memory.direct_place()).collect();
        assert_eq!(places.iter().flatten().count(), DIRECT_AT_ONCE);
        drop(places);
        assert!(memory.direct_place().is_some());
    }
}
