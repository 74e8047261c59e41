//! One stream socket: what is known of its readiness, what waits on it, and how far its life has come.

mod extra;
mod flag;
mod reading;
mod writing;

use self::extra::Extra;
pub(crate) use self::flag::Flag;
pub(crate) use self::reading::Fill;
use crate::event::Readiness;
use crate::rate::Direction;
use crate::sys::fd::Fd;
use crate::sys::option;
use crate::wheel::Link;

/// A connection, 32 bytes while it is idle: a loop may hold a million.
pub(crate) struct Connection {
    fd: Fd,
    /// Milliseconds of the loop's clock, cut to 32 bits, at which bytes last moved.
    pub(crate) last_activity: u32,
    /// The idle timeout in milliseconds; 0 is none.
    pub(crate) idle_ms: u32,
    /// The place in the wheel of idle timeouts.
    pub(crate) link: Link,
    flags: u16,
    pub(crate) phase: Phase,
    /// What only a busy connection has.
    extra: Option<Box<Extra>>,
}

/// How far the life of a connection has come; it only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The attempt to connect is under way.
    Connecting,
    Open,
    /// The loop drains: what has arrived is still served, then it closes.
    Finishing,
    /// No more input is served; it closes when the output is flushed.
    Closing,
    /// It has ended and waits to be reaped at the end of the turn.
    Closed,
}

impl Connection {
    /// A connection that is up. A fresh socket has room for output.
    pub(crate) fn open(fd: Fd, now_ms: u32) -> Self {
        Self {
            fd,
            last_activity: now_ms,
            idle_ms: 0,
            link: Link::default(),
            flags: Flag::WRITABLE.0,
            phase: Phase::Open,
            extra: None,
        }
    }

    /// A connection whose attempt to connect is under way.
    pub(crate) fn connecting(fd: Fd, now_ms: u32) -> Self {
        Self { phase: Phase::Connecting, flags: 0, ..Self::open(fd, now_ms) }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    pub(crate) fn into_fd(self) -> Fd {
        self.fd
    }

    #[inline]
    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.flags & flag.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: Flag) {
        self.flags |= flag.0;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flag: Flag) {
        self.flags &= !flag.0;
    }

    /// Sets the flag and says whether it was not set before.
    #[inline]
    pub(crate) fn newly_set(&mut self, flag: Flag) -> bool {
        let newly = !self.has(flag);
        self.set(flag);
        newly
    }

    /// Keeps what the kernel has told.
    #[inline]
    pub(crate) fn note(&mut self, readiness: Readiness) {
        if readiness.is_readable() {
            self.set(Flag::READABLE);
        }
        if readiness.is_writable() {
            self.set(Flag::WRITABLE);
        }
        if readiness.hides_more() {
            self.set(Flag::TO_EAGAIN);
        }
    }

    /// What the kernel has not told of yet is to be looked for, before the connection is judged. Where tokens are needed to
    /// read, bytes are asked for first: who waited for tokens in vain would never be judged.
    #[cold]
    pub(crate) fn look_again(&mut self) {
        let is_empty = self.has(Flag::METERED) && matches!(option::unread(self.fd.as_fd()), Ok(0));
        if !is_empty {
            self.set(Flag::READABLE);
            self.set(Flag::TO_EAGAIN);
        }
        self.set(Flag::WRITABLE);
    }

    /// Whether input is to be read now, as far as the connection itself is concerned.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        const ASKS: u16 = Connection::STOPS | Flag::METERED.0;
        self.has(Flag::READABLE) && (self.flags & ASKS == 0 || self.may_read_metered()) && self.reads_in_phase()
    }

    const STOPS: u16 = Flag::PAUSED.0 | Flag::BLOCKED.0 | Flag::EOF.0 | Flag::REVISIT.0 | Flag::RELAYED.0;

    #[cold]
    fn may_read_metered(&self) -> bool {
        self.flags & Self::STOPS == 0 && !self.is_held(Direction::Input)
    }

    /// Whether after this was told there is input to read and nothing else to do, and what the handler then sends may be
    /// gathered: the common case.
    #[inline]
    pub(crate) fn only_reads(&self, told: Readiness) -> bool {
        const OTHERS: u16 = Flag::PAUSED.0
            | Flag::BLOCKED.0
            | Flag::EOF.0
            | Flag::TO_EAGAIN.0
            | Flag::PENDING.0
            | Flag::TELL_DRAINED.0
            | Flag::REVISIT.0
            | Flag::WRITE_ENDED.0
            | Flag::RELAYED.0
            | Flag::RECEIVES_FDS.0
            | Flag::METERED.0;
        self.phase == Phase::Open && self.flags & OTHERS == 0 && told == Readiness::PLAIN && !self.holds_bytes()
    }

    /// Whether what a callback sends may be gathered: nothing waits, and the kernel may take it.
    #[inline]
    pub(crate) fn gathers(&self) -> bool {
        const BITS: u16 = Flag::WRITABLE.0 | Flag::WRITE_ENDED.0;
        const ASKS: u16 = BITS | Flag::METERED.0;
        let may =
            self.flags & ASKS == Flag::WRITABLE.0 || self.flags & BITS == Flag::WRITABLE.0 && !self.paces_output();
        may && self.reads_in_phase() && self.queued() == 0
    }

    /// Whether input the handler left is to be shown to it again now.
    #[inline]
    pub(crate) fn may_revisit(&self) -> bool {
        const STOPS: u16 = Flag::PAUSED.0 | Flag::BLOCKED.0 | Flag::RELAYED.0;
        self.has(Flag::REVISIT) && self.flags & STOPS == 0 && self.reads_in_phase()
    }

    /// Whether what comes on a relayed connection may be passed on, as far as the connection itself is concerned.
    pub(crate) fn may_pass_on(&self) -> bool {
        !self.has(Flag::PAUSED) && self.reads_in_phase()
    }

    /// Whether the handler may still send.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        !self.has(Flag::WRITE_ENDED) && self.phase <= Phase::Finishing
    }

    #[inline]
    fn reads_in_phase(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Finishing)
    }

    /// Takes another socket, of which the kernel has told nothing yet; the one before is closed.
    pub(crate) fn replace_fd(&mut self, fd: Fd) {
        [Flag::READABLE, Flag::WRITABLE, Flag::TO_EAGAIN, Flag::BROKEN].into_iter().for_each(|flag| self.clear(flag));
        self.fd = fd;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::limits::Limits;
    use crate::pipe_pool::PipePool;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Connection::open(OwnedFd::from(ours).into(), 0), theirs)
    }

    #[test]
    fn an_idle_connection_is_32_bytes() {
        assert_eq!(size_of::<Connection>(), 32);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn a_queue_that_was_flushed_leaves_no_allocation() {
        let (mut connection, _peer) = pair();
        connection.queue(b"hello");
        assert!(connection.extra.is_some());
        assert_eq!(connection.flush(1, usize::MAX, &mut PipePool::new(0)).0, 5);
        assert!(connection.extra.is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn sending_stops_at_eagain_and_clears_the_bit() {
        let (mut connection, _peer) = pair();
        let sent = connection.send_now(&vec![0; 10 << 20]).unwrap();
        assert!(sent < 10 << 20);
        assert!(!connection.has(Flag::WRITABLE));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn a_short_read_is_the_last_unless_more_was_announced() {
        use std::io::Write;
        let (mut connection, mut peer) = pair();
        let (clock, limits) = (Clock::new(), Limits::default());
        let mut into = [0; 16];
        peer.write_all(b"abc").unwrap();
        connection.set(Flag::READABLE);
        assert!(matches!(connection.fill(&mut into, &clock, &limits), Fill::Data(3)));
        assert!(!connection.has(Flag::READABLE));
        peer.write_all(b"abc").unwrap();
        connection.set(Flag::READABLE);
        connection.set(Flag::TO_EAGAIN);
        assert!(matches!(connection.fill(&mut into, &clock, &limits), Fill::Data(3)));
        assert!(connection.has(Flag::READABLE));
        assert!(matches!(connection.fill(&mut into, &clock, &limits), Fill::Empty));
        assert!(!connection.has(Flag::TO_EAGAIN));
    }
}
