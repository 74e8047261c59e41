//! A datagram socket: bound or connected, its options set, and gone from the file system when it is dropped.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::address::SocketAddress;
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::net::datagram_options::{DatagramOptions, MulticastGroup};
use crate::net::listener::{BoundPath, bind_replacing_stale};
use crate::sys::fd::{Fd, FdRef};
use crate::sys::{datagram_option, option, socket};

/// A UDP or Unix datagram socket that is bound or connected. Clones share it; the last one to go closes it and removes its
/// Unix path.
///
/// ```
/// use reactor::{DatagramOptions, DatagramSocket};
///
/// let socket = DatagramSocket::bind("udp://127.0.0.1:0", &DatagramOptions::default())?;
/// assert_ne!(socket.local_address().as_inet().unwrap().port(), 0);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct DatagramSocket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fd: Fd,
    local: SocketAddress,
    peer: Option<SocketAddress>,
    max_size: usize,
    send_buffer: usize,
    receive_buffer: usize,
    tells_destination: bool,
    _path: Option<BoundPath>,
}

impl DatagramSocket {
    /// Binds an address: `udp://HOST:PORT`, `unix-dgram:/path` or `unix-dgram:@name` (`unix:` will do). Of a host name's
    /// addresses the first that can be bound is taken.
    ///
    /// A Unix path at which a socket stands is replaced if nobody has it bound; anything else in the way is left alone.
    /// Name look-ups block. A socket that is bound to all addresses of the machine learns of each datagram which one it
    /// was sent to.
    ///
    /// # Errors
    /// Says the address and the cause: it is malformed, for streams, in use, not ours, not allowed, or an option is
    /// refused; see bind(2).
    pub fn bind<A>(address: A, options: &DatagramOptions) -> io::Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        let address = address.try_into().map_err(Into::<AddressError>::into)?;
        if let Address::Tcp(host) = &address {
            let message = format!("cannot bind {address}: that is for streams; write udp://{host}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in address.resolve()? {
            match Self::bind_to(&candidate, options) {
                Ok(socket) => return Ok(socket),
                Err(error) => failure = error,
            }
        }
        Err(io::Error::new(failure.kind(), format!("cannot bind {address}: {failure}")))
    }

    /// Makes a socket that exchanges datagrams with one peer alone. Nothing is sent by this; a peer that is not there is told
    /// as an error of a later datagram, on a Unix socket here.
    ///
    /// # Errors
    /// Says the peer and the cause: it is not reachable, [`DatagramOptions::local`] cannot be bound, or an option is
    /// refused; see connect(2).
    pub fn connect(peer: impl Into<SocketAddress>, options: &DatagramOptions) -> io::Result<Self> {
        let peer = peer.into();
        Self::connect_to(&peer, options)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {peer}: {error}")))
    }

    /// Takes over a datagram socket that was made elsewhere, such as one end of a socket pair or one that a service manager
    /// passed down.
    ///
    /// # Errors
    /// The descriptor is no datagram socket, or not of UDP or Unix.
    pub fn from_fd(fd: OwnedFd, options: &DatagramOptions) -> io::Result<Self> {
        let fd = Fd::from(fd);
        if !datagram_option::is_datagram(fd.as_fd())? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor passed in is no datagram socket"));
        }
        option::set_nonblocking(fd.as_fd())?;
        let local = socket::local_address(fd.as_fd())?;
        apply(options, fd.as_fd(), &local)?;
        Self::finish(fd, options, None)
    }

    /// The address it is bound to, with the port the kernel picked if 0 was asked for.
    #[must_use]
    pub fn local_address(&self) -> &SocketAddress {
        &self.shared.local
    }

    /// The peer, if the socket is connected.
    #[must_use]
    pub fn peer_address(&self) -> Option<&SocketAddress> {
        self.shared.peer.as_ref()
    }

    pub(crate) fn bind_to(address: &SocketAddress, options: &DatagramOptions) -> io::Result<Self> {
        let fd = socket::datagram(address)?;
        apply(options, fd.as_fd(), address)?;
        let path = bind_replacing_stale(fd.as_fd(), address)?;
        Self::finish(fd, options, path)
    }

    fn connect_to(peer: &SocketAddress, options: &DatagramOptions) -> io::Result<Self> {
        let fd = socket::datagram(peer)?;
        apply(options, fd.as_fd(), peer)?;
        let path = match &options.local {
            Some(local) => bind_replacing_stale(fd.as_fd(), local)?,
            None => None,
        };
        socket::connect(fd.as_fd(), peer)?;
        Self::finish(fd, options, path)
    }

    /// Sets what can be set only once the socket has its address.
    fn finish(fd: Fd, options: &DatagramOptions, path: Option<BoundPath>) -> io::Result<Self> {
        let local = socket::local_address(fd.as_fd())?;
        let peer = socket::peer_address(fd.as_fd()).ok();
        let inet = local.as_inet();
        let tells_destination = peer.is_none() && inet.is_some_and(|address| address.ip().is_unspecified());
        if tells_destination {
            datagram_option::receive_destination(fd.as_fd(), inet.is_some_and(|address| address.is_ipv6()))?;
        }
        for MulticastGroup { address, interface } in &options.groups {
            datagram_option::join(fd.as_fd(), *address, *interface)?;
        }
        let send_buffer = datagram_option::send_buffer(fd.as_fd())?;
        let receive_buffer = datagram_option::receive_buffer(fd.as_fd())?;
        let max_size = options.max_size.clamp(1, MAX_SIZE);
        let shared = Shared { fd, local, peer, max_size, send_buffer, receive_buffer, tells_destination, _path: path };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Lets sockets that are bound from now on share the port; those bound before have kept it to themselves.
    pub(crate) fn allow_reuse_port(&self) -> io::Result<()> {
        option::set_reuse_port(self.as_fd())
    }

    pub(crate) fn as_fd(&self) -> FdRef<'_> {
        self.shared.fd.as_fd()
    }

    /// Whether it is an IPv6 socket, or `None` if it is a Unix one.
    pub(crate) fn is_v6(&self) -> Option<bool> {
        self.shared.local.as_inet().map(|address| address.is_ipv6())
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.shared.local.is_unix()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.shared.peer.is_some()
    }

    /// The longest datagram that is received whole.
    pub(crate) fn max_size(&self) -> usize {
        self.shared.max_size
    }

    /// The longest datagram that a Unix socket sends: what the kernel takes off the buffer is its own.
    pub(crate) fn longest_unix(&self) -> usize {
        self.shared.send_buffer.saturating_sub(32)
    }

    /// More datagrams than its receive buffer holds: the kernel counts each with its own bookkeeping.
    pub(crate) fn most_waiting(&self) -> usize {
        self.shared.receive_buffer / SMALLEST_IN_KERNEL + 1
    }

    /// Whether each datagram tells which of our addresses it was sent to.
    pub(crate) fn tells_destination(&self) -> bool {
        self.shared.tells_destination
    }
}

/// Sets what counts before the socket has its address.
fn apply(options: &DatagramOptions, fd: FdRef<'_>, address: &SocketAddress) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer {
        option::set_receive_buffer(fd, bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        option::set_send_buffer(fd, bytes)?;
    }
    match address {
        SocketAddress::Inet(address) => apply_inet(options, fd, address),
        SocketAddress::Unix(_) => Ok(()),
    }
}

fn apply_inet(options: &DatagramOptions, fd: FdRef<'_>, address: &SocketAddr) -> io::Result<()> {
    let v6 = address.is_ipv6();
    datagram_option::receive_errors(fd, v6)?;
    datagram_option::set_own_groups_only(fd, v6)?;
    if options.reuse_address {
        option::set_reuse_address(fd)?;
    }
    if options.reuse_port {
        option::set_reuse_port(fd)?;
    }
    if options.broadcast {
        datagram_option::set_broadcast(fd, true)?;
    }
    if let Some(only) = options.v6_only.filter(|_| v6) {
        option::set_v6_only(fd, only)?;
    }
    if let Some(hops) = options.ttl {
        datagram_option::set_ttl(fd, v6, hops)?;
    }
    apply_multicast(options, fd, v6)
}

fn apply_multicast(options: &DatagramOptions, fd: FdRef<'_>, v6: bool) -> io::Result<()> {
    if let Some(hops) = options.multicast_ttl {
        datagram_option::set_multicast_ttl(fd, v6, hops)?;
    }
    if let Some(on) = options.multicast_loop {
        datagram_option::set_multicast_loop(fd, v6, on)?;
    }
    if let Some(interface) = options.multicast_interface {
        datagram_option::set_multicast_interface(fd, v6, interface)?;
    }
    Ok(())
}

/// The number of the network interface with this name, such as `lo`; see if_nametoindex(3).
///
/// # Errors
/// There is none.
pub fn interface_index(name: &str) -> io::Result<u32> {
    datagram_option::interface_index(name)
        .map_err(|error| io::Error::new(error.kind(), format!("no network interface {name:?}: {error}")))
}

/// Larger than any datagram: a Unix one is bounded by the send buffer, which the system bounds.
const MAX_SIZE: usize = 16 << 20;

/// Bytes that the kernel counts for the smallest datagram that waits: the head of its buffer alone.
const SMALLEST_IN_KERNEL: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str) -> io::Result<DatagramSocket> {
        DatagramSocket::bind(address, &DatagramOptions::default())
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no datagrams")]
    fn a_port_in_use_is_named() {
        let first = bind("udp://127.0.0.1:0").unwrap();
        let taken = format!("udp://{}", first.local_address());
        let error = bind(&taken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken), "{error}");
    }

    #[test]
    fn an_address_for_streams_says_what_to_write() {
        let error = bind("127.0.0.1:0").unwrap_err().to_string();
        assert!(error.contains("write udp://127.0.0.1:0"), "{error}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no Unix sockets")]
    fn a_stale_path_is_replaced_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let address = format!("unix-dgram:{}", path.display());
        drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
        let socket = bind(&address).unwrap();
        assert!(bind(&address).unwrap_err().to_string().contains("another server"));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no datagrams")]
    fn only_a_socket_on_all_addresses_is_told_which_was_asked() {
        assert!(bind("udp://0.0.0.0:0").unwrap().tells_destination());
        assert!(!bind("udp://127.0.0.1:0").unwrap().tells_destination());
    }

    #[test]
    fn a_stream_passed_in_is_refused() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(DatagramSocket::from_fd(ours.into(), &DatagramOptions::default()).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no if_nametoindex")]
    fn an_interface_has_a_number() {
        assert!(interface_index("lo").unwrap() > 0);
        assert!(interface_index("no such").unwrap_err().to_string().contains("no such"));
    }
}
