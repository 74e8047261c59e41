//! What callbacks were called, with what: kept by the handlers, and checked as it is written.

use std::time::Duration;

use reactor::{CloseReason, ConnId, TimerId};

use crate::pattern::Pattern;

/// All connections of one run, by number.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: Vec<Account>,
    /// Counted by the run: callbacks of one turn belong together.
    pub(crate) turn: u64,
    pub(crate) bounds: Bounds,
    pub(crate) callbacks: u64,
    pub(crate) panics_on_purpose: u64,
    /// The clients for which something was connected to.
    pub(crate) proxied: Vec<usize>,
    /// How much of the room's stream was broadcast.
    pub(crate) room: usize,
    closed_so_far: usize,
    /// Connections with a timer that was overtaken. They must have ended, and be told in this turn.
    overtaken: Vec<(usize, String)>,
}

/// What the loop owes each connection a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) bytes_per_turn: usize,
    pub(crate) calls_per_turn: usize,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: Option<ConnId>,
    /// The stream it receives.
    pub(crate) input: Pattern,
    /// Bytes shown to it and taken.
    pub(crate) consumed: usize,
    /// Bytes shown to it at all: what it left is shown again.
    pub(crate) shown: usize,
    /// The stream it sends, and how many bytes of it the loop took.
    pub(crate) output: Pattern,
    pub(crate) sent: usize,
    /// Bytes that it wanted to send: some of what is refused may have left.
    pub(crate) offered: usize,
    pub(crate) opened: bool,
    pub(crate) closed: Option<String>,
    pub(crate) eof: bool,
    /// It sends only what it was shown: its queue is bounded by the high mark and one callback.
    pub(crate) echoes: bool,
    /// The most it was shown at once.
    pub(crate) largest: usize,
    /// A callback has answered with an error of its own.
    pub(crate) failed: bool,
    /// A callback has panicked on purpose.
    pub(crate) panics: bool,
    /// It has asked not to be read.
    pub(crate) paused: bool,
    /// It has ended its output: all that it sent must arrive.
    pub(crate) finished: bool,
    /// It has ended its sending direction, and listens on.
    pub(crate) mute: bool,
    /// Its end, or that of a direction, was asked for here.
    pub(crate) asked: bool,
    /// The connection that it is relayed to.
    pub(crate) relayed_to: Option<usize>,
    /// What waited on it as the relay began.
    pub(crate) queued_before: usize,
    /// How many had been closed before it was.
    pub(crate) order: usize,
    /// It gets what is broadcast, from this place of the room's stream on.
    pub(crate) member_since: Option<usize>,
    /// Where in its stream its output begins.
    pub(crate) first: usize,
    pub(crate) timers: Vec<Timer>,
    served: (u64, usize, usize),
}

/// A timer that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) id: TimerId,
    pub(crate) set_at: Duration,
    pub(crate) deadline: Duration,
}

impl Ledger {
    /// A new connection that receives one stream and sends another.
    pub(crate) fn open(&mut self, input: Pattern, output: Pattern) -> usize {
        self.accounts.push(Account {
            id: None,
            input,
            consumed: 0,
            shown: 0,
            output,
            sent: 0,
            offered: 0,
            opened: false,
            closed: None,
            eof: false,
            echoes: false,
            largest: 0,
            failed: false,
            panics: false,
            paused: false,
            finished: false,
            mute: false,
            asked: false,
            relayed_to: None,
            queued_before: 0,
            order: 0,
            member_since: None,
            first: 0,
            timers: Vec::new(),
            served: (0, 0, 0),
        });
        self.accounts.len() - 1
    }

    /// The stream that a connection sends, and how far it has come.
    pub(crate) fn output(&self, number: usize) -> (Pattern, usize) {
        (self.accounts[number].output, self.accounts[number].sent)
    }

    pub(crate) fn opened(&mut self, number: usize, id: ConnId) {
        let account = self.called(number, "on_open");
        assert!(!account.opened, "a second on_open of connection {number}");
        (account.opened, account.id) = (true, Some(id));
    }

    pub(crate) fn ended(&mut self, number: usize) {
        let account = self.called(number, "on_eof");
        assert!(!account.eof, "a second on_eof of connection {number}");
        account.eof = true;
    }

    /// A callback is called; none is after `on_close`, and none but that before `on_open`.
    pub(crate) fn called(&mut self, number: usize, callback: &str) -> &mut Account {
        self.callbacks += 1;
        let account = &mut self.accounts[number];
        if let Some(reason) = &account.closed {
            panic!("{callback} of connection {number} after its on_close ({reason})");
        }
        assert!(
            account.opened || matches!(callback, "on_open" | "on_close"),
            "{callback} of {number} before its on_open"
        );
        assert!(
            account.relayed_to.is_none() || !matches!(callback, "on_data" | "on_eof" | "on_drained"),
            "{callback} of {number}, which is relayed"
        );
        account
    }

    /// Bytes are shown: those that were left, then new ones, within the bounds of a turn.
    pub(crate) fn shown(&mut self, number: usize, bytes: &[u8]) {
        let (turn, bounds) = (self.turn, self.bounds);
        let account = self.called(number, "on_data");
        assert!(!account.eof, "on_data of connection {number} after its on_eof");
        assert!(!bytes.is_empty(), "on_data of connection {number} without data");
        account.input.check(account.consumed, bytes, "input");
        let new = (account.consumed + bytes.len()).checked_sub(account.shown);
        let new = new.unwrap_or_else(|| panic!("connection {number} is not shown what it left"));
        account.shown += new;
        account.largest = account.largest.max(bytes.len());
        if account.served.0 != turn {
            account.served = (turn, 0, 0);
        }
        account.served.1 += new;
        account.served.2 += usize::from(new > 0);
        let (_, in_turn, calls) = account.served;
        assert!(in_turn <= bounds.bytes_per_turn, "connection {number} got {in_turn} bytes in one turn: {bounds:?}");
        assert!(calls <= bounds.calls_per_turn, "connection {number} was read {calls} times in one turn: {bounds:?}");
    }

    pub(crate) fn closed(&mut self, number: usize, reason: &CloseReason) {
        let order = self.closed_so_far;
        self.closed_so_far += 1;
        let account = self.called(number, "on_close");
        account.order = order;
        account.closed = Some(reason.name().to_owned());
        account.timers.clear();
    }

    /// A timer fires: it runs, its time has come, and no timer of an earlier time runs.
    pub(crate) fn fired(&mut self, number: usize, timer: TimerId, now: Duration) {
        self.called(number, "on_timer");
        let timers = &mut self.accounts[number].timers;
        let place = timers.iter().position(|other| other.id == timer);
        let timer =
            timers.remove(place.unwrap_or_else(|| panic!("a timer of connection {number} that does not run fires")));
        assert!(timer.deadline <= now, "a timer of connection {number} is early: {timer:?} at {now:?}");
        for (other, account) in self.accounts.iter().enumerate() {
            if let Some(before) = account.timers.iter().find(|other| other.deadline + MILLISECOND <= timer.deadline) {
                self.overtaken.push((other, format!("{timer:?} of {number} fires before {before:?} of {other}")));
            }
        }
        // Of timers that were set in one callback for one time, the first goes first.
        let earlier = |other: &&Timer| (other.set_at, other.deadline) == (timer.set_at, timer.deadline);
        let overtaken = self.accounts[number].timers[..place.unwrap_or(0)].iter().find(earlier);
        assert!(overtaken.is_none(), "{timer:?} of {number} overtakes {overtaken:?}");
    }

    /// The turn has ended.
    pub(crate) fn end_turn(&mut self) {
        for (number, what) in std::mem::take(&mut self.overtaken) {
            assert!(self.accounts[number].closed.is_some(), "{what}");
        }
    }

    /// No timer runs whose time came before `since`.
    pub(crate) fn check_timers(&self, since: Duration) {
        for (number, account) in self.accounts.iter().enumerate() {
            let late = account.timers.iter().find(|timer| timer.deadline + 2 * MILLISECOND < since);
            assert!(late.is_none(), "a timer of connection {number} is late: {late:?} at {since:?}");
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
