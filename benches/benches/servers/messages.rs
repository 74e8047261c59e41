//! Messages between a few clients and a server: one at a time, many under way, large ones, a stream.

use std::net::SocketAddr;

use benches::load::{ClosedLoop, Shape};
use benches::peers::{ALL, ANSWER};
use criterion::{BenchmarkId, Criterion, Throughput};

use super::{Servers, peers_for};

/// One small message under way on each connection: an iteration is a message on every connection.
pub(super) fn ping_pong(criterion: &mut Criterion, servers: &mut Servers) {
    for connections in [1, 64, 1000] {
        let name = format!("ping_pong/{connections}");
        let shape = Shape { connections, size: 64, depth: 1 };
        exchange(criterion, servers, &name, shape, 1, Throughput::Elements(connections as u64));
    }
}

/// Sixteen small messages under way on each connection.
pub(super) fn pipelined(criterion: &mut Criterion, servers: &mut Servers) {
    let shape = Shape { connections: 64, size: 64, depth: 16 };
    exchange(criterion, servers, "pipelined/64x16", shape, 16, Throughput::Elements(64 * 16));
}

/// Sixteen requests that come at once, each answered by a send of its own: an iteration is that on every connection.
pub(super) fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answers/64x16");
    group.throughput(Throughput::Elements(64 * 16));
    let shape = Shape { connections: 64, size: 16 * ANSWER, depth: 1 };
    for peer in ALL.iter().filter(|peer| peer.answer.is_some()) {
        let mut load = None;
        group.bench_function(BenchmarkId::from_parameter(peer.name), |bencher| {
            let load = load.get_or_insert_with(|| {
                let server = peer.spawn_answering().expect("it answers").expect("a port and a thread are free");
                warm(server, shape)
            });
            bencher.iter_custom(|iterations| load.run(iterations).expect("every message comes back"));
        });
    }
    group.finish();
}

/// Messages of 16 KiB.
pub(super) fn large(criterion: &mut Criterion, servers: &mut Servers) {
    let shape = Shape { connections: 64, size: 16 << 10, depth: 1 };
    exchange(criterion, servers, "large/64x16KiB", shape, 1, Throughput::Elements(64));
}

/// One connection on which bytes flow both ways as fast as they can.
pub(super) fn bulk(criterion: &mut Criterion, servers: &mut Servers) {
    let shape = Shape { connections: 1, size: PIECE, depth: u64::MAX };
    exchange(criterion, servers, "bulk", shape, PIECES, Throughput::Bytes(PIECE as u64 * PIECES));
}

fn exchange(
    criterion: &mut Criterion,
    servers: &mut Servers,
    name: &str,
    shape: Shape,
    messages_each: u64,
    throughput: Throughput,
) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput);
    for peer in peers_for(shape.connections) {
        // Connects when the first sample is asked for: a bench that is filtered out opens nothing.
        let mut load = None;
        group.bench_function(BenchmarkId::from_parameter(peer.name), |bencher| {
            let load = load.get_or_insert_with(|| warm(servers.address_of(peer), shape));
            bencher.iter_custom(|iterations| load.run(iterations * messages_each).expect("every message comes back"));
        });
    }
    group.finish();
}

/// A load whose connections have all been served once.
fn warm(server: SocketAddr, shape: Shape) -> ClosedLoop {
    let mut load = ClosedLoop::connect(server, shape).expect("the server takes so many connections");
    load.run(1).expect("every message comes back");
    load
}

/// Bytes and number of the pieces that one iteration streams.
const PIECE: usize = 1 << 20;
const PIECES: u64 = 8;
