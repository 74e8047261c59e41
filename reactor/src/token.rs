//! Names for what a loop watches: 64 bits that fit `epoll_event.u64` and never name anything else again.

use std::fmt;
use std::num::NonZeroU64;

use crate::registry::Key;

/// The name of one source of one loop: its place in the registry, the loop, and the place's generation.
///
/// ```text
///  63            32 31      22 21           0
/// | generation      | loop     | slot        |
/// ```
///
/// The generation counts from 1, so the word is never zero; it grows each time the slot is used again and a slot whose
/// generations are used up is retired, so a stale token names nothing, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(NonZeroU64);

impl Token {
    /// The name of the slot `key` in the loop with number `loop_index`.
    #[inline]
    pub(crate) fn new(loop_index: u16, key: Key) -> Self {
        let word = u64::from(key.generation) << 32 | u64::from(loop_index) << SLOT_BITS | u64::from(key.index);
        Self(NonZeroU64::new(word).expect("generations count from 1"))
    }

    /// The token that was written down as this word; zero, which no token is, names nothing.
    #[inline]
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }

    /// The token as `epoll_event` carries it.
    #[inline]
    pub(crate) fn word(self) -> u64 {
        self.0.get()
    }

    /// The place in the registry of its loop.
    #[inline]
    pub(crate) fn key(self) -> Key {
        let word = self.word();
        let index = u32::try_from(word & SLOT_MASK).expect("22 bits fit 32");
        let generation = u32::try_from(word >> 32).expect("32 bits fit 32");
        Key { index, generation }
    }

    /// The number of its loop.
    #[inline]
    pub(crate) fn loop_index(self) -> u16 {
        u16::try_from(self.word() >> SLOT_BITS & LOOP_MASK).expect("10 bits fit 16")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { index, generation } = self.key();
        write!(f, "{}.{index}.{generation}", self.loop_index())
    }
}

/// The name of one connection, for as long as the program runs.
///
/// It is `Copy`, `Send` and as large as a pointer, so it can be kept anywhere: in another connection's handler, in a map,
/// in another thread. When the connection is gone the name is stale, and a stale name names nothing, for ever: slots are
/// used again, names are not.
///
/// It is written `loop.slot.generation`, as in `0.17.3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub(crate) Token);

impl ConnId {
    /// The number of the loop that the connection lives on, counted from 0.
    #[must_use]
    pub fn loop_index(self) -> usize {
        self.0.loop_index().into()
    }
}

/// The name of one listener of a loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) Token);

/// The name of one datagram socket of a loop, for as long as the program runs; as [`ConnId`] that of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatagramId(pub(crate) Token);

/// The name of one source of a loop, for as long as the program runs; as [`ConnId`] that of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub(crate) Token);

/// The name of one task that waits for its time; see [`LoopContext::run_after`](crate::LoopContext::run_after).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(crate) Token);

macro_rules! write_as_token {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
write_as_token!(ConnId ListenerId DatagramId SourceId TaskId);

const SLOT_BITS: u32 = 22;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const LOOP_MASK: u64 = (1 << 10) - 1;

/// More loops than this cannot be told apart in a token.
pub(crate) const MAX_LOOPS: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_comes_back() {
        let key = Key { index: (1 << 22) - 1, generation: u32::MAX };
        let token = Token::new(1023, key);
        assert_eq!((token.key(), token.loop_index()), (key, 1023));
        assert_eq!(Token::from_word(token.word()), Some(token));
    }

    #[test]
    fn an_optional_name_is_as_large_as_a_word() {
        assert_eq!(size_of::<Option<ConnId>>(), 8);
    }

    #[test]
    fn reads_as_loop_slot_generation() {
        assert_eq!(ConnId(Token::new(2, Key { index: 17, generation: 3 })).to_string(), "2.17.3");
    }
}
