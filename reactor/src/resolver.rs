//! Host names looked up off the loop, by threads that do nothing else.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::net::host::Host;
use crate::sys::affinity::Processors;
use crate::token::Token;
use crate::unwind::catch;
use crate::worker_pool::{Report, Ticket, WorkerOptions, WorkerPool};

/// How the host names that [`connect`](crate::LoopContext::connect) is given are looked up, and the bounds of the threads that do
/// it.
///
/// The look-up blocks, for seconds if a name server is down, so it has threads of its own: it holds up neither the loop nor
/// [`spawn_blocking`](crate::LoopContext::spawn_blocking)'s jobs. All loops of a server share them. A thread is started when a name
/// comes and all that run are busy.
///
/// ```
/// use reactor::{Host, ResolverOptions};
///
/// /// A table before the system's look-up.
/// fn look_up(host: &Host) -> std::io::Result<Vec<reactor::SocketAddress>> {
///     match host.name() {
///         "backend" => Ok(vec![std::net::SocketAddr::from(([10, 0, 0, 1], host.port())).into()]),
///         _ => host.resolve(),
///     }
/// }
///
/// let options = ResolverOptions::default().threads(2).look_up(look_up);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ResolverOptions {
    /// How many names are looked up at once: at least 1. Default 4. A look-up that nobody waits for any more keeps its
    /// thread until the system gives up.
    pub threads: usize,
    /// How many names may wait for a thread; one more is an error at once. One that is given up frees its place.
    /// Default 1024.
    pub queue: usize,
    look_up: Arc<LookUp>,
}

type LookUp = dyn Fn(&Host) -> Found + Send + Sync;

/// The addresses of a host, in the order in which to try them.
pub(crate) type Found = io::Result<Vec<SocketAddress>>;

impl Default for ResolverOptions {
    fn default() -> Self {
        Self { threads: 4, queue: 1024, look_up: Arc::new(Host::resolve) }
    }
}

impl ResolverOptions {
    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count;
        self
    }

    /// Sets [`queue`](Self::queue).
    #[must_use]
    pub fn queue(mut self, names: usize) -> Self {
        self.queue = names;
        self
    }

    /// Sets what looks a host up, on a thread that may block. Default [`Host::resolve`].
    #[must_use]
    pub fn look_up(
        mut self,
        look_up: impl Fn(&Host) -> io::Result<Vec<SocketAddress>> + Send + Sync + 'static,
    ) -> Self {
        self.look_up = Arc::new(look_up);
        self
    }
}

impl fmt::Debug for ResolverOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, queue, .. } = self;
        f.debug_struct("ResolverOptions").field("threads", threads).field("queue", queue).finish_non_exhaustive()
    }
}

/// Looks names up for any number of loops.
pub(crate) struct Resolver {
    pool: Arc<WorkerPool>,
    look_up: Arc<LookUp>,
}

impl Resolver {
    pub(crate) fn new(options: &ResolverOptions, processors: Option<Processors>) -> io::Result<Arc<Self>> {
        if options.threads == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "ResolverOptions::threads must be at least 1"));
        }
        let bounds = WorkerOptions::default().threads(options.threads).queue(options.queue).exit_wait(EXIT_WAIT);
        let pool = WorkerPool::new("reactor-dns", bounds, processors)?;
        Ok(Arc::new(Self { pool, look_up: Arc::clone(&options.look_up) }))
    }

    /// Looks the host up, unless what is answered is dropped before its turn comes.
    fn begin(&self, host: Host, answer: impl FnOnce(Found) + Send + 'static) -> io::Result<Lookup> {
        let look_up = Arc::clone(&self.look_up);
        let job = move || {
            let found = catch(|| look_up(&host)).unwrap_or_else(|message| {
                Err(io::Error::other(format!(
                    "cannot resolve the host {:?}: the look-up panicked: {message}",
                    host.name()
                )))
            });
            Box::new(|| answer(found)) as Report
        };
        let ticket = self.pool.submit(Box::new(job))?;
        Ok(Lookup { pool: Arc::clone(&self.pool), ticket })
    }
}

/// A look-up that is under way. Dropping it gives it up.
pub(crate) struct Lookup {
    pool: Arc<WorkerPool>,
    ticket: Ticket,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.pool.take_back(&self.ticket);
    }
}

/// Names as one loop has them looked up.
pub(crate) struct Names {
    pub(crate) resolver: Arc<Resolver>,
    /// Brings the loop what was found, for the try of that number of that connection.
    pub(crate) answer: Arc<dyn Fn(Token, u32, Found) + Send + Sync>,
}

impl Names {
    /// Looks a host up for a try of a connection.
    pub(crate) fn look_up(&self, host: &Host, token: Token, round: u32) -> io::Result<Lookup> {
        let answer = Arc::clone(&self.answer);
        self.resolver.begin(host.clone(), move |found| answer(token, round, found))
    }
}

/// Threads without a look-up end at once; others have nothing that is worth waiting for.
const EXIT_WAIT: Duration = Duration::from_millis(100);
