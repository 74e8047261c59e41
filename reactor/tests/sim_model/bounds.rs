//! Bounds and terms at random, small enough to be met.

use std::time::Duration;

use reactor::sim::Random;
use reactor::{Limits, ListenOptions, RateLimit, Rates, ReadProgress, Timeouts};

use crate::ledger::Bounds;

/// Less than this is met.
pub(crate) const SMALL_MEMORY: usize = 400_000;
/// So is less than this of output.
pub(crate) const LARGE_OUTPUT: usize = 1 << 20;

pub(crate) fn limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    limits.connections = if random.chance(0.2) { 1 + random.index(8) } else { 1000 };
    limits.events_per_wait = if random.chance(0.2) { 1 + random.index(4) } else { 64 };
    limits.read_per_turn = random.magnitude(100_000) as usize;
    limits.write_per_turn = random.magnitude(100_000) as usize;
    limits.calls_per_turn = 1 + random.index(16);
    limits.accepts_per_turn = 1 + random.index(4);
    limits.mail_per_turn = 1 + random.index(4);
    if random.chance(0.5) {
        // More than are due together, or those behind would count as late.
        limits.deadlines_per_turn = 20 + random.index(50);
    }
    limits.high_mark = random.magnitude(50_000) as usize;
    limits.low_mark = random.index(limits.high_mark + 1);
    limits.max_output = if random.chance(0.1) { limits.high_mark + random.index(10_000) } else { LARGE_OUTPUT };
    limits.max_input = 1 << 16;
    limits.scratch_min = 1 + random.index(20_000);
    limits.scratch_max = limits.scratch_min.max(40_000);
    limits.relay_pipes = random.index(4);
    limits.linger = Duration::from_secs(3600);
    if random.chance(0.2) {
        limits.memory_soft = random.magnitude(200_000) as usize;
        limits.memory_hard = limits.memory_soft + random.index(SMALL_MEMORY - limits.memory_soft);
    }
    limits.rates = rates(random, 500_000);
    limits.strict_drain = random.chance(0.3);
    if random.chance(0.5) {
        limits.bytes_per_turn = random.magnitude(200_000) as usize;
    }
    limits
}

pub(crate) fn listen_options(random: &mut Random) -> ListenOptions {
    let idle = random.chance(0.2).then(|| Duration::from_millis(random.magnitude(60_000)));
    let mut options = ListenOptions::default().idle_timeout(idle);
    options.rates = rates(random, 50_000);
    options.timeouts = timeouts(random);
    options.accept_rate = random.chance(0.2).then(|| RateLimit::per_second(1 + random.below(100)));
    options.max_per_address = random.chance(0.1).then(|| 1 + random.index(10));
    options
}

/// Rates at which all that clients send passes within the calm.
pub(crate) fn rates(random: &mut Random, least: u64) -> Rates {
    let mut rate = || {
        let rate = least + random.magnitude(1_000_000);
        random.chance(0.2).then(|| RateLimit::per_second(rate).burst(1 + random.magnitude(rate)))
    };
    Rates::default().input(rate()).output(rate())
}

pub(crate) fn timeouts(random: &mut Random) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let duration = |random: &mut Random| Duration::from_millis(random.magnitude(60_000));
    if random.chance(0.1) {
        timeouts.read = Some(ReadProgress::at_least(random.magnitude(10_000), duration(random)));
    }
    if random.chance(0.1) {
        timeouts.write = Some(duration(random));
    }
    if random.chance(0.1) {
        timeouts.lifetime = Some(duration(random));
    }
    timeouts
}

/// What a connection gets in one turn: one budget, and one more if it is served again; with small batches of events, one for each
/// of up to eight.
pub(crate) fn of_a_turn(limits: &Limits) -> Bounds {
    let budgets = if limits.events_per_wait < 64 { 10 } else { 2 };
    Bounds { bytes_per_turn: budgets * limits.read_per_turn, calls_per_turn: budgets * limits.calls_per_turn }
}
