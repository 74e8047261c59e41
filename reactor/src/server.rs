//! A running server: its handle, its end, its figures.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::drain_report::DrainReport;
use crate::group::Group;
use crate::handle::LoopHandle;
use crate::mailbox::PostError;
use crate::metrics::Metrics;
use crate::prometheus::prometheus_text;
use crate::shared_bytes::SharedBytes;
use crate::sys::thread::{Monitor, Thread};

/// A running server: loops on threads of their own. Dropping it stops them.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
/// use reactor::{Context, Handler, Input, Result, Server};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
///         cx.send(input.take())
///     }
/// }
///
/// let server = Server::builder().threads(2).listen("127.0.0.1:0", |_peer| Echo)?.start()?;
/// let address = server.local_addresses()[0].as_inet().unwrap();
///
/// let mut client = TcpStream::connect(address)?;
/// client.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// client.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
///
/// drop(client);
/// let report = server.handle().shutdown(Duration::from_secs(1))?;
/// assert_eq!(report.cut, 0);
/// # Result::Ok(())
/// ```
pub struct Server<S: 'static = ()> {
    handle: ServerHandle<S>,
    threads: Vec<Thread>,
    local: Vec<SocketAddress>,
    datagram: Vec<SocketAddress>,
}

impl<S: 'static> Server<S> {
    pub(crate) fn new(
        handle: ServerHandle<S>,
        threads: Vec<Thread>,
        local: Vec<SocketAddress>,
        datagram: Vec<SocketAddress>,
    ) -> Self {
        Self { handle, threads, local, datagram }
    }

    /// The addresses of its datagram sockets, in the order in which they were added.
    #[must_use]
    pub fn datagram_addresses(&self) -> &[SocketAddress] {
        &self.datagram
    }

    /// The addresses it listens on for streams, in the order in which they were added.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddress] {
        &self.local
    }

    /// The server as any thread sees it.
    #[must_use]
    pub fn handle(&self) -> ServerHandle<S> {
        self.handle.clone()
    }

    /// Waits until all loops have ended.
    ///
    /// # Errors
    /// The first failure of a loop.
    pub fn wait(mut self) -> io::Result<DrainReport> {
        for thread in self.threads.drain(..) {
            // A panic there has been recorded as that loop's failure.
            let _ = thread.join();
        }
        self.handle.outcome.wait()
    }
}

impl<S: 'static> Drop for Server<S> {
    fn drop(&mut self) {
        self.handle.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A server as any thread sees it: `Clone`, `Send` and `Sync`.
pub struct ServerHandle<S: 'static = ()> {
    loops: Arc<[LoopHandle<S>]>,
    outcome: Arc<Outcome>,
}

impl<S: 'static> ServerHandle<S> {
    pub(crate) fn new(loops: Arc<[LoopHandle<S>]>, outcome: Arc<Outcome>) -> Self {
        Self { loops, outcome }
    }

    /// The loops, by index.
    #[must_use]
    pub fn loops(&self) -> &[LoopHandle<S>] {
        &self.loops
    }

    /// The sum of what the loops have counted.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut sum = Metrics::default();
        self.loops.iter().for_each(|handle| sum += handle.metrics());
        sum
    }

    /// What the loops have counted, as Prometheus reads it; see [`prometheus_text`].
    #[must_use]
    pub fn prometheus_text(&self, prefix: &str) -> String {
        let metrics: Vec<Metrics> = self.loops.iter().map(LoopHandle::metrics).collect();
        prometheus_text(prefix, &metrics)
    }

    /// Sends to all members of a group, whatever loop they are on; the bytes are not copied.
    ///
    /// # Errors
    /// [`PostError`]: the mailbox of a loop is full, or the loop has ended. Its members get nothing; those of others do.
    pub fn broadcast(&self, group: Group, bytes: impl Into<SharedBytes>) -> Result<(), PostError> {
        let bytes = bytes.into();
        let posts = self.loops.iter().map(|handle| handle.broadcast(group, bytes.clone()));
        posts.fold(Ok(()), Result::and)
    }

    /// Begins to drain and returns at once. A second call can shorten the grace, not lengthen it.
    pub fn begin_shutdown(&self, grace: Duration) {
        for handle in self.loops.iter() {
            // A loop that has ended needs no telling.
            let _ = handle.shutdown(grace);
        }
    }

    /// Drains the server within `grace`, waits for its end, and says how it went.
    ///
    /// It blocks, so it is not for callbacks: those have [`begin_shutdown`](Self::begin_shutdown).
    ///
    /// # Errors
    /// The first failure of a loop.
    pub fn shutdown(&self, grace: Duration) -> io::Result<DrainReport> {
        self.begin_shutdown(grace);
        self.outcome.wait()
    }

    /// Ends all loops at the end of their turns, and returns at once. Open connections are cut.
    pub fn stop(&self) {
        for handle in self.loops.iter() {
            // A loop that has ended needs no telling.
            let _ = handle.stop();
        }
    }
}

impl<S: 'static> Clone for ServerHandle<S> {
    fn clone(&self) -> Self {
        Self { loops: Arc::clone(&self.loops), outcome: Arc::clone(&self.outcome) }
    }
}

/// How the loops ended, for whoever waits.
pub(crate) struct Outcome {
    ended: Monitor<Ended>,
    count: usize,
}

#[derive(Default)]
struct Ended {
    loops: usize,
    report: DrainReport,
    failure: Option<(io::ErrorKind, String)>,
}

impl Outcome {
    pub(crate) fn new(count: usize) -> Self {
        Self { ended: Monitor::default(), count }
    }

    /// Runs a loop and keeps how it ended. If it failed, the other loops are stopped: a server with a loop missing
    /// would strand those who meet it.
    pub(crate) fn record<S>(&self, loops: &[LoopHandle<S>], run: impl FnOnce() -> io::Result<DrainReport>) {
        let result = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(io::Error::other("a loop panicked, which is a bug of the library")));
        if let Err(error) = &result {
            log::error!("a loop failed, the server stops: {error}");
            for handle in loops {
                // A loop that has ended needs no telling.
                let _ = handle.stop();
            }
        }
        self.ended.change(|ended| {
            ended.loops += 1;
            match result {
                Ok(report) => ended.report += report,
                Err(error) => drop(ended.failure.get_or_insert_with(|| (error.kind(), error.to_string()))),
            }
        });
    }

    fn wait(&self) -> io::Result<DrainReport> {
        let waiting = |ended: &Ended| ended.loops < self.count;
        let ended = self.ended.wait_while(waiting);
        match &ended.failure {
            None => Ok(ended.report),
            Some((kind, message)) => Err(io::Error::new(*kind, message.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::EventLoop;

    #[test]
    fn the_first_failure_stops_the_other_loops_and_is_told() {
        let outcome = Outcome::new(3);
        let mut other = EventLoop::new(()).unwrap();
        let loops = [other.handle()];
        outcome.record(&loops, || Err(io::ErrorKind::OutOfMemory.into()));
        outcome.record(&loops, || panic!("a bug"));
        outcome.record(&loops, || other.run());
        let error = outcome.wait().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
