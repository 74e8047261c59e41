//! What happens to a packet, as a seed says.

use std::time::Duration;

use crate::streams::mix;

/// How bad a wire is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Of a thousand packets, so many are lost.
    pub(crate) lost: u64,
    /// So many come twice.
    pub(crate) doubled: u64,
    /// So many have one bit flipped, which a checksum always catches: of IP in its header, of TCP behind that.
    pub(crate) flipped: u64,
    /// So many are held back, so that later ones overtake them.
    pub(crate) held_back: u64,
    /// How long the way takes.
    pub(crate) delay: Duration,
    /// Bytes a second in each direction.
    pub(crate) speed: u64,
    /// How long a packet waits at most for those before it, as long as the queue is; beyond it is lost.
    pub(crate) queue: Duration,
}

impl Rates {
    /// A wire on which TCP has to work hard, and still gets through.
    pub(crate) const BAD: Self = Self {
        lost: 20,
        doubled: 10,
        flipped: 10,
        held_back: 30,
        delay: Duration::from_millis(1),
        speed: 8 << 20,
        queue: Duration::from_millis(30),
    };
}

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    Lost,
    Doubled,
    /// This bit is flipped, counted from the first one of the packet and around.
    Flipped(u64),
    HeldBack,
}

impl Fate {
    /// The fate of the packet with this number.
    pub(crate) fn of(rates: &Rates, seed: u64, number: u64) -> Self {
        let random = mix(seed ^ mix(number));
        let mut dice = random % 1000;
        let mut falls_in = |width: u64| {
            let hit = dice < width;
            dice = if hit { 0 } else { dice - width };
            hit
        };
        if falls_in(rates.lost) {
            Self::Lost
        } else if falls_in(rates.doubled) {
            Self::Doubled
        } else if falls_in(rates.flipped) {
            Self::Flipped(random / 1000)
        } else if falls_in(rates.held_back) {
            Self::HeldBack
        } else {
            Self::Passes
        }
    }
}
