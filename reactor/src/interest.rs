//! What the kernel is asked about a descriptor, once, when it is registered.

/// The events that a source asks for; see epoll_ctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest(u32);

impl Interest {
    /// A stream socket: both directions, edge-triggered. It is never changed: pausing is a bit of the connection.
    pub(crate) const STREAM: Self =
        Self(bits(libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | URGENT | libc::EPOLLET));
    /// A listener or a datagram socket of one loop, a signal descriptor or the loop's own waker.
    pub(crate) const READ: Self = Self(bits(libc::EPOLLIN | libc::EPOLLET));
    /// A datagram socket with datagrams to send for which there was no room.
    pub(crate) const BOTH: Self = Self(bits(libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET));
    /// A listener or a datagram socket that several loops share: what comes wakes one of those that sleep.
    pub(crate) const SHARED_LISTENER: Self = Self(bits(libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE));

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }
}

/// Miri knows no urgent data.
const URGENT: libc::c_int = if cfg!(miri) { 0 } else { libc::EPOLLPRI };

const fn bits(flags: libc::c_int) -> u32 {
    flags.cast_unsigned()
}
