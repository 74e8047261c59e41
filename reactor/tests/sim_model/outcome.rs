//! What must have become of everybody when all has been calm for long.

use std::sync::atomic::Ordering;

use reactor::sim::PeerState;

use crate::bounds::{LARGE_OUTPUT, SMALL_MEMORY};
use crate::far_end::FarEnd;
use crate::ledger::Account;
use crate::relays::{self, Side};
use crate::run::Run;

impl Run<'_> {
    pub(crate) fn check_all_served(&self) {
        assert_eq!(self.done.load(Ordering::Relaxed), self.posted, "a message was lost");
        let metrics = self.event_loop.metrics();
        let full = metrics.open + metrics.lingering >= self.limits.connections as u64
            || metrics.buffered >= self.limits.memory_soft as u64;
        assert!(full || self.sim.waiting_clients() == 0, "somebody waits to be accepted, and there is room");
        let ledger = self.ledger.borrow();
        for (index, client) in self.clients.iter().enumerate() {
            let Some(&number) = self.fronts.borrow().get(&index) else { continue };
            let account = &ledger.accounts[number];
            if account.relayed_to.is_none() {
                self.check_input(index, client, account);
                self.check_output(index, client, account);
            }
            self.check_reason(number, client, account);
        }
        for (number, account) in ledger.accounts.iter().enumerate() {
            let side = |number: usize| Side { number, account: &ledger.accounts[number], far: self.far_end(number) };
            if let Some(other) = account.relayed_to {
                relays::check_way(side(number), side(other));
            }
        }
    }

    /// All that a client has sent is read, and its end was told.
    fn check_input(&self, index: usize, client: &FarEnd, account: &Account) {
        let reads = account.opened && account.closed.is_none() && !account.paused && !account.eof;
        if reads && client.peer.state() != PeerState::Closed {
            let unread = client.peer.unread();
            let told = || format!("{account:?}\n{}", self.sim.dump());
            assert_eq!(unread, 0, "nobody reads what client {index} has sent: a lost edge\n{}", told());
        }
        let told = account.eof || account.finished || !reads || !client.ended || !client.polite;
        assert!(told, "client {index} has ended, and its connection was not told: {account:?}");
        if account.closed.as_deref() == Some("eof") {
            assert_eq!(account.shown, client.sent, "client {index} lost input");
        }
    }

    /// All that was sent to a client arrived.
    fn check_output(&self, index: usize, client: &FarEnd, account: &Account) {
        let state = client.peer.state();
        if account.member_since.is_some() && !account.asked && state == PeerState::Open {
            assert_eq!(client.received, account.offered, "client {index} lost what was broadcast");
        }
        let reason = account.closed.as_deref().unwrap_or("eof");
        let failed = matches!(state, PeerState::Failed(_)) && self.faults.reset > 0.0;
        if account.finished && client.polite && !failed && matches!(reason, "eof" | "closed" | "shutdown") {
            // A client that sends on may be reset once it has everything.
            let told = || format!("({reason}, {state:?})\n{account:?} {:?}\n{}", client.peer, self.sim.dump());
            assert_eq!(client.received, account.sent, "client {index} lost output {}", told());
            assert!(client.peer.is_over(), "client {index} is not told that this is all");
        }
    }

    fn check_reason(&self, number: usize, client: &FarEnd, account: &Account) {
        let reason = account.closed.as_deref().unwrap_or("eof");
        let blameless = client.polite && !account.failed && self.faults.reset == 0.0 && account.echoes;
        // For want of memory anybody may be closed.
        let small = self.limits.memory_hard < SMALL_MEMORY || self.limits.max_output < LARGE_OUTPUT;
        let broken = matches!(reason, "error" | "overflow" | "panic") && blameless && !(small && reason == "overflow");
        assert!(!broken || account.panics, "connection {number} failed for no reason ({reason}): {account:?}");
    }
}
