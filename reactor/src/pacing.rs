//! Rate limits in the engine: what may pass now, who rests for want of tokens, and the bucket that a loop's connections share.

use std::collections::VecDeque;
use std::io;

use crate::clock::NANOS_PER_MS;
use crate::connection::{Connection, Flag};
use crate::engine::Engine;
use crate::governor::{Hold, Pace};
use crate::pacer::{Pacer, SharedPace};
use crate::rate::{Direction, RateLimit, Rates, TokenBucket};
use crate::registered::Registered;
use crate::timer::TimerId;
use crate::token::Token;

impl Engine {
    /// Sets the rates of the loop, as it is made.
    pub(crate) fn set_loop_rates(&mut self, rates: Rates) -> io::Result<()> {
        if rates == Rates::default() {
            return Ok(());
        }
        let token = self.insert(Registered::Pacer)?;
        let input = self.make_shared_pace(token, rates.input)?;
        let output = self.make_shared_pace(token, rates.output)?;
        self.pacer = Some(Box::new(Pacer { input, output }));
        Ok(())
    }

    fn make_shared_pace(&mut self, token: Token, limit: Option<RateLimit>) -> io::Result<Option<SharedPace>> {
        let Some(limit) = limit else { return Ok(None) };
        let timer = self.arm_at(NEVER, token)?;
        let bucket = TokenBucket::new(limit, self.clock.now_ns());
        Ok(Some(SharedPace { bucket, waiters: VecDeque::new(), timer }))
    }

    /// Whether the loop has a rate in this direction.
    pub(crate) fn has_loop_rate(&mut self, direction: Direction) -> bool {
        self.shared_pace(direction).is_some()
    }

    fn shared_pace(&mut self, direction: Direction) -> Option<&mut SharedPace> {
        self.pacer.as_mut()?.shared(direction)
    }

    fn pace_mut(&mut self, token: Token, direction: Direction) -> Option<&mut Pace> {
        Some(self.connection_mut(token)?.governor_mut()?.pace_mut(direction))
    }

    /// How many of `most` bytes may pass now. Their tokens are taken; [`give_back`](Self::give_back) is to follow. If it is none,
    /// the direction rests until there are tokens.
    pub(crate) fn allow(&mut self, token: Token, direction: Direction, most: usize) -> usize {
        let now_ns = self.clock.now_ns();
        let Some(pace) = self.pace_mut(token, direction) else { return most };
        if pace.hold != Hold::None {
            return 0;
        }
        let mut allowed = most as u64;
        if let Some(bucket) = &mut pace.bucket {
            let available = bucket.available(now_ns);
            // Little by little would be dear: what passes is all that is wanted, or worth the wait.
            if available < allowed.min(bucket.chunk()) {
                let until = bucket.chunk_ns().div_ceil(NANOS_PER_MS);
                self.hold(token, direction, Hold::Until(until));
                return 0;
            }
            allowed = allowed.min(available);
        }
        if pace.of_loop {
            allowed = self.allow_of_loop(token, direction, allowed);
        }
        if let Some(bucket) = self.pace_mut(token, direction).and_then(|pace| pace.bucket.as_mut()) {
            bucket.take(allowed);
        }
        // It is at most `most`.
        allowed as usize
    }

    /// Takes tokens out of the loop's bucket: those set aside for this connection, or any while nobody waits for them.
    fn allow_of_loop(&mut self, token: Token, direction: Direction, wanted: u64) -> u64 {
        let now_ns = self.clock.now_ns();
        let grant = self.pace_mut(token, direction).map_or(0, |pace| std::mem::take(&mut pace.grant));
        let Some(shared) = self.shared_pace(direction) else { return wanted };
        if grant > 0 {
            shared.bucket.give_back(grant.saturating_sub(wanted));
            return grant.min(wanted);
        }
        if shared.waiters.is_empty() {
            let available = shared.bucket.available(now_ns);
            if available >= wanted.min(shared.bucket.chunk()) {
                shared.bucket.take(available.min(wanted));
                return available.min(wanted);
            }
        }
        shared.waiters.push_back(token);
        if shared.waiters.len() == 1 {
            self.wait_to_share(direction);
        }
        self.hold(token, direction, Hold::ForLoop);
        0
    }

    /// Of the bytes that were allowed, so many did not pass.
    pub(crate) fn give_back(&mut self, token: Token, direction: Direction, count: usize) {
        let Some(pace) = self.pace_mut(token, direction).filter(|_| count > 0) else { return };
        let of_loop = pace.of_loop;
        if let Some(bucket) = &mut pace.bucket {
            bucket.give_back(count as u64);
        }
        if let Some(shared) = self.shared_pace(direction).filter(|_| of_loop) {
            shared.bucket.give_back(count as u64);
        }
    }

    fn hold(&mut self, token: Token, direction: Direction, hold: Hold) {
        let Some(connection) = self.connection_mut(token) else { return };
        if direction == Direction::Output {
            // It has to wait.
            connection.set(Flag::TELL_DRAINED);
        }
        if let Some(pace) = connection.governor_mut().map(|governor| governor.pace_mut(direction)) {
            pace.hold = hold;
        }
        if let Hold::Until(due_ms) = hold {
            self.schedule(token, due_ms);
        }
    }

    /// Ends the rest of those directions whose own buckets have tokens again.
    pub(crate) fn release_due(&mut self, token: Token) {
        let now_ms = self.clock.now_ms();
        for direction in Direction::BOTH {
            let is_due = |pace: &mut Pace| matches!(pace.hold, Hold::Until(until) if until <= now_ms);
            if self.pace_mut(token, direction).is_some_and(is_due) {
                self.release(token, direction);
            }
        }
    }

    /// Ends a rest: what waits goes on next turn.
    pub(crate) fn release(&mut self, token: Token, direction: Direction) {
        let Some(pace) = self.pace_mut(token, direction) else { return };
        pace.hold = Hold::None;
        match direction {
            Direction::Input => self.restart_read_watch(token),
            Direction::Output => self.restart_write_watch(token),
        }
        let Some(connection) = self.connection(token) else { return };
        let works = match direction {
            Direction::Input => connection.may_read() || connection.has(Flag::RELAYED),
            Direction::Output => connection.queued() > 0,
        };
        if works {
            self.push_pending(token);
        }
    }

    /// A timer of the loop's buckets is due: what has come is shared out among those who wait.
    pub(crate) fn share_out(&mut self, token: Token, timer: TimerId) {
        for direction in Direction::BOTH {
            if self.shared_pace(direction).is_some_and(|shared| shared.timer == timer) {
                let again = self.arm_at(NEVER, token);
                let (Some(shared), Ok(again)) = (self.shared_pace(direction), again) else { return };
                shared.timer = again;
                self.share_out_in(direction);
            }
        }
    }

    fn share_out_in(&mut self, direction: Direction) {
        let now_ns = self.clock.now_ns();
        let Some(shared) = self.shared_pace(direction) else { return };
        let mut left = shared.bucket.available(now_ns);
        let count = shared.waiters.len();
        let share = (left / (count as u64).max(1)).max(LEAST_SHARE).min(shared.bucket.burst());
        for _ in 0..count {
            // Equal shares, or it were not fair: what is left over is for the next time.
            let Some(shared) = self.shared_pace(direction).filter(|_| left >= share) else { break };
            let Some(waiter) = shared.waiters.pop_front() else { break };
            if self.grant(waiter, direction, share) {
                left -= share;
                if let Some(shared) = self.shared_pace(direction) {
                    shared.bucket.take(share);
                }
            }
        }
        self.wait_to_share(direction);
    }

    /// Sets the timer for those who wait, if any do.
    fn wait_to_share(&mut self, direction: Direction) {
        let Some(shared) = self.shared_pace(direction).filter(|shared| !shared.waiters.is_empty()) else { return };
        let ready_ns = shared.bucket.ready_ns(shared.bucket.chunk().max(LEAST_SHARE));
        let timer = shared.timer;
        self.timers.reset(timer, ready_ns.div_ceil(NANOS_PER_MS));
    }

    /// Lets one that waited go on with so many tokens; `false` if it has no use for them now.
    fn grant(&mut self, token: Token, direction: Direction, tokens: u64) -> bool {
        let Some(pace) = self.pace_mut(token, direction).filter(|pace| pace.hold == Hold::ForLoop) else {
            return false;
        };
        pace.grant = tokens;
        self.release(token, direction);
        let goes_on = self.connection(token).is_some_and(|connection| connection.has(Flag::PENDING));
        if !goes_on && let Some(pace) = self.pace_mut(token, direction) {
            pace.grant = 0;
        }
        goes_on
    }

    /// Tokens that were set aside for a connection that ends go to the others.
    pub(crate) fn return_grants(&mut self, token: Token) {
        for direction in Direction::BOTH {
            let grant = self.pace_mut(token, direction).map_or(0, |pace| std::mem::take(&mut pace.grant));
            if let Some(shared) = self.shared_pace(direction) {
                shared.bucket.give_back(grant);
            }
        }
    }

    /// Changes the rates of a connection; its buckets begin full.
    pub(crate) fn set_rates(&mut self, token: Token, rates: Rates) {
        let now_ns = self.clock.now_ns();
        let of_loop = Direction::BOTH.map(|direction| self.has_loop_rate(direction));
        let Some(connection) = self.connection_mut(token) else { return };
        if let Some(attempt) = connection.attempt_mut() {
            attempt.options.rates = rates;
            return;
        }
        if rates == Rates::default() && connection.governor().is_none() {
            return;
        }
        for (direction, of_loop) in Direction::BOTH.into_iter().zip(of_loop) {
            let Some(connection) = self.connection_mut(token) else { return };
            let pace = connection.make_governor().pace_mut(direction);
            pace.bucket = rates.of(direction).map(|limit| TokenBucket::new(limit, now_ns));
            pace.of_loop = of_loop;
            if matches!(pace.hold, Hold::Until(_)) {
                self.release(token, direction);
            }
        }
        self.governor_changed(token);
    }
}

impl Connection {
    /// Whether this direction rests for want of tokens.
    #[inline]
    pub(crate) fn is_held(&self, direction: Direction) -> bool {
        self.has(Flag::METERED) && self.is_held_metered(direction)
    }

    #[cold]
    fn is_held_metered(&self, direction: Direction) -> bool {
        self.governor().is_some_and(|governor| governor.is_held(direction))
    }

    /// Whether output has to ask for tokens.
    #[inline]
    pub(crate) fn paces_output(&self) -> bool {
        self.has(Flag::METERED) && self.paces_output_metered()
    }

    #[cold]
    fn paces_output_metered(&self) -> bool {
        self.governor().is_some_and(|governor| governor.pace(Direction::Output).is_limited())
    }

    /// Whether what waits may go to the kernel now.
    #[inline]
    pub(crate) fn takes_output(&self) -> bool {
        self.has(Flag::WRITABLE) && !self.is_held(Direction::Output)
    }
}

/// Later than any clock shows.
const NEVER: u64 = u64::MAX;

/// Who waits for the loop's tokens gets so many at least when its turn comes: a segment's worth.
const LEAST_SHARE: u64 = 1460;
