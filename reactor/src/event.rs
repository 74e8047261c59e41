//! What the kernel tells about a descriptor.

use crate::token::Token;

/// One thing that happened to one source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) token: Token,
    pub(crate) readiness: Readiness,
}

impl Event {
    /// The event as epoll(7) tells it. Each was registered with a token, so its word is one.
    #[inline]
    pub(crate) fn from_raw(raw: &libc::epoll_event) -> Option<Self> {
        Some(Self { token: Token::from_word(raw.u64)?, readiness: Readiness(raw.events) })
    }
}

/// The event bits of epoll(7), as told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness(pub(crate) u32);

impl Readiness {
    /// Bytes to read and room to write: what a connection in good health tells.
    pub(crate) const PLAIN: Self = Self((libc::EPOLLIN | libc::EPOLLOUT).cast_unsigned());

    /// Reading would get somewhere: bytes, the end of the stream, or an error.
    #[inline]
    pub(crate) fn is_readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// Writing would get somewhere: room, or an error.
    #[inline]
    pub(crate) fn is_writable(self) -> bool {
        self.has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// A short read does not mean drained: an urgent mark, an end or an error may stand behind it.
    #[inline]
    pub(crate) fn hides_more(self) -> bool {
        self.has(libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// An error waits on the socket.
    #[inline]
    pub(crate) fn is_error(self) -> bool {
        self.has(libc::EPOLLERR)
    }

    #[inline]
    fn has(self, flags: libc::c_int) -> bool {
        self.0 & flags.cast_unsigned() != 0
    }
}
