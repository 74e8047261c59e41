//! What the operator has decided: how files are served, kept and limited. Shared by all loops and never changed.

use std::sync::Arc;
use std::time::Duration;

use crate::http::cors::AllowedOrigins;
use crate::memory::Memory;
use crate::root::Root;
use crate::storage::Storage;
use crate::users::Users;

/// What the operator has decided.
#[derive(Debug)]
pub struct Settings {
    /// The served directory.
    pub root: Arc<Root>,
    /// How answers are made.
    pub answers: Answers,
    /// What may be stored and removed.
    pub uploads: Uploads,
    /// How files are stored.
    pub storage: Arc<Storage>,
    /// What bodies on their way to a file may take.
    pub memory: Arc<Memory>,
    /// Who is served; none is everybody.
    pub users: Option<Arc<Users>>,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// What is kept in memory.
    pub caching: Caching,
    /// Connections of one address at once; 0 is no limit.
    pub connections_per_address: usize,
    /// Bytes a second that one connection is sent; 0 is no limit.
    pub bandwidth: u64,
}

/// How answers are made.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Names of which the first that exists answers for its directory.
    pub index: Vec<String>,
    /// Answer names that do not exist with the index of the root: for applications that route in the browser.
    pub spa: bool,
    /// List directories that have no index.
    pub listing: bool,
    /// Bytes of listings that may wait on one loop for clients who take them slowly. Files cost nothing while they wait, but
    /// each listing is written for one client.
    pub listing_memory: usize,
    /// Send `NAME.br`, `NAME.zst` or `NAME.gz` for `NAME` to whoever accepts it.
    pub precompressed: bool,
    /// The value of `Cache-Control`.
    pub cache_control: Option<String>,
    /// The origins whose pages may read the answers.
    pub cors: Option<AllowedOrigins>,
}

/// What may be stored and removed.
#[derive(Clone, Debug, Default)]
pub struct Uploads {
    /// PUT stores files.
    pub allow_upload: bool,
    /// DELETE removes files.
    pub allow_delete: bool,
    /// Bytes of one upload at most.
    pub max_size: Option<u64>,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// Between two pieces of a body that is received.
    pub body: Duration,
    /// Between two pieces of an answer that the client takes.
    pub write: Duration,
    /// From an answer to the next request.
    pub keep_alive: Duration,
}

/// What is kept in memory, by each loop.
#[derive(Clone, Copy, Debug)]
pub struct Caching {
    /// How the cache learns that a file has changed.
    pub check: Check,
    /// Open files.
    pub files: usize,
    /// Bytes of small files.
    pub bytes: usize,
    /// After so long a file is looked at again, even if nothing was told.
    pub max_age: Duration,
}

/// How the cache learns that a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The kernel tells, by inotify(7).
    Watch,
    /// Every request asks, by fstat(2): for files that are changed through mmap(2) or by other machines.
    Stat,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            index: vec!["index.html".to_owned()],
            spa: false,
            listing: true,
            listing_memory: 64 << 20,
            precompressed: true,
            cache_control: None,
            cors: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { header: Duration::from_secs(10), body: minute, write: minute, keep_alive: minute }
    }
}

impl Default for Caching {
    fn default() -> Self {
        Self { check: Check::Watch, files: 1024, bytes: 64 << 20, max_age: Duration::from_secs(60) }
    }
}
