//! What things cost here and elsewhere. `cargo bench -p benches -- FILTER` runs some; reports are in `target/criterion`.
#![forbid(unsafe_code)]

mod buffer;
mod codec;
mod datagrams;
mod push;
mod registry;
mod servers;
mod timers;
mod wake;

use std::time::Duration;

use benches::{cores, descriptors};
use criterion::Criterion;

fn main() {
    descriptors::raise();
    // Before any server is started: it looks up which processors there are.
    cores::pin_load().expect("a processor can be had");
    // Short, so that all of it takes some ten minutes; options on the command line rule.
    let mut criterion = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args();
    servers::all(&mut criterion);
    datagrams::all(&mut criterion);
    wake::all(&mut criterion);
    push::all(&mut criterion);
    timers::all(&mut criterion);
    registry::all(&mut criterion);
    buffer::all(&mut criterion);
    codec::all(&mut criterion);
    criterion.final_summary();
}
