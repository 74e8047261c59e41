//! How the threads of a program share a port, as its options name it.

use clap::ValueEnum;
use reactor::{Address, Balance, Sharing};

/// The ways to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HowToShare {
    /// All watch one socket, and one that sleeps is woken.
    Exclusive,
    /// One accepts and hands connections to each in turn.
    RoundRobin,
    /// One accepts and hands connections to the one with the fewest.
    Fewest,
    /// Each has a socket of its own, and other servers may join the port.
    ReusePort,
}

impl HowToShare {
    /// How the sockets of this address are shared: a Unix path belongs to one socket, whatever is said of ports.
    #[must_use]
    pub fn of(self, address: &Address) -> Sharing {
        match address {
            Address::Unix(_) => self.of_inherited(),
            _ => self.into(),
        }
    }

    /// How a socket is shared that cannot be bound once more, for it was passed in: there is one for all loops.
    #[must_use]
    pub fn of_inherited(self) -> Sharing {
        match self {
            Self::ReusePort => Sharing::Exclusive,
            how => how.into(),
        }
    }
}

impl From<HowToShare> for Sharing {
    fn from(how: HowToShare) -> Self {
        match how {
            HowToShare::Exclusive => Self::Exclusive,
            HowToShare::RoundRobin => Self::Handover(Balance::RoundRobin),
            HowToShare::Fewest => Self::Handover(Balance::FewestConnections),
            HowToShare::ReusePort => Self::ReusePort,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn only_ports_have_several_sockets() {
        let (port, path): (Address, Address) = ("127.0.0.1:1".parse().unwrap(), "unix:/s".parse().unwrap());
        for how in HowToShare::value_variants() {
            assert_eq!(how.of(&port), Sharing::from(*how));
            assert_ne!(how.of(&path), Sharing::ReusePort);
            assert_eq!(how.of_inherited(), how.of(&path));
        }
        assert_eq!(HowToShare::Fewest.of(&path), Sharing::Handover(Balance::FewestConnections));
    }
}
