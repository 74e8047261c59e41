//! A connection is told of its end exactly once, after everything else, with the reason, whoever ended it and when.

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Client, Event, Events, Log, Logged, Silent, TestLoop, Transport, pattern};
use reactor::{CloseReason, ConnId, Context, Handler, Input, Limits, ListenOptions, Peer, Result, TimerId};
use rustix::io::Errno;

/// A callback in which a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open,
    Data,
    Eof,
    Drained,
    Timer,
    Shutdown,
}

/// How a callback ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Close,
    Flush,
    Abort,
    Error,
    Panic,
}

impl Way {
    const ALL: [Self; 5] = [Self::Close, Self::Flush, Self::Abort, Self::Error, Self::Panic];

    fn reason(self) -> &'static str {
        match self {
            Self::Close | Self::Flush => "closed",
            Self::Abort => "aborted",
            Self::Error => "error",
            Self::Panic => "panic",
        }
    }
}

/// Ends its connection in one callback, in one way, and counts how many of its kind are alive.
struct Ends {
    step: Step,
    way: Way,
    alive: Arc<AtomicUsize>,
}

impl Ends {
    fn reach(&self, step: Step, cx: &mut Context<'_>) -> Result {
        if step != self.step {
            return Ok(());
        }
        // Both would bring another callback, if the connection did not end.
        cx.set_timer(Duration::ZERO)?;
        cx.want_drained();
        match self.way {
            Way::Close => cx.close(),
            Way::Flush => return cx.close_after_flush(),
            Way::Abort => cx.abort(),
            Way::Error => return Err(io::Error::other("it had enough")),
            Way::Panic => panic!("it had enough"),
        }
        Ok(())
    }
}

impl Handler for Ends {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        match self.step {
            Step::Drained => cx.want_drained(),
            Step::Timer => drop(cx.set_timer(Duration::from_millis(1))?),
            _ => {}
        }
        self.reach(Step::Open, cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        self.reach(Step::Data, cx)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>) -> Result {
        self.reach(Step::Eof, cx)
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) -> Result {
        self.reach(Step::Drained, cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _timer: TimerId) -> Result {
        self.reach(Step::Timer, cx)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, _deadline: Instant) -> Result {
        self.reach(Step::Shutdown, cx)
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
        // None of it does anything any more.
        cx.close();
        cx.abort();
        cx.resume();
        cx.shutdown_write();
        assert!(cx.send("too late").is_err());
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets a connection end itself; says what it was told.
fn life(step: Step, way: Way) -> Vec<Event> {
    let (log, events) = Events::new();
    let alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&alive);
    let server = TestLoop::serve(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Logged::new(&log, Ends { step, way, alive: Arc::clone(&count) })
    });
    // A reset may come while it connects.
    let mut client = Client::try_connect(server.address());
    if let Ok(client) = &mut client
        && matches!(step, Step::Data | Step::Eof)
    {
        server.hold_up(|| {
            client.send("x");
            client.end();
        });
    }
    if step == Step::Shutdown {
        server.eventually("it is open", |metrics| metrics.open == 1);
        server.handle.shutdown(common::DEADLINE).expect("the loop runs");
    }
    server.eventually("it has ended", |metrics| metrics.closed.total() == 1);
    drop(client);
    if step != Step::Shutdown {
        server.assert_quiet();
    }
    let metrics = server.metrics();
    assert_eq!((metrics.open, metrics.closed.total(), metrics.buffered, metrics.timers), (0, 1, 0, 0));
    drop(server);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "its handler is dropped");
    events.so_far().into_iter().map(|record| record.event).collect()
}

#[test]
fn a_connection_may_end_in_every_callback_in_every_way() {
    for step in [Step::Open, Step::Data, Step::Eof, Step::Drained, Step::Timer, Step::Shutdown] {
        for way in Way::ALL {
            let events = life(step, way);
            let closes = events.iter().filter_map(Event::close_reason).collect::<Vec<_>>();
            let expected = match (step, way) {
                // What ends a connection that the peer has ended too is the peer.
                (Step::Eof, Way::Flush) => "eof",
                (Step::Shutdown, Way::Flush) => "shutdown",
                _ => way.reason(),
            };
            assert_eq!(closes, [expected], "{step:?} {way:?}: {events:?}");
            assert!(events.last().unwrap().close_reason().is_some(), "{step:?} {way:?}: {events:?}");
            let reached = events.len() - 2;
            let is_step = match step {
                Step::Open => events[reached] == Event::Open,
                Step::Data => matches!(events[reached], Event::Data(_)),
                Step::Eof => events[reached] == Event::Eof,
                Step::Drained => events[reached] == Event::Drained,
                Step::Timer => matches!(events[reached], Event::Timer(_)),
                Step::Shutdown => events[reached] == Event::Shutdown,
            };
            assert!(is_step, "{step:?} {way:?}: a callback came between: {events:?}");
        }
    }
}

fn silent() -> (TestLoop, Events) {
    let (log, events) = Events::new();
    (TestLoop::serve(move || Logged::new(&log, Silent)), events)
}

#[test]
fn the_end_from_the_peer_is_eof() {
    let (server, events) = silent();
    server.client().end();
    events.expect(&Event::Open);
    events.expect(&Event::Eof);
    events.expect_close("eof");
}

#[test]
fn a_reset_is_an_error_with_its_errno() {
    let (server, events) = silent();
    let client = server.client();
    events.expect(&Event::Open);
    client.reset();
    let Event::Close { reason, errno, .. } = events.next().event else { panic!("it is closed at once") };
    assert_eq!((reason, errno), ("error", Some(Errno::CONNRESET.raw_os_error())));
}

#[test]
fn a_reset_after_the_peers_end_is_told_if_output_waits() {
    struct Large;
    impl Handler for Large {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
            input.take();
            cx.send(pattern(0, 12 << 20))
        }
    }
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Large));
    let mut client = server.client();
    client.send("x");
    client.end();
    server.eventually("output waits", |metrics| metrics.buffered > 0);
    client.reset();
    let close = events.wait_for_close("error");
    assert!(matches!(close.event, Event::Close { errno: Some(_), .. }), "{close:?}");
}

#[test]
fn a_silent_connection_times_out() {
    let (log, events) = Events::new();
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let options = ListenOptions::default().idle_timeout(Duration::from_millis(30));
        event_loop.listen("127.0.0.1:0", &options, move |_| Logged::new(&log, Silent)).unwrap();
    });
    let mut client = server.client();
    events.expect(&Event::Open);
    events.expect_close("timeout");
    client.expect_end();
}

#[test]
fn another_thread_closes_by_name_and_a_stale_name_does_nothing() {
    let (server, events) = silent();
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    for _ in 0..3 {
        server.handle.close(id).unwrap();
        server.handle.send(id, "too late").unwrap();
    }
    client.expect_end();
    events.expect_close("closed");
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
}

#[test]
fn the_first_reason_holds() {
    let (server, events) = silent();
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    server.on_loop(move |cx| {
        let mut peer = cx.peer(id).unwrap();
        peer.close();
        peer.abort();
        peer.close_after_flush();
    });
    events.expect_close("closed");
    client.expect_end();
    assert_eq!(server.metrics().closed.total(), 1);
}

#[test]
fn texts_of_errors_and_panics_are_told() {
    struct Fails;
    impl Handler for Fails {
        fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
            match input.take() {
                b"panic" => panic!("out of {}", "luck"),
                _ => Err(io::Error::from(Errno::NOTSUP)),
            }
        }
    }
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(Limits::default(), Transport::Unix, move || Logged::new(&log, Fails));
    for (input, expected) in [("panic", "out of luck"), ("error", "not supported")] {
        server.client().send(input);
        let close = events.wait_for(|event| event.close_reason().is_some());
        let Event::Close { text, errno, .. } = close.event else { unreachable!("it was looked for") };
        assert!(text.contains(expected), "{text}");
        assert_eq!(errno, (input == "error").then(|| Errno::NOTSUP.raw_os_error()));
    }
    assert_eq!(server.metrics().panics, 1);
}

#[test]
fn a_drain_closes_in_good_order_and_cuts_who_stays() {
    struct Stays(Log);
    impl Handler for Stays {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
            self.0.note(cx.id(), "stays");
            Ok(())
        }
        fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
            Ok(())
        }
        fn on_shutdown(&mut self, _cx: &mut Context<'_>, _deadline: Instant) -> Result {
            Ok(())
        }
        fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
            self.0.note(cx.id(), reason.name());
        }
    }
    let (log, events) = Events::new();
    let (stays_log, stays) = Events::new();
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let options = ListenOptions::default();
        event_loop.listen("127.0.0.1:0", &options, move |_| Logged::new(&log, Silent)).unwrap();
        event_loop.listen("127.0.0.1:0", &options, move |_| Stays(stays_log.clone())).unwrap();
    });
    let _leaves = server.client();
    let _stays = Client::connect(&server.addresses()[1]);
    let note = |text: &str| -> ConnId { stays.expect(&Event::Note(text.to_owned())) };
    let id = note("stays");
    events.expect(&Event::Open);
    let report = server.shut_down(Duration::from_millis(100));
    assert_eq!((report.clean, report.cut), (1, 1));
    events.expect(&Event::Shutdown);
    events.expect_close("shutdown");
    assert_eq!(note("cut"), id);
}

/// Leaves all that comes, and says what it had left when it ends.
struct Leaves(Log);

impl Handler for Leaves {
    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
        let left = cx.take_unread();
        self.0.note(cx.id(), left.escape_ascii().to_string());
    }
}

#[test]
fn a_reset_behind_input_that_was_left_is_told_and_the_input_is_had() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Leaves(log.clone())));
    let mut client = server.client();
    client.send("no line");
    events.expect(&Event::Open);
    events.expect(&Event::Data(b"no line".to_vec()));
    client.reset();
    events.expect_close("error");
    events.expect(&Event::Note("no line".into()));
    server.eventually("it is forgotten", |metrics| metrics.buffered == 0 && metrics.open == 0);
    assert_eq!(events.so_far(), []);
}

/// Answers to a peer who is gone, and says what was not taken of the answer.
struct Answers {
    log: Log,
    shared: bool,
}

impl Handler for Answers {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.send("an ")?;
        if self.shared {
            // The end may be known at once.
            let _ = cx.send_shared(vec![0; 100_000]);
        } else {
            cx.send("answer")?;
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
        self.log.note(cx.id(), cx.queued().to_string());
    }
}

#[test]
fn what_the_kernel_refuses_counts_as_unsent_at_the_end() {
    for (shared, unsent) in [(false, "9"), (true, "100003")] {
        let (log, events) = Events::new();
        let make = move || Logged::new(&log, Answers { log: log.clone(), shared });
        // A closed Unix socket refuses at once, and a TCP socket takes what comes.
        let server = TestLoop::serve_with(Limits::default(), Transport::Unix, make);
        let mut client = server.client();
        server.hold_up(move || client.send("x"));
        events.expect(&Event::Open);
        events.expect(&Event::Data(b"x".to_vec()));
        events.expect_close("error");
        events.expect(&Event::Note(unsent.into()));
        server.eventually("it is forgotten", |metrics| metrics.buffered == 0 && metrics.open == 0);
    }
}

#[test]
fn a_reset_after_our_own_end_is_told() {
    let (server, events) = silent();
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    server.on_loop(move |cx| cx.peer(id).unwrap().shutdown_write());
    client.expect_end();
    client.reset();
    let Event::Close { reason, errno, .. } = events.next().event else { panic!("it is closed at once") };
    assert_eq!((reason, errno), ("error", Some(Errno::CONNRESET.raw_os_error())));
    assert_eq!(events.so_far(), []);
}

/// A way to end a connection from outside, and the reason of the end if that does not wait for output.
type End = (fn(&mut Peer<'_>), Option<&'static str>);

#[test]
fn of_ends_asked_for_together_the_first_that_does_not_wait_holds() {
    let ends: [End; 4] = [
        (|peer| peer.abort(), Some("aborted")),
        (|peer| peer.close(), Some("closed")),
        (|peer| peer.close_after_flush(), None),
        (|peer| peer.shutdown_write(), None),
    ];
    for first in ends {
        for second in ends {
            let (server, events) = silent();
            let _client = server.client();
            let id = events.expect(&Event::Open);
            let bytes = pattern(0, 12 << 20);
            server.on_loop(move |cx| {
                assert!(cx.send_to(id, &bytes));
                for (end, _) in [first, second, ends[1]] {
                    if let Some(mut peer) = cx.peer(id) {
                        end(&mut peer);
                    }
                }
            });
            let reason = first.1.or(second.1).unwrap_or("closed");
            assert_eq!(events.expect_close(reason).id, id);
            server.eventually("all is gone", |metrics| (metrics.open, metrics.buffered) == (0, 0));
            assert_eq!(events.so_far(), []);
        }
    }
}
