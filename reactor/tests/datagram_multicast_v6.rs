//! Groups of IPv6: what is sent to one reaches its members through the interface asked for, and the options are those of IPv6.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::TestLoop;
use datagrams::{Listening, bind};
use reactor::net::interface_index;
use reactor::{DatagramOptions, Limits, SocketAddress};

/// Of this link, and nobody's in particular.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x77, 7);

fn sends_to_groups(interface: u32) -> DatagramOptions {
    let mut options = DatagramOptions::default();
    options.multicast_interface = Some(interface);
    options.multicast_ttl = Some(1);
    options.multicast_loop = Some(true);
    options.ttl = Some(7);
    options.reuse_address = true;
    options
}

/// An interface by which this machine reaches members on itself; says so if there is none.
fn interface() -> Option<u32> {
    let names = fs::read_dir("/sys/class/net").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found =
        names.filter_map(|name| interface_index(&name).ok()).find(|interface| reaches_itself(*interface).is_some());
    if found.is_none() {
        println!("skipped: no interface takes what is sent to a group of IPv6");
    }
    found
}

/// Whether what is sent to the group through this interface comes back.
fn reaches_itself(interface: u32) -> Option<()> {
    let member = UdpSocket::bind("[::]:0").ok()?;
    member.join_multicast_v6(&GROUP, interface).ok()?;
    member.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let sender = UdpSocket::bind("[::]:0").ok()?;
    let group = std::net::SocketAddrV6::new(GROUP, member.local_addr().ok()?.port(), 0, interface);
    sender.send_to(b"x", group).ok()?;
    member.recv(&mut [0; 1]).ok().map(drop)
}

#[test]
fn a_member_gets_what_is_sent_to_the_group_until_it_leaves() {
    let Some(interface) = interface() else { return };
    let server = TestLoop::start(Limits::default(), |_| ());
    let joins = DatagramOptions::default().join(GROUP, interface);
    let (member, local, ears) = bind(&server, "udp://[::]:0", &joins, Listening::new());
    let port = local.as_inet().unwrap().port();
    let (sender, _, _) = bind(&server, "udp://[::]:0", &sends_to_groups(interface), Listening::new());
    let group: SocketAddress = SocketAddr::from((GROUP, port)).into();
    let to = group.clone();
    server.on_loop(move |cx| cx.datagram(sender).unwrap().send_to(&to, b"to the group").unwrap());
    ears.expect_datagram(b"to the group");
    server.on_loop(move |cx| cx.datagram(member).unwrap().leave(GROUP, interface).unwrap());
    server.on_loop(move |cx| cx.datagram(sender).unwrap().send_to(&group, b"to nobody").unwrap());
    // It is the next that arrives: what is sent to the group does not.
    UdpSocket::bind("[::]:0").unwrap().send_to(b"to it alone", ("::1", port)).unwrap();
    ears.expect_datagram(b"to it alone");
}

#[test]
fn options_are_changed_while_the_socket_lives() {
    let Some(interface) = interface() else { return };
    let server = TestLoop::start(Limits::default(), |_| ());
    let (socket, _, _) = bind(&server, "udp://[::]:0", &DatagramOptions::default(), Listening::new());
    server.on_loop(move |cx| {
        let socket = cx.datagram(socket).unwrap();
        socket.set_ttl(3).unwrap();
        socket.set_multicast_ttl(2).unwrap();
        socket.set_multicast_loop(false).unwrap();
        socket.set_multicast_interface(interface).unwrap();
        assert!(socket.set_multicast_interface(u32::MAX / 2).is_err());
        socket.join(GROUP, interface).unwrap();
        assert!(socket.join(Ipv6Addr::LOCALHOST, interface).is_err(), "it is no group");
        socket.leave(GROUP, interface).unwrap();
        assert!(socket.leave(GROUP, interface).is_err(), "it has left");
    });
}
