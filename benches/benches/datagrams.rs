//! Echoing datagrams of 64 bytes: what one costs the server in processor time, when they come one by one and when many wait.

use std::collections::HashMap;

use benches::datagrams::{DATAGRAM_PEERS, DatagramLoad, DatagramServer};
use criterion::{BenchmarkId, Criterion, Throughput};

/// An iteration is a datagram, and its time is that of the server's thread on its processor: a thousand elements a
/// millisecond are a million datagrams per processor and second.
pub(crate) fn all(criterion: &mut Criterion) {
    let mut servers: HashMap<&str, DatagramServer> = HashMap::new();
    for (name, window) in [("datagrams/one by one", 1), ("datagrams/512 under way", 512)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        for peer in &DATAGRAM_PEERS {
            let mut bench = None;
            group.bench_function(BenchmarkId::from_parameter(peer.name), |bencher| {
                let (server, load) = bench.get_or_insert_with(|| {
                    let spawn = || peer.spawn().expect("a port and a thread are free");
                    let server = *servers.entry(peer.name).or_insert_with(spawn);
                    (server, DatagramLoad::new(server.address, window).expect("a port is free"))
                });
                bencher.iter_custom(|iterations| {
                    let before = server.cpu_time().expect("the kernel counts");
                    load.run(iterations).expect("every datagram comes back");
                    server.cpu_time().expect("the kernel counts") - before
                });
            });
        }
        group.finish();
    }
}
