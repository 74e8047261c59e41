//! The loops of a server share a datagram port: each has a socket of its own, or all have one; other threads send through them.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Sender};

use common::{DEADLINE, eventually};
use datagrams::{receive, udp_client, unix_peer, unix_receive, unix_send, unix_url};
use reactor::{
    DatagramContext, DatagramHandler, DatagramId, DatagramOptions, DatagramSharing, DatagramSocket, Result, Server,
    SocketAddress,
};

/// Answers with the number of its loop.
struct Which {
    index: usize,
    ids: Sender<DatagramId>,
}

impl DatagramHandler for Which {
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result {
        self.ids.send(cx.id()).expect("the test waits");
        Ok(())
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _from: &SocketAddress, _bytes: &[u8]) -> Result {
        cx.reply([u8::try_from(self.index).expect("there are few loops")])
    }
}

const LOOPS: usize = 3;

#[test]
fn each_loop_has_a_socket_and_keeps_its_peers() {
    let (ids, is_open) = mpsc::channel();
    let options = DatagramOptions::default();
    let server = Server::builder()
        .threads(LOOPS)
        .bind_datagram("udp://127.0.0.1:0", &options, move |index| Which { index, ids: ids.clone() })
        .and_then(reactor::ServerBuilder::start)
        .unwrap();
    let address = server.datagram_addresses()[0].as_inet().unwrap();
    for _ in 0..LOOPS {
        is_open.recv_timeout(DEADLINE).unwrap();
    }
    let mut peers_of = HashMap::<Vec<u8>, u32>::new();
    for _ in 0..200 {
        let client = udp_client();
        let ask = || {
            client.send_to(b"which?", address).unwrap();
            receive(&client)
        };
        let loop_index = ask();
        assert_eq!((ask(), ask()), (loop_index.clone(), loop_index.clone()), "a peer stays with its loop");
        *peers_of.entry(loop_index).or_default() += 1;
    }
    // That one of three gets none of two hundred is as good as impossible.
    assert_eq!(peers_of.len(), LOOPS, "{peers_of:?}");
    assert_eq!(server.handle().metrics().datagrams.sockets, LOOPS as u64);
    let report = server.handle().shutdown(DEADLINE).unwrap();
    assert_eq!((report.clean, report.cut), (LOOPS as u64, 0));
}

#[test]
fn a_second_server_on_the_port_fails() {
    let (ids, _is_open) = mpsc::channel();
    let make = move |index| Which { index, ids: ids.clone() };
    let options = DatagramOptions::default();
    let first = Server::builder().threads(2).bind_datagram("udp://127.0.0.1:0", &options, make.clone()).unwrap();
    let first = first.start().unwrap();
    let taken = format!("udp://{}", first.datagram_addresses()[0]);
    let Err(error) = Server::builder().threads(2).bind_datagram(&*taken, &options, make) else {
        panic!("{taken} was bound twice");
    };
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken), "{error}");
}

#[test]
fn all_loops_may_share_one_socket() {
    let (ids, is_open) = mpsc::channel();
    let options = DatagramOptions::default();
    let socket = DatagramSocket::bind("udp://127.0.0.1:0", &options).unwrap();
    let server = Server::builder()
        .threads(LOOPS)
        .add_datagram(socket, &options, DatagramSharing::Shared, move |index| Which { index, ids: ids.clone() })
        .start()
        .unwrap();
    let address = server.datagram_addresses()[0].as_inet().unwrap();
    for _ in 0..LOOPS {
        is_open.recv_timeout(DEADLINE).unwrap();
    }
    let clients: Vec<_> = (0..8).map(|_| udp_client()).collect();
    for _ in 0..100 {
        for client in &clients {
            client.send_to(b"x", address).unwrap();
        }
        clients.iter().for_each(|client| assert!(usize::from(receive(client)[0]) < LOOPS));
    }
    // What is sent is counted once it is, and may have arrived by then.
    let handle = server.handle();
    eventually("all are counted", || {
        let counted = handle.metrics().datagrams;
        (counted.received, counted.sent, counted.sockets) == (800, 800, LOOPS as u64)
    });
}

#[test]
fn a_shared_unix_socket_is_served_though_one_peer_does_not_read() {
    let (ids, _is_open) = mpsc::channel();
    let options = DatagramOptions::default();
    let make = move |index| Which { index, ids: ids.clone() };
    let server = Server::builder().threads(2).bind_datagram(&*unix_url(), &options, make).unwrap().start().unwrap();
    let local = server.datagram_addresses()[0].clone();
    let (stuck, quick) = (unix_peer().0, unix_peer().0);
    stuck.set_nonblocking(true).unwrap();
    let handle = server.handle();
    for _ in 0..1000 {
        unix_send(&stuck, b"x", &local);
        unix_send(&quick, b"x", &local);
        assert_eq!(unix_receive(&quick).len(), 1);
    }
    // Each of a byte: sent, dropped, or waiting.
    eventually("each has met its fate", || {
        let metrics = handle.metrics();
        metrics.datagrams.sent + metrics.datagrams.dropped + metrics.buffered == 2000
    });
    // Now it reads, and what had to wait comes.
    stuck.set_nonblocking(false).unwrap();
    let arrive = 1000 - handle.metrics().datagrams.dropped;
    (0..arrive).for_each(|_| assert_eq!(unix_receive(&stuck).len(), 1));
    eventually("none waits", || handle.metrics().buffered == 0);
}

#[test]
fn another_thread_sends_through_a_loop() {
    let (ids, is_open) = mpsc::channel();
    let options = DatagramOptions::default();
    let make = move |index| Which { index, ids: ids.clone() };
    let server = Server::builder().bind_datagram("udp://127.0.0.1:0", &options, make).unwrap().start().unwrap();
    let id = is_open.recv_timeout(DEADLINE).unwrap();
    let client = udp_client();
    let to: SocketAddress = client.local_addr().unwrap().into();
    let send = move |cx: &mut reactor::LoopContext<'_>| {
        cx.datagram(id).expect("it is open").send_to(&to, "from elsewhere").expect("it is short");
    };
    server.handle().loops()[0].execute(send).unwrap();
    assert_eq!(datagrams::receive_from(&client), (b"from elsewhere".to_vec(), address_of(&server)));
}

fn address_of(server: &Server) -> SocketAddr {
    server.datagram_addresses()[0].as_inet().expect("it is UDP")
}
