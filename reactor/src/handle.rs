//! A loop as other threads see it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::SocketAddress;
use crate::application::Outcome;
use crate::group::Group;
use crate::loop_context::LoopContext;
use crate::mailbox::{PostError, Postbox};
use crate::metrics::{Counters, Metrics};
use crate::resolver::Found;
use crate::shared_bytes::SharedBytes;
use crate::sys::clock;
use crate::sys::fd::Fd;
use crate::token::{ConnId, Token};

/// A loop as other threads see it: `Clone`, `Send` and `Sync`, whatever the loop's state is.
///
/// Every call here posts a message and returns at once; nothing blocks. The loop handles messages in the order in which
/// they were posted. A message for a connection that is gone by then is dropped.
///
/// Posting to a loop that runs costs no system call; only a loop that sleeps is woken, once for any number of messages.
pub struct LoopHandle<S = ()> {
    postbox: Postbox<Mail<S>>,
    counters: Arc<Counters>,
}

/// What is in a loop's mailbox: two words, for between two processors a message costs what it takes of a cache line.
pub(crate) enum Mail<S> {
    Execute(Task<S>),
    Errand(Box<Errand>),
}

/// What can be asked of a loop without knowing its types.
pub(crate) enum Errand {
    Send(ConnId, Vec<u8>),
    Close(ConnId),
    Broadcast(Group, SharedBytes),
    /// A socket that another loop accepted.
    Adopt {
        fd: Fd,
        peer: SocketAddress,
        factory: usize,
    },
    /// Another loop left connections in a backlog that is shared, or has room again.
    AcceptAgain,
    /// A job has ended; its number, and what it came to.
    JobDone(usize, Outcome),
    /// A host was looked up, for the round of that number of that connection's attempt.
    LookedUp(Token, u32, Found),
    Shutdown(Instant),
    Stop,
}

/// A closure to run on a loop's thread.
pub(crate) type Task<S> = Box<dyn FnOnce(&mut LoopContext<'_, S>) + Send>;

impl<S> LoopHandle<S> {
    pub(crate) fn new(postbox: Postbox<Mail<S>>, counters: Arc<Counters>) -> Self {
        Self { postbox, counters }
    }

    /// Sends bytes on a connection of the loop.
    ///
    /// # Errors
    /// [`PostError`]: the mailbox is full, or the loop has ended. Nothing was sent.
    pub fn send(&self, id: ConnId, bytes: impl Into<Vec<u8>>) -> Result<(), PostError> {
        self.post(Errand::Send(id, bytes.into()))
    }

    /// Closes a connection of the loop, once what waits is sent.
    ///
    /// # Errors
    /// [`PostError`]: the mailbox is full, or the loop has ended.
    pub fn close(&self, id: ConnId) -> Result<(), PostError> {
        self.post(Errand::Close(id))
    }

    /// Sends to all members of a group on this loop; the bytes are not copied. All loops of a server:
    /// [`ServerHandle::broadcast`](crate::ServerHandle::broadcast).
    ///
    /// # Errors
    /// [`PostError`]: the mailbox is full, or the loop has ended. Nothing was sent.
    pub fn broadcast(&self, group: Group, bytes: impl Into<SharedBytes>) -> Result<(), PostError> {
        self.post(Errand::Broadcast(group, bytes.into()))
    }

    /// Runs a closure on the loop's thread, with access to everything there.
    ///
    /// # Errors
    /// [`PostError`]: the mailbox is full, or the loop has ended. The closure is dropped without having run.
    ///
    /// ```
    /// use reactor::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new(0_u32)?;
    /// let handle = event_loop.handle();
    /// let other = std::thread::spawn(move || {
    ///     handle.execute(|cx| {
    ///         *cx.state() += 1;
    ///         cx.stop();
    ///     })
    /// });
    /// event_loop.run()?;
    /// assert_eq!(*event_loop.state(), 1);
    /// # other.join().unwrap().unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn execute(&self, task: impl FnOnce(&mut LoopContext<'_, S>) + Send + 'static) -> Result<(), PostError> {
        self.postbox.post(Mail::Execute(Box::new(task))).map_err(|(error, _)| error)
    }

    /// Drains the loop within `grace` and ends it: see [`EventLoop::run`](crate::EventLoop::run). A second call can
    /// shorten the grace, not lengthen it.
    ///
    /// # Errors
    /// [`PostError::Stopped`]: the loop has ended.
    pub fn shutdown(&self, grace: Duration) -> Result<(), PostError> {
        let now = clock::now();
        // A grace beyond what the clock can tell is as good as a year.
        let deadline = now.checked_add(grace).unwrap_or_else(|| now + Duration::from_secs(365 * 86_400));
        self.post_urgent(Errand::Shutdown(deadline))
    }

    /// Ends the loop at the end of its turn; open connections are cut.
    ///
    /// # Errors
    /// [`PostError::Stopped`]: the loop has ended.
    pub fn stop(&self) -> Result<(), PostError> {
        self.post_urgent(Errand::Stop)
    }

    /// What the loop has counted.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.counters.snapshot()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn post(&self, errand: Errand) -> Result<(), PostError> {
        self.try_post(errand).map_err(|(error, _)| error)
    }

    /// Posts even into a full mailbox: for the few messages that the program's life depends on.
    pub(crate) fn post_urgent(&self, errand: Errand) -> Result<(), PostError> {
        self.postbox.post_urgent(Mail::Errand(Box::new(errand))).map_err(|(error, _)| error)
    }

    pub(crate) fn try_post(&self, errand: Errand) -> Result<(), (PostError, Mail<S>)> {
        self.postbox.post(Mail::Errand(Box::new(errand)))
    }
}

impl<S> Clone for LoopHandle<S> {
    fn clone(&self) -> Self {
        Self { postbox: self.postbox.clone(), counters: Arc::clone(&self.counters) }
    }
}

impl<S> fmt::Debug for LoopHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_two_words_in_the_queue() {
        assert_eq!(size_of::<Mail<()>>(), 16);
    }
}
