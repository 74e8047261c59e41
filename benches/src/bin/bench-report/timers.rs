//! What a timer costs among few and among a million others. It runs in this process: no server is needed.

use std::time::Instant;

use benches::random::Random;
use benches::timers::{BareWheel, LazyHeap, ReactorTimers, Timers, TokioDelayQueue, Tree, tokio_runtime};

use crate::results::{Growth, Series};

/// Arming with taking back, and arming anew, on each queue. `step` is told how many timers live.
pub(crate) fn growth(step: impl Fn(usize)) -> anyhow::Result<[Growth; 2]> {
    let runtime = tokio_runtime()?;
    let _context = runtime.enter();
    let names = ["reactor", "bare wheel", "heap", "tree", "tokio DelayQueue"];
    let make = || names.map(|name| Series { name: name.to_owned(), points: Vec::new() });
    let (mut replacing, mut rearming) = (make(), make());
    for live in LIVE {
        step(live);
        let costs = [
            cost(ReactorTimers::default(), live),
            cost(BareWheel::default(), live),
            cost(LazyHeap::default(), live),
            cost(Tree::default(), live),
            cost(TokioDelayQueue::new(&runtime), live),
        ];
        for (index, (replace, rearm)) in costs.into_iter().enumerate() {
            replacing[index].points.push((live as f64, replace));
            rearming[index].points.push((live as f64, rearm));
        }
    }
    let growth = |name, title: &str, series: [Series; 5]| Growth {
        name,
        title: title.to_owned(),
        x: "live timers",
        y: "ns",
        series: series.into(),
    };
    Ok([
        growth("timers-insert-cancel", "Arming a timer and taking another one back", replacing),
        growth("timers-re-arm", "Arming a timer anew", rearming),
    ])
}

/// Nanoseconds of inserting with cancelling, and of re-arming: the least of a few runs.
fn cost<T: Timers>(mut timers: T, live: usize) -> (f64, f64) {
    let mut random = Random::new();
    let far = |random: &mut Random| 30_000 + random.below(30_000);
    let mut ids: Vec<T::Id> = (0..live).map(|_| timers.insert(far(&mut random))).collect();
    let (mut replace, mut rearm) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..STEPS {
            let place = random.below(live as u64) as usize;
            let new = timers.insert(far(&mut random));
            timers.cancel(std::mem::replace(&mut ids[place], new));
        }
        replace = replace.min(start.elapsed().as_nanos() as f64 / f64::from(STEPS));
        let start = Instant::now();
        for _ in 0..STEPS {
            let place = random.below(live as u64) as usize;
            timers.rearm(&mut ids[place], far(&mut random));
        }
        rearm = rearm.min(start.elapsed().as_nanos() as f64 / f64::from(STEPS));
    }
    (replace, rearm)
}

/// How many timers live beside those that are measured.
pub(crate) const LIVE: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

const RUNS: u32 = 5;
const STEPS: u32 = 50_000;
