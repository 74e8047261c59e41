//! What the running callback has sent so far: it leaves in one call as the callback returns.

/// Bytes gathered in room that is kept for the next callback.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The bytes, and behind them room for more. It is all initialised, so that gathering is a check and a copy.
    room: Vec<u8>,
    len: usize,
}

impl Outbox {
    /// An outbox that takes `room` bytes before it has to grow.
    pub(crate) fn new(room: usize) -> Self {
        Self { room: vec![0; room], len: 0 }
    }

    /// The bytes gathered so far.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.room[..self.len]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds the bytes if there is room for them, and says whether.
    #[inline]
    pub(crate) fn gather(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        let Some(place) = self.room.get_mut(self.len..end) else { return false };
        // Before the copy, so that nothing of ours has to outlive that call.
        self.len = end;
        place.copy_from_slice(bytes);
        true
    }

    /// Makes room for `more` bytes, and some to spare, but for no more than `max` in all.
    pub(crate) fn reserve(&mut self, more: usize, max: usize) {
        let needed = self.len + more;
        if needed > self.room.len() {
            self.room.resize((2 * needed).min(max.max(needed)), 0);
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Gives back what it has grown beyond `room`.
    pub(crate) fn shrink_to(&mut self, room: usize) {
        self.room.truncate(room.max(self.len));
        self.room.shrink_to_fit();
    }
}

/// A send of at least this many bytes into an empty queue goes straight to the kernel: copying them first would cost more
/// than a call of their own.
pub(crate) const DIRECT: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_there_is_room_for_or_nothing() {
        let mut outbox = Outbox::new(4);
        assert!(outbox.gather(b"abc"));
        assert!(!outbox.gather(b"de"));
        assert_eq!(outbox.as_slice(), b"abc");
        assert!(outbox.gather(b"d"));
        outbox.clear();
        assert!(outbox.is_empty() && outbox.gather(b"efgh"));
        assert_eq!(outbox.as_slice(), b"efgh");
    }

    #[test]
    fn grows_up_to_its_bound_and_shrinks_again() {
        let mut outbox = Outbox::new(4);
        assert!(outbox.gather(b"abcd"));
        outbox.reserve(3, 9);
        assert!(outbox.gather(b"efghi"));
        assert!(!outbox.gather(b"j"));
        outbox.shrink_to(4);
        assert_eq!(outbox.as_slice(), b"abcdefghi");
        outbox.clear();
        outbox.shrink_to(4);
        assert!(!outbox.gather(b"abcde") && outbox.gather(b"abcd"));
    }
}
