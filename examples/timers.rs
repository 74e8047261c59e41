//! Timers without a thread: a metronome that does not drift, and a watchdog that is taken back again and again.
//!
//! The trap: a loop that sleeps serves nobody meanwhile, and one that sleeps 100 ms after each tick ticks every 100 ms *and something*, so
//! that it is seconds late after an hour. A timer that is not needed any more fires all the same unless it can be taken back. Here
//! the next tick is reckoned from the first; a timer is never early; and to set one and take it back costs the same however many
//! there are.
//!
//! Try, alone; the second shows what the loop does meanwhile, which is to wait:
//!
//!     cargo run -p examples --example timers -- --every 100ms --count 10
//!     strace -f target/debug/examples/timers --count 3
//!
//! It says `tick 1 at 100 ms, 0.2 ms late` and so on, without the lateness adding up, and at last `watchdog: no tick for 250 ms`.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use clap::Parser;
use examples::say;
use reactor::{EventLoop, LoopContext, Result, TaskId};

/// Ticks without drift, under the eyes of a watchdog.
#[derive(Parser)]
struct Options {
    /// How long from one tick to the next.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "100ms")]
    every: Duration,
    /// How many ticks.
    #[arg(long, default_value_t = 10)]
    count: u32,
}

struct Metronome {
    began: Instant,
    every: Duration,
    count: u32,
    ticks: u32,
    watchdog: Option<TaskId>,
}

/// Sets the timer of the next tick: so long after the first one, however late the last one was.
fn set_tick(cx: &mut LoopContext<'_, Metronome>) -> Result {
    let Metronome { began, every, ticks, .. } = *cx.state();
    let due = began + every * (ticks + 1);
    cx.run_after(due.saturating_duration_since(Instant::now()), move |cx| tick(cx, due))?;
    Ok(())
}

fn tick(cx: &mut LoopContext<'_, Metronome>, due: Instant) {
    let metronome = cx.state();
    metronome.ticks += 1;
    let lateness = match Instant::now().checked_duration_since(due) {
        Some(late) => format!("{:.1} ms late", late.as_secs_f64() * 1000.0),
        None => "EARLY".to_owned(),
    };
    say!("tick {} at {} ms, {lateness}", metronome.ticks, (due - metronome.began).as_millis());
    let more = metronome.ticks < metronome.count;
    let set = set_watchdog(cx).and_then(|()| if more { set_tick(cx) } else { Ok(()) });
    set.expect("the loop has room for two timers");
}

/// The dog barks when nobody has called this for two and a half ticks.
fn set_watchdog(cx: &mut LoopContext<'_, Metronome>) -> Result {
    if let Some(watchdog) = cx.state().watchdog.take() {
        cx.cancel_task(watchdog);
    }
    let patience = cx.state().every * 5 / 2;
    let watchdog = cx.run_after(patience, move |cx| {
        say!("watchdog: no tick for {} ms", patience.as_millis());
        cx.stop();
    })?;
    cx.state().watchdog = Some(watchdog);
    Ok(())
}

fn main() -> Result {
    let Options { every, count } = Options::parse();
    let metronome = Metronome { began: Instant::now(), every, count, ticks: 0, watchdog: None };
    let mut event_loop = EventLoop::new(metronome)?;
    if count > 0 {
        set_tick(&mut event_loop.context())?;
    }
    set_watchdog(&mut event_loop.context())?;
    event_loop.run().map(drop)
}
