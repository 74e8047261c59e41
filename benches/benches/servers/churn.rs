//! Connections that come, exchange one message and go.

use benches::load::Churn;
use criterion::{BenchmarkId, Criterion, Throughput};

use super::{Servers, peers_for};

/// Sixteen clients at a time: an iteration is a visit of each.
pub(super) fn churn(criterion: &mut Criterion, servers: &mut Servers) {
    let mut group = criterion.benchmark_group("churn/16");
    group.throughput(Throughput::Elements(CLIENTS as u64));
    for peer in peers_for(CLIENTS) {
        let mut load = None;
        group.bench_function(BenchmarkId::from_parameter(peer.name), |bencher| {
            let load = load.get_or_insert_with(|| {
                Churn::new(servers.address_of(peer), CLIENTS, 64).expect("a descriptor is free")
            });
            bencher.iter_custom(|iterations| {
                load.run(iterations * CLIENTS as u64).expect("every client is served to its end")
            });
        });
    }
    group.finish();
}

const CLIENTS: usize = 16;
