//! Values under names that go stale: what the generations cost over a slab, and over a vector without any names.

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::random::Random;
use criterion::{BenchmarkId, Criterion, Throughput};
use reactor::registry::Registry;
use slab::Slab;

/// As large as the loop's entry of a connection.
type Value = [u64; 6];

pub(crate) fn all(criterion: &mut Criterion) {
    look_up(criterion);
    replace(criterion);
}

/// Reads one of many values by its name.
fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry/look up");
    group.throughput(Throughput::Elements(BATCH));
    let mut random = Random::new();
    let places: Vec<usize> = (0..BATCH).map(|_| random.below(LIVE) as usize).collect();
    let values = || (0..LIVE).map(|n| [n; 6]);

    let mut registry = Registry::new();
    let keys: Vec<_> = values().filter_map(|value: Value| registry.insert(value).ok()).collect();
    let picked: Vec<_> = places.iter().map(|&place| keys[place]).collect();
    group.bench_function(BenchmarkId::from_parameter("reactor"), |bencher| {
        bencher
            .iter(|| picked.iter().filter_map(|&key| registry.get(black_box(key))).map(|value| value[3]).sum::<u64>());
    });

    let mut slab = Slab::new();
    let keys: Vec<_> = values().map(|value| slab.insert(value)).collect();
    let picked: Vec<_> = places.iter().map(|&place| keys[place]).collect();
    group.bench_function(BenchmarkId::from_parameter("slab"), |bencher| {
        bencher.iter(|| picked.iter().filter_map(|&key| slab.get(black_box(key))).map(|value| value[3]).sum::<u64>());
    });

    let vector: Vec<Option<Value>> = values().map(Some).collect();
    let at = |place: usize| vector.get(place).and_then(Option::as_ref);
    group.bench_function(BenchmarkId::from_parameter("vector"), |bencher| {
        bencher.iter(|| places.iter().filter_map(|&place| at(black_box(place))).map(|value| value[3]).sum::<u64>());
    });
    group.finish();
}

/// Removes one of many values and stores another.
fn replace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry/remove and insert");
    group.throughput(Throughput::Elements(BATCH));

    let mut registry: Registry<Value> = Registry::new();
    let mut keys: Vec<_> = (0..LIVE).filter_map(|n| registry.insert([n; 6]).ok()).collect();
    group.bench_function(BenchmarkId::from_parameter("reactor"), |bencher| {
        bencher.iter_custom(|iterations| {
            over_places(iterations, |place| {
                let value = registry.remove(keys[place]).unwrap_or_default();
                keys[place] = registry.insert(black_box(value)).expect("there is room");
            })
        });
    });

    let mut slab: Slab<Value> = Slab::new();
    let mut keys: Vec<_> = (0..LIVE).map(|n| slab.insert([n; 6])).collect();
    group.bench_function(BenchmarkId::from_parameter("slab"), |bencher| {
        bencher.iter_custom(|iterations| {
            over_places(iterations, |place| {
                let value = slab.try_remove(keys[place]).unwrap_or_default();
                keys[place] = slab.insert(black_box(value));
            })
        });
    });

    let mut vector: Vec<Option<Value>> = (0..LIVE).map(|n| Some([n; 6])).collect();
    group.bench_function(BenchmarkId::from_parameter("vector"), |bencher| {
        bencher.iter_custom(|iterations| {
            over_places(iterations, |place| {
                let value = vector[place].take().unwrap_or_default();
                vector[place] = Some(black_box(value));
            })
        });
    });
    group.finish();
}

/// Times a step at places picked at random.
fn over_places(iterations: u64, mut step: impl FnMut(usize)) -> Duration {
    let mut random = Random::new();
    let start = Instant::now();
    for _ in 0..iterations * BATCH {
        step(random.below(LIVE) as usize);
    }
    start.elapsed()
}

/// Values that are there.
const LIVE: u64 = 10_000;

/// Operations of one iteration.
const BATCH: u64 = 1000;
