//! A listening socket: bound, listening, and gone from the file system when it is dropped.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::address::{SocketAddress, UnixName};
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::net::socket_options::{Role, SocketOptions};
use crate::rate::{RateLimit, Rates};
use crate::sys::fd::{Fd, FdRef};
use crate::sys::{option, socket};
use crate::timeouts::Timeouts;

/// How to listen, and what the accepted connections start with.
///
/// Options of a socket are set once, on the listener: accepted sockets inherit them, so accepting costs no call for them.
///
/// ```
/// use std::time::Duration;
/// use reactor::ListenOptions;
///
/// let options = ListenOptions::default().idle_timeout(Duration::from_secs(60)).backlog(128);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections that may wait to be accepted; the kernel cuts it at `net.core.somaxconn`. Default 4096.
    pub backlog: u32,
    /// `SO_REUSEPORT`: other sockets may bind the port too, and the kernel spreads connections over them. Default off, so
    /// that a second server on the port fails. TCP only. See socket(7).
    pub reuse_port: bool,
    /// Others accept from the very same socket: processes that have inherited it, or loops of one's own with clones of the
    /// [`Listener`]. A connection then wakes one of those that sleep (`EPOLLEXCLUSIVE`, see epoll_ctl(2)), and a loop that is full
    /// leaves it to the others. Default off; the loops of a server know of each other.
    pub shared: bool,
    /// Options of the listening socket, which accepted ones inherit; `SO_REUSEADDR` is set besides, so that a port can be bound
    /// again while old connections of it are in TIME-WAIT.
    pub socket: SocketOptions,
    /// Connections on which nothing moves in either direction for so long are closed; `None`: never. Milliseconds, at
    /// most 12 days. Default none.
    pub idle_timeout: Option<Duration>,
    /// Further deadlines of the connections. Default none.
    pub timeouts: Timeouts,
    /// Rate limits of each connection, in bytes. Default none.
    pub rates: Rates,
    /// Connections accepted in a second; the others wait in the backlog. On a server, by all loops together, each with an equal share
    /// ([`Sharing::Handover`](crate::Sharing::Handover): by the one that accepts). A drain takes in those who wait whatever the rate
    /// is. Default none.
    pub accept_rate: Option<RateLimit>,
    /// Connections that one peer address has at once through this listener, on all loops together; an IPv6 address counts as its
    /// /64 network, and the peers of a Unix socket are not counted. One more is closed at once and counted as
    /// [`refused`](crate::Metrics::refused). Some 50 bytes for each address and 500 for each connection. Default none.
    pub max_per_address: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: false,
            shared: false,
            socket: SocketOptions::default(),
            idle_timeout: None,
            timeouts: Timeouts::default(),
            rates: Rates::default(),
            accept_rate: None,
            max_per_address: None,
        }
    }
}

impl ListenOptions {
    /// Sets [`backlog`](Self::backlog).
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
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

    /// Sets [`accept_rate`](Self::accept_rate).
    #[must_use]
    pub fn accept_rate(mut self, limit: impl Into<Option<RateLimit>>) -> Self {
        self.accept_rate = limit.into();
        self
    }

    /// Sets [`max_per_address`](Self::max_per_address).
    #[must_use]
    pub fn max_per_address(mut self, count: impl Into<Option<usize>>) -> Self {
        self.max_per_address = count.into();
        self
    }

    /// Sets [`reuse_port`](Self::reuse_port).
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Sets [`shared`](Self::shared).
    #[must_use]
    pub fn shared(mut self, on: bool) -> Self {
        self.shared = on;
        self
    }

    /// Sets [`socket`](Self::socket).
    #[must_use]
    pub fn socket(mut self, options: SocketOptions) -> Self {
        self.socket = options;
        self
    }
}

/// A socket that listens. Clones share it; the last one to go closes it and removes its Unix path.
///
/// ```
/// use reactor::{ListenOptions, Listener};
///
/// let listener = Listener::bind("127.0.0.1:0", &ListenOptions::default())?;
/// assert_ne!(listener.local_address().as_inet().unwrap().port(), 0);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Listener {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fd: Fd,
    local: SocketAddress,
    _path: Option<BoundPath>,
}

impl Listener {
    /// Binds the address and listens. Of a host name's addresses the first that can be bound is taken.
    ///
    /// A Unix path at which a socket stands is replaced if nobody listens there; anything else in the way is left alone.
    /// Name look-ups block.
    ///
    /// # Errors
    /// Says the address and the cause: what is malformed in it, that it is in use, not ours, or not allowed; see bind(2).
    pub fn bind<A>(address: A, options: &ListenOptions) -> io::Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        let address = address.try_into().map_err(Into::<AddressError>::into)?;
        if address.is_datagram() {
            let message = format!("cannot listen on {address}: that is for datagrams, which are bound");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in address.resolve()? {
            match Self::bind_to(&candidate, options) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = error,
            }
        }
        Err(io::Error::new(failure.kind(), format!("cannot listen on {address}: {failure}")))
    }

    /// Takes over a socket that is bound already, such as one a service manager passed down.
    ///
    /// # Errors
    /// When the descriptor is no listening stream socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let fd = Fd::from(fd);
        if !option::is_listening(fd.as_fd())? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the descriptor passed in is a socket that does not listen",
            ));
        }
        option::set_nonblocking(fd.as_fd())?;
        let local = socket::local_address(fd.as_fd())?;
        Ok(Self { shared: Arc::new(Shared { fd, local, _path: None }) })
    }

    /// The address it is bound to, with the port the kernel picked if 0 was asked for.
    #[must_use]
    pub fn local_address(&self) -> &SocketAddress {
        &self.shared.local
    }

    pub(crate) fn as_fd(&self) -> FdRef<'_> {
        self.shared.fd.as_fd()
    }

    pub(crate) fn bind_to(address: &SocketAddress, options: &ListenOptions) -> io::Result<Self> {
        let fd = socket::stream(address)?;
        apply(options, fd.as_fd(), address)?;
        let path = bind_replacing_stale(fd.as_fd(), address)?;
        socket::listen(fd.as_fd(), options.backlog)?;
        let local = socket::local_address(fd.as_fd())?;
        Ok(Self { shared: Arc::new(Shared { fd, local, _path: path }) })
    }
}

/// Sets what accepted sockets will inherit. The buffers count before listen(2), which fixes the window scale.
fn apply(options: &ListenOptions, fd: FdRef<'_>, address: &SocketAddress) -> io::Result<()> {
    options.socket.apply(fd, address, Role::Listening)?;
    if matches!(address, SocketAddress::Unix(_)) {
        return Ok(());
    }
    option::set_reuse_address(fd)?;
    if options.reuse_port { option::set_reuse_port(fd) } else { Ok(()) }
}

/// Binds; a Unix path answers with what removes it again.
pub(super) fn bind_replacing_stale(fd: FdRef<'_>, address: &SocketAddress) -> io::Result<Option<BoundPath>> {
    let SocketAddress::Unix(UnixName::Path(path)) = address else {
        socket::bind(fd, address)?;
        return Ok(None);
    };
    if fd.is_simulated() {
        // There are no files, so nothing is stale and nothing is to remove.
        socket::bind(fd, address)?;
        return Ok(None);
    }
    match socket::bind(fd, address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, address)?;
            socket::bind(fd, address)?;
        }
        result => result?,
    }
    Ok(Some(BoundPath::of(path)?))
}

/// Removes a socket that a dead server left behind; refuses anything else.
fn remove_stale(path: &Path, address: &SocketAddress) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "something that is not a socket has this name"));
    }
    // A socket of datagrams answers a stream too, by an error of its own.
    let probe = socket::stream(address)?;
    match socket::connect(probe.as_fd(), address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Connected, or its backlog is full: somebody listens.
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
    }
}

/// The file that binding made. It is removed on drop, unless another file has its name by then.
#[derive(Debug)]
pub(super) struct BoundPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl BoundPath {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        // The working directory may change before the drop.
        Ok(Self { path: std::path::absolute(path)?, device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        let ours = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| ours(&metadata))
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("could not remove the socket {}: {error}", self.path.display());
        }
    }
}

// Miri knows no Unix sockets with a name, and few options.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use rustix::net::sockopt;
    use std::os::unix::net::UnixListener;

    fn unix(path: &Path) -> Address {
        Address::Unix(UnixName::Path(path.to_path_buf()))
    }

    fn bind(address: Address) -> io::Result<Listener> {
        Listener::bind(address, &ListenOptions::default())
    }

    #[test]
    fn a_listener_of_both_families_leaves_ipv4_alone_if_asked_to() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            return println!("skipped: this machine has no IPv6");
        }
        for only in [true, false] {
            let options = ListenOptions::default().socket(SocketOptions::default().v6_only(only));
            let listener = Listener::bind("[::]:0", &options).unwrap();
            assert_eq!(sockopt::ipv6_v6only(listener.as_fd()).unwrap(), only);
        }
    }

    #[test]
    fn datagrams_are_refused_by_name() {
        let error = Listener::bind("udp://127.0.0.1:0", &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("udp://127.0.0.1:0"), "{error}");
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = Listener::bind("127.0.0.1:0", &ListenOptions::default()).unwrap();
        let taken = first.local_address().to_string();
        let error = Listener::bind(taken.as_str(), &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken), "{error}");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let listener = bind(unix(&path)).unwrap();
        assert!(path.exists());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_somebody_listens_on_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(bind(unix(&path)).unwrap_err().to_string().contains("another server"));
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let error = bind(unix(directory.path())).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert!(directory.path().is_dir());
    }

    #[test]
    fn a_file_that_took_the_name_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = bind(unix(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
