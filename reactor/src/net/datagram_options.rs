//! How to make a datagram socket: one typed struct of options.

use std::net::IpAddr;

use crate::address::SocketAddress;

/// How to make a datagram socket.
///
/// What is `None` is left as the system has it.
///
/// ```
/// use reactor::DatagramOptions;
///
/// let options = DatagramOptions::default().max_size(1500).broadcast(true);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatagramOptions {
    /// The longest datagram that is received whole, in bytes; a longer one is cut, and
    /// [`DatagramContext::is_truncated`](crate::DatagramContext::is_truncated) says so. Default 65 535, which holds all that
    /// UDP can carry. With less, more datagrams fit into one call.
    pub max_size: usize,
    /// Where a socket that is to be connected is bound first; `None`: the kernel picks. A Unix socket wants a name here
    /// if it is to be answered: [`UnixName::Unnamed`](crate::UnixName::Unnamed) lets the kernel make one up.
    pub local: Option<SocketAddress>,
    /// `SO_REUSEADDR`: others who set it too may bind the same port; of datagrams to a group each gets a copy. Default off.
    /// See socket(7).
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: other sockets of the same user may bind the port too, and the kernel spreads datagrams over them by
    /// the addresses of both ends. Default off, so that a second server on the port fails. UDP only. See socket(7).
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: whether a socket on `[::]` leaves IPv4 alone. See ipv6(7).
    pub v6_only: Option<bool>,
    /// `SO_RCVBUF` in bytes: how much may wait in the kernel; what comes beyond it is lost. See socket(7).
    pub receive_buffer: Option<u32>,
    /// `SO_SNDBUF` in bytes. On a Unix socket it also bounds what one datagram may carry. See socket(7).
    pub send_buffer: Option<u32>,
    /// `SO_BROADCAST`: datagrams may be sent to everybody on the network. Default off. See socket(7).
    pub broadcast: bool,
    /// `IP_TTL` or `IPV6_UNICAST_HOPS`: how many routers a datagram may pass, 1 to 255. See ip(7).
    pub ttl: Option<u8>,
    /// `IP_MULTICAST_TTL` or `IPV6_MULTICAST_HOPS`: how many routers a datagram to a group may pass, 0 to 255; 0 stays on
    /// this machine. The system's default is 1. See ip(7).
    pub multicast_ttl: Option<u8>,
    /// `IP_MULTICAST_LOOP`: whether members on this machine get what this socket sends to a group. The system's default is
    /// yes. See ip(7).
    pub multicast_loop: Option<bool>,
    /// `IP_MULTICAST_IF`: the number of the interface through which datagrams to groups leave; see
    /// [`interface_index`](crate::net::interface_index). See ip(7).
    pub multicast_interface: Option<u32>,
    /// The groups that the socket is a member of from the start. It gets what is sent to its own groups alone, not to those
    /// that other sockets of the machine have joined (`IP_MULTICAST_ALL` is off). See ip(7).
    pub groups: Vec<MulticastGroup>,
}

/// A multicast group, and the interface through which it is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MulticastGroup {
    /// The address of the group.
    pub address: IpAddr,
    /// The number of the interface; 0 lets the system choose by its routes. See
    /// [`interface_index`](crate::net::interface_index).
    pub interface: u32,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        Self {
            max_size: 65_535,
            local: None,
            reuse_address: false,
            reuse_port: false,
            v6_only: None,
            receive_buffer: None,
            send_buffer: None,
            broadcast: false,
            ttl: None,
            multicast_ttl: None,
            multicast_loop: None,
            multicast_interface: None,
            groups: Vec::new(),
        }
    }
}

impl DatagramOptions {
    /// Sets [`max_size`](Self::max_size); at least 1.
    #[must_use]
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// Sets [`local`](Self::local).
    #[must_use]
    pub fn local(mut self, address: impl Into<SocketAddress>) -> Self {
        self.local = Some(address.into());
        self
    }

    /// Sets [`reuse_port`](Self::reuse_port).
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Sets [`broadcast`](Self::broadcast).
    #[must_use]
    pub fn broadcast(mut self, on: bool) -> Self {
        self.broadcast = on;
        self
    }

    /// Sets [`receive_buffer`](Self::receive_buffer).
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Sets [`send_buffer`](Self::send_buffer).
    #[must_use]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Adds to [`groups`](Self::groups).
    #[must_use]
    pub fn join(mut self, address: impl Into<IpAddr>, interface: u32) -> Self {
        self.groups.push(MulticastGroup { address: address.into(), interface });
        self
    }
}
