//! What is sent to a group reaches its members, through the interface asked for; what is sent to everybody, those who listen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;

use common::TestLoop;
use datagrams::{Heard, Listening, bind, receive, receive_from, udp_client};
use reactor::net::interface_index;
use reactor::{DatagramOptions, Limits, SocketAddress};

const GROUP: [u8; 4] = [239, 255, 77, 7];

/// Says so if this machine does not let sockets join the group on its loopback interface.
fn may_join() -> bool {
    let lo = interface_index("lo").unwrap();
    let options = DatagramOptions::default().join(IpAddr::from(GROUP), lo);
    match reactor::DatagramSocket::bind("udp://0.0.0.0:0", &options) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: no group can be joined on the loopback interface: {error}");
            false
        }
    }
}

fn through_lo() -> DatagramOptions {
    let mut options = DatagramOptions::default();
    options.multicast_interface = Some(interface_index("lo").unwrap());
    options
}

#[test]
fn a_member_gets_what_is_sent_to_the_group_until_it_leaves() {
    if !may_join() {
        return;
    }
    let (told, tells) = mpsc::channel();
    let lo = interface_index("lo").unwrap();
    let server = TestLoop::start(Limits::default(), |_| ());
    let options = DatagramOptions::default().join(IpAddr::from(GROUP), lo);
    let handler = Listening::doing(move |cx, _, bytes| {
        told.send(cx.destination()).expect("the test waits");
        cx.reply(bytes)
    });
    let (member, local, ears) = bind(&server, "udp://0.0.0.0:0", &options, handler);
    let port = local.as_inet().unwrap().port();
    let (sender, _, answers) = bind(&server, "udp://0.0.0.0:0", &through_lo(), Listening::new());
    let group: SocketAddress = SocketAddr::from((GROUP, port)).into();
    let send = move |bytes: &'static [u8]| {
        let group = group.clone();
        server.on_loop(move |cx| cx.datagram(sender).unwrap().send_to(&group, bytes).unwrap());
        server
    };
    let server = send(b"to the group");
    ears.expect_datagram(b"to the group");
    assert_eq!(tells.recv().unwrap(), Some(GROUP.into()));
    // The answer comes from an address of the machine, for a group has none to send from.
    answers.expect_datagram(b"to the group");
    let error = server.on_loop(move |cx| cx.datagram(member).unwrap().join(GROUP, lo).unwrap_err().kind());
    assert_eq!(error, ErrorKind::AddrInUse);
    server.on_loop(move |cx| cx.datagram(member).unwrap().leave(GROUP, lo).unwrap());
    let group: SocketAddress = SocketAddr::from((GROUP, port)).into();
    server.on_loop(move |cx| cx.datagram(sender).unwrap().send_to(&group, b"to nobody").unwrap());
    // It is the next that arrives: what is sent to the group does not.
    udp_client().send_to(b"to it alone", ("127.0.0.1", port)).unwrap();
    ears.expect_datagram(b"to it alone");
}

#[test]
fn without_the_loop_members_here_get_nothing() {
    if !may_join() {
        return;
    }
    let server = TestLoop::start(Limits::default(), |_| ());
    let options = DatagramOptions::default().join(IpAddr::from(GROUP), interface_index("lo").unwrap());
    let (_, local, ears) = bind(&server, "udp://0.0.0.0:0", &options, Listening::new());
    let port = local.as_inet().unwrap().port();
    let (sender, _, _) = bind(&server, "udp://0.0.0.0:0", &through_lo(), Listening::new());
    let group: SocketAddress = SocketAddr::from((GROUP, port)).into();
    let heard = group.clone();
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(sender).unwrap();
        socket.set_multicast_ttl(0).unwrap();
        socket.send_to(&heard, b"heard").unwrap();
    });
    ears.expect_datagram(b"heard");
    // On the loopback interface itself all comes back, so the option is only seen to be taken.
    server.on_loop(move |cx| {
        let socket = cx.datagram(sender).unwrap();
        socket.set_multicast_loop(false).unwrap();
        socket.set_multicast_loop(true).unwrap();
        socket.set_ttl(3).unwrap();
        assert!(socket.set_ttl(0).is_err());
        assert!(socket.set_multicast_interface(u32::MAX / 2).is_err());
        assert!(socket.join([127, 0, 0, 1], 0).is_err(), "it is no group");
    });
}

#[test]
fn a_broadcast_is_refused_until_it_is_allowed() {
    let (told, tells) = mpsc::channel();
    let server = TestLoop::start(Limits::default(), |_| ());
    let handler = Listening::doing(move |cx, _, bytes| {
        told.send(cx.destination()).expect("the test waits");
        cx.reply(bytes)
    });
    let (_, local, ears) = bind(&server, "udp://0.0.0.0:0", &DatagramOptions::default(), handler);
    let everybody = SocketAddr::from(([127, 255, 255, 255], local.as_inet().unwrap().port()));
    let (sender, _, sender_ears) = bind(&server, "udp://127.0.0.1:0", &DatagramOptions::default(), Listening::new());
    let send = move |cx: &mut reactor::LoopContext<'_>| {
        cx.datagram(sender).unwrap().send_to(&everybody.into(), b"to all").unwrap();
    };
    server.on_loop(send);
    assert!(matches!(sender_ears.next(), Heard::Error { kind: ErrorKind::PermissionDenied, .. }));
    server.on_loop(move |cx| cx.datagram(sender).unwrap().set_broadcast(true).unwrap());
    server.on_loop(send);
    ears.expect_datagram(b"to all");
    assert_eq!(tells.recv().unwrap(), Some(everybody.ip()));
    sender_ears.expect_datagram(b"to all");
}

#[test]
fn a_client_with_the_option_broadcasts_from_the_start() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, local, ears) = bind(&server, "udp://0.0.0.0:0", &DatagramOptions::default(), Listening::echo());
    let client = udp_client();
    client.set_broadcast(true).unwrap();
    client.send_to(b"x", ("127.255.255.255", local.as_inet().unwrap().port())).unwrap();
    ears.expect_datagram(b"x");
    assert_eq!(receive_from(&client).1.ip().to_string(), "127.0.0.1");
    let options = DatagramOptions::default().broadcast(true);
    let (sender, _, _sender_ears) = bind(&server, "udp://127.0.0.1:0", &options, Listening::new());
    let everybody = SocketAddr::from(([127, 255, 255, 255], client.local_addr().unwrap().port()));
    let listener = datagrams::udp_client_on(&format!("0.0.0.0:{}", 0));
    let to_listener = SocketAddr::from(([127, 255, 255, 255], listener.local_addr().unwrap().port()));
    server.on_loop(move |cx| {
        cx.datagram(sender).unwrap().send_to(&to_listener.into(), b"to all").unwrap();
        // Nobody who is bound to one address alone hears this.
        cx.datagram(sender).unwrap().send_to(&everybody.into(), b"unheard").unwrap();
    });
    assert_eq!(receive(&listener), b"to all");
}
