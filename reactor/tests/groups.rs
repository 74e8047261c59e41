//! What is broadcast to a group reaches each member once, on every loop, and is not copied.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, TestLoop, Transport, eventually, raise_descriptor_limit};
use reactor::{Context, Group, Handler, Input, Limits, Result, Server, SharedBytes};

const ROOM: Group = Group(7);
const OTHER: Group = Group(8);

/// Obeys single letters.
struct Member;

impl Handler for Member {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.join(ROOM)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        for &letter in input.take() {
            match letter {
                b'a' => cx.broadcast(ROOM, "all;").unwrap(),
                b'o' => cx.broadcast_to_others(ROOM, "others;").unwrap(),
                b'j' => cx.join(OTHER)?,
                b'l' => assert!(cx.leave(ROOM) && !cx.leave(ROOM)),
                b'x' => cx.broadcast(OTHER, "other room;").unwrap(),
                _ => cx.send("pong;")?,
            }
        }
        Ok(())
    }
}

fn joined(server: &TestLoop, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("p");
        client.expect("pong;");
    }
    clients
}

#[test]
fn each_member_gets_it_once() {
    let server = TestLoop::serve(|| Member);
    let mut clients = joined(&server, 3);
    clients[0].send("a");
    clients.iter_mut().for_each(|client| client.expect("all;"));
    // A second one would stand before this answer.
    for client in &mut clients {
        client.send("p");
        client.expect("pong;");
    }
    server.assert_quiet();
}

#[test]
fn all_but_the_speaker_get_what_is_for_others() {
    let server = TestLoop::serve(|| Member);
    let mut clients = joined(&server, 3);
    clients[2].send("op");
    clients[2].expect("pong;");
    clients[0].expect("others;");
    clients[1].expect("others;");
}

#[test]
fn who_has_left_or_is_gone_gets_nothing() {
    let server = TestLoop::serve(|| Member);
    let mut clients = joined(&server, 5);
    clients[1].send("lp");
    clients[1].expect("pong;");
    drop(clients.remove(0));
    server.eventually("it is gone", |metrics| metrics.open == 4);
    clients[3].send("ap");
    clients[3].expect("all;pong;");
    clients[0].send("p");
    clients[0].expect("pong;");
    clients[1].expect("all;");
    clients[2].expect("all;");
}

#[test]
fn a_connection_may_be_in_several_groups_and_joins_each_once() {
    let server = TestLoop::serve(|| Member);
    let mut clients = joined(&server, 2);
    clients[0].send("jjxap");
    clients[0].expect("other room;all;pong;");
    clients[1].expect("all;");
}

#[test]
fn one_group_too_many_is_refused() {
    struct Joiner;
    impl Handler for Joiner {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
            cx.join(Group(1))?;
            cx.join(Group(2))?;
            cx.join(Group(2))?;
            let error = cx.join(Group(3)).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
            cx.leave(Group(1));
            cx.join(Group(3))?;
            cx.send("done")?;
            cx.close_after_flush()
        }

        fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
            Ok(())
        }
    }
    let mut limits = Limits::default();
    limits.groups_per_connection = 2;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Joiner);
    assert_eq!(server.client().receive_to_end(), b"done");
}

#[test]
fn members_on_all_loops_are_reached() {
    let server = Server::builder().threads(3).listen("127.0.0.1:0", |_| Member).unwrap().start().unwrap();
    let mut clients: Vec<Client> = (0..30).map(|_| Client::connect(&server.local_addresses()[0])).collect();
    for client in &mut clients {
        client.send("p");
        client.expect("pong;");
    }
    clients[0].send("a");
    clients.iter_mut().for_each(|client| client.expect("all;"));
    server.handle().broadcast(ROOM, "from outside;").unwrap();
    clients.iter_mut().for_each(|client| client.expect("from outside;"));
    drop(clients);
    server.handle().shutdown(Duration::from_secs(60)).unwrap();
    server.handle().broadcast(ROOM, "too late").unwrap_err();
}

#[test]
fn ten_thousand_members_share_one_allocation() {
    // The clients are in this process too, and other tests run beside.
    let spare = usize::try_from(raise_descriptor_limit().min(1 << 20)).unwrap().saturating_sub(300) / 2;
    let count = spare.min(10_000);
    let transport = Transport::Unix;
    let server = TestLoop::serve_with(Limits::default(), transport, || Member);
    let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
    server.eventually("all have joined", |metrics| metrics.open == count as u64);
    let payload: Arc<[u8]> = vec![b'x'; 1024].into();
    let bytes = SharedBytes::from(Arc::clone(&payload));
    let owners = server.on_loop({
        let payload = Arc::clone(&payload);
        move |cx| {
            cx.broadcast(ROOM, bytes).unwrap();
            Arc::strong_count(&payload)
        }
    });
    // Each queue has a reference, the test has one, the closure another.
    assert_eq!(owners, count + 2);
    clients.iter_mut().for_each(|client| client.expect(&payload));
    eventually("all references are given back", || Arc::strong_count(&payload) == 1);
}
