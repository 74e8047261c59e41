//! A listener in one loop: takes connections until there are none, and rests when the system is short of something.

use std::io;
use std::time::Instant;

use libc::c_int;

use crate::address::SocketAddress;
use crate::net::listener::Listener;
use crate::rate::TokenBucket;
use crate::sys::fd::{Fd, FdRef};
use crate::sys::{eventfd, socket};
use crate::timer::TimerId;

/// A listener and what one loop knows of it.
pub(crate) struct Acceptor {
    listener: Listener,
    /// Which of the loop's handler factories makes its handlers.
    pub(crate) factory: usize,
    /// Other loops watch the socket too, so resting must leave new wake-ups to them.
    pub(crate) shared: bool,
    /// The kernel may have connections: no `EAGAIN` has come since it last said so.
    pub(crate) ready: bool,
    /// Has an entry in the loop's pending queue.
    pub(crate) pending: bool,
    /// Is in the poller. A shared listener is taken out while it rests.
    pub(crate) registered: bool,
    pub(crate) rest: Option<Rest>,
    /// Since when descriptors or kernel memory have been short: each attempt to accept has failed for want of them since.
    pub(crate) short_since: Option<Instant>,
    /// How fast it may accept.
    pub(crate) pace: Option<TokenBucket>,
}

/// Why a listener takes no connections for now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rest {
    /// The loop has as many connections as it may; the next close ends the rest.
    Full,
    /// Descriptors or kernel memory ran short, or accepting was denied; a timer tries again.
    Shortage { retry: TimerId },
    /// It has accepted as many as its rate allows; a timer goes on.
    Paced { retry: TimerId },
}

impl Rest {
    /// The timer that ends it.
    pub(crate) fn retry(self) -> Option<TimerId> {
        match self {
            Self::Full => None,
            Self::Shortage { retry } | Self::Paced { retry } => Some(retry),
        }
    }
}

/// What accepting once brought.
pub(crate) enum Accepted {
    Connection(Fd, SocketAddress),
    /// Nobody waits.
    Empty,
    /// That client is gone already; the next one may be there.
    Gone,
    /// Descriptors or kernel memory are short, or the system does not let us accept for now.
    Shortage(io::Error),
    /// The listener itself failed.
    Failed(io::Error),
}

impl Acceptor {
    pub(crate) fn new(listener: Listener, factory: usize, shared: bool) -> Self {
        Self {
            listener,
            factory,
            shared,
            ready: false,
            pending: false,
            registered: false,
            rest: None,
            short_since: None,
            pace: None,
        }
    }

    pub(crate) fn as_fd(&self) -> FdRef<'_> {
        self.listener.as_fd()
    }

    pub(crate) fn local_address(&self) -> &SocketAddress {
        self.listener.local_address()
    }

    /// Whether the rate lets it take a connection now.
    pub(crate) fn is_in_pace(&mut self, now_ns: u64) -> bool {
        self.pace.as_mut().is_none_or(|bucket| bucket.available(now_ns) > 0)
    }

    /// Takes the next connection.
    pub(crate) fn accept(&mut self) -> Accepted {
        let error = match socket::accept(self.as_fd()) {
            Ok((fd, peer)) => {
                self.short_since = None;
                if let Some(bucket) = &mut self.pace {
                    bucket.take(1);
                }
                return Accepted::Connection(fd, peer);
            }
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EAGAIN) => {
                self.ready = false;
                // The kernel takes a descriptor before it looks whether anybody waits, so there was one.
                self.short_since = None;
                Accepted::Empty
            }
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Accepted::Shortage(error),
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT) => Accepted::Failed(error),
            Some(code) if is_of_client(code) => Accepted::Gone,
            // A security module's denial, say: it leaves the client in the backlog, so it comes again at once.
            _ => Accepted::Shortage(error),
        }
    }
}

/// Whether that is an error of the new socket itself, which accept(2) passes on: the client is gone.
fn is_of_client(code: c_int) -> bool {
    matches!(
        code,
        libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::ETIMEDOUT
    )
}

/// A descriptor held back, to be given up when there is no other: with it a client can be taken out of the backlog and
/// closed, which tells it to go elsewhere.
pub(crate) struct Reserve(Option<Fd>);

impl Reserve {
    pub(crate) fn new() -> Self {
        Self(eventfd::create().ok())
    }

    /// Accepts one client and closes it, with the reserve given up for as long as that takes.
    ///
    /// If there is a descriptor for the reserve beside the client, the shortage has passed just now, and the client is let in.
    pub(crate) fn turn_away(&mut self, acceptor: &mut Acceptor) -> Turned {
        self.0 = None;
        let since = acceptor.short_since;
        let turned = match acceptor.accept() {
            Accepted::Connection(fd, peer) => {
                self.refill();
                if self.0.is_some() {
                    return Turned::In(fd, peer);
                }
                Turned::Away
            }
            Accepted::Gone => Turned::Away,
            Accepted::Empty | Accepted::Shortage(_) | Accepted::Failed(_) => Turned::Nobody,
        };
        // That was no acceptance: the shortage goes on.
        acceptor.short_since = since;
        self.refill();
        turned
    }

    /// Takes a descriptor back into reserve, if it had to be given up and one is free now.
    pub(crate) fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = eventfd::create().ok();
        }
    }
}

/// What became of a client that was to be turned away.
pub(crate) enum Turned {
    Away,
    /// It has a descriptor, as the next ones may have.
    In(Fd, SocketAddress),
    /// Nobody waits, or giving up the reserve did not help.
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::ListenOptions;
    use std::io::{ErrorKind, Read};
    use std::net::TcpStream;

    #[test]
    fn nobody_is_turned_away_once_descriptors_are_back() {
        let listener = Listener::bind("127.0.0.1:0", &ListenOptions::default()).unwrap();
        let mut client = TcpStream::connect(listener.local_address().as_inet().unwrap()).unwrap();
        let (mut acceptor, mut reserve) = (Acceptor::new(listener, 0, false), Reserve::new());
        acceptor.short_since = Some(Instant::now());
        // The kernel may take a moment to count the client.
        let server = loop {
            match reserve.turn_away(&mut acceptor) {
                Turned::Nobody => std::thread::yield_now(),
                Turned::In(fd, _) => break TcpStream::from(std::os::fd::OwnedFd::from(fd)),
                Turned::Away => panic!("there were descriptors for it"),
            }
        };
        assert!(acceptor.short_since.is_none() && reserve.0.is_some());
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(server);
    }
}
