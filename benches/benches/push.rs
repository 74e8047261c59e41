//! Bytes for a client from a thread that is not its loop's: one message, a burst, and what posting alone costs.

use std::io;
use std::time::{Duration, Instant};

use benches::push::{MioPush, Push, ReactorPush, TokioPush};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

pub(crate) fn all(criterion: &mut Criterion) {
    group(criterion, "push/one", Step::One);
    group(criterion, "push/burst", Step::Burst);
    group(criterion, "push/post to a busy loop", Step::PostToBusy);
}

fn group(criterion: &mut Criterion, name: &str, step: Step) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(step.messages()));
    run(&mut group, "reactor", ReactorPush::start, step);
    run(&mut group, "tokio", TokioPush::start, step);
    run(&mut group, "mio", MioPush::start, step);
    group.finish();
}

fn run<P: Push>(group: &mut BenchmarkGroup<'_, WallTime>, peer: &str, start: fn() -> io::Result<P>, step: Step) {
    let mut push = None;
    group.bench_function(BenchmarkId::from_parameter(peer), |bencher| {
        let push = push.get_or_insert_with(|| start().expect("a thread and descriptors are free"));
        bencher.iter_custom(|iterations| (0..iterations).map(|_| step.time(push)).sum());
    });
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The loop sleeps, is woken, and sends what the poster waits for.
    One,
    /// Many messages, until the last has come to the client.
    Burst,
    /// What the poster pays while the loop is busy, and need not be woken; sending them is not counted.
    PostToBusy,
}

impl Step {
    fn messages(self) -> u64 {
        if self == Self::One { 1 } else { BURST }
    }

    fn time(self, push: &impl Push) -> Duration {
        if self == Self::PostToBusy {
            push.hold();
        }
        let start = Instant::now();
        for _ in 0..self.messages() {
            push.push(&[b'x'; SIZE]);
        }
        let posted = start.elapsed();
        if self == Self::PostToBusy {
            push.release();
        }
        push.ends().receive(self.messages() as usize * SIZE).expect("every byte arrives");
        if self == Self::PostToBusy { posted } else { start.elapsed() }
    }
}

/// Bytes of a message.
const SIZE: usize = 64;

/// Messages of a burst; every mailbox holds more.
const BURST: u64 = 1000;
