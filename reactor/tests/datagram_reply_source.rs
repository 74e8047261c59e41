//! A socket that is bound to all addresses of the machine answers from the one that was asked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver};

use common::TestLoop;
use datagrams::{Ears, Listening, bind, receive_from, udp_client, udp_client_on};
use reactor::{DatagramOptions, Limits};

/// The address that was asked, and the interface.
type Asked = (Option<IpAddr>, Option<u32>);

/// An echo on all addresses, its port, and what it was told of each datagram.
fn echo(server: &TestLoop, address: &str, v6_only: Option<bool>) -> (u16, Receiver<Asked>, Ears) {
    let (told, tells) = mpsc::channel();
    let handler = Listening::doing(move |cx, _, bytes| {
        told.send((cx.destination(), cx.interface())).expect("the test waits");
        cx.reply(bytes)
    });
    let mut options = DatagramOptions::default();
    options.v6_only = v6_only;
    let (_, local, ears) = bind(server, address, &options, handler);
    (local.as_inet().unwrap().port(), tells, ears)
}

fn assert_answers_from(client: &std::net::UdpSocket, asked: &str, port: u16) {
    let asked = (asked.parse::<IpAddr>().unwrap(), port);
    client.send_to(b"hello", asked).unwrap();
    let (bytes, from) = receive_from(client);
    assert_eq!((&bytes[..], from), (&b"hello"[..], asked.into()));
}

#[test]
fn over_ipv4() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (port, tells, _ears) = echo(&server, "udp://0.0.0.0:0", None);
    let client = udp_client();
    let lo = reactor::net::interface_index("lo").unwrap();
    for asked in ["127.0.0.2", "127.0.0.1", "127.99.1.7"] {
        assert_answers_from(&client, asked, port);
        assert_eq!(tells.recv().unwrap(), (asked.parse().ok(), Some(lo)));
    }
}

#[test]
fn over_ipv6() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (port, tells, _ears) = echo(&server, "udp://[::]:0", Some(true));
    assert_answers_from(&udp_client_on("[::1]:0"), "::1", port);
    assert_eq!(tells.recv().unwrap().0, "::1".parse().ok());
}

#[test]
fn over_both_on_one_socket() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (port, tells, _ears) = echo(&server, "udp://[::]:0", Some(false));
    for (client, asked) in [("127.0.0.1:0", "127.0.0.3"), ("[::1]:0", "::1"), ("127.0.0.1:0", "127.0.0.1")] {
        assert_answers_from(&udp_client_on(client), asked, port);
        assert_eq!(tells.recv().unwrap().0, asked.parse().ok());
    }
}

#[test]
fn another_address_can_be_sent_from() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let handler = Listening::doing(|cx, from, bytes| cx.socket().send_to_from(from, [127, 0, 0, 9].into(), bytes));
    let (_, local, _ears) = bind(&server, "udp://0.0.0.0:0", &DatagramOptions::default(), handler);
    let client = udp_client();
    client.send_to(b"x", ("127.0.0.1", local.as_inet().unwrap().port())).unwrap();
    assert_eq!(receive_from(&client).1.ip().to_string(), "127.0.0.9");
}

#[test]
fn a_socket_on_one_address_does_not_ask() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (port, tells, _ears) = echo(&server, "udp://127.0.0.1:0", None);
    assert_answers_from(&udp_client(), "127.0.0.1", port);
    assert_eq!(tells.recv().unwrap(), (None, None));
}
