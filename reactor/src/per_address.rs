//! How many connections each peer address has: a table that is as large as the connections that stand in it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address::SocketAddress;

/// The connections of one listener, by the address of the peer. Its loops share it; the lock is taken as a connection comes and as
/// it goes.
#[derive(Debug)]
pub(crate) struct PerAddress {
    most: usize,
    seats: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place; dropping it frees the place.
pub(crate) struct Seat {
    table: Arc<PerAddress>,
    address: IpAddr,
}

/// Whether a connection may come in.
pub(crate) enum Admission {
    Seated(Seat),
    /// A Unix socket's peer has no address.
    Unlimited,
    Refused,
}

impl PerAddress {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, seats: Mutex::default() })
    }

    /// Takes a place for a connection of this peer.
    pub(crate) fn admit(self: &Arc<Self>, peer: &SocketAddress) -> Admission {
        let Some(address) = peer.network() else { return Admission::Unlimited };
        let mut seats = self.lock();
        let taken = seats.get(&address).copied().unwrap_or(0);
        if taken >= self.most {
            return Admission::Refused;
        }
        seats.insert(address, taken + 1);
        Admission::Seated(Seat { table: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code that could panic runs under the lock.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.table.lock();
        if let Some(taken) = seats.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.address);
            }
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.address).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(table: &Arc<PerAddress>, peer: &str) -> Option<Seat> {
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        match table.admit(&peer.into()) {
            Admission::Seated(seat) => Some(seat),
            Admission::Refused => None,
            Admission::Unlimited => panic!("it has an address"),
        }
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let table = PerAddress::new(2);
        let first = admit(&table, "192.0.2.1:1").unwrap();
        let second = admit(&table, "192.0.2.1:2").unwrap();
        assert!(admit(&table, "192.0.2.1:3").is_none());
        assert!(admit(&table, "192.0.2.2:3").is_some());
        drop(first);
        drop(admit(&table, "192.0.2.1:4").unwrap());
        drop(second);
        assert!(table.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_a_mapped_address_as_ipv4() {
        let table = PerAddress::new(1);
        let _first = admit(&table, "[2001:db8::1]:1").unwrap();
        assert!(admit(&table, "[2001:db8::ffff:1]:1").is_none());
        let _other = admit(&table, "[2001:db8:0:1::1]:1").unwrap();
        let _mapped = admit(&table, "[::ffff:192.0.2.1]:1").unwrap();
        assert!(admit(&table, "192.0.2.1:1").is_none());
    }
}
