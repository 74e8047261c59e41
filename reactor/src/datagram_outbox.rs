//! The datagrams that the callbacks of one batch have said so far: they leave together.

use crate::sys::ancillary::Source;
use crate::sys::datagram::{MOST, Message};
use crate::sys::sockaddr::RawAddress;

/// Datagrams gathered in room that is kept for the next batch. It allocates nothing before the first.
#[derive(Default)]
pub(crate) struct DatagramOutbox {
    /// One after the other.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// One datagram: its bytes end here, and begin where those of the one before end.
struct Entry {
    end: usize,
    to: Option<RawAddress>,
    from: Option<Source>,
}

impl DatagramOutbox {
    /// Adds a copy of the bytes.
    #[inline]
    pub(crate) fn push(&mut self, message: Message<'_>) {
        self.bytes.extend_from_slice(message.bytes);
        self.entries.push(Entry { end: self.bytes.len(), to: message.to.copied(), from: message.from.copied() });
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes the first `count` have.
    pub(crate) fn bytes_of_first(&self, count: usize) -> usize {
        if count == 0 { 0 } else { self.entries[count - 1].end }
    }

    /// Whether it is time to send: one call takes no more, or so many bytes are enough.
    pub(crate) fn is_full(&self, max_bytes: usize) -> bool {
        self.entries.len() >= MOST || self.bytes.len() >= max_bytes
    }

    pub(crate) fn get(&self, index: usize) -> Message<'_> {
        let start = self.bytes_of_first(index);
        let Entry { end, to, from } = &self.entries[index];
        Message { bytes: &self.bytes[start..*end], to: to.as_ref(), from: from.as_ref() }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_datagrams_apart_the_empty_ones_too() {
        let mut outbox = DatagramOutbox::default();
        for bytes in [&b"one"[..], b"", b"three"] {
            outbox.push(Message { bytes, to: None, from: None });
        }
        assert_eq!([0, 1, 2].map(|index| outbox.get(index).bytes), [&b"one"[..], b"", b"three"]);
        assert!(outbox.is_full(8) && !outbox.is_full(9));
        outbox.clear();
        assert!(outbox.is_empty());
    }
}
