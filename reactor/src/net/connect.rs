//! How an outgoing connection is made: options, the socket, and the checks once it is up.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::net::reconnect::Reconnect;
use crate::net::socket_options::{Role, SocketOptions};
use crate::rate::Rates;
use crate::sys::fd::FdRef;
use crate::sys::{option, socket};
use crate::timeouts::Timeouts;

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
    /// How long the connection may take to be made, with the look-up of the host and all addresses. Each address has an
    /// equal share of the time that is left when its turn comes. Default 10 s. Millisecond resolution.
    pub deadline: Duration,
    /// How many addresses of the target are tried; the others are left alone. Default 16.
    pub max_addresses: usize,
    /// Whether to try again when it has failed, each time with the whole deadline, and with the host looked up anew;
    /// `None`, the default: no. The handler hears of the last failure alone.
    pub reconnect: Option<Reconnect>,
    /// The local address to bind first, port 0 for any; `None` leaves it to the kernel. A port that is in use is an error.
    /// See bind(2).
    pub local: Option<SocketAddr>,
    /// Options of the socket, set before it connects.
    pub socket: SocketOptions,
    /// Once connected: closed when nothing moves in either direction for so long; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Once connected: further deadlines. Default none.
    pub timeouts: Timeouts,
    /// Once connected: rate limits. Default none.
    pub rates: Rates,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            max_addresses: 16,
            reconnect: None,
            local: None,
            socket: SocketOptions::default(),
            idle_timeout: None,
            timeouts: Timeouts::default(),
            rates: Rates::default(),
        }
    }
}

impl ConnectOptions {
    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets [`max_addresses`](Self::max_addresses), of which there is one at least.
    #[must_use]
    pub fn max_addresses(mut self, count: usize) -> Self {
        self.max_addresses = count;
        self
    }

    /// Sets [`reconnect`](Self::reconnect).
    #[must_use]
    pub fn reconnect(mut self, policy: impl Into<Option<Reconnect>>) -> Self {
        self.reconnect = policy.into();
        self
    }

    /// Sets [`local`](Self::local).
    #[must_use]
    pub fn local(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Sets [`socket`](Self::socket).
    #[must_use]
    pub fn socket(mut self, options: SocketOptions) -> Self {
        self.socket = options;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Sets [`timeouts`](Self::timeouts).
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets [`rates`](Self::rates).
    #[must_use]
    pub fn rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }
}

/// Sends a fresh socket on its way to `target`. It turns writable when that has ended, one way or the other.
pub(crate) fn begin(fd: FdRef<'_>, target: &SocketAddress, options: &ConnectOptions) -> io::Result<()> {
    options.socket.apply(fd, target, Role::Connecting)?;
    if let Some(local) = options.local {
        bind(fd, local)?;
    }
    socket::connect(fd, target)?;
    Ok(())
}

/// How the attempt ended: `Ok(true)` connected, `Ok(false)` still under way, or the error. One that opens fast is writable before
/// it is connected: it begins to connect with the first bytes.
pub(crate) fn outcome(fd: FdRef<'_>, opens_fast: bool) -> io::Result<bool> {
    if let Some(error) = option::take_error(fd)? {
        return Err(error);
    }
    let peer = match socket::peer_address(fd) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(opens_fast),
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
