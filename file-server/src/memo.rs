//! Requests that were answered before, byte for byte: the same head gets the same answer, without being parsed again.

use std::rc::Rc;
use std::time::Instant;

use crate::entry::{Entry, Representation};

/// Heads of common requests, and what answers them. What is here is only a guess: it counts as long as nothing that is kept
/// has changed.
#[derive(Debug)]
pub struct Memo {
    slots: Vec<Option<Known>>,
}

/// A head and its answer: all of one form of a file, after which the connection goes on.
#[derive(Debug)]
pub struct Known {
    head: Box<[u8]>,
    entry: Rc<Entry>,
    form: usize,
    until: Instant,
    /// The changes to what is kept that there had been.
    changes: u64,
}

impl Known {
    /// How many bytes the head has.
    #[inline]
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// The file.
    #[inline]
    #[must_use]
    pub fn entry(&self) -> &Rc<Entry> {
        &self.entry
    }

    /// Which form of it.
    #[inline]
    #[must_use]
    pub fn form(&self) -> usize {
        self.form
    }
}

impl Memo {
    /// One that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// The answer to the request at the start of `bytes`, if it is known and holds.
    #[inline]
    #[must_use]
    pub fn find(&self, bytes: &[u8], changes: u64, now: Instant) -> Option<&Known> {
        let known = self.slots[slot_of(bytes)?].as_ref()?;
        (known.changes == changes && bytes.starts_with(&known.head) && now < known.until).then_some(known)
    }

    /// Remembers that a head is answered by a form of a file, which holds until a time or a change.
    pub fn note(&mut self, head: &[u8], entry: &Rc<Entry>, form: &Representation, until: Instant, changes: u64) {
        let Some(slot) = slot_of(head).filter(|_| head.len() <= MOST_BYTES) else { return };
        let Some(form) = entry.representations().position(|one| std::ptr::eq(one, form)) else { return };
        self.slots[slot] = Some(Known { head: head.into(), entry: Rc::clone(entry), form, until, changes });
    }

    /// Forgets what no longer holds, so that files that were given up are closed.
    pub fn tidy(&mut self, changes: u64) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|known| known.changes != changes) {
                *slot = None;
            }
        }
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a head is kept: by its first line, eight bytes at a time. Whoever makes two of them meet gains nothing.
#[inline]
fn slot_of(bytes: &[u8]) -> Option<usize> {
    let line = &bytes[..bytes.iter().take(MOST_LINE).position(|&byte| byte == b'\r')?];
    let mut hash = line.len() as u64;
    let mut words = line.chunks_exact(8);
    for word in &mut words {
        hash = mixed(hash, u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    let rest = words.remainder().iter().fold(0, |rest, &byte| rest << 8 | u64::from(byte));
    // The upper bits depend on all others.
    Some((mixed(hash, rest) >> (64 - SLOTS.ilog2())) as usize)
}

#[inline]
fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// How many heads are remembered.
const SLOTS: usize = 1024;

/// Heads of more bytes are not remembered: of the common browsers they have half of it.
const MOST_BYTES: usize = 1 << 10;

/// First lines of more bytes are not looked up.
const MOST_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

    fn memo(until: Instant) -> Memo {
        let entry = Rc::new(Entry::of_bytes(b"hello".to_vec()));
        let mut memo = Memo::new();
        memo.note(HEAD, &entry, &entry.plain, until, 1);
        memo
    }

    #[test]
    fn the_same_head_is_known_whatever_follows_it() {
        let now = Instant::now();
        let memo = memo(now + Duration::from_secs(1));
        let known = memo.find(&[HEAD, b"GET /b"].concat(), 1, now).unwrap();
        assert_eq!((known.head_len(), known.form()), (HEAD.len(), 0));
    }

    #[test]
    fn another_head_or_a_part_of_it_is_not() {
        let now = Instant::now();
        let memo = memo(now + Duration::from_secs(1));
        let other = HEAD.iter().map(|&byte| if byte == b'a' { b'b' } else { byte }).collect::<Vec<_>>();
        assert!(memo.find(&other, 1, now).is_none());
        assert!((0..HEAD.len()).all(|length| memo.find(&HEAD[..length], 1, now).is_none()));
    }

    #[test]
    fn what_changed_or_is_old_is_not_known() {
        let now = Instant::now();
        let mut memo = memo(now + Duration::from_secs(1));
        assert!(memo.find(HEAD, 2, now).is_none());
        assert!(memo.find(HEAD, 1, now + Duration::from_secs(1)).is_none());
        assert!(memo.find(HEAD, 1, now).is_some());
        memo.tidy(2);
        assert!(memo.find(HEAD, 1, now).is_none());
    }
}
