//! Messages to a loop from any thread: a bounded queue and one wake-up for many messages.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};

use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::sys::eventfd;
use crate::sys::fd::{Fd, FdRef};

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
    shared: Arc<Shared<M>>,
}

impl<M> Postbox<M> {
    /// Queues the message, and wakes the loop if it sleeps. On failure the message comes back.
    pub(crate) fn post(&self, message: M) -> Result<(), (PostError, M)> {
        self.shared.post(message, self.shared.capacity)
    }

    /// Queues the message beyond the bound.
    pub(crate) fn post_urgent(&self, message: M) -> Result<(), (PostError, M)> {
        self.shared.post(message, usize::MAX)
    }
}

impl<M> Clone for Postbox<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The end that the loop reads. Dropped, it drops what waits and takes no more.
pub(crate) struct Mailbox<M> {
    /// Taken over from the queue, all at once, and next to be read.
    batch: VecDeque<M>,
    shared: Arc<Shared<M>>,
}

impl<M> Mailbox<M> {
    /// A mailbox in which at most `capacity` messages wait.
    pub(crate) fn new(capacity: usize) -> io::Result<(Postbox<M>, Self)> {
        let queue = Queue { messages: VecDeque::new(), batch: 0, closed: false };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            posted: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            unread: Unread(AtomicUsize::new(0)),
            waker: eventfd::create()?,
            capacity,
        });
        Ok((Postbox { shared: Arc::clone(&shared) }, Self { batch: VecDeque::new(), shared }))
    }

    /// The descriptor on which an edge comes when a message arrives while the loop sleeps. It need not be read.
    pub(crate) fn waker(&self) -> FdRef<'_> {
        self.shared.waker.as_fd()
    }

    /// The loop means to sleep. `false`: it must not, a message waits.
    pub(crate) fn sleep(&self) -> bool {
        let queue = self.shared.lock();
        let sleeps = self.batch.is_empty() && queue.messages.is_empty();
        self.shared.asleep.store(sleeps, Ordering::Relaxed);
        sleeps
    }

    /// The loop is awake again, whoever woke it: from here posting costs no system call.
    pub(crate) fn awake(&self) {
        // Without the lock: a poster who misses it wakes a loop that is awake, and that is all.
        self.shared.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether a message waits. One that is being posted right now may be missing; [`sleep`](Self::sleep) misses none.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        !self.batch.is_empty() || self.shared.posted.load(Ordering::Relaxed)
    }

    /// The loop has ended: from here posting is an error.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
    }

    /// The next message.
    pub(crate) fn take(&mut self) -> Option<M> {
        if !self.has_mail() {
            return None;
        }
        if self.batch.is_empty() {
            self.take_over();
        }
        let message = self.batch.pop_front()?;
        self.shared.unread.0.store(self.batch.len(), Ordering::Relaxed);
        if self.batch.is_empty() {
            // What a burst needed is given back when it is over.
            self.batch.shrink_to(KEPT);
        }
        Some(message)
    }

    /// Changes the empty batch for the queue.
    fn take_over(&mut self) {
        let mut queue = self.shared.lock();
        mem::swap(&mut self.batch, &mut queue.messages);
        queue.batch = self.batch.len();
        self.shared.unread.0.store(queue.batch, Ordering::Relaxed);
        self.shared.posted.store(false, Ordering::Relaxed);
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let messages = mem::take(&mut queue.messages);
        // What is dropped with a message may post, so that is not done under the lock.
        drop(queue);
        drop(messages);
    }
}

/// What both ends hold.
struct Shared<M> {
    queue: Mutex<Queue<M>>,
    /// Whether the queue holds a message, for a look without the lock. It changes under the lock.
    posted: AtomicBool,
    unread: Unread,
    /// The loop sleeps or is about to. Who finds it so with a message in his hands is the one to wake it. It becomes true
    /// under the lock.
    asleep: AtomicBool,
    waker: Fd,
    capacity: usize,
}

/// How many messages of the batch were not read yet. The loop writes it with every message that it reads, so it is to be
/// alone in its lines of the cache (the processor fetches them in pairs).
#[repr(align(128))]
struct Unread(AtomicUsize);

/// What is under the lock, which is held for some nanoseconds at a time: to queue one message, or to take over all.
struct Queue<M> {
    messages: VecDeque<M>,
    /// How many messages the loop took over last: as many at most wait there.
    batch: usize,
    /// The loop has ended, though its mailbox may be there still.
    closed: bool,
}

impl<M> Shared<M> {
    fn post(&self, message: M, capacity: usize) -> Result<(), (PostError, M)> {
        if self.queue(message, capacity)? {
            self.wake();
        }
        Ok(())
    }

    /// Queues the message. `true`: the loop sleeps, and this caller is the one to wake it.
    fn queue(&self, message: M, capacity: usize) -> Result<bool, (PostError, M)> {
        let mut queue = self.lock();
        if queue.closed {
            return Err((PostError::Stopped, message));
        }
        if self.is_full(&queue, capacity) {
            return Err((PostError::Full, message));
        }
        queue.messages.push_back(message);
        self.posted.store(true, Ordering::Relaxed);
        let wakes = self.asleep.load(Ordering::Relaxed);
        if wakes {
            self.asleep.store(false, Ordering::Relaxed);
        }
        Ok(wakes)
    }

    fn is_full(&self, queue: &Queue<M>, capacity: usize) -> bool {
        let waiting = queue.messages.len();
        // The exact number is asked for in need only: the loop writes to it with every message that it reads.
        waiting + queue.batch >= capacity && waiting + self.unread.0.load(Ordering::Relaxed) >= capacity
    }

    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // An eventfd that is open takes a count or is full, and then it is ready already.
        if let Err(error) = eventfd::signal(self.waker.as_fd()) {
            log::error!("could not wake a loop: {error}");
        }
    }
}

/// Messages that there is room for even when none wait: as many as a turn reads by default.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_the_message_comes_back() {
        let (postbox, mut mailbox) = Mailbox::new(2).unwrap();
        postbox.post('a').unwrap();
        postbox.post('b').unwrap();
        assert_eq!(postbox.post('c'), Err((PostError::Full, 'c')));
        assert_eq!(mailbox.take(), Some('a'));
        postbox.post('c').unwrap();
        assert_eq!(postbox.post('d'), Err((PostError::Full, 'd')));
        postbox.post_urgent('e').unwrap();
        assert_eq!(std::iter::from_fn(|| mailbox.take()).collect::<String>(), "bce");
    }

    #[test]
    fn posting_to_a_dead_loop_is_an_error() {
        let (postbox, mailbox) = Mailbox::new(2).unwrap();
        drop(mailbox);
        assert_eq!(postbox.post(1), Err((PostError::Stopped, 1)));
    }

    #[test]
    fn only_the_first_of_a_burst_wakes_a_loop_that_sleeps() {
        let (postbox, mut mailbox) = Mailbox::new(9).unwrap();
        let wakes = |message| postbox.shared.queue(message, 9).unwrap();
        assert!(!wakes(1), "it was awake");
        assert!(!mailbox.sleep(), "a message waits");
        assert_eq!(mailbox.take(), Some(1));
        assert!(mailbox.sleep());
        assert_eq!([2, 3].map(wakes), [true, false]);
        assert_eq!(mailbox.take(), Some(2));
        assert!(!mailbox.sleep(), "a message of the batch waits");
        assert_eq!(mailbox.take(), Some(3));
        assert!(mailbox.sleep());
        mailbox.awake();
        assert!(!wakes(4));
    }

    #[test]
    fn a_message_whose_drop_posts_does_not_lock_up_a_loop_that_ends() {
        /// Posts one more of its kind as it is dropped, as long as there are more to come.
        struct Chain(Postbox<Chain>, u32);
        impl Drop for Chain {
            fn drop(&mut self) {
                if let Some(more) = self.1.checked_sub(1) {
                    assert!(self.0.post(Self(self.0.clone(), more)).is_err(), "the loop has ended");
                }
            }
        }
        let (postbox, mailbox) = Mailbox::new(9).unwrap();
        assert!(postbox.post(Chain(postbox.clone(), 3)).is_ok());
        drop(mailbox);
    }

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let (postbox, mut mailbox) = Mailbox::new(usize::MAX).unwrap();
        (0..10 * KEPT).for_each(|n| postbox.post(n).unwrap());
        while mailbox.take().is_some() {}
        assert!(mailbox.batch.capacity() < 2 * KEPT);
        assert!(postbox.shared.lock().messages.capacity() < 2 * KEPT);
    }

    #[test]
    fn an_error_becomes_one_of_io_and_keeps_its_text() {
        for (error, kind) in
            [(PostError::Full, io::ErrorKind::WouldBlock), (PostError::Stopped, io::ErrorKind::BrokenPipe)]
        {
            let told = io::Error::from(error);
            assert_eq!((told.kind(), told.to_string()), (kind, error.to_string()));
        }
    }

    #[test]
    fn no_message_of_many_threads_is_lost() {
        let (postbox, mut mailbox) = Mailbox::new(1_000_000).unwrap();
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
                    assert_eq!(mem::replace(&mut next[thread as usize], n + 1), n);
                }
                std::thread::yield_now();
            }
        });
    }
}
