//! Unix datagrams by every kind of name: a path, an abstract name, one that the kernel makes up, and none.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;

use common::{DEADLINE, TestLoop};
use datagrams::{Heard, Listening, bind, unix_peer, unix_receive, unix_send, unix_url};
use reactor::{DatagramOptions, Limits, SocketAddress, UnixName};

#[test]
fn a_path_is_bound_answered_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (directory.path().join("server"), directory.path().join("client"));
    let server = TestLoop::start(Limits::default(), |_| ());
    let url = format!("unix-dgram:{}", here.display());
    let (id, local, ears) = bind(&server, &url, &DatagramOptions::default(), Listening::echo());
    assert_eq!(local, SocketAddress::Unix(UnixName::Path(here.clone())));
    let client = UnixDatagram::bind(&there).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.send_to(b"hello", &here).unwrap();
    ears.expect_datagram(b"hello");
    assert_eq!(unix_receive(&client), b"hello");
    server.on_loop(move |cx| cx.datagram(id).unwrap().close());
    ears.expect(&Heard::Close("closed"));
    server.on_loop(|_| ());
    assert!(!here.exists());
}

#[test]
fn a_sender_without_a_name_is_shown_and_cannot_be_answered() {
    let (told, tells) = mpsc::channel();
    let server = TestLoop::start(Limits::default(), |_| ());
    let handler = Listening::doing(move |cx, from, bytes| {
        let answered = cx.reply(bytes);
        told.send((from.clone(), answered.as_ref().map_err(std::io::Error::kind).err())).expect("the test waits");
        answered
    });
    let (_, local, ears) = bind(&server, &unix_url(), &DatagramOptions::default(), handler);
    let nameless = UnixDatagram::unbound().unwrap();
    for _ in 0..3 {
        unix_send(&nameless, b"who?", &local);
        ears.expect_datagram(b"who?");
        let told = tells.recv().unwrap();
        assert_eq!(told, (SocketAddress::Unix(UnixName::Unnamed), Some(ErrorKind::AddrNotAvailable)));
    }
    // Its errors are counted, and the socket goes on.
    let (client, address) = unix_peer();
    unix_send(&client, b"me", &local);
    assert_eq!(unix_receive(&client), b"me");
    assert_eq!(tells.recv().unwrap(), (address, None));
    assert_eq!(server.metrics().datagrams.failed, 3);
}

#[test]
fn a_client_gets_a_name_from_the_kernel() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, local, echo_ears) = bind(&server, &unix_url(), &DatagramOptions::default(), Listening::echo());
    let (handler, ears) = Listening::new();
    server.on_loop(move |cx| {
        let options = DatagramOptions::default().local(UnixName::Unnamed);
        let id = cx.connect_datagram(local, &options, handler).unwrap();
        cx.datagram(id).unwrap().send(b"hello").unwrap();
        assert!(matches!(datagrams::local_address(cx, id), SocketAddress::Unix(UnixName::Abstract(_))));
    });
    echo_ears.expect_datagram(b"hello");
    ears.expect(&Heard::Open);
    ears.expect_datagram(b"hello");
}

#[test]
fn a_name_with_nobody_behind_it_is_told_at_once() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (handler, _ears) = Listening::new();
    let name = UnixName::Abstract(datagrams::abstract_name());
    let error = server.on_loop(move |cx| cx.connect_datagram(name, &DatagramOptions::default(), handler).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("cannot connect to unix:@reactor-datagram"), "{error}");
}

#[test]
fn options_of_the_internet_are_refused() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (id, _, _ears) = bind(&server, &unix_url(), &DatagramOptions::default(), Listening::new());
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        assert_eq!(socket.set_ttl(1).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(socket.join([239, 0, 0, 1], 0).is_err());
        assert_eq!(socket.send(b"where to?").unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(socket.peer_address(), None);
    });
}
