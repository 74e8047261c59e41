//! Relays in the model: who is joined to whom, and what must have become of both in the end.

use std::io;

use reactor::Context;

use crate::far_end::FarEnd;
use crate::ledger::{Account, Ledger};
use crate::subject::{Shared, Subject};

impl Subject {
    /// Leaves the rest to the loop, once as much has come as this connection wants to see itself. From then on it meets its fate
    /// at a time, for it sees no bytes.
    pub(crate) fn relay(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<()> {
        let consumed = self.account().consumed;
        let Some((id, number)) = self.partner.filter(|_| self.relay_at.is_some_and(|at| at <= consumed)) else {
            return Ok(());
        };
        if self.account().relayed_to.is_some() {
            return Ok(());
        }
        let me = cx.id();
        let queued = [cx.queued(), cx.peer(id).map_or(0, |peer| peer.queued())];
        let relayed = match cx.peer(id) {
            Some(mut other) if self.random.chance(0.5) => other.relay_to(me),
            _ => cx.relay_to(id),
        };
        match relayed {
            Ok(()) => self.ledger().relayed([self.number, number], queued),
            // One of them is on its way out.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                self.relay_at = None;
                return Ok(());
            }
            Err(error) => panic!("{} cannot be relayed to {number}: {error}", self.number),
        }
        self.meet_fate_in_time(cx)
    }
}

impl Ledger {
    fn relayed(&mut self, pair: [usize; 2], queued: [usize; 2]) {
        for (index, number) in pair.into_iter().enumerate() {
            let account = &mut self.accounts[number];
            assert!(account.relayed_to.is_none(), "{number} is relayed a second time");
            (account.relayed_to, account.queued_before) = (Some(pair[1 - index]), queued[index]);
        }
    }
}

/// One of two that are relayed to each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) number: usize,
    pub(crate) account: &'a Account,
    /// There is none if the connection was never made.
    pub(crate) far: Option<&'a FarEnd>,
}

impl Side<'_> {
    fn reason(&self) -> &str {
        self.account.closed.as_deref().unwrap_or("open")
    }

    /// Whether its end was its own doing, or that of its peer, or of a bound or a deadline.
    fn may_have_ended_by_itself(&self) -> bool {
        self.account.asked || matches!(self.reason(), "error" | "overflow" | "panic" | "timeout" | "connect_failed")
    }

    fn vanished(&self) -> bool {
        self.far.is_some_and(|far| far.vanished)
    }

    fn told_end(&self) -> bool {
        self.far.is_some_and(|far| far.told_end)
    }
}

/// What must hold when all is calm, and has been for long: of the way from one side to the other.
pub(crate) fn check_way(from: Side<'_>, to: Side<'_>) {
    check_end(from, to);
    let (Some(source), Some(target)) = (from.far, to.far) else { return };
    let way =
        || format!("from {} ({}) to {} ({})\n{from:?}\n{to:?}", from.number, from.reason(), to.number, to.reason());
    let open = |side: &Side<'_>| side.account.opened && side.account.closed.is_none();
    if open(&from) && open(&to) && !from.account.paused && !to.account.mute && !from.vanished() && !to.vanished() {
        assert_eq!(source.peer.unread(), 0, "what has come is not passed on {}", way());
        assert_eq!(target.received, source.sent, "bytes are kept {}", way());
        assert!(!source.told_end || target.heard_end, "an end of stream is not passed on {}", way());
    }
    // Whoever hears an end of stream has all there was, unless the other one was closed on purpose, or for a deadline.
    let unasked = !from.account.asked && !to.account.asked;
    let by_the_way = matches!(to.reason(), "open" | "eof" | "aborted")
        && matches!(from.reason(), "open" | "eof" | "error" | "overflow" | "panic" | "aborted");
    if target.heard_end && target.polite && unasked && by_the_way {
        assert_eq!(target.received, source.sent, "an end of stream is told too early {}", way());
        assert!(source.told_end, "an end of stream is told that was none {}", way());
    }
    if from.reason() == "eof" && to.reason() == "eof" && unasked && source.polite && target.polite {
        assert_eq!(target.received, source.sent, "bytes are lost {}", way());
    }
}

/// When one has ended, so has the other, and for a reason that goes with it.
fn check_end(first: Side<'_>, second: Side<'_>) {
    if first.account.closed.is_none() || second.account.closed.is_some() && first.account.order > second.account.order {
        return;
    }
    let told = || format!("{} has ended ({}), {} ({})", first.number, first.reason(), second.number, second.reason());
    assert!(second.account.closed.is_some() || second.vanished(), "one side is left open: {}", told());
    let on_purpose = matches!(first.reason(), "closed" | "eof" | "shutdown" | "timeout");
    if on_purpose && second.reason() == "aborted" {
        assert!(second.account.asked, "one that was closed makes a reset: {}", told());
    }
    if !on_purpose && !first.told_end() && !second.may_have_ended_by_itself() {
        assert_eq!(second.reason(), "aborted", "a break makes no reset: {}", told());
        let ended = second.far.is_some_and(|far| far.heard_end);
        assert!(!ended, "a break is told as an end of stream: {}", told());
    }
}
