//! Datagrams for which there is no room wait in a bounded queue, in order; what is dropped is counted, and a peer that does not
//! read holds up nobody else.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;

use common::TestLoop;
use datagrams::{Heard, Listening, bind, unix_peer, unix_receive, unix_send, unix_url, wait_until_some_wait};
use reactor::{DatagramOptions, DatagramSocket, Limits};

fn receive_number(socket: &UnixDatagram) -> u32 {
    u32::from_be_bytes(unix_receive(socket).try_into().expect("it is a number"))
}

#[test]
fn what_a_full_peer_does_not_take_waits_and_arrives_in_order() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, local, ears) = bind(
        &server,
        &unix_url(),
        &DatagramOptions::default(),
        Listening::doing(|cx, _, _| (0..300_u32).try_for_each(|index| cx.reply(index.to_be_bytes()))),
    );
    let (client, _) = unix_peer();
    unix_send(&client, b"go", &local);
    wait_until_some_wait(&server);
    for index in 0..300 {
        assert_eq!(receive_number(&client), index);
    }
    ears.expect_datagram(b"go");
    ears.expect(&Heard::Drained);
    let metrics = server.metrics();
    assert_eq!((metrics.datagrams.sent, metrics.datagrams.dropped, metrics.buffered), (300, 0, 0));
    server.assert_quiet();
}

#[test]
fn a_connected_socket_waits_for_its_peer_too() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (peer, address) = unix_peer();
    let (handler, ears) = Listening::new();
    let id = server.on_loop(move |cx| cx.connect_datagram(address, &DatagramOptions::default(), handler).unwrap());
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        (0..300_u32).for_each(|index| socket.send(index.to_be_bytes()).unwrap());
    });
    wait_until_some_wait(&server);
    for index in 0..300 {
        assert_eq!(receive_number(&peer), index);
    }
    ears.wait_for(|heard| *heard == Heard::Drained);
    server.assert_quiet();
}

#[test]
fn a_socket_pair_waits_for_its_other_end() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_read_timeout(Some(common::DEADLINE)).unwrap();
    // The ends of a pair have no bound on the number of datagrams, only on their bytes.
    let socket = DatagramSocket::from_fd(ours.into(), &DatagramOptions::default().send_buffer(8192)).unwrap();
    let (handler, ears) = Listening::doing(|cx, _, _| (0..200_u32).try_for_each(|index| cx.reply(index.to_be_bytes())));
    server.on_loop(move |cx| cx.add_datagram(socket, handler).map(drop).unwrap());
    theirs.send(b"go").unwrap();
    wait_until_some_wait(&server);
    for index in 0..200 {
        assert_eq!(receive_number(&theirs), index);
    }
    ears.wait_for(|heard| *heard == Heard::Drained);
}

#[test]
fn the_queue_is_bounded_and_drops_the_newest() {
    let mut limits = Limits::default();
    limits.max_datagram_queue = 64 << 10;
    let server = TestLoop::start(limits, |_| ());
    let (told, tells) = mpsc::channel();
    let (id, _, ears) = bind(&server, &unix_url(), &DatagramOptions::default(), Listening::new());
    let (client, address) = unix_peer();
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        let results = (0..1000_u32).map(|index| socket.send_to(&address, index.to_be_bytes()));
        let results = results.map(|result| result.map_err(|error| error.kind())).collect::<Vec<_>>();
        told.send(results).unwrap();
    });
    let results = tells.recv().unwrap();
    assert!(results.contains(&Err(ErrorKind::StorageFull)));
    server.eventually("what is too much is dropped", |metrics| {
        let waiting = metrics.buffered / 4;
        metrics.datagrams.sent + metrics.datagrams.dropped + waiting == 1000
    });
    let dropped = server.metrics().datagrams.dropped;
    // One peer has an eighth of the queue, in which each datagram counts 256 bytes more than it has; the others are with
    // the peer, whose own queue holds a few hundred where it is set to hold many.
    let most = (64 << 10) / 8 / 260;
    assert!(server.metrics().buffered / 4 <= most && dropped > 0, "{dropped} dropped");
    // What was not dropped is the oldest, in order.
    for index in 0..u32::try_from(1000 - dropped).unwrap() {
        assert_eq!(receive_number(&client), index);
    }
    ears.wait_for(|heard| *heard == Heard::Drained);
    assert_eq!(server.metrics().datagrams.dropped, dropped);
}

#[test]
fn a_batch_that_says_too_much_is_cut_to_the_bound() {
    let mut limits = Limits::default();
    limits.max_datagram_queue = 64 << 10;
    let server = TestLoop::start(limits, |_| ());
    let (_, local, _ears) = bind(
        &server,
        &unix_url(),
        &DatagramOptions::default(),
        Listening::doing(|cx, _, _| (0..5000_u32).try_for_each(|index| cx.reply(index.to_be_bytes()))),
    );
    let (client, _) = unix_peer();
    unix_send(&client, b"go", &local);
    server.eventually("all have met their fate", |metrics| {
        metrics.datagrams.sent + metrics.datagrams.dropped + metrics.buffered / 4 == 5000
    });
    assert!(server.metrics().buffered <= 64 << 10);
    let left = 5000 - server.metrics().datagrams.dropped;
    (0..u32::try_from(left).unwrap()).for_each(|index| assert_eq!(receive_number(&client), index));
}

#[test]
fn a_peer_that_does_not_read_holds_up_nobody_else() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, local, _ears) = bind(
        &server,
        &unix_url(),
        &DatagramOptions::default(),
        Listening::doing(|cx, _, bytes| {
            let count = if bytes == b"much" { 5000 } else { 1 };
            (0..count).try_for_each(|_| cx.reply(bytes))
        }),
    );
    let (stuck, quick) = (unix_peer().0, unix_peer().0);
    unix_send(&stuck, b"much", &local);
    wait_until_some_wait(&server);
    for index in 0..1000_u32 {
        unix_send(&quick, &index.to_be_bytes(), &local);
        assert_eq!(receive_number(&quick), index);
    }
    assert!(server.metrics().buffered > 0);
}
