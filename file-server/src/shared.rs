//! What all loops of the server share: counts, connections by address, the access log.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use program::proxy_refusals::ProxyRefusals;
use reactor::ServerHandle;

use crate::access_log::AccessLog;
use crate::cache::Cache;
use crate::http::status::Status;
use crate::worker::Worker;

/// What all loops share.
#[derive(Default)]
pub struct Shared {
    access_log: OnceLock<AccessLog>,
    server: OnceLock<ServerHandle<Worker>>,
    tallies: Mutex<Vec<Arc<Tally>>>,
    by_network: Mutex<HashMap<IpAddr, usize>>,
    /// What came of uploads by the struct protocol.
    pub struct_uploads: UploadCounts,
    /// Connections that a balancer should have sent a header on, and did not.
    pub proxy_refusals: Arc<ProxyRefusals>,
}

/// How many uploads ended how. The threads that count share it, for an upload costs far more than that.
#[derive(Debug, Default)]
pub struct UploadCounts {
    /// The file is stored.
    pub stored: AtomicU64,
    /// It was refused, or broke off.
    pub failed: AtomicU64,
}

/// What one loop has counted. Only its own thread counts.
#[derive(Debug, Default)]
pub struct Tally {
    by_status: [AtomicU64; 5],
    body_bytes: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    cached_files: AtomicU64,
    cached_bytes: AtomicU64,
}

/// The sums of what the loops have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered with a status of each class, from 1xx to 5xx.
    pub by_status: [u64; 5],
    /// Bytes of content sent or being sent.
    pub body_bytes: u64,
    /// Requests answered with what was kept, without asking.
    pub cache_hits: u64,
    /// Requests for which a worker looked at the disk.
    pub cache_misses: u64,
    /// Files that are kept.
    pub cached_files: u64,
    /// Bytes that are kept.
    pub cached_bytes: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Where requests are logged.
    #[inline]
    #[must_use]
    pub fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.get()
    }

    /// Logs requests from now on. The first log stays.
    pub fn set_access_log(&self, log: AccessLog) {
        self.access_log.get_or_init(|| log);
    }

    /// The server, once it has started.
    #[must_use]
    pub fn server(&self) -> Option<&ServerHandle<Worker>> {
        self.server.get()
    }

    /// The server has started.
    pub fn set_server(&self, server: ServerHandle<Worker>) {
        self.server.get_or_init(|| server);
    }

    /// A key that nobody outside knows, another one for each run.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        for place in key.chunks_exact_mut(8) {
            // The standard library seeds each from the kernel's randomness.
            place.copy_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
        }
        key
    }

    /// A tally for a loop.
    pub fn new_tally(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        lock(&self.tallies).push(Arc::clone(&tally));
        tally
    }

    /// The sums over all loops.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for tally in lock(&self.tallies).iter() {
            tally.add_to(&mut totals);
        }
        totals
    }

    /// Counts a connection of a [network](reactor::SocketAddress::network), if it has fewer than `most`. The library does so itself
    /// for a listener; this is for all of them, for the client that a balancer tells, and for who is to be answered.
    pub fn admit(&self, network: IpAddr, most: usize) -> bool {
        let mut by_network = lock(&self.by_network);
        let count = by_network.entry(network).or_default();
        let admitted = *count < most;
        *count += usize::from(admitted);
        admitted
    }

    /// A connection that was admitted has ended.
    pub fn release(&self, network: IpAddr) {
        let mut by_network = lock(&self.by_network);
        let Some(count) = by_network.get_mut(&network) else { return };
        *count -= 1;
        if *count == 0 {
            by_network.remove(&network);
        }
    }
}

impl Tally {
    /// Counts an answer.
    #[inline]
    pub fn answered(&self, status: Status, bytes: u64) {
        if let Some(count) = self.by_status.get(usize::from(status.code() / 100).wrapping_sub(1)) {
            add(count, 1);
        }
        add(&self.body_bytes, bytes);
    }

    /// Counts a look into the cache.
    #[inline]
    pub fn looked_up(&self, hit: bool) {
        add(if hit { &self.cache_hits } else { &self.cache_misses }, 1);
    }

    /// Notes what is kept now.
    pub fn cached(&self, cache: &Cache) {
        self.cached_files.store(cache.len() as u64, Ordering::Relaxed);
        self.cached_bytes.store(cache.bytes() as u64, Ordering::Relaxed);
    }

    fn add_to(&self, totals: &mut Totals) {
        let pairs = [
            (&mut totals.body_bytes, &self.body_bytes),
            (&mut totals.cache_hits, &self.cache_hits),
            (&mut totals.cache_misses, &self.cache_misses),
            (&mut totals.cached_files, &self.cached_files),
            (&mut totals.cached_bytes, &self.cached_bytes),
        ];
        for (total, count) in totals.by_status.iter_mut().zip(&self.by_status).chain(pairs) {
            *total += count.load(Ordering::Relaxed);
        }
    }
}

/// One thread adds, so it need not be one step: others see the count before or after.
#[inline]
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let shared = Shared::default();
        let one = IpAddr::from([127, 0, 0, 1]);
        assert!(shared.admit(one, 2) && shared.admit(one, 2) && !shared.admit(one, 2));
        assert!(shared.admit(IpAddr::from([127, 0, 0, 2]), 2));
        shared.release(one);
        assert!(shared.admit(one, 2));
        shared.release(one);
        shared.release(one);
        assert_eq!(lock(&shared.by_network).len(), 1);
    }

    #[test]
    fn the_loops_counts_add_up() {
        let shared = Shared::default();
        let (one, two) = (shared.new_tally(), shared.new_tally());
        one.answered(Status::OK, 5);
        two.answered(Status::NOT_FOUND, 7);
        two.looked_up(true);
        let totals = shared.totals();
        assert_eq!((totals.by_status, totals.body_bytes, totals.cache_hits), ([0, 1, 0, 1, 0], 12, 1));
    }
}
