//! A few busy connections among many that only are there: what should cost nothing, and does not everywhere.

use benches::descriptors;
use benches::load::{ClosedLoop, Shape};
use criterion::{BenchmarkId, Criterion, Throughput};

use super::{Servers, peers_for, remark};

/// An iteration is a message on each active connection.
pub(super) fn idle(criterion: &mut Criterion, servers: &mut Servers) {
    let all = descriptors::connections_in_process(WANTED);
    let active = ACTIVE.min(all / 2);
    let mut group = criterion.benchmark_group("idle/100 of 10000");
    group.throughput(Throughput::Elements(active as u64));
    let mut told = all == WANTED;
    for peer in peers_for(all) {
        let mut loads = None;
        group.bench_function(BenchmarkId::from_parameter(peer.name), |bencher| {
            if !std::mem::replace(&mut told, true) {
                remark(&format!("the limit of open files leaves {all} connections, not {WANTED}: {active} are active"));
            }
            let (_idle, load) = loads.get_or_insert_with(|| {
                let server = servers.address_of(peer);
                (served_once(server, all - active), served_once(server, active))
            });
            bencher.iter_custom(|iterations| load.run(iterations).expect("every message comes back"));
        });
    }
    group.finish();
}

/// Connections that have each exchanged a message, so that the server has accepted and used them.
fn served_once(server: std::net::SocketAddr, connections: usize) -> ClosedLoop {
    let shape = Shape { connections, size: 64, depth: 1 };
    let mut load = ClosedLoop::connect(server, shape).expect("the server takes so many connections");
    load.run(1).expect("every message comes back");
    load
}

const ACTIVE: usize = 100;
const WANTED: usize = 10_000;
