//! Datagrams arrive whole, each by itself and in order: the empty ones, the longest, and many; what is cut is told.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::sync::mpsc;

use common::{TestLoop, pattern};
use datagrams::{
    Heard, Listening, abstract_name, bind, bind_udp, receive, udp_client, unix_peer, unix_receive, unix_send,
};
use reactor::{DatagramOptions, Limits};

#[test]
fn many_arrive_in_order() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(&server, Listening::echo());
    let client = udp_client();
    for round in 0..20_u32 {
        // No more than a receive buffer holds.
        let sent: Vec<Vec<u8>> = (0..100_u32).map(|index| (100 * round + index).to_be_bytes().to_vec()).collect();
        for bytes in &sent {
            client.send_to(bytes, address).unwrap();
        }
        for bytes in &sent {
            ears.expect_datagram(bytes);
            assert_eq!(receive(&client), *bytes);
        }
    }
    // What is sent is counted once it is, and may have arrived by then.
    server.eventually("all are counted", |metrics| metrics.datagrams.sent == 2000);
    let counted = server.metrics().datagrams;
    assert_eq!((counted.received, counted.dropped, counted.errors), (2000, 0, 0));
}

#[test]
fn an_empty_one_is_shown_and_can_be_sent() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(&server, Listening::echo());
    let client = udp_client();
    for bytes in [&b""[..], b"between", b"", b""] {
        client.send_to(bytes, address).unwrap();
        ears.expect_datagram(bytes);
        assert_eq!(receive(&client), bytes);
    }
}

#[test]
fn the_longest_that_udp_carries_arrives_whole() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(&server, Listening::echo());
    let client = udp_client();
    for length in [1, 1472, 1473, 65_506, 65_507] {
        let bytes = pattern(length, length);
        client.send_to(&bytes, address).unwrap();
        ears.expect_datagram(&bytes);
        assert_eq!(receive(&client), bytes);
    }
}

#[test]
fn long_ones_of_a_unix_socket_arrive_whole_if_asked_for() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let options = DatagramOptions::default().max_size(150_000);
    let (_, local, ears) = bind(&server, &datagrams::unix_url(), &options, Listening::new());
    let (client, _) = unix_peer();
    let bytes = pattern(0, 150_000);
    unix_send(&client, &bytes, &local);
    ears.expect_datagram(&bytes);
}

#[test]
fn what_is_cut_is_told_and_the_next_one_is_whole() {
    let (told, tells) = mpsc::channel();
    let server = TestLoop::start(Limits::default(), |_| ());
    let options = DatagramOptions::default().max_size(10);
    let handler = Listening::doing(move |cx, _, bytes| {
        told.send((bytes.len(), cx.full_length(), cx.is_truncated())).expect("the test waits");
        Ok(())
    });
    let (_, local, ears) = bind(&server, "udp://127.0.0.1:0", &options, handler);
    let client = udp_client();
    for (length, expected) in
        [(9, (9, 9, false)), (10, (10, 10, false)), (11, (10, 11, true)), (1000, (10, 1000, true))]
    {
        let bytes = pattern(0, length);
        client.send_to(&bytes, local.as_inet().unwrap()).unwrap();
        ears.expect_datagram(&bytes[..length.min(10)]);
        assert_eq!(tells.recv().unwrap(), expected);
    }
    assert_eq!(server.metrics().datagrams.truncated, 2);
}

#[test]
fn what_one_batch_says_arrives_as_it_was_said_whatever_the_lengths() {
    // Runs of one length, which may pass through the kernel as one, with shorter, longer and empty ones between.
    let lengths = [64; 130].into_iter().chain([63, 64, 0, 0, 65, 65, 1]).chain([1200; 60]).chain([1201, 1201, 5000, 1]);
    let said: Vec<_> = lengths.enumerate().map(|(index, length)| pattern(index, length)).collect();
    let server = TestLoop::start(Limits::default(), |_| ());
    for address in ["udp://127.0.0.1:0", "udp://0.0.0.0:0"] {
        let to_say = said.clone();
        let handler = Listening::doing(move |cx, _, _| to_say.iter().try_for_each(|bytes| cx.reply(bytes)));
        let (_, local, _ears) = bind(&server, address, &DatagramOptions::default(), handler);
        let client = udp_client();
        rustix::net::sockopt::set_socket_recv_buffer_size(&client, 2 << 20).unwrap();
        client.send_to(b"go", ("127.0.0.1", local.as_inet().unwrap().port())).unwrap();
        for bytes in &said {
            assert!(receive(&client) == *bytes);
        }
    }
}

#[test]
fn sockets_with_slots_of_different_sizes_take_turns() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let small = DatagramOptions::default().max_size(100);
    let (_, narrow, narrow_ears) = bind(&server, "udp://127.0.0.1:0", &small, Listening::echo());
    let (_, wide, wide_ears) = bind(&server, "udp://0.0.0.0:0", &DatagramOptions::default(), Listening::new());
    let client = udp_client();
    for round in 0..50 {
        let bytes = pattern(round, 100);
        client.send_to(&bytes, narrow.as_inet().unwrap()).unwrap();
        client.send_to(&bytes, ("127.0.0.1", wide.as_inet().unwrap().port())).unwrap();
        narrow_ears.expect_datagram(&bytes);
        wide_ears.expect_datagram(&bytes);
        assert_eq!(receive(&client), bytes);
    }
}

#[test]
fn all_that_is_read_strictly_arrives_too() {
    let mut limits = Limits::default();
    limits.strict_drain = true;
    limits.datagrams_per_call = 1;
    let server = TestLoop::start(limits, |_| ());
    let (_, address, ears) = bind_udp(&server, Listening::echo());
    let client = udp_client();
    for index in 0..100_u8 {
        client.send_to(&[index], address).unwrap();
    }
    for index in 0..100 {
        ears.expect(&Heard::Datagram(vec![index]));
        assert_eq!(receive(&client), [index]);
    }
    server.assert_quiet();
}

#[test]
fn unix_datagrams_keep_their_bounds() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let name = String::from_utf8(abstract_name()).unwrap();
    let (_, local, ears) = bind(&server, &format!("unix:@{name}"), &DatagramOptions::default(), Listening::echo());
    let (client, _) = unix_peer();
    for bytes in [&b"one"[..], b"", b"three"] {
        unix_send(&client, bytes, &local);
        ears.expect_datagram(bytes);
        assert_eq!(unix_receive(&client), bytes);
    }
}
