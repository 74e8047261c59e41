//! What only a busy connection has, out of line: bytes that wait, timers, and what few connections have at all.

use std::os::fd::OwnedFd;

use super::{Connection, Flag};
use crate::attempt::Attempt;
use crate::buffer::Buffer;
use crate::governor::Governor;
use crate::group::Membership;
use crate::output::Output;
use crate::pipe_pool::Pipe;
use crate::relay::Relay;
use crate::timer::TimerId;

/// Bytes that wait and timers that run.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) input: Buffer,
    pub(super) output: Output,
    timers: Vec<TimerId>,
    rare: Option<Box<Rare>>,
}

/// What few connections have, some of the time.
#[derive(Default)]
struct Rare {
    attempt: Option<Box<Attempt>>,
    governor: Option<Box<Governor>>,
    relay: Option<Box<Relay>>,
    /// The groups it is in, each with its place there.
    memberships: Vec<Membership>,
    /// Descriptors that have come and that the handler has not taken.
    passed: Vec<OwnedFd>,
}

impl Connection {
    /// Whether bytes wait, of input or of output.
    #[inline]
    pub(super) fn holds_bytes(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.holds_bytes())
    }

    /// Bytes of output that wait in memory.
    pub(crate) fn held(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.output.held())
    }

    /// What the output that waits costs in memory; bytes of files cost nothing.
    pub(crate) fn output_cost(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.output.cost())
    }

    /// Bytes that wait to be sent.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.output.len())
    }

    /// Bytes of input that the handler left.
    #[inline]
    pub(crate) fn unread(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.input.len())
    }

    /// Takes out the input that the handler left.
    pub(crate) fn take_input(&mut self) -> Buffer {
        let input = self.extra.as_mut().map(|extra| std::mem::take(&mut extra.input)).unwrap_or_default();
        self.drop_idle_extra();
        input
    }

    /// Keeps input that the handler left.
    pub(crate) fn keep_input(&mut self, input: Buffer) {
        if !input.is_empty() {
            self.extra().input = input;
        }
    }

    /// Forgets all bytes that wait, and says how many were in memory.
    #[cold]
    pub(crate) fn drop_bytes(&mut self) -> usize {
        let bytes = self.held() + self.unread();
        if let Some(extra) = &mut self.extra {
            extra.input.consume(extra.input.len());
            extra.output.clear();
        }
        bytes
    }

    /// The timers that die with the connection.
    pub(crate) fn timers(&self) -> &[TimerId] {
        self.extra.as_ref().map_or(&[], |extra| &extra.timers)
    }

    pub(crate) fn add_timer(&mut self, timer: TimerId) {
        self.extra().timers.push(timer);
    }

    /// Forgets a timer; `false` if it was not this connection's.
    pub(crate) fn remove_timer(&mut self, timer: TimerId) -> bool {
        let Some(extra) = &mut self.extra else { return false };
        let Some(place) = extra.timers.iter().position(|&other| other == timer) else { return false };
        extra.timers.swap_remove(place);
        self.drop_idle_extra();
        true
    }

    /// What there is to an attempt to connect that is under way.
    pub(crate) fn set_attempt(&mut self, attempt: Attempt) {
        self.rare().attempt = Some(Box::new(attempt));
    }

    pub(crate) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        self.known_rare_mut()?.attempt.as_deref_mut()
    }

    /// The attempt has ended.
    pub(crate) fn take_attempt(&mut self) -> Option<Attempt> {
        let attempt = self.known_rare_mut()?.attempt.take();
        self.drop_idle_rare();
        attempt.map(|attempt| *attempt)
    }

    fn rare(&mut self) -> &mut Rare {
        self.extra().rare.get_or_insert_default()
    }

    /// Whether it has more than a socket: bytes that wait, timers, and the like.
    #[inline]
    pub(crate) fn has_extra(&self) -> bool {
        self.extra.is_some()
    }

    fn known_rare(&self) -> Option<&Rare> {
        self.extra.as_ref()?.rare.as_deref()
    }

    fn known_rare_mut(&mut self) -> Option<&mut Rare> {
        self.extra.as_mut()?.rare.as_deref_mut()
    }

    fn drop_idle_rare(&mut self) {
        if let Some(extra) = &mut self.extra
            && extra.rare.as_ref().is_some_and(|rare| rare.is_idle())
        {
            extra.rare = None;
        }
        self.drop_idle_extra();
    }

    /// Descriptors that have come and wait for the handler.
    pub(super) fn passed(&self) -> usize {
        self.known_rare().map_or(0, |rare| rare.passed.len())
    }

    /// Keeps descriptors that have come.
    pub(super) fn keep_passed(&mut self, passed: Vec<OwnedFd>) {
        if !passed.is_empty() {
            self.rare().passed.extend(passed);
        }
    }

    /// Takes out the descriptors that have come.
    pub(crate) fn take_passed(&mut self) -> Vec<OwnedFd> {
        let Some(rare) = self.known_rare_mut() else { return Vec::new() };
        let passed = std::mem::take(&mut rare.passed);
        self.drop_idle_rare();
        passed
    }

    /// The groups the connection is in.
    pub(crate) fn memberships(&self) -> &[Membership] {
        self.known_rare().map_or(&[], |rare| &rare.memberships)
    }

    /// The groups the connection is in, to change.
    pub(crate) fn change_memberships<R>(&mut self, change: impl FnOnce(&mut Vec<Membership>) -> R) -> R {
        let result = change(&mut self.rare().memberships);
        self.drop_idle_rare();
        result
    }

    /// What comes goes to another connection from now on.
    pub(crate) fn set_relay(&mut self, relay: Relay) {
        self.set(Flag::RELAYED);
        self.rare().relay = Some(Box::new(relay));
    }

    pub(crate) fn relay(&self) -> Option<&Relay> {
        self.known_rare()?.relay.as_deref()
    }

    pub(crate) fn relay_mut(&mut self) -> Option<&mut Relay> {
        self.known_rare_mut()?.relay.as_deref_mut()
    }

    /// The relay has ended.
    pub(crate) fn take_relay(&mut self) -> Option<Relay> {
        self.clear(Flag::RELAYED);
        let relay = self.known_rare_mut()?.relay.take();
        self.drop_idle_rare();
        relay.map(|relay| *relay)
    }

    /// Takes out a pipe that has become empty.
    pub(crate) fn take_empty_pipe(&mut self) -> Option<Box<Pipe>> {
        self.extra.as_mut()?.output.take_empty_pipe()
    }

    /// What the connection is held to besides its readiness.
    #[inline]
    pub(crate) fn governor(&self) -> Option<&Governor> {
        self.known_rare()?.governor.as_deref()
    }

    pub(crate) fn governor_mut(&mut self) -> Option<&mut Governor> {
        self.known_rare_mut()?.governor.as_deref_mut()
    }

    /// The governor, made if there is none.
    #[cold]
    pub(crate) fn make_governor(&mut self) -> &mut Governor {
        self.rare().governor.get_or_insert_default()
    }

    pub(crate) fn take_governor(&mut self) -> Option<Box<Governor>> {
        let governor = self.known_rare_mut()?.governor.take();
        self.drop_idle_rare();
        governor
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// An idle connection owns no memory besides its slot.
    pub(super) fn drop_idle_extra(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_idle()) {
            self.extra = None;
        }
    }
}

impl Rare {
    fn is_idle(&self) -> bool {
        let Self { attempt, governor, relay, memberships, passed } = self;
        attempt.is_none() && governor.is_none() && relay.is_none() && memberships.is_empty() && passed.is_empty()
    }
}

impl Extra {
    fn is_idle(&self) -> bool {
        !self.holds_bytes() && self.timers.is_empty() && self.rare.is_none()
    }

    // Out of line: mostly there is no `Extra`, and where it is inlined it is looked at first.
    #[inline(never)]
    fn holds_bytes(&self) -> bool {
        !self.input.is_empty() || !self.output.is_empty()
    }
}
