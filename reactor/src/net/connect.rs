//! How an outgoing connection is made: options, the socket, and the checks once it is up.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::sys::fd::{Fd, FdRef};
use crate::sys::{option, socket};

/// How to connect.
///
/// ```
/// use std::time::Duration;
/// use reactor::ConnectOptions;
///
/// let options = ConnectOptions::default().deadline(Duration::from_millis(500));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// How long the connection may take to be made. Default 10 s. Millisecond resolution.
    pub deadline: Duration,
    /// The local address to bind first, port 0 for any; `None` leaves it to the kernel. See bind(2).
    pub local: Option<SocketAddr>,
    /// `TCP_NODELAY`: small messages leave at once. Default on. See tcp(7).
    pub nodelay: bool,
    /// Once connected: closed when nothing moves in either direction for so long; `None`: never.
    pub idle_timeout: Option<Duration>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), local: None, nodelay: true, idle_timeout: None }
    }
}

impl ConnectOptions {
    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets [`local`](Self::local).
    #[must_use]
    pub fn local(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }
}

/// A socket on its way to `target`. It turns writable when the attempt has ended, one way or the other.
pub(crate) fn begin(target: &SocketAddress, options: &ConnectOptions) -> io::Result<Fd> {
    let fd = socket::stream(target)?;
    if let SocketAddress::Inet(_) = target {
        option::set_nodelay(fd.as_fd(), options.nodelay)?;
    }
    if let Some(local) = options.local {
        bind(fd.as_fd(), local)?;
    }
    socket::connect(fd.as_fd(), target)?;
    Ok(fd)
}

/// How the attempt ended: `Ok(true)` connected, `Ok(false)` still under way, or the error.
pub(crate) fn outcome(fd: FdRef<'_>) -> io::Result<bool> {
    if let Some(error) = option::take_error(fd)? {
        return Err(error);
    }
    let peer = match socket::peer_address(fd) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
        peer => peer?,
    };
    // A connect to a local port that nobody listens on can meet itself: the kernel picks that very port for our end.
    let unnamed = peer.as_inet().is_none();
    if !unnamed && socket::local_address(fd)? == peer {
        return Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "the socket connected to itself: nobody listens there",
        ));
    }
    Ok(true)
}

fn bind(fd: FdRef<'_>, local: SocketAddr) -> io::Result<()> {
    option::set_reuse_address(fd)?;
    socket::bind(fd, &local.into())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot use the local address {local}: {error}")))
}
