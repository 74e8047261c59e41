//! Hosts outside the simulated machine that the loop connects to, and what becomes of that.

use std::collections::VecDeque;

use crate::address::SocketAddress;
use crate::sim::words::Id;

/// What becomes of a connection that the loop makes to a [`Remote`](crate::sim::Remote).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is made.
    Accept,
    /// Nobody listens there: `ECONNREFUSED`.
    Refuse,
    /// No way leads there: `EHOSTUNREACH`.
    Unreachable,
    /// Nobody answers: `ETIMEDOUT` after two minutes.
    Silence,
}

/// All hosts outside.
#[derive(Default)]
pub(super) struct Remotes(Vec<Host>);

pub(super) struct Host {
    address: SocketAddress,
    pub(super) answer: Answer,
    /// Connections that the test has not taken.
    pub(super) waiting: VecDeque<Id>,
}

impl Remotes {
    pub(super) fn add(&mut self, address: SocketAddress) {
        self.0.push(Host { address, answer: Answer::Accept, waiting: VecDeque::new() });
    }

    pub(super) fn is_at(&self, address: &SocketAddress) -> bool {
        self.0.iter().any(|host| host.address == *address)
    }

    pub(super) fn at(&mut self, address: &SocketAddress) -> Option<&mut Host> {
        self.0.iter_mut().find(|host| host.address == *address)
    }

    pub(super) fn answer(&mut self, address: &SocketAddress, answer: Answer) {
        if let Some(host) = self.at(address) {
            host.answer = answer;
        }
    }

    pub(super) fn take(&mut self, address: &SocketAddress) -> Option<Id> {
        self.at(address)?.waiting.pop_front()
    }

    /// Nobody is there any more.
    pub(super) fn remove(&mut self, address: &SocketAddress) -> VecDeque<Id> {
        let place = self.0.iter().position(|host| host.address == *address);
        place.map(|place| self.0.remove(place).waiting).unwrap_or_default()
    }
}
