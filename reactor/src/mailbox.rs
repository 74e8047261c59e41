//! Messages to a loop from any thread: a bounded queue and one wake-up for many messages.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::sync::channel::{self, Receiver, Sender};
use crate::sync::{AtomicBool, Ordering};
use crate::sys::eventfd;
use crate::sys::fd::{Fd, FdRef};
use crate::wake::WakeFlag;

/// Why a message did not go into a loop's mailbox. Nothing of it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// As many messages wait as [`Limits::mailbox`](crate::Limits::mailbox) allows: the loop is overloaded, try later.
    Full,
    /// The loop has ended.
    Stopped,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the loop's mailbox is full",
            Self::Stopped => "the loop has ended",
        })
    }
}

impl std::error::Error for PostError {}

impl From<PostError> for io::Error {
    fn from(error: PostError) -> Self {
        let kind = match error {
            PostError::Full => io::ErrorKind::WouldBlock,
            PostError::Stopped => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}

/// The end that any thread posts to.
pub(crate) struct Postbox<M> {
    queue: Sender<M>,
    shared: Arc<Shared>,
}

impl<M> Postbox<M> {
    /// Queues the message, and wakes the loop if it sleeps. On failure the message comes back.
    pub(crate) fn post(&self, message: M) -> Result<(), (PostError, M)> {
        if self.shared.flag.waiting() >= self.shared.capacity {
            return Err((PostError::Full, message));
        }
        self.post_urgent(message)
    }

    /// Queues the message beyond the bound.
    pub(crate) fn post_urgent(&self, message: M) -> Result<(), (PostError, M)> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err((PostError::Stopped, message));
        }
        self.queue.send(message).map_err(|refused| (PostError::Stopped, refused.0))?;
        if self.shared.flag.post() {
            self.shared.wake();
        }
        Ok(())
    }
}

impl<M> Clone for Postbox<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// The end that the loop reads.
pub(crate) struct Mailbox<M> {
    queue: Receiver<M>,
    shared: Arc<Shared>,
}

impl<M> Mailbox<M> {
    /// A mailbox in which at most `capacity` messages wait.
    pub(crate) fn new(capacity: usize) -> io::Result<(Postbox<M>, Self)> {
        // The count in the flag bounds the queue, so memory is taken as messages come and not for `capacity` at once.
        let (sender, receiver) = channel::unbounded();
        let shared = Arc::new(Shared {
            flag: WakeFlag::default(),
            waker: eventfd::create()?,
            closed: AtomicBool::new(false),
            capacity,
        });
        let postbox = Postbox { queue: sender, shared: Arc::clone(&shared) };
        Ok((postbox, Self { queue: receiver, shared }))
    }

    /// The descriptor on which an edge comes when a message arrives while the loop sleeps. It need not be read.
    pub(crate) fn waker(&self) -> FdRef<'_> {
        self.shared.waker.as_fd()
    }

    /// See [`WakeFlag::sleep`].
    pub(crate) fn sleep(&self) -> bool {
        self.shared.flag.sleep()
    }

    /// See [`WakeFlag::awake`].
    pub(crate) fn awake(&self) {
        self.shared.flag.awake();
    }

    /// Whether a message waits.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.shared.flag.waiting() > 0
    }

    /// The loop has ended: from here posting is an error.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    /// The next message.
    pub(crate) fn take(&self) -> Option<M> {
        let message = self.queue.try_recv().ok()?;
        self.shared.flag.taken(1);
        Some(message)
    }
}

struct Shared {
    flag: WakeFlag,
    waker: Fd,
    /// The loop has ended, though its mailbox is there still.
    closed: AtomicBool,
    capacity: usize,
}

impl Shared {
    fn wake(&self) {
        // An eventfd that is open takes a count or is full, and then it is ready already.
        if let Err(error) = eventfd::signal(self.waker.as_fd()) {
            log::error!("could not wake a loop: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_the_message_comes_back() {
        let (postbox, mailbox) = Mailbox::new(2).unwrap();
        postbox.post('a').unwrap();
        postbox.post('b').unwrap();
        assert_eq!(postbox.post('c'), Err((PostError::Full, 'c')));
        assert_eq!(mailbox.take(), Some('a'));
        postbox.post('c').unwrap();
    }

    #[test]
    fn posting_to_a_dead_loop_is_an_error() {
        let (postbox, mailbox) = Mailbox::new(2).unwrap();
        drop(mailbox);
        assert_eq!(postbox.post(1), Err((PostError::Stopped, 1)));
    }

    #[test]
    fn no_message_of_many_threads_is_lost() {
        let (postbox, mailbox) = Mailbox::new(1_000_000).unwrap();
        let threads: u32 = if cfg!(miri) { 2 } else { 4 };
        let each: u32 = if cfg!(miri) { 50 } else { 10_000 };
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let postbox = postbox.clone();
                scope.spawn(move || (0..each).for_each(|n| postbox.post((thread, n)).unwrap()));
            }
            let mut next = vec![0; threads as usize];
            while next.iter().any(|&n| n < each) {
                while let Some((thread, n)) = mailbox.take() {
                    assert_eq!(std::mem::replace(&mut next[thread as usize], n + 1), n);
                }
                std::thread::yield_now();
            }
        });
    }
}
