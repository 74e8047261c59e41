//! What the network and the kernel tell of datagrams that were not delivered reaches the handler, and the socket goes on.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::io::ErrorKind;
use std::net::SocketAddr;

use common::TestLoop;
use datagrams::{
    Heard, Listening, bind, bind_udp, deaf_port, receive, udp_client, unix_peer, unix_receive, unix_url,
    wait_until_some_wait,
};
use reactor::{DatagramOptions, Limits, SocketAddress};

/// ICMP: the destination is unreachable, for nobody has that port.
const PORT_UNREACHABLE: (u8, u8) = (3, 3);

fn refused(by: SocketAddr) -> Heard {
    let (destination, reporter) = (Some(by.into()), Some(by.ip()));
    Heard::Error { kind: ErrorKind::ConnectionRefused, destination, reporter, icmp: Some(PORT_UNREACHABLE) }
}

#[test]
fn a_refusal_is_told_to_a_socket_that_is_not_connected_and_it_goes_on() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_deaf, nobody) = deaf_port();
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(move |cx, from, bytes| {
            cx.send_to(&nobody.into(), b"anybody?")?;
            cx.send_to(from, bytes)
        }),
    );
    let client = udp_client();
    for round in 0..20_u8 {
        client.send_to(&[round], address).unwrap();
        ears.expect_datagram(&[round]);
        ears.expect(&refused(nobody));
        assert_eq!(receive(&client), [round]);
    }
    let counted = server.metrics().datagrams;
    assert_eq!((counted.errors, counted.sockets, counted.dropped), (20, 1, 0));
}

#[test]
fn a_refusal_is_told_to_a_connected_socket_and_it_goes_on() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (deaf, nobody) = deaf_port();
    let (handler, ears) = Listening::new();
    let id = server.on_loop(move |cx| cx.connect_datagram(nobody, &DatagramOptions::default(), handler).unwrap());
    ears.expect(&Heard::Open);
    let local = server.on_loop(move |cx| datagrams::local_address(cx, id)).as_inet().unwrap();
    for _ in 0..20 {
        server.on_loop(move |cx| cx.datagram(id).unwrap().send(b"anybody?").unwrap());
        ears.expect(&refused(nobody));
    }
    // Now somebody listens.
    deaf.connect(local).unwrap();
    deaf.set_read_timeout(Some(common::DEADLINE)).unwrap();
    server.on_loop(move |cx| cx.datagram(id).unwrap().send(b"hello").unwrap());
    assert_eq!(receive(&deaf), b"hello");
    deaf.send(b"hello yourself").unwrap();
    ears.expect_datagram(b"hello yourself");
}

#[test]
fn no_datagram_pays_for_the_error_of_another() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_deaf, nobody) = deaf_port();
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(move |cx, _, _| {
            for index in 0..10_u8 {
                cx.send_to(&nobody.into(), [index])?;
                cx.reply([index])?;
            }
            Ok(())
        }),
    );
    let client = udp_client();
    client.send_to(b"x", address).unwrap();
    for index in 0..10 {
        assert_eq!(receive(&client), [index]);
    }
    ears.expect_datagram(b"x");
    (0..10).for_each(|_| ears.expect(&refused(nobody)));
    server.eventually("all are counted", |metrics| metrics.datagrams.sent == 20);
}

#[test]
fn one_that_the_kernel_refuses_is_told_and_those_around_it_arrive() {
    let server = TestLoop::start(Limits::default(), |_| ());
    // To send to everybody is not allowed to a socket that has not asked for it.
    let everybody: SocketAddress = SocketAddr::from(([255, 255, 255, 255], 9)).into();
    let forbidden = everybody.clone();
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(move |cx, _, _| {
            cx.reply("1")?;
            cx.send_to(&forbidden, "2")?;
            cx.reply("3")?;
            cx.send_to(&forbidden, "4")?;
            cx.reply("5")
        }),
    );
    let client = udp_client();
    client.send_to(b"x", address).unwrap();
    assert_eq!([receive(&client), receive(&client), receive(&client)], [b"1", b"3", b"5"]);
    ears.expect_datagram(b"x");
    for _ in 0..2 {
        let told = Heard::Error {
            kind: ErrorKind::PermissionDenied,
            destination: Some(everybody.clone()),
            reporter: None,
            icmp: None,
        };
        ears.expect(&told);
    }
    let counted = server.metrics().datagrams;
    assert_eq!((counted.sent, counted.errors), (3, 2));
}

#[test]
fn a_unix_peer_that_has_vanished_is_told() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (id, _, ears) = bind(&server, &unix_url(), &DatagramOptions::default(), Listening::new());
    let ((there, there_address), (gone, gone_address)) = (unix_peer(), unix_peer());
    drop(gone);
    let vanished = gone_address.clone();
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        socket.send_to(&gone_address, "lost").unwrap();
        socket.send_to(&there_address, "found").unwrap();
    });
    assert_eq!(unix_receive(&there), b"found");
    let (kind, destination) = (ErrorKind::ConnectionRefused, Some(vanished));
    ears.expect(&Heard::Error { kind, destination, reporter: None, icmp: None });
}

#[test]
fn a_unix_peer_that_vanishes_with_datagrams_unread_frees_their_place() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (id, _, ears) = bind(&server, &unix_url(), &DatagramOptions::default(), Listening::new());
    let (peer, address) = unix_peer();
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        (0..1000_u32).for_each(|index| drop(socket.send_to(&address, index.to_be_bytes())));
    });
    wait_until_some_wait(&server);
    drop(peer);
    ears.wait_for(|heard| matches!(heard, Heard::Error { kind: ErrorKind::ConnectionRefused, .. }));
    server.eventually("none waits any more", |metrics| metrics.buffered == 0);
}
