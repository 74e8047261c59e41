//! Threads, and waiting for one another: those of the standard library, or of a simulation; see pthreads(7).

use std::io;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A thread that was started.
#[derive(Debug)]
pub(crate) enum Thread {
    Real(thread::JoinHandle<()>),
    #[cfg(feature = "sim")]
    Simulated(crate::sim::thread::SimThread<()>),
}

/// Starts a thread.
pub(crate) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    #[cfg(feature = "sim")]
    if crate::sim::world::is_current() {
        return crate::sim::thread::SimThread::try_start(&name, run).map(Thread::Simulated);
    }
    thread::Builder::new().name(name).spawn(run).map(Thread::Real)
}

impl Thread {
    /// Waits for its end.
    ///
    /// # Errors
    /// What it panicked with.
    pub(crate) fn join(self) -> thread::Result<()> {
        match self {
            Self::Real(thread) => thread.join(),
            #[cfg(feature = "sim")]
            Self::Simulated(thread) => thread.join(),
        }
    }
}

/// How many processors this process may use.
pub(crate) fn available_parallelism() -> io::Result<usize> {
    // The same on every machine.
    #[cfg(feature = "sim")]
    if crate::sim::world::is_current() {
        return Ok(2);
    }
    thread::available_parallelism().map(NonZero::get)
}

/// A value behind a lock, and waiting for it to change.
#[derive(Debug, Default)]
pub(crate) struct Monitor<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Monitor<T> {
    /// Changes the value; who waits looks at it again.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        #[cfg(feature = "sim")]
        crate::sim::world::unpark();
        result
    }

    /// [`change`](Self::change) after which one of those who wait, all for the same, has something to do.
    pub(crate) fn change_for_one<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_one();
        #[cfg(feature = "sim")]
        crate::sim::world::unpark();
        result
    }

    /// Waits for as long as `waits` holds.
    pub(crate) fn wait_while(&self, waits: impl Fn(&T) -> bool) -> MutexGuard<'_, T> {
        #[cfg(feature = "sim")]
        while crate::sim::world::goes_on() && waits(&self.lock()) {
            crate::sim::world::park(None);
        }
        self.changed.wait_while(self.lock(), |value| waits(value)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for as long as `waits` holds, for at most `longest`.
    pub(crate) fn wait_while_for(&self, longest: Duration, waits: impl Fn(&T) -> bool) -> MutexGuard<'_, T> {
        #[cfg(feature = "sim")]
        if let Some(now) = crate::sim::world::now_ns() {
            let until = now.saturating_add(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX));
            while crate::sim::world::goes_on() && crate::sim::world::now_ns() < Some(until) && waits(&self.lock()) {
                crate::sim::world::park(Some(until));
            }
            return self.lock();
        }
        let waited = self.changed.wait_timeout_while(self.lock(), longest, |value| waits(value));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The value, which nobody is told of that it changes.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a channel through which one message goes.
pub(crate) struct Sender<T>(Arc<Monitor<Slot<T>>>);

/// The other end.
pub(crate) struct Receiver<T>(Arc<Monitor<Slot<T>>>);

struct Slot<T> {
    message: Option<T>,
    /// The sender is gone.
    ended: bool,
}

/// A channel through which one message goes.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Slot { message: None, ended: false };
    let shared = Arc::new(Monitor { value: Mutex::new(slot), changed: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    pub(crate) fn send(self, message: T) {
        self.0.change(|slot| slot.message = Some(message));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.change(|slot| slot.ended = true);
    }
}

impl<T> Receiver<T> {
    /// Waits for the message; `None`: the sender is gone without one.
    pub(crate) fn recv(self) -> Option<T> {
        self.0.wait_while(|slot| slot.message.is_none() && !slot.ended).message.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_arrives_and_a_sender_that_is_gone_sends_none() {
        let (sender, receiver) = channel();
        let thread = spawn("sender".to_owned(), move || sender.send(7)).unwrap();
        assert_eq!(receiver.recv(), Some(7));
        thread.join().unwrap();
        let (sender, receiver) = channel::<i32>();
        drop(sender);
        assert_eq!(receiver.recv(), None);
    }

    #[test]
    fn a_panic_is_what_the_join_answers() {
        let thread = spawn("panics".to_owned(), || panic!("on purpose")).unwrap();
        assert!(thread.join().is_err());
    }
}
