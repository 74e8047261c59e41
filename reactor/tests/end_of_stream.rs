//! The end of a stream loses no output: what was sent before is flushed, then the socket closes, in good order.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use common::{Client, Echo, Event, Events, Logged, Silent, TestLoop, Transport, assert_pattern, pattern};
use reactor::{Context, Handler, Input, Limits, Result, TimerId};

/// More than sockets hold, so that output has to wait.
const LARGE: usize = 12 << 20;

/// Runs a closure on the first bytes that come, which are then taken.
struct Does<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Result + 'static> Handler for Does<F> {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        (self.0)(cx)
    }
}

fn does<F>(transport: Transport, callback: F) -> (TestLoop, Events)
where
    F: FnMut(&mut Context<'_>) -> Result + Clone + Send + 'static,
{
    let (log, events) = Events::new();
    let mut limits = Limits::default();
    limits.scratch_min = 64;
    limits.scratch_max = 64;
    let server = TestLoop::serve_with(limits, transport, move || Logged::new(&log, Does(callback.clone())));
    (server, events)
}

#[test]
fn flushes_before_closing() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |cx| {
            cx.send(pattern(0, LARGE))?;
            cx.close_after_flush()
        });
        let mut client = server.client();
        client.send("give");
        server.eventually("output waits", |metrics| metrics.buffered > 0);
        assert_pattern(0, &client.receive(LARGE));
        client.expect_end();
        events.wait_for_close("closed");
        drop(server);
        assert_eq!(events.so_far(), []);
    }
}

#[test]
fn what_is_sent_on_opening_arrives_before_the_end() {
    struct Greets;
    impl Handler for Greets {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
            cx.send("go away")?;
            cx.close_after_flush()
        }
        fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
            panic!("it is closed");
        }
    }
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Greets);
        let mut client = server.client();
        client.expect("go away");
        client.expect_end();
    }
}

#[test]
fn a_plain_close_still_sends_what_the_callback_sent() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |cx| {
            cx.send("last ")?;
            cx.send("words")?;
            cx.close();
            assert!(cx.send("too late").is_err());
            Ok(())
        });
        let mut client = server.client();
        client.send("x");
        client.expect("last words");
        client.expect_end();
        events.wait_for_close("closed");
    }
}

#[test]
fn a_peer_that_half_closed_gets_its_whole_answer() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |cx| cx.send(pattern(0, LARGE)));
        let mut client = server.client();
        client.send("give");
        client.end();
        assert_pattern(0, &client.receive(LARGE));
        client.expect_end();
        events.wait_for_close("eof");
    }
}

#[test]
fn a_server_that_half_closed_still_reads() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |cx| {
            if cx.send(pattern(0, LARGE)).is_ok() {
                cx.shutdown_write();
                // The second time it changes nothing.
                cx.shutdown_write();
                assert!(cx.send("too late").is_err());
            }
            Ok(())
        });
        let mut client = server.client();
        client.send("give");
        assert_pattern(0, &client.receive(LARGE));
        client.expect_end();
        client.send("thanks");
        events.wait_for(|event| *event == Event::Data(b"thanks".to_vec()));
        client.end();
        events.expect(&Event::Eof);
        events.expect_close("eof");
    }
}

#[test]
fn an_end_from_both_sides_at_once_is_one_end() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |_| Ok(()));
        let mut client = server.client();
        let id = events.expect(&Event::Open);
        server.hold_up(|| client.end());
        server.on_loop(move |cx| {
            if let Some(mut peer) = cx.peer(id) {
                peer.shutdown_write();
            }
        });
        client.expect_end();
        events.expect(&Event::Eof);
        events.expect_close("eof");
    }
}

/// Answers the peer's end a little later.
#[derive(Default)]
struct Late(Vec<u8>);

impl Handler for Late {
    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>) -> Result {
        self.0 = cx.take_unread();
        cx.set_timer(Duration::from_millis(20)).map(drop)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _timer: TimerId) -> Result {
        cx.send(&self.0)?;
        cx.close_after_flush()
    }
}

#[test]
fn what_was_left_at_the_end_is_had_and_may_be_answered_later() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, Late::default);
        let mut client = server.client();
        client.send("no line");
        client.end();
        client.expect("no line");
        client.expect_end();
        server.eventually("nothing is left", |metrics| metrics.buffered == 0 && metrics.closed.eof == 1);
    }
}

/// A way to close from within a callback.
type Close = fn(&mut Context<'_>) -> Result;

/// A client that has sent much more than the server reads before it answers and closes.
fn refused(close: Close) -> (TestLoop, Events, Client) {
    let (server, events) = does(Transport::Tcp, move |cx| {
        cx.send(pattern(0, 100_000))?;
        close(cx)
    });
    let mut client = server.client();
    server.hold_up(|| client.send(pattern(0, 50_000)));
    (server, events, client)
}

#[test]
fn closing_with_unread_input_resets_nothing() {
    let ways: [(&str, Close); 4] = [
        ("closed", |cx| cx.close_after_flush()),
        ("closed", |cx| {
            cx.close();
            Ok(())
        }),
        ("error", |_| Err(std::io::Error::other("refused"))),
        ("panic", |_| panic!("refused")),
    ];
    for (reason, close) in ways {
        let (server, events, mut client) = refused(close);
        events.wait_for_close(reason);
        server.eventually("it lingers", |metrics| metrics.lingering == 1);
        // The client goes on as if nothing had happened.
        client.send(pattern(0, 200_000));
        assert_pattern(0, &client.receive(100_000));
        client.expect_end();
        client.end();
        server.eventually("it is gone", |metrics| metrics.lingering == 0);
        server.assert_quiet();
        assert_eq!(events.so_far(), []);
    }
}

#[test]
fn lingering_ends_at_its_deadline() {
    let mut limits = Limits::default();
    limits.scratch_min = 64;
    limits.scratch_max = 64;
    limits.linger = Duration::from_millis(50);
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Does(|cx: &mut Context<'_>| cx.close_after_flush()));
    let mut client = server.client();
    server.hold_up(|| client.send(pattern(0, 5000)));
    client.expect_end();
    server.eventually("it lingers no more", |metrics| metrics.closed.closed == 1 && metrics.lingering == 0);
    // Now it is gone for good: the next bytes meet a closed socket.
    common::eventually("writing fails", || client.write(b"x").is_err());
}

#[test]
fn an_abort_resets_and_drops_what_waits() {
    let (server, events) = does(Transport::Tcp, |cx| {
        cx.send(pattern(0, LARGE))?;
        cx.abort();
        assert!(cx.send("too late").is_err());
        Ok(())
    });
    let mut client = server.client();
    client.send("give");
    events.wait_for_close("aborted");
    assert!(client.expect_reset() < LARGE);
    assert_eq!(server.metrics().buffered, 0);
}

#[test]
fn an_abort_of_a_unix_socket_closes_it() {
    let (server, events) = does(Transport::Unix, |cx| {
        cx.abort();
        Ok(())
    });
    let mut client = server.client();
    client.send("x");
    events.wait_for_close("aborted");
    match client.read(&mut [0; 16]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_of_that_connection_alone() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |cx| cx.send(pattern(0, LARGE)));
        let mut client = server.client();
        let mut bystander = server.client();
        client.send("give");
        server.eventually("output waits", |metrics| metrics.buffered > 0);
        drop(client);
        let close = events.wait_for(|event| event.close_reason().is_some());
        let Event::Close { reason, errno, .. } = close.event else { unreachable!("it was looked for") };
        assert_eq!(reason, "error");
        assert!(errno.is_some(), "the error is the socket's");
        bystander.send("give");
        assert_pattern(0, &bystander.receive(LARGE));
    }
}

#[test]
fn a_drain_flushes_before_it_closes() {
    for transport in Transport::ALL {
        let (server, events) = does(transport, |cx| cx.send(pattern(0, LARGE)));
        let mut client = server.client();
        client.send("give");
        server.eventually("output waits", |metrics| metrics.buffered > 0);
        server.handle.shutdown(common::DEADLINE).unwrap();
        assert_pattern(0, &client.receive(LARGE));
        client.expect_end();
        events.wait_for_close("shutdown");
        // The peer's end lets it linger no longer.
        drop(client);
        assert_eq!((server.wait().cut, events.so_far().len()), (0, 0));
    }
}

#[test]
fn many_short_connections_all_get_their_answer() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Echo);
        for round in 0..500 {
            let mut client = server.client();
            client.send(pattern(round, 100));
            client.end();
            assert_pattern(round, &client.receive_to_end());
        }
        server.eventually("all are gone", |metrics| metrics.open == 0 && metrics.lingering == 0);
        assert_eq!(server.metrics().closed.eof, 500);
    }
}

#[test]
fn a_stopped_loop_cuts_and_tells() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Silent));
    let mut client = server.client();
    events.expect(&Event::Open);
    drop(server);
    events.expect_close("cut");
    client.expect_end();
}
