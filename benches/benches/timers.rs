//! Timers among few and among a million others: armed and taken back, armed anew, armed and fired.

use std::time::{Duration, Instant};

use benches::random::Random;
use benches::timers::{BareWheel, LazyHeap, ReactorTimers, Timers, TokioDelayQueue, TokioSleeps, Tree, tokio_runtime};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use tokio::runtime::Runtime;

pub(crate) fn all(criterion: &mut Criterion) {
    let runtime = tokio_runtime().expect("memory is left for a runtime");
    // tokio's timers are armed in the context of their runtime; entered once, it costs the others nothing.
    let _context = runtime.enter();
    for live in LIVE {
        group(criterion, &format!("timers/insert and cancel/{live} live"), &runtime, Step::Replace, live);
        group(criterion, &format!("timers/re-arm/{live} live"), &runtime, Step::Rearm, live);
        group(criterion, &format!("timers/insert and fire/{live} live"), &runtime, Step::Fire, live);
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Replace,
    Rearm,
    Fire,
}

impl Step {
    /// Timers of one iteration. Before they fire, time has to pass, which for tokio is real: so it is to be worth it.
    fn batch(self) -> u64 {
        if self == Self::Fire { 10_000 } else { 1000 }
    }
}

fn group(criterion: &mut Criterion, name: &str, runtime: &Runtime, step: Step, live: usize) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(step.batch()));
    run(&mut group, "reactor", ReactorTimers::default, step, live);
    run(&mut group, "bare wheel", BareWheel::default, step, live);
    run(&mut group, "heap", LazyHeap::default, step, live);
    run(&mut group, "tree", Tree::default, step, live);
    run(&mut group, "tokio DelayQueue", || TokioDelayQueue::new(runtime), step, live);
    if step != Step::Fire {
        run(&mut group, "tokio sleep", TokioSleeps::default, step, live);
    }
    group.finish();
}

fn run<T: Timers>(group: &mut BenchmarkGroup<'_, WallTime>, peer: &str, make: impl Fn() -> T, step: Step, live: usize) {
    let mut population = None;
    group.bench_function(BenchmarkId::from_parameter(peer), |bencher| {
        let population = population.get_or_insert_with(|| Population::new(make(), live, step));
        bencher.iter_custom(|iterations| match step {
            Step::Replace => population.replace(iterations * step.batch()),
            Step::Rearm => population.rearm(iterations * step.batch()),
            Step::Fire => (0..iterations).map(|_| population.fire(step.batch())).sum(),
        });
    });
}

/// A queue, and the timers that live in it all the time.
struct Population<T: Timers> {
    timers: T,
    ids: Vec<T::Id>,
    /// How far ahead these lie at least, and at most twice as far: further than the time that a bench lets pass.
    far_ms: u64,
    random: Random,
}

impl<T: Timers> Population<T> {
    fn new(timers: T, live: usize, step: Step) -> Self {
        let far_ms = if step == Step::Fire { WEEKS_MS } else { HALF_A_MINUTE_MS };
        let mut population = Self { timers, ids: Vec::new(), far_ms, random: Random::new() };
        population.ids = (0..live).map(|_| population.arm()).collect();
        population
    }

    #[inline]
    fn arm(&mut self) -> T::Id {
        let after_ms = self.far();
        self.timers.insert(after_ms)
    }

    #[inline]
    fn far(&mut self) -> u64 {
        self.far_ms + self.random.below(self.far_ms)
    }

    /// Arms timers, each in the place of another one that is taken back.
    fn replace(&mut self, count: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            let place = self.random.below(self.ids.len() as u64) as usize;
            let new = self.arm();
            self.timers.cancel(std::mem::replace(&mut self.ids[place], new));
        }
        start.elapsed()
    }

    fn rearm(&mut self, count: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            let place = self.random.below(self.ids.len() as u64) as usize;
            let after_ms = self.far();
            self.timers.rearm(&mut self.ids[place], after_ms);
        }
        start.elapsed()
    }

    /// Arms timers for the next milliseconds and takes them out when they are due. That they become due is not counted.
    fn fire(&mut self, count: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            let after_ms = 1 + self.random.below(SOON_MS);
            self.timers.insert(after_ms);
        }
        let armed = start.elapsed();
        self.timers.pass(SOON_MS);
        let start = Instant::now();
        let fired = self.timers.fire(count as usize);
        let fire = start.elapsed();
        assert_eq!(fired as u64, count, "timers that were due did not fire");
        armed + fire
    }
}

/// How many timers live beside those that are measured.
const LIVE: [usize; 2] = [1000, 1_000_000];

/// How far ahead the timers lie that fire.
const SOON_MS: u64 = 3;

/// A usual timeout; tokio's clock is a real one, and no bench takes as long.
const HALF_A_MINUTE_MS: u64 = 30_000;

/// Where firing lets time pass by the hour.
const WEEKS_MS: u64 = 1_000_000_000;
