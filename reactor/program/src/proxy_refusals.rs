//! Connections that did not begin with a PROXY header and were closed: why, and how many.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proxy_protocol::Flaw;

/// Why a connection was closed before it had its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyRefusal {
    /// Its first bytes are no header.
    Flaw(Flaw),
    /// It ended before its header, or before it had sent anything.
    Ended,
    /// Its header did not come in time.
    Late,
}

impl ProxyRefusal {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Flaw(Flaw::Missing), Self::Flaw(Flaw::TooLong), Self::Flaw(Flaw::Malformed), Self::Ended, Self::Late];

    /// One word for it, as figures have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flaw(Flaw::Missing) => "missing",
            Self::Flaw(Flaw::TooLong) => "too_long",
            Self::Flaw(Flaw::Malformed) => "malformed",
            Self::Ended => "ended",
            Self::Late => "late",
        }
    }
}

impl fmt::Display for ProxyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flaw(flaw) => flaw.fmt(f),
            Self::Ended => f.write_str("it ended before its PROXY header"),
            Self::Late => f.write_str("its PROXY header did not come in time"),
        }
    }
}

/// How many connections were refused for what. The loops that count share it, for a connection costs far more than that.
#[derive(Debug, Default)]
pub struct ProxyRefusals([AtomicU64; ProxyRefusal::ALL.len()]);

impl ProxyRefusals {
    pub(crate) fn count(&self, refusal: ProxyRefusal) {
        for (known, count) in ProxyRefusal::ALL.iter().zip(&self.0) {
            count.fetch_add(u64::from(*known == refusal), Ordering::Relaxed);
        }
    }

    /// How many there were of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (ProxyRefusal, u64)> {
        ProxyRefusal::ALL.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts().map(|(_, count)| count).sum()
    }
}
