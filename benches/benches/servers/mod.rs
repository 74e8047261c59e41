//! Servers that echo, under the same load: what a message, a connection and a stream cost.

mod churn;
mod idle;
mod messages;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use benches::peers::{ALL, Peer};
use criterion::Criterion;

pub(crate) fn all(criterion: &mut Criterion) {
    let mut servers = Servers::default();
    messages::ping_pong(criterion, &mut servers);
    messages::pipelined(criterion, &mut servers);
    messages::answers(criterion);
    messages::large(criterion, &mut servers);
    messages::bulk(criterion, &mut servers);
    churn::churn(criterion, &mut servers);
    idle::idle(criterion, &mut servers);
}

/// The servers started so far: one of each, for all benches that want it.
#[derive(Default)]
struct Servers {
    addresses: HashMap<&'static str, SocketAddr>,
}

impl Servers {
    fn address_of(&mut self, peer: &Peer) -> SocketAddr {
        let start = || peer.spawn().expect("a port and a thread are free");
        *self.addresses.entry(peer.name).or_insert_with(start)
    }
}

/// The peers that can hold so many connections in this process.
fn peers_for(connections: usize) -> impl Iterator<Item = &'static Peer> {
    ALL.iter().filter(move |peer| connections <= peer.max_in_process)
}

/// Tells what is not as the name of a bench says; stdout belongs to criterion.
fn remark(text: &str) {
    // Without anybody to read it there is nothing to say.
    let _ = writeln!(io::stderr(), "note: {text}");
}
