//! What a loop watches: the kinds of thing that stand in its registry.

use crate::acceptor::Acceptor;
use crate::connection::Connection;
use crate::datagram::Datagram;
use crate::linger::Linger;
use crate::sources::watched::Watched;
use crate::sys::fd::Fd;
use crate::timer::TimerId;

/// One slot of a loop's registry. As large as a connection; the rarer kinds are boxed.
pub(crate) enum Registered {
    Connection(Connection),
    Listener(Box<Acceptor>),
    Datagram(Box<Datagram>),
    /// A descriptor of any other kind.
    Watched(Box<Watched>),
    /// A closed connection whose peer may still send: input is discarded until its end, or until the time is over, or until nothing
    /// is left to be lost.
    Lingering {
        fd: Fd,
        time: Linger,
        /// When the next look is due.
        timer: Option<TimerId>,
        /// Has an entry in the loop's pending queue.
        pending: bool,
    },
    /// The mailbox's descriptor, which lives in the mailbox.
    Waker,
    Signals(Fd),
    /// The rates of the loop, for whose timers it stands.
    Pacer,
    /// A closure that waits for its time.
    Task(TimerId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_the_registry_room_for_vacant_and_retired() {
        assert_eq!(size_of::<Option<Option<Registered>>>(), size_of::<Connection>());
    }

    #[test]
    fn is_no_larger_than_a_connection() {
        assert_eq!(size_of::<Registered>(), size_of::<Connection>());
        assert_eq!(size_of::<Option<Registered>>(), size_of::<Connection>());
    }
}
