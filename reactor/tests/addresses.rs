//! A connection knows both of its addresses, and its factory is given the peer's, in every family.

mod common;
#[path = "common/more.rs"]
mod more;

use std::net::TcpListener;

use common::{Client, Events, Log, TestLoop, Transport};
use more::Script;
use reactor::{Limits, ListenOptions, SocketAddress};

/// A server that notes, as a connection opens, who the peer is by the factory and by the connection, and who itself is.
fn server(address: String, log: Log) -> TestLoop {
    TestLoop::start(Limits::default(), move |event_loop| {
        let make = move |peer: &SocketAddress| {
            let (log, peer) = (log.clone(), peer.clone());
            Script::new().open(move |cx| {
                let (own, same) = (cx.local_address()?, cx.peer_address()? == peer);
                log.note(cx.id(), format!("{peer} {same} {own}"));
                Ok(())
            })
        };
        event_loop.listen(address, &ListenOptions::default(), make).expect("it can listen");
    })
}

#[track_caller]
fn assert_told(address: String, peer_of: impl Fn(&Client) -> String) {
    let (log, events) = Events::new();
    let server = server(address, log);
    let client = server.client();
    let told = format!("{} true {}", peer_of(&client), server.address());
    events.expect(&common::Event::Note(told));
}

fn inet_name(client: &Client) -> String {
    match client {
        Client::Tcp(stream) => stream.local_addr().expect("it is connected").to_string(),
        Client::Unix(_) => panic!("the server listens on TCP"),
    }
}

#[test]
fn over_ipv4() {
    assert_told("127.0.0.1:0".to_owned(), inet_name);
}

#[test]
fn over_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        return println!("skipped: this machine has no IPv6");
    }
    assert_told("[::1]:0".to_owned(), inet_name);
}

#[test]
fn over_unix_where_a_client_has_no_name() {
    assert_told(Transport::Unix.address(), |_| "unix:".to_owned());
}
