//! An attempt to connect: the addresses that are left, what became of the others, and its deadlines.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;

use crate::address::SocketAddress;
use crate::net::connect::ConnectOptions;
use crate::net::target::{Place, Target};
use crate::resolver::Lookup;
use crate::timer::TimerId;

/// What a connection is that is not up yet. It is made in rounds: each looks the host up if there is one, and tries its
/// addresses in turn.
pub(crate) struct Attempt {
    target: Target,
    pub(crate) options: ConnectOptions,
    /// Rounds that have failed.
    pub(crate) failed_rounds: u32,
    /// The look-up that is under way.
    pub(crate) lookup: Option<Lookup>,
    /// Addresses that this round has not tried yet.
    rest: VecDeque<SocketAddress>,
    /// The address that is being tried.
    current: Option<SocketAddress>,
    failures: Vec<(SocketAddress, io::Error)>,
    /// The address for which the present socket was made, if nothing was done with it yet.
    pub(crate) unused_for: Option<SocketAddress>,
    /// The end of the round.
    pub(crate) deadline: Option<TimerId>,
    pub(crate) deadline_ms: u64,
    /// The end of the present address's share of the round, or the beginning of the next round.
    pub(crate) step: Option<TimerId>,
}

impl Attempt {
    pub(crate) fn new(target: Target, options: ConnectOptions) -> Self {
        Self {
            target,
            options,
            failed_rounds: 0,
            lookup: None,
            rest: VecDeque::new(),
            current: None,
            failures: Vec::new(),
            unused_for: None,
            deadline: None,
            deadline_ms: 0,
            step: None,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// An address of the family that the first socket is likely to need.
    pub(crate) fn likely_address(&self) -> SocketAddress {
        match self.target.place() {
            Place::Addresses(addresses) if !addresses.is_empty() => addresses[0].clone(),
            _ => SocketAddress::Inet(([0, 0, 0, 0], 0).into()),
        }
    }

    /// The addresses of this round are these.
    pub(crate) fn set_addresses(&mut self, addresses: impl IntoIterator<Item = SocketAddress>) {
        self.rest = addresses.into_iter().take(self.options.max_addresses.max(1)).collect();
    }

    /// How many addresses have a share of the time that is left, the present one included.
    pub(crate) fn shares(&self) -> u32 {
        u32::try_from(self.rest.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The next address to try.
    pub(crate) fn next(&mut self) -> Option<SocketAddress> {
        self.current = self.rest.pop_front();
        self.current.clone()
    }

    /// Whether an address is being tried.
    pub(crate) fn is_trying(&self) -> bool {
        self.current.is_some()
    }

    /// Notes what became of the present address.
    pub(crate) fn fail(&mut self, error: io::Error) {
        self.failures.extend(self.current.take().map(|address| (address, error)));
    }

    /// What became of the round, with all that became of its addresses.
    pub(crate) fn verdict(&mut self) -> io::Error {
        let mut failures = std::mem::take(&mut self.failures);
        let Some((_, last)) = failures.last() else {
            return io::Error::new(io::ErrorKind::InvalidInput, "there is no address to try");
        };
        if failures.len() == 1 && self.rest.is_empty() {
            return failures.remove(0).1;
        }
        let mut text = format!("none of {} addresses could be reached", failures.len() + self.rest.len());
        for (index, (address, error)) in failures.iter().enumerate() {
            let before = if index == 0 { ':' } else { ';' };
            // Writing to a string does not fail.
            let _ = write!(text, "{before} {address}: {error}");
        }
        if !self.rest.is_empty() {
            let _ = write!(text, "; there was no time for {}", self.rest.len());
        }
        io::Error::new(last.kind(), text)
    }

    /// The round has failed.
    pub(crate) fn end_round(&mut self) {
        self.failed_rounds = self.failed_rounds.saturating_add(1);
        self.lookup = None;
        self.current = None;
        self.rest.clear();
        self.failures.clear();
    }

    /// Takes out the timers that run.
    pub(crate) fn take_timers(&mut self) -> impl Iterator<Item = TimerId> + use<> {
        [self.deadline.take(), self.step.take()].into_iter().flatten()
    }
}
