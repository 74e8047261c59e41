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

/// What the kernel has told of a descriptor: the event bits of epoll(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness(pub(crate) u32);

impl Readiness {
    /// Bytes to read and room to write: what a connection in good health tells.
    pub(crate) const PLAIN: Self = Self((libc::EPOLLIN | libc::EPOLLOUT).cast_unsigned());

    /// Nothing has been told.
    pub(crate) const NONE: Self = Self(0);

    /// Reading would get somewhere: bytes, the end of the stream, or an error.
    #[must_use]
    #[inline]
    pub fn is_readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// Writing would get somewhere: room, or an error.
    #[must_use]
    #[inline]
    pub fn is_writable(self) -> bool {
        self.has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// A short read does not mean drained: an urgent mark, an end or an error may stand behind it.
    #[inline]
    pub(crate) fn hides_more(self) -> bool {
        self.has(libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
    }

    /// An error waits; on the writing end of a pipe, nobody reads any more.
    #[must_use]
    #[inline]
    pub fn is_error(self) -> bool {
        self.has(libc::EPOLLERR)
    }

    /// The other end has hung up. What it sent before may still be read.
    #[must_use]
    pub fn is_hangup(self) -> bool {
        self.has(libc::EPOLLHUP)
    }

    /// Something exceptional has happened: see [`Interest::PRIORITY`](crate::Interest::PRIORITY).
    #[must_use]
    pub fn is_priority(self) -> bool {
        self.has(libc::EPOLLPRI)
    }

    /// What either tells.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    fn has(self, flags: libc::c_int) -> bool {
        self.0 & flags.cast_unsigned() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_told_under_its_name() {
        let told = |flags: libc::c_int| Readiness(flags.cast_unsigned());
        let names = |readiness: Readiness| {
            [
                readiness.is_readable(),
                readiness.is_writable(),
                readiness.is_error(),
                readiness.is_hangup(),
                readiness.is_priority(),
            ]
        };
        assert_eq!(names(Readiness::NONE), [false; 5]);
        assert_eq!(names(told(libc::EPOLLIN)), [true, false, false, false, false]);
        assert_eq!(names(told(libc::EPOLLOUT)), [false, true, false, false, false]);
        // Whoever reads or writes finds these out.
        assert_eq!(names(told(libc::EPOLLERR)), [true, true, true, false, false]);
        assert_eq!(names(told(libc::EPOLLHUP)), [true, true, false, true, false]);
        assert_eq!(names(told(libc::EPOLLPRI)), [true, false, false, false, true]);
        assert_eq!(names(told(libc::EPOLLRDHUP)), [true, false, false, false, false]);
    }
}
