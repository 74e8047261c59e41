//! The loop's view of epoll(7): register once, wait, read events.

use std::io;
use std::mem;
use std::time::Duration;

use crate::interest::Interest;
use crate::sys::epoll::{self, EventBuffer};
use crate::sys::fd::{Fd, FdRef};
use crate::token::Token;

/// One epoll instance and room for the events of one wait.
pub(crate) struct Poller {
    epoll: Fd,
    events: EventBuffer,
    /// Whether the kernel takes timeouts in nanoseconds, as far as is known.
    precise: bool,
}

impl Poller {
    pub(crate) fn new(events_per_wait: usize) -> io::Result<Self> {
        Ok(Self { epoll: epoll::create()?, events: EventBuffer::new(events_per_wait), precise: true })
    }

    /// Watches `fd`; what happens to it comes as events with `token`.
    pub(crate) fn register(&self, fd: FdRef<'_>, interest: Interest, token: Token) -> io::Result<()> {
        epoll::add(self.epoll.as_fd(), fd, interest.bits(), token.word())
    }

    /// Watches `fd`, which is watched, for something else. What is there already is told.
    pub(crate) fn change(&self, fd: FdRef<'_>, interest: Interest, token: Token) -> io::Result<()> {
        epoll::modify(self.epoll.as_fd(), fd, interest.bits(), token.word())
    }

    /// Whether it is of the simulated kernel.
    pub(crate) fn is_simulated(&self) -> bool {
        self.epoll.as_fd().is_simulated()
    }

    /// Forgets `fd`. Closing a descriptor does as much, so this is for those that stay open.
    pub(crate) fn deregister(&self, fd: FdRef<'_>) -> io::Result<()> {
        epoll::delete(self.epoll.as_fd(), fd)
    }

    /// Waits for events, for at most `timeout` (`None`: for ever), and says how many came.
    ///
    /// A signal ends the wait early with `Interrupted`.
    #[inline]
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let Some(timeout) = timeout else {
            return epoll::wait(self.epoll.as_fd(), &mut self.events, -1);
        };
        if timeout.is_zero() {
            return epoll::wait(self.epoll.as_fd(), &mut self.events, 0);
        }
        self.wait_for(timeout)
    }

    /// How many events one wait can bring.
    pub(crate) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    /// Takes out the events of the last wait; they are to be given back before the next.
    pub(crate) fn take_events(&mut self) -> EventBuffer {
        mem::take(&mut self.events)
    }

    pub(crate) fn give_back(&mut self, events: EventBuffer) {
        self.events = events;
    }

    // Out of line: a busy loop waits with no deadline or not at all.
    #[inline(never)]
    fn wait_for(&mut self, timeout: Duration) -> io::Result<usize> {
        if self.precise && timeout < PRECISE_BELOW {
            match epoll::wait_precise(self.epoll.as_fd(), &mut self.events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => self.precise = false,
                result => return result,
            }
        }
        epoll::wait(self.epoll.as_fd(), &mut self.events, round_up_to_ms(timeout))
    }
}

/// Timers count milliseconds, so a fraction of one matters only for short waits.
const PRECISE_BELOW: Duration = Duration::from_secs(60);

/// A deadline must not be met early, so fractions count as a whole millisecond.
fn round_up_to_ms(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::registry::Key;
    use crate::sys::eventfd;

    fn token(index: u32) -> Token {
        Token::new(0, Key { index, generation: 1 })
    }

    #[test]
    fn a_descriptor_that_was_taken_out_is_silent_and_may_come_again() {
        let mut poller = Poller::new(4).unwrap();
        let event = eventfd::create().unwrap();
        for index in 0..3 {
            poller.register(event.as_fd(), Interest::READ, token(index)).unwrap();
            poller.deregister(event.as_fd()).unwrap();
            // Nothing is told, whether it happened before or after.
            eventfd::signal(event.as_fd()).unwrap();
            assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), 0);
        }
        poller.register(event.as_fd(), Interest::READ, token(7)).unwrap();
        assert_eq!(poller.wait(None).unwrap(), 1);
        let told = poller.take_events().first(1).iter().find_map(Event::from_raw).unwrap();
        assert_eq!(told.token, token(7));
    }

    #[test]
    fn what_is_not_there_cannot_be_taken_out_and_what_is_there_not_come_twice() {
        let mut poller = Poller::new(4).unwrap();
        let event = eventfd::create().unwrap();
        assert_eq!(poller.deregister(event.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
        poller.register(event.as_fd(), Interest::READ, token(1)).unwrap();
        let again = poller.register(event.as_fd(), Interest::READ, token(2));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        // The first is as it was.
        eventfd::signal(event.as_fd()).unwrap();
        assert_eq!(poller.wait(None).unwrap(), 1);
        let told = poller.take_events().first(1).iter().find_map(Event::from_raw).unwrap();
        assert_eq!(told.token, token(1));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri's epoll refuses files by an abort")]
    fn what_can_never_be_ready_cannot_be_watched() {
        let poller = Poller::new(1).unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let error = poller.register(std::os::fd::AsFd::as_fd(&file).into(), Interest::READ, token(1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri's epoll cannot be watched")]
    fn a_poller_may_watch_another_one() {
        let (mut outer, mut inner) = (Poller::new(1).unwrap(), Poller::new(1).unwrap());
        let event = eventfd::create().unwrap();
        inner.register(event.as_fd(), Interest::READ, token(1)).unwrap();
        outer.register(inner.epoll.as_fd(), Interest::READ, token(2)).unwrap();
        assert_eq!(outer.wait(Some(Duration::ZERO)).unwrap(), 0);
        eventfd::signal(event.as_fd()).unwrap();
        assert_eq!((outer.wait(None).unwrap(), inner.wait(None).unwrap()), (1, 1));
    }

    #[test]
    fn a_timeout_is_never_cut_short() {
        assert_eq!(round_up_to_ms(Duration::from_nanos(1)), 1);
        assert_eq!(round_up_to_ms(Duration::from_millis(7)), 7);
        assert_eq!(round_up_to_ms(Duration::from_nanos(7_000_001)), 8);
        assert_eq!(round_up_to_ms(Duration::MAX), i32::MAX);
    }
}
