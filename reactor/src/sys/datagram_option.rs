//! Options of datagram sockets; see ip(7), ipv6(7) and socket(7).

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fd::FdRef;
use super::option::{int, set, set_int};

/// `SO_BROADCAST`: datagrams may be sent to everybody.
pub(crate) fn set_broadcast(fd: FdRef<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_BROADCAST, on.into())
}

/// `IP_RECVERR` and `IPV6_RECVERR`: what ICMP says of datagrams sent is told, on sockets that are not connected too.
pub(crate) fn receive_errors(fd: FdRef<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
    }
    // On an IPv6 socket this is for the IPv4 that it may speak too.
    set_int(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
}

/// `IP_PKTINFO` and `IPV6_RECVPKTINFO`: each datagram tells which of our addresses it was sent to.
pub(crate) fn receive_destination(fd: FdRef<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    }
    set_int(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
}

/// `IP_MULTICAST_ALL`: the socket gets what is sent to the groups that it has joined, not to those of every other socket.
pub(crate) fn set_own_groups_only(fd: FdRef<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        // Of IPv6 the kernel knows it as of Linux 4.20; before, there is nothing to be done.
        let _ = set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, 0);
    }
    set_int(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)
}

/// `IP_TTL` or `IPV6_UNICAST_HOPS`: how many routers a datagram may pass.
pub(crate) fn set_ttl(fd: FdRef<'_>, v6: bool, hops: u8) -> io::Result<()> {
    match v6 {
        true => set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hops.into()),
        false => set_int(fd, libc::IPPROTO_IP, libc::IP_TTL, hops.into()),
    }
}

/// `IP_MULTICAST_TTL` or `IPV6_MULTICAST_HOPS`: how many routers a datagram to a group may pass.
pub(crate) fn set_multicast_ttl(fd: FdRef<'_>, v6: bool, hops: u8) -> io::Result<()> {
    match v6 {
        true => set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, hops.into()),
        false => set_int(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, hops.into()),
    }
}

/// `IP_MULTICAST_LOOP` or `IPV6_MULTICAST_LOOP`: whether members on this machine get what it sends to a group.
pub(crate) fn set_multicast_loop(fd: FdRef<'_>, v6: bool, on: bool) -> io::Result<()> {
    match v6 {
        true => set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, on.into()),
        false => set_int(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, on.into()),
    }
}

/// `IP_MULTICAST_IF` or `IPV6_MULTICAST_IF`: through which interface datagrams to groups leave; 0 leaves it to the system.
pub(crate) fn set_multicast_interface(fd: FdRef<'_>, v6: bool, interface: u32) -> io::Result<()> {
    match v6 {
        true => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &interface),
        false => set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &membership(Ipv4Addr::UNSPECIFIED, interface)),
    }
}

/// `IP_ADD_MEMBERSHIP` or `IPV6_ADD_MEMBERSHIP`: the socket gets what is sent to a group.
pub(crate) fn join(fd: FdRef<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => set(fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &membership(group, interface)),
        IpAddr::V6(group) => set(fd, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &membership_v6(group, interface)),
    }
}

/// `IP_DROP_MEMBERSHIP` or `IPV6_DROP_MEMBERSHIP`.
pub(crate) fn leave(fd: FdRef<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => set(fd, libc::IPPROTO_IP, libc::IP_DROP_MEMBERSHIP, &membership(group, interface)),
        IpAddr::V6(group) => set(fd, libc::IPPROTO_IPV6, libc::IPV6_DROP_MEMBERSHIP, &membership_v6(group, interface)),
    }
}

fn membership(group: Ipv4Addr, interface: u32) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes(group.octets()) },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: interface.cast_signed(),
    }
}

fn membership_v6(group: Ipv6Addr, interface: u32) -> libc::ipv6_mreq {
    libc::ipv6_mreq { ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() }, ipv6mr_interface: interface }
}

/// `SO_SNDBUF`: bytes of send buffer, which bound what one Unix datagram may carry.
pub(crate) fn send_buffer(fd: FdRef<'_>) -> io::Result<usize> {
    simulated!(fd, Ok(crate::sim::datagram::RECEIVE_BUFFER));
    Ok(usize::try_from(int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF)?).unwrap_or(0))
}

/// `SO_RCVBUF`: bytes of receive buffer, the kernel's own accounting included.
pub(crate) fn receive_buffer(fd: FdRef<'_>) -> io::Result<usize> {
    simulated!(fd, Ok(crate::sim::datagram::RECEIVE_BUFFER));
    Ok(usize::try_from(int(fd, libc::SOL_SOCKET, libc::SO_RCVBUF)?).unwrap_or(0))
}

/// `UDP_SEGMENT`: whether the kernel cuts what is sent into datagrams when it is asked to, as of Linux 4.18.
pub(crate) fn can_cut(fd: FdRef<'_>) -> bool {
    simulated!(fd, false);
    int(fd, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok()
}

/// `SO_TYPE`: whether it is a datagram socket.
pub(crate) fn is_datagram(fd: FdRef<'_>) -> io::Result<bool> {
    simulated!(fd, crate::sim::calls::is_datagram(fd.as_raw_fd()));
    Ok(int(fd, libc::SOL_SOCKET, libc::SO_TYPE)? == libc::SOCK_DGRAM)
}

/// The number of the interface with this name; see if_nametoindex(3).
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `name` ends with a NUL and is only read.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}
