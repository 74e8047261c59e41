//! What threads meet at: atomics and a queue. Built with `--cfg loom` they are the model checker's; see docs/testing.md.

pub(crate) use std::sync::atomic::Ordering;

#[cfg(not(all(loom, test)))]
pub(crate) use crossbeam_channel as channel;
#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, fence};
#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, fence};

/// The queue of the library, with no more order in it than the real one promises: who takes a message sees what its
/// sender did before, and who has not heard of a message may find the queue empty.
#[cfg(all(loom, test))]
pub(crate) mod channel {
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use loom::sync::atomic::{AtomicUsize, Ordering};

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let queue = Arc::new(Queue { messages: Mutex::default(), sent: AtomicUsize::new(0) });
        (Sender(Arc::clone(&queue)), Receiver { queue, taken: Cell::new(0) })
    }

    struct Queue<T> {
        messages: Mutex<VecDeque<T>>,
        sent: AtomicUsize,
    }

    pub(crate) struct Sender<T>(Arc<Queue<T>>);

    impl<T> Sender<T> {
        #[allow(clippy::unnecessary_wraps, reason = "the real one fails when the receiver is gone")]
        pub(crate) fn send(&self, message: T) -> Result<(), (T,)> {
            // Other threads go on before the count alone, so the two are one step.
            self.0.sent.fetch_add(1, Ordering::Release);
            self.0.messages.lock().unwrap().push_back(message);
            Ok(())
        }
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    pub(crate) struct Receiver<T> {
        queue: Arc<Queue<T>>,
        taken: Cell<usize>,
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&self) -> Result<T, ()> {
            let taken = self.taken.get();
            if self.queue.sent.load(Ordering::Acquire) == taken {
                return Err(());
            }
            self.taken.set(taken + 1);
            self.queue.messages.lock().unwrap().pop_front().ok_or(())
        }
    }
}
