//! What the kernel is asked about a descriptor, once, when it is registered.

use std::ops::BitOr;

/// What a [`Source`](crate::Source) wants to be told of its descriptor; see epoll_ctl(2).
///
/// It is told of changes (`EPOLLET`), not of states. Errors and hang-ups are told always.
///
/// ```
/// use reactor::Interest;
///
/// assert_eq!(Interest::READ | Interest::WRITE, Interest::BOTH);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// There is something to read.
    // Also a listener or a datagram socket of one loop, a signal descriptor or the loop's own waker.
    pub const READ: Self = Self(bits(libc::EPOLLIN | libc::EPOLLET));
    /// There is room to write.
    pub const WRITE: Self = Self(bits(libc::EPOLLOUT | libc::EPOLLET));
    /// Both directions.
    // Also a datagram socket with datagrams to send for which there was no room.
    pub const BOTH: Self = Self(bits(libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET));
    /// Something exceptional: urgent data, or a file of the kernel that has changed, such as `/proc/self/mounts`. See
    /// `POLLPRI` in poll(2).
    pub const PRIORITY: Self = Self(bits(libc::EPOLLPRI | libc::EPOLLET));
    /// A stream socket: both directions, edge-triggered. It is changed only when the socket is lent: pausing is a bit of
    /// the connection.
    pub(crate) const STREAM: Self =
        Self(bits(libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | URGENT | libc::EPOLLET));
    /// A stream socket that another thread reads: nothing but its failure is told.
    pub(crate) const LENT: Self = Self(bits(libc::EPOLLET));
    /// A listener or a datagram socket that several loops share: what comes wakes one of those that sleep.
    pub(crate) const SHARED_LISTENER: Self = Self(bits(libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE));

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Miri knows no urgent data.
const URGENT: libc::c_int = if cfg!(miri) { 0 } else { libc::EPOLLPRI };

const fn bits(flags: libc::c_int) -> u32 {
    flags.cast_unsigned()
}
