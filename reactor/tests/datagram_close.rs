//! A callback may close its own socket and others: nothing more is shown to them, and their names are stale.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use common::TestLoop;
use datagrams::{Heard, Listening, bind_udp, receive, udp_client};
use reactor::{DatagramId, DatagramOptions, Limits};

#[test]
fn closing_in_the_callback_drops_the_rest_of_the_batch_and_sends_what_was_said() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (id, address, ears) = bind_udp(
        &server,
        Listening::doing(|cx, _, bytes| {
            cx.reply(bytes)?;
            if bytes == b"close" {
                cx.close();
                assert!(cx.reply("too late").is_err());
            }
            Ok(())
        }),
    );
    let client = udp_client();
    server.hold_up(|| {
        for bytes in [&b"first"[..], b"close", b"never shown"] {
            client.send_to(bytes, address).unwrap();
        }
    });
    assert_eq!((receive(&client), receive(&client)), (b"first".to_vec(), b"close".to_vec()));
    ears.expect_datagram(b"first");
    ears.expect_datagram(b"close");
    ears.expect(&Heard::Close("closed"));
    assert!(server.on_loop(move |cx| cx.datagram(id).is_none()));
    let metrics = server.metrics();
    assert_eq!((metrics.datagrams.sockets, metrics.closed.closed), (0, 1));
    assert_eq!(ears.so_far(), []);
}

#[test]
fn another_socket_can_be_closed_though_datagrams_wait_for_it() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (victim, victim_address, victim_ears) = bind_udp(&server, Listening::new());
    let close = move |cx: &mut reactor::DatagramContext<'_>| {
        if let Some(mut victim) = cx.datagram(victim) {
            victim.close();
        }
    };
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(move |cx, _, _| {
            close(cx);
            Ok(())
        }),
    );
    let client = udp_client();
    for round in 0..10 {
        server.hold_up(|| {
            client.send_to(b"close it", address).unwrap();
            let _ = client.send_to(b"perhaps", victim_address);
        });
        ears.wait_for(|heard| *heard == Heard::Datagram(b"close it".to_vec()));
        if round == 0 {
            victim_ears.wait_for(|heard| *heard == Heard::Close("closed"));
        }
    }
    assert_eq!(victim_ears.so_far(), [], "nothing comes after the close");
}

#[test]
fn a_stale_name_is_not_that_of_the_next_socket() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let mut stale: Vec<DatagramId> = Vec::new();
    for _ in 0..20 {
        let (id, _, ears) = bind_udp(&server, Listening::new());
        let old = stale.clone();
        assert!(server.on_loop(move |cx| old.into_iter().all(|id| cx.datagram(id).is_none())));
        server.on_loop(move |cx| cx.datagram(id).unwrap().close());
        ears.expect(&Heard::Close("closed"));
        stale.push(id);
    }
}

#[test]
fn a_socket_can_be_made_in_a_callback_and_closes_once_its_queue_is_sent() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (ears_of, wants) = std::sync::mpsc::channel();
    let (_, address, _ears) = bind_udp(
        &server,
        Listening::doing(move |cx, from, _| {
            let (handler, ears) = Listening::new();
            let from = from.as_inet().expect("it is UDP");
            let id = cx.connect_datagram(from, &DatagramOptions::default(), handler)?;
            let mut socket = cx.datagram(id).expect("it is open");
            socket.send("from a socket of its own")?;
            socket.close_after_flush();
            ears_of.send(ears).expect("the test waits");
            Ok(())
        }),
    );
    let client = udp_client();
    client.send_to(b"x", address).unwrap();
    let (bytes, from) = datagrams::receive_from(&client);
    assert_eq!(bytes, b"from a socket of its own");
    assert_ne!(from, address);
    wants.recv().unwrap().wait_for(|heard| *heard == Heard::Close("closed"));
}

#[test]
fn a_loop_that_is_dropped_tells_each_socket_once() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, _, ears) = bind_udp(&server, Listening::new());
    drop(server);
    ears.expect(&Heard::Close("cut"));
    assert_eq!(ears.so_far(), []);
}
