//! Cutting a stream into frames: lines and length prefixes, here and in tokio-util, and lines by looking at each byte.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use reactor::Input;
use reactor::codec::{Codec, LengthPrefixed, Lines};
use tokio_util::codec::{Decoder, LengthDelimitedCodec, LinesCodec};

/// A frame is a message of a chat, or a page.
const SIZES: [usize; 2] = [64, 4096];

/// About what one read brings.
const STREAM: usize = 64 << 10;

/// Bytes by which a frame that comes slowly grows.
const PIECE: usize = 64;

pub(crate) fn all(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = criterion.benchmark_group(format!("codec/lines of {size} B"));
        lines(&mut group, &stream_of(size, |line, into| Lines::new(size).encode(line, into).expect("it is a line")));
        group.finish();
        let mut group = criterion.benchmark_group(format!("codec/prefixed, {size} B"));
        let codec = LengthPrefixed::big_endian(4, size);
        prefixed(&mut group, &stream_of(size, |frame, into| codec.encode(frame, into).expect("it fits")));
        group.finish();
    }
    let mut group = criterion.benchmark_group("codec/a line of 64 KiB in pieces");
    slow_line(&mut group);
    group.finish();
}

fn stream_of(size: usize, encode: impl Fn(&[u8], &mut Vec<u8>)) -> Vec<u8> {
    let (frame, mut stream) = (vec![b'x'; size], Vec::new());
    (0..STREAM / size).for_each(|_| encode(&frame, &mut stream));
    stream
}

fn lines(group: &mut BenchmarkGroup<'_, WallTime>, stream: &[u8]) {
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function(BenchmarkId::from_parameter("reactor"), |bencher| {
        bencher.iter(|| decode_all(&mut Lines::new(STREAM), stream));
    });
    group.bench_function(BenchmarkId::from_parameter("a look at each byte"), |bencher| {
        bencher.iter(|| stream.split_inclusive(|&byte| byte == b'\n').map(black_box).count());
    });
    group.bench_function(BenchmarkId::from_parameter("tokio-util"), |bencher| {
        bencher.iter(|| decode_all_of_tokio(&mut LinesCodec::new_with_max_length(STREAM), stream));
    });
}

fn prefixed(group: &mut BenchmarkGroup<'_, WallTime>, stream: &[u8]) {
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function(BenchmarkId::from_parameter("reactor"), |bencher| {
        bencher.iter(|| decode_all(&mut LengthPrefixed::big_endian(4, STREAM), stream));
    });
    group.bench_function(BenchmarkId::from_parameter("tokio-util"), |bencher| {
        bencher.iter(|| decode_all_of_tokio(&mut LengthDelimitedCodec::new(), stream));
    });
}

/// A line that comes in a thousand pieces, with a look at all that is there after each: the cost is that of the bytes only
/// if none is searched twice.
fn slow_line(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut line = vec![b'x'; STREAM];
    line.push(b'\n');
    group.throughput(Throughput::Bytes(line.len() as u64));
    group.bench_function(BenchmarkId::from_parameter("reactor, a codec that remembers"), |bencher| {
        bencher.iter(|| {
            let mut codec = Lines::new(STREAM);
            in_pieces(&line, |input| codec.decode(input).expect("it is a line").map(<[u8]>::len))
        });
    });
    group.bench_function(BenchmarkId::from_parameter("reactor, Input::take_until"), |bencher| {
        bencher.iter(|| in_pieces(&line, |input| input.take_until(b'\n').map(<[u8]>::len)));
    });
}

fn in_pieces(line: &[u8], mut decode: impl FnMut(&mut Input<'_>) -> Option<usize>) -> Option<usize> {
    let ends = (PIECE..line.len()).step_by(PIECE).chain([line.len()]);
    ends.filter_map(|end| decode(&mut Input::new(black_box(&line[..end])))).next()
}

fn decode_all(codec: &mut impl Codec, stream: &[u8]) -> usize {
    let (mut input, mut count) = (Input::new(black_box(stream)), 0);
    while let Some(frame) = codec.decode(&mut input).expect("the stream is sound") {
        black_box(frame);
        count += 1;
    }
    count
}

/// Its buffer is part of it, so the bytes are copied in, as a read would bring them.
fn decode_all_of_tokio<C: Decoder>(codec: &mut C, stream: &[u8]) -> usize
where
    C::Error: std::fmt::Debug,
{
    let (mut buffer, mut count) = (BytesMut::from(black_box(stream)), 0);
    while let Some(frame) = codec.decode(&mut buffer).expect("the stream is sound") {
        black_box(frame);
        count += 1;
    }
    count
}
