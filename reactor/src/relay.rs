//! What a relayed connection knows of its relay: the other side, and how its bytes are best moved there.

use crate::token::Token;

/// One side of a relay: where what comes on this connection goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    /// The other side.
    pub(crate) peer: Token,
    /// It waits until output has left the other side.
    pub(crate) waits: bool,
    /// Much comes at once, so it is moved through a pipe.
    bulk: bool,
    /// Moves through a pipe in a row that would have been cheaper as copies.
    small: u8,
    /// The kernel moves nothing from this socket, or to the other, through a pipe.
    copies: bool,
}

impl Relay {
    pub(crate) fn new(peer: Token) -> Self {
        Self { peer, waits: false, bulk: false, small: 0, copies: false }
    }

    /// Whether what comes is to be moved through a pipe.
    pub(crate) fn is_bulk(&self) -> bool {
        self.bulk
    }

    /// A read or a move brought so many bytes.
    pub(crate) fn learn(&mut self, count: usize) {
        if count >= BULK {
            self.small = 0;
            self.bulk = !self.copies;
        } else if self.bulk && count < SMALL {
            self.small += 1;
            self.bulk = self.small < SMALL_MOVES;
        }
    }

    /// No pipe could be had; a large read makes it try again.
    pub(crate) fn copy_next(&mut self) {
        self.bulk = false;
    }

    /// Pipes are of no use here.
    pub(crate) fn always_copy(&mut self) {
        (self.bulk, self.copies) = (false, true);
    }
}

/// A read of so many bytes begins a bulk transfer. Of 64 KiB the two calls through a pipe take 17 us where a copy takes 20, of a
/// stream half of what copies take.
const BULK: usize = 32 << 10;

/// Of fewer bytes a copy costs less: of 1 KiB 6.5 us, where a pipe takes 8.5.
const SMALL: usize = 16 << 10;

/// So many small moves in a row end a bulk transfer. A few belong to any.
const SMALL_MOVES: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn relay() -> Relay {
        let mut registry = Registry::new();
        Relay::new(Token::new(0, registry.insert(()).expect("it is empty")))
    }

    #[test]
    fn large_reads_begin_a_bulk_transfer_and_small_ones_in_a_row_end_it() {
        let mut relay = relay();
        relay.learn(BULK - 1);
        assert!(!relay.is_bulk());
        relay.learn(BULK);
        assert!(relay.is_bulk());
        for _ in 0..100 {
            (1..SMALL_MOVES).for_each(|_| relay.learn(1));
            relay.learn(BULK);
        }
        assert!(relay.is_bulk());
        (0..SMALL_MOVES).for_each(|_| relay.learn(SMALL - 1));
        assert!(!relay.is_bulk());
    }

    #[test]
    fn what_knows_no_pipes_never_gets_one() {
        let mut relay = relay();
        relay.always_copy();
        relay.learn(BULK);
        assert!(!relay.is_bulk());
    }
}
