//! Input that a handler leaves is bounded: to the bound it is kept, beyond it the connection ends, and a pause keeps it open.

mod common;

use common::{Event, Events, Log, Logged, TestLoop, Transport, assert_pattern, pattern};
use reactor::{ConnId, Context, Handler, Input, Limits, Result};

const INPUT_OVERFLOW: &str = "more input waits than the handler may leave";

/// Takes messages of a fixed size and leaves what is less.
struct Messages(usize);

impl Handler for Messages {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(message) = input.take_exact(self.0) {
            cx.send(message)?;
        }
        Ok(())
    }
}

fn bounded_input(max_input: usize, size: usize) -> (TestLoop, Events) {
    let mut limits = Limits::default();
    limits.max_input = max_input;
    let (log, events) = Events::new();
    (TestLoop::serve_with(limits, Transport::Tcp, move || Logged::new(&log, Messages(size))), events)
}

#[test]
fn a_message_as_long_as_the_input_bound_is_taken() {
    let (server, _events) = bounded_input(1000, 1000);
    let mut client = server.client();
    for round in 0..10 {
        client.send(pattern(round, 999));
        server.eventually("it is kept", |metrics| metrics.buffered == 999);
        client.send(pattern(round + 999, 1));
        assert_pattern(round, &client.receive(1000));
    }
    client.send(pattern(0, 100_000));
    for _ in 0..100 {
        client.receive(1000);
    }
    server.on_loop(|_| ());
    assert_eq!(server.metrics().buffered, 0);
}

#[test]
fn input_left_beyond_the_bound_closes_the_connection() {
    let (server, events) = bounded_input(1000, 1001);
    let mut client = server.client();
    client.send(pattern(0, 999));
    server.assert_quiet();
    assert_eq!(server.metrics().open, 1);
    client.send("x");
    let close = events.wait_for(|event| event.close_reason().is_some());
    assert_eq!(close.event, Event::Close { reason: "overflow", text: INPUT_OVERFLOW.to_owned(), errno: None });
    client.expect_end();
    server.eventually("what waited is gone", |metrics| metrics.buffered == 0 && metrics.open == 0);
}

/// Leaves all until it is told to take it, and pauses when it has left as much as it may.
struct Hoards {
    full: usize,
    takes: bool,
    taken: usize,
    log: Log,
}

impl Handler for Hoards {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        if self.takes {
            assert_pattern(self.taken, input.as_slice());
            self.taken += input.take().len();
            self.log.note(cx.id(), format!("taken {}", self.taken));
        } else if input.len() >= self.full {
            cx.pause();
            self.log.note(cx.id(), format!("full {}", input.len()));
        }
        Ok(())
    }
}

fn start_taking(server: &TestLoop, id: ConnId) {
    server.on_loop(move |cx| {
        cx.with(id, |hoards: &mut Hoards, cx| {
            hoards.takes = true;
            cx.resume();
        })
        .expect("it is open");
    });
}

#[test]
fn a_paused_handler_may_leave_as_much_as_the_bound() {
    let mut limits = Limits::default();
    limits.max_input = 1000;
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(limits, Transport::Tcp, move || Hoards {
        full: 1000,
        takes: false,
        taken: 0,
        log: log.clone(),
    });
    let mut client = server.client();
    client.send(pattern(0, 5000));
    let full = events.next();
    assert_eq!(full.event, Event::Note("full 1000".to_owned()));
    server.assert_quiet();
    assert_eq!((server.metrics().buffered, server.metrics().bytes_in), (1000, 1000));
    start_taking(&server, full.id);
    events.wait_for(|event| *event == Event::Note("taken 5000".to_owned()));
    server.on_loop(|_| ());
    assert_eq!((server.metrics().buffered, server.metrics().open), (0, 1));
}
