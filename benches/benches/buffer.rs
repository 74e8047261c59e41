//! A queue of bytes: what appending and consuming cost, empty and with bytes waiting.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::{Buf, BytesMut};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use reactor::buffer::Buffer;

pub(crate) fn all(criterion: &mut Criterion) {
    for (size, waiting) in [(64, 0), (64, 4096), (16 << 10, 0), (16 << 10, 64 << 10)] {
        let mut group = criterion.benchmark_group(format!("buffer/{size} B, {waiting} waiting"));
        group.throughput(Throughput::Bytes(size as u64));
        run::<Buffer>(&mut group, "reactor", size, waiting);
        run::<BytesMut>(&mut group, "BytesMut", size, waiting);
        run::<VecDeque<u8>>(&mut group, "VecDeque", size, waiting);
        run::<Vec<u8>>(&mut group, "Vec and drain", size, waiting);
        group.finish();
    }
}

/// Appends a piece at the end, looks at the first byte, consumes as much from the front.
fn run<Q: Queue>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, size: usize, waiting: usize) {
    let piece = vec![b'x'; size];
    let mut queue = Q::default();
    queue.append(&vec![b'x'; waiting]);
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter(|| {
            queue.append(black_box(&piece));
            black_box(queue.first());
            queue.consume(size);
        });
    });
}

/// What the queues have in common.
trait Queue: Default {
    fn append(&mut self, bytes: &[u8]);
    fn first(&self) -> Option<u8>;
    fn consume(&mut self, count: usize);
}

impl Queue for Buffer {
    fn append(&mut self, bytes: &[u8]) {
        Self::append(self, bytes);
    }

    fn first(&self) -> Option<u8> {
        self.as_slice().first().copied()
    }

    fn consume(&mut self, count: usize) {
        Self::consume(self, count);
    }
}

impl Queue for BytesMut {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn first(&self) -> Option<u8> {
        <[u8]>::first(self).copied()
    }

    fn consume(&mut self, count: usize) {
        self.advance(count);
    }
}

impl Queue for VecDeque<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend(bytes);
    }

    fn first(&self) -> Option<u8> {
        self.front().copied()
    }

    fn consume(&mut self, count: usize) {
        self.drain(..count);
    }
}

impl Queue for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn first(&self) -> Option<u8> {
        <[u8]>::first(self).copied()
    }

    fn consume(&mut self, count: usize) {
        self.drain(..count);
    }
}
