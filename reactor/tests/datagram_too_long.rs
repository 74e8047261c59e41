//! A datagram that is too long to be sent is an error to who sends it, and nothing else is lost.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::io;
use std::sync::mpsc;

use common::{TestLoop, pattern};
use datagrams::{Listening, bind, bind_udp, receive, udp_client, unix_peer, unix_receive, unix_url};
use reactor::{DatagramOptions, Limits};

const EMSGSIZE: i32 = 90;

fn errno(result: io::Result<()>) -> Option<i32> {
    result.expect_err("it is too long").raw_os_error()
}

#[test]
fn the_caller_is_told_and_what_was_said_around_it_arrives() {
    let (told, tells) = mpsc::channel();
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(move |cx, _, _| {
            cx.reply("before")?;
            told.send(errno(cx.reply(vec![0; 65_508]))).expect("the test waits");
            cx.reply("after")
        }),
    );
    let client = udp_client();
    client.send_to(b"x", address).unwrap();
    assert_eq!((receive(&client), receive(&client)), (b"before".to_vec(), b"after".to_vec()));
    assert_eq!(tells.recv().unwrap(), Some(EMSGSIZE));
    ears.expect_datagram(b"x");
    server.on_loop(|_| ());
    assert_eq!(ears.so_far(), []);
    assert_eq!(server.metrics().datagrams.failed, 0);
}

#[test]
fn each_family_has_its_own_bound() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (id, _, _ears) = bind(&server, "udp://[::]:0", &DatagramOptions::default(), Listening::new());
    let six = "[::1]:9".parse::<std::net::SocketAddr>().unwrap().into();
    let mapped = "[::ffff:127.0.0.1]:9".parse::<std::net::SocketAddr>().unwrap().into();
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        assert_eq!(errno(socket.send_to(&six, vec![0; 65_528])), Some(EMSGSIZE));
        assert_eq!(errno(socket.send_to(&mapped, vec![0; 65_508])), Some(EMSGSIZE));
    });
}

#[test]
fn a_unix_socket_sends_what_its_buffer_takes() {
    let server = TestLoop::start(Limits::default(), |_| ());
    // The kernel doubles it, and keeps 32 bytes of that to itself.
    let options = DatagramOptions::default().send_buffer(32 << 10);
    let longest = (64 << 10) - 32;
    let (id, _, _ears) = bind(&server, &unix_url(), &options, Listening::new());
    let (client, address) = unix_peer();
    let bytes = pattern(0, longest);
    let sent = bytes.clone();
    server.on_loop(move |cx| {
        let mut socket = cx.datagram(id).unwrap();
        assert_eq!(errno(socket.send_to(&address, vec![0; longest + 1])), Some(EMSGSIZE));
        socket.send_to(&address, sent).unwrap();
    });
    assert!(unix_receive(&client) == bytes);
}
