//! A message to a loop from another thread: there and back, a burst of them, and what posting alone costs.

use std::io;
use std::time::{Duration, Instant};

use benches::post::{CalloopPost, Letter, MioPost, Post, ReactorPost, TokioPost};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

pub(crate) fn all(criterion: &mut Criterion) {
    group(criterion, "wake/round trip", Step::RoundTrip);
    group(criterion, "wake/burst", Step::Burst);
    group(criterion, "wake/post to a busy loop", Step::PostToBusy);
}

fn group(criterion: &mut Criterion, name: &str, step: Step) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(step.letters()));
    run(&mut group, "reactor", ReactorPost::start, step);
    run(&mut group, "tokio", TokioPost::start, step);
    run(&mut group, "mio", MioPost::start, step);
    run(&mut group, "calloop", CalloopPost::start, step);
    group.finish();
}

fn run<P: Post>(group: &mut BenchmarkGroup<'_, WallTime>, peer: &str, start: fn() -> io::Result<P>, step: Step) {
    let mut post = None;
    group.bench_function(BenchmarkId::from_parameter(peer), |bencher| {
        let post = post.get_or_insert_with(|| start().expect("a thread and descriptors are free"));
        bencher.iter_custom(|iterations| (0..iterations).map(|_| step.time(post)).sum());
    });
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The loop sleeps, is woken, and wakes the one that waits for its answer.
    RoundTrip,
    /// Many messages at once, until the last is read.
    Burst,
    /// What the poster pays while the loop is busy, and need not be woken; reading them is not counted.
    PostToBusy,
}

impl Step {
    fn letters(self) -> u64 {
        if self == Self::RoundTrip { 1 } else { BURST }
    }

    fn time(self, post: &impl Post) -> Duration {
        if self == Self::PostToBusy {
            return post_to_busy(post);
        }
        let start = Instant::now();
        post.burst(self.letters() - 1);
        start.elapsed()
    }
}

fn post_to_busy(post: &impl Post) -> Duration {
    post.hold();
    let start = Instant::now();
    for _ in 0..BURST {
        post.post(Letter::Note);
    }
    let posted = start.elapsed();
    post.desk().release();
    post.burst(0);
    posted
}

/// Messages of a burst; every mailbox holds more.
const BURST: u64 = 1000;
