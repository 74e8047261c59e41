//! What is sent: messages that differ from their neighbours, so that a lost, doubled or moved one shows.

use std::fmt;

/// The messages of a run. Each is a window into one pool of random bytes, at a place that its connection and its number
/// give, so sending one costs no generation and checking one is a comparison of slices.
pub(crate) struct Pattern {
    pool: Box<[u8]>,
    size: usize,
}

/// Where an echo is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A byte differs.
    Byte { message: u64, position: usize, sent: u8, got: u8, likeness: Likeness },
    /// More came back than was sent.
    Surplus { messages: u64, bytes: usize },
}

/// What wrong bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// The message of this number, which was echoed already.
    Earlier(u64),
    /// The message of this number, which is not due yet.
    Later(u64),
    /// Nothing that was sent near.
    Nothing,
}

impl Pattern {
    /// Messages of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        let mut pool = Vec::with_capacity(size + PLACES + 8);
        let mut state = SEED;
        while pool.len() < size + PLACES {
            pool.extend_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        Self { pool: pool.into(), size }
    }

    /// The bytes in a message.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Message `number` of connection `slot`.
    #[inline]
    pub(crate) fn message(&self, slot: u32, number: u64) -> &[u8] {
        let first = u64::from(slot).wrapping_mul(GOLDEN) >> 32;
        let place = first.wrapping_add(number.wrapping_mul(STRIDE)) as usize % PLACES;
        &self.pool[place..place + self.size]
    }

    /// Compares what came back with message `number` from `position` on; answers how many bytes were compared.
    #[inline]
    pub(crate) fn check(&self, slot: u32, number: u64, position: usize, bytes: &[u8]) -> Result<usize, Flaw> {
        let expected = &self.message(slot, number)[position..];
        let count = expected.len().min(bytes.len());
        if expected[..count] == bytes[..count] {
            return Ok(count);
        }
        Err(self.flaw(slot, number, position, bytes))
    }

    fn flaw(&self, slot: u32, number: u64, position: usize, bytes: &[u8]) -> Flaw {
        let expected = &self.message(slot, number)[position..];
        let differs = expected.iter().zip(bytes).position(|(sent, got)| sent != got).unwrap_or(0);
        Flaw::Byte {
            message: number,
            position: position + differs,
            sent: expected[differs],
            got: bytes[differs],
            likeness: if position == 0 { self.likeness(slot, number, bytes) } else { Likeness::Nothing },
        }
    }

    /// Looks for the bytes among the messages before and after.
    fn likeness(&self, slot: u32, number: u64, bytes: &[u8]) -> Likeness {
        let count = bytes.len().min(self.size);
        if count < ENOUGH_TO_TELL {
            return Likeness::Nothing;
        }
        let alike = |other: &u64| self.message(slot, *other)[..count] == bytes[..count];
        if let Some(other) = (number.saturating_sub(NEAR)..number).rev().find(alike) {
            return Likeness::Earlier(other);
        }
        (number + 1..=number + NEAR).find(alike).map_or(Likeness::Nothing, Likeness::Later)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Byte { message, position, sent, got, likeness } => {
                write!(f, "message {message} differs at byte {position}: sent {sent:#04x}, got {got:#04x}")?;
                match likeness {
                    Likeness::Earlier(other) => write!(f, " (it is message {other} once more)"),
                    Likeness::Later(other) => write!(f, " (it is message {other}: what is between was lost or moved)"),
                    Likeness::Nothing => Ok(()),
                }
            }
            Self::Surplus { messages, bytes } => {
                write!(f, "{bytes} bytes came back after all of the {messages} messages sent")
            }
        }
    }
}

/// A step of the SplitMix64 generator.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(GOLDEN);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The same bytes in every run, so that a failure can be seen again.
const SEED: u64 = 0x6563_686F_2D6C_6F61;

/// 2^64 over the golden ratio: its multiples spread evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// How many windows there are. A pool of little more than this stays in the second-level cache.
const PLACES: usize = 1 << 16;

/// From one message of a connection to the next; odd, so that the first repeat is `PLACES` messages away.
const STRIDE: u64 = 40_503;

/// Bytes that must agree before a message is taken for another one.
const ENOUGH_TO_TELL: usize = 4;

/// How many messages before and after are looked at to explain a wrong one.
const NEAR: u64 = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn messages_of_a_connection_and_of_its_neighbours_differ() {
        let pattern = Pattern::new(16);
        let near = (0..64).flat_map(|slot| (0..256).map(move |number| (slot, number)));
        let distinct = near.clone().map(|(slot, number)| pattern.message(slot, number)).collect::<HashSet<_>>();
        assert!(distinct.len() > 14_000, "{} distinct", distinct.len());
        let of_one = (0..PLACES as u64).map(|number| pattern.message(3, number)).collect::<HashSet<_>>();
        assert_eq!(of_one.len(), PLACES);
    }

    #[test]
    fn what_was_sent_passes_in_any_pieces() {
        let pattern = Pattern::new(10);
        let message = pattern.message(1, 2);
        for cut in 0..=10 {
            assert_eq!(pattern.check(1, 2, 0, &message[..cut]), Ok(cut));
            assert_eq!(pattern.check(1, 2, cut, &message[cut..]), Ok(10 - cut));
        }
        assert_eq!(pattern.check(1, 2, 0, &[message, b"more"].concat()), Ok(10));
    }

    #[test]
    fn a_flipped_byte_is_named() {
        let pattern = Pattern::new(32);
        let mut echo = pattern.message(0, 7).to_vec();
        echo[20] ^= 1;
        let flaw = pattern.check(0, 7, 4, &echo[4..]).unwrap_err();
        let told = flaw.to_string();
        assert!(told.starts_with("message 7 differs at byte 20: sent 0x"), "{told}");
    }

    #[test]
    fn a_doubled_and_a_lost_message_are_recognized() {
        let pattern = Pattern::new(8);
        let doubled = pattern.check(5, 10, 0, pattern.message(5, 9)).unwrap_err();
        assert!(doubled.to_string().contains("message 9 once more"), "{doubled}");
        let lost = pattern.check(5, 10, 0, pattern.message(5, 12)).unwrap_err();
        assert!(lost.to_string().contains("it is message 12"), "{lost}");
    }
}
