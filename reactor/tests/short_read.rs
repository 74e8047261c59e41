//! A short read counts as the last one only where nothing can stand behind it: no byte and no end of stream is lost.

mod common;

use std::thread;

use common::{Client, Echo, Event, Events, Logged, TestLoop, Transport, assert_pattern, pattern};
use reactor::{Limits, ListenOptions};

const SCRATCH: usize = 64;

fn limits(strict_drain: bool) -> Limits {
    let mut limits = Limits::default();
    limits.scratch_min = SCRATCH;
    limits.scratch_max = SCRATCH;
    limits.strict_drain = strict_drain;
    limits
}

/// Runs a test over every transport, with the shortcut and without it, on a connection that is up.
fn for_each_way(test: impl Fn(&TestLoop, &Events, Client)) {
    for transport in Transport::ALL {
        for strict_drain in [false, true] {
            let (log, events) = Events::new();
            let server = TestLoop::serve_with(limits(strict_drain), transport, move || Logged::new(&log, Echo));
            let client = server.client();
            events.expect(&Event::Open);
            test(&server, &events, client);
        }
    }
}

#[test]
fn an_end_that_comes_with_the_data_is_seen() {
    for_each_way(|server, events, mut client| {
        server.hold_up(|| {
            client.send("last words");
            client.end();
        });
        client.expect("last words");
        client.expect_end();
        events.expect(&Event::Data(b"last words".to_vec()));
        events.expect(&Event::Eof);
        events.expect_close("eof");
    });
}

#[test]
fn an_end_that_comes_after_the_data_is_seen() {
    for_each_way(|_, events, mut client| {
        client.send("last words");
        client.expect("last words");
        client.end();
        client.expect_end();
        events.wait_for_close("eof");
    });
}

#[test]
fn an_end_without_data_is_seen() {
    for_each_way(|_, events, mut client| {
        client.end();
        client.expect_end();
        events.expect(&Event::Eof);
        events.expect_close("eof");
    });
}

#[test]
fn a_connection_that_ended_before_it_was_accepted_is_served() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(limits(false), transport, || Echo);
        let mut client = server.hold_up(|| {
            let mut client = server.client();
            client.send("early");
            client.end();
            client
        });
        client.expect("early");
        client.expect_end();
    }
}

#[test]
fn a_peer_that_closed_wholly_is_noticed_behind_its_data() {
    for_each_way(|server, events, mut client| {
        server.hold_up(|| {
            client.send("bye");
            drop(client);
        });
        events.expect(&Event::Data(b"bye".to_vec()));
        events.wait_for(|event| event.close_reason().is_some());
    });
}

#[test]
fn data_that_fills_the_buffer_exactly_is_no_short_read() {
    for_each_way(|server, _, mut client| {
        for size in [SCRATCH, 2 * SCRATCH, SCRATCH - 1, SCRATCH + 1, SCRATCH] {
            server.hold_up(|| client.send(pattern(0, size)));
            assert_pattern(0, &client.receive(size));
        }
        server.hold_up(|| {
            client.send(pattern(0, SCRATCH));
            client.end();
        });
        assert_pattern(0, &client.receive(SCRATCH));
        client.expect_end();
    });
}

#[test]
fn an_end_behind_many_full_reads_is_seen() {
    for_each_way(|server, _, mut client| {
        server.hold_up(|| {
            client.send(pattern(0, 100 * SCRATCH));
            client.end();
        });
        assert_pattern(0, &client.receive_to_end());
    });
}

#[test]
fn pieces_of_every_size_all_come() {
    for_each_way(|_, _, mut client| {
        let mut writer = client.twin();
        let total = (1..=2 * SCRATCH).sum::<usize>();
        let writing = thread::spawn(move || {
            let mut sent = 0;
            for size in 1..=2 * SCRATCH {
                writer.send(pattern(sent, size));
                sent += size;
            }
            writer.end();
        });
        let received = client.receive_to_end();
        writing.join().unwrap();
        assert_eq!(received.len(), total);
        assert_pattern(0, &received);
    });
}

/// An echo over TCP only, which is what has urgent data.
fn urgent(strict_drain: bool) -> (TestLoop, Client) {
    let server = TestLoop::serve_with(limits(strict_drain), Transport::Tcp, || Echo);
    let client = server.client();
    (server, client)
}

#[test]
fn an_urgent_byte_in_the_middle_stops_nothing() {
    for strict_drain in [false, true] {
        let (server, mut client) = urgent(strict_drain);
        server.hold_up(|| {
            client.send("before ");
            client.send_urgent(b'!');
            client.send("after");
        });
        client.expect("before after");
        client.send("more");
        client.expect("more");
        client.end();
        client.expect_end();
    }
}

#[test]
fn an_urgent_byte_ahead_of_the_end_stops_nothing() {
    for strict_drain in [false, true] {
        let (server, mut client) = urgent(strict_drain);
        server.hold_up(|| {
            client.send("before");
            client.send_urgent(b'!');
            client.end();
        });
        client.expect("before");
        client.expect_end();
    }
}

#[test]
fn many_urgent_bytes_stop_nothing() {
    for strict_drain in [false, true] {
        let (server, mut client) = urgent(strict_drain);
        for round in 0..100_usize {
            // Below, at and above the size of the read buffer.
            let size = 1 + round % (2 * SCRATCH);
            server.hold_up(|| {
                client.send(pattern(round, size));
                client.send_urgent(b'!');
                client.send("|");
            });
            assert_pattern(round, &client.receive(size));
            client.expect("|");
        }
        server.assert_quiet();
    }
}

#[test]
fn an_urgent_byte_alone_is_no_data_and_no_end() {
    for strict_drain in [false, true] {
        let (server, mut client) = urgent(strict_drain);
        client.send_urgent(b'!');
        server.assert_quiet();
        client.send("plain");
        client.expect("plain");
    }
}

#[test]
fn a_turn_that_ends_right_at_the_last_byte_is_no_end() {
    for read_per_turn in [1, SCRATCH / 2, SCRATCH, 2 * SCRATCH] {
        let mut limits = limits(false);
        limits.read_per_turn = read_per_turn;
        let server = TestLoop::start(limits, |event_loop| {
            event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_| Echo).unwrap();
        });
        let mut client = server.client();
        server.hold_up(|| client.send(pattern(0, read_per_turn)));
        assert_pattern(0, &client.receive(read_per_turn));
        client.send("more");
        client.expect("more");
    }
}
