//! A message to a loop from another thread: there and back, a burst of them, and what posting alone costs.

use std::io;
use std::time::{Duration, Instant};

use benches::post::{CalloopPost, Letter, MioPost, Post, ReactorPost, TokioPost};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

pub(crate) fn all(criterion: &mut Criterion) {
    let mut group = group_of(criterion, "wake/round trip", 1);
    run(&mut group, "reactor", ReactorPost::start, round_trip);
    run(&mut group, "tokio", TokioPost::start, round_trip);
    run(&mut group, "mio", MioPost::start, round_trip);
    run(&mut group, "calloop", CalloopPost::start, round_trip);
    group.finish();

    let mut group = group_of(criterion, "wake/burst", BURST);
    run(&mut group, "reactor", ReactorPost::start, burst);
    run(&mut group, "tokio", TokioPost::start, burst);
    run(&mut group, "mio", MioPost::start, burst);
    run(&mut group, "calloop", CalloopPost::start, burst);
    group.finish();

    let mut group = group_of(criterion, "wake/post to a busy loop", BURST);
    run(&mut group, "reactor", ReactorPost::start, post_to_busy);
    run(&mut group, "tokio", TokioPost::start, post_to_busy);
    run(&mut group, "mio", MioPost::start, post_to_busy);
    run(&mut group, "calloop", CalloopPost::start, post_to_busy);
    group.finish();
}

/// The loop sleeps, is woken, and wakes the one that waits for its answer.
fn round_trip<P: Post>(post: &P) -> Duration {
    let start = Instant::now();
    post.burst(0);
    start.elapsed()
}

/// Many messages at once, until the last is read.
fn burst<P: Post>(post: &P) -> Duration {
    let start = Instant::now();
    post.burst(BURST - 1);
    start.elapsed()
}

/// What the poster pays while the loop is busy, and need not be woken; reading them is not counted.
fn post_to_busy<P: Post>(post: &P) -> Duration {
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

fn group_of<'a>(criterion: &'a mut Criterion, name: &str, letters: u64) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(letters));
    group
}

fn run<P: Post>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    peer: &str,
    start: fn() -> io::Result<P>,
    step: fn(&P) -> Duration,
) {
    let mut post = None;
    group.bench_function(BenchmarkId::from_parameter(peer), |bencher| {
        let post = post.get_or_insert_with(|| start().expect("a thread and descriptors are free"));
        bencher.iter_custom(|iterations| (0..iterations).map(|_| step(post)).sum());
    });
}

/// Messages of a burst; every mailbox holds more.
const BURST: u64 = 1000;
