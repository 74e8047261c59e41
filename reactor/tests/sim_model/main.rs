//! The loop keeps its contracts under whatever the kernel and its clients do: random programs, checked after every turn.
//!
//! No byte is lost, doubled or out of order; `on_close` comes once and last; no edge is lost; the loop does not spin; queues and
//! turns keep their bounds; timers fire in order and never early; a drain ends in time and leaves nothing open.
//!
//! `REACTOR_SEEDS=1000000 cargo test --profile sim -p reactor --features sim --test sim_model` runs a million of each.

mod bounds;
mod far_end;
mod files;
mod ledger;
mod outcome;
mod pattern;
mod relays;
mod room;
mod run;
mod subject;

use std::io;
use std::panic;
use std::sync::Once;

use reactor::sim::{Faults, Seeds, Sim};

use run::Run;

/// Handlers panic on purpose, which need not be told.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"on purpose") {
                told(info);
            }
        }));
    });
}

fn check(seeds: u64, from: u64, faults: &Faults) {
    quiet();
    Seeds::first(seeds).from(from).for_each(|seed| life(seed, faults));
}

/// One program from its beginning to its end.
fn life(seed: u64, faults: &Faults) -> io::Result<()> {
    let mut sim = Sim::new(seed);
    let mut random = sim.random();
    let steps = 10 + random.index(80);
    let mut run = Run::new(&sim, random, faults.clone())?;
    run.play(steps)?;
    run.calm()?;
    run.drain()
}

#[test]
fn all_is_well_in_a_perfect_world() {
    check(SEEDS, 0, &Faults::none());
}

#[test]
fn nobody_notices_what_a_kernel_may_do() {
    check(SEEDS, 1_000_000, &Faults::default());
}

#[test]
fn the_loop_survives_all_that_can_go_wrong() {
    let mut faults = Faults::harsh();
    faults.longest_stall = std::time::Duration::from_secs(1);
    check(SEEDS, 2_000_000, &faults);
}

/// For each test here. `REACTOR_SEEDS` says otherwise.
const SEEDS: u64 = 100;
