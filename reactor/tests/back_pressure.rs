//! A peer that stops reading stops the reading from it: no queue grows past its bound, and nothing is lost.

mod common;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use common::{
    Client, Echo, Event, Events, Logged, Silent, TestLoop, Transport, assert_pattern, eventually, fill_pattern, pattern,
};
use reactor::{CloseReason, Context, Handler, Input, Limits, Result};

const HIGH: usize = 64 << 10;
const LOW: usize = 16 << 10;
/// What one callback of an echo may add: a full read.
const SCRATCH: usize = 16 << 10;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.high_mark = HIGH;
    limits.low_mark = LOW;
    limits.scratch_min = SCRATCH;
    limits.scratch_max = SCRATCH;
    limits
}

/// Notes at each callback how much waits in the loop.
struct Watched<H> {
    inner: H,
    most_buffered: Arc<AtomicU64>,
}

impl<H: Handler> Watched<H> {
    fn watch(&self, cx: &Context<'_>) {
        self.most_buffered.fetch_max(cx.handle().metrics().buffered, Ordering::Relaxed);
    }
}

impl<H: Handler> Handler for Watched<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let result = self.inner.on_data(cx, input);
        self.watch(cx);
        result
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) -> Result {
        let result = self.inner.on_drained(cx);
        self.watch(cx);
        result
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
        self.watch(cx);
    }
}

/// Reads the pattern to its end at `total` bytes, in pieces that keep the sender waiting.
fn read_slowly(client: &mut Client, total: usize) {
    let mut bytes = vec![0; 64 << 10];
    let mut received = 0;
    loop {
        let count = client.read(&mut bytes).expect("the stream goes on");
        assert_pattern(received, &bytes[..count]);
        received += count;
        if count == 0 {
            return assert_eq!(received, total);
        }
        // The sender meets a full socket again and again.
        thread::yield_now();
    }
}

#[test]
fn a_peer_that_does_not_read_stops_the_reading() {
    for transport in Transport::ALL {
        let most_buffered = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&most_buffered);
        let server = TestLoop::serve_with(limits(), transport, move || Watched {
            inner: Echo,
            most_buffered: Arc::clone(&watched),
        });
        let mut client = server.client();
        let mut writer = client.twin();
        let total = 16 << 20;
        let writing = thread::spawn(move || {
            writer.send(pattern(0, total));
            writer.end();
        });
        server.eventually("reading rests", |metrics| metrics.buffered > HIGH as u64);
        server.assert_quiet();
        let read = server.metrics().bytes_in;
        server.assert_quiet();
        assert_eq!(server.metrics().bytes_in, read, "nothing is read meanwhile");
        read_slowly(&mut client, total);
        writing.join().unwrap();
        server.eventually("all is sent", |metrics| metrics.buffered == 0 && metrics.open == 0);
        let most = most_buffered.load(Ordering::Relaxed);
        assert!(most <= (HIGH + SCRATCH) as u64, "{most} bytes waited");
    }
}

/// Sends one large answer to each request.
struct Answers(usize);

impl Handler for Answers {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.send(pattern(0, self.0))
    }
}

#[test]
fn on_drained_tells_when_output_that_waited_has_left() {
    let (log, events) = Events::new();
    let size = 12 << 20;
    let server = TestLoop::serve_with(limits(), Transport::Tcp, move || Logged::new(&log, Answers(size)));
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    client.send("give");
    events.expect(&Event::Data(b"give".to_vec()));
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
    assert!(server.on_loop(move |cx| cx.peer(id).unwrap().queued()) > HIGH);
    client.send("more");
    server.assert_quiet();
    assert_eq!(events.so_far(), [], "reading rests");
    assert_pattern(0, &client.receive(size));
    events.expect(&Event::Drained);
    events.expect(&Event::Data(b"more".to_vec()));
    // A client that reads meanwhile may be given all of it without a wait.
    assert!(server.on_loop(move |cx| cx.peer(id).unwrap().queued()) > HIGH);
    assert_pattern(0, &client.receive(size));
    events.expect(&Event::Drained);
    server.assert_quiet();
    assert_eq!(events.so_far(), [], "it is told once");
}

#[test]
fn output_that_never_waited_is_not_told_of() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Answers(100)));
    let mut client = server.client();
    client.send("give");
    assert_pattern(0, &client.receive(100));
    server.assert_quiet();
    assert!(events.so_far().iter().all(|record| record.event != Event::Drained));
}

#[test]
fn output_beyond_the_bound_closes_the_connection_and_send_to_says_so() {
    let mut limits = limits();
    limits.max_output = 1 << 20;
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(limits, Transport::Tcp, move || Logged::new(&log, Silent));
    let _never_reads = server.client();
    let id = events.expect(&Event::Open);
    let (taken, after) = server.on_loop(move |cx| {
        let bytes = pattern(0, 64 << 10);
        let taken = (0..100_000).take_while(|_| cx.send_to(id, &bytes)).count();
        (taken, cx.send_to(id, "x"))
    });
    assert_eq!(taken, 16, "a megabyte waits, and not more");
    assert!(!after, "nothing is sent on a connection that is closing");
    let close = events.next();
    assert_eq!(close.event, Event::Close { reason: "overflow", text: OUTPUT_OVERFLOW.to_owned(), errno: None });
    server.eventually("what waited is gone", |metrics| metrics.buffered == 0);
    assert!(!server.on_loop(move |cx| cx.send_to(id, "x")));
}

const OUTPUT_OVERFLOW: &str = "more output waits than the limit";

#[test]
fn a_slow_reader_that_others_write_to_does_not_disturb_them() {
    let mut limits = limits();
    limits.max_output = 1 << 20;
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(limits, Transport::Tcp, move || Logged::new(&log, Silent));
    let _never_reads = server.client();
    let slow = events.expect(&Event::Open);
    let mut reads = server.client();
    let fast = events.expect(&Event::Open);
    let reading = thread::spawn(move || read_slowly(&mut reads, 64 << 20));
    let mut bytes = vec![0; 64 << 10];
    for round in 0..1024 {
        fill_pattern(round * bytes.len(), &mut bytes);
        let piece = bytes.clone();
        server.on_loop(move |cx| {
            cx.send_to(slow, &piece);
            assert!(cx.send_to(fast, &piece));
        });
        let queued = || server.on_loop(move |cx| cx.peer(fast).unwrap().queued());
        eventually("the fast one reads", || queued() <= HIGH);
    }
    server.on_loop(move |cx| cx.peer(fast).unwrap().close_after_flush());
    reading.join().unwrap();
    let closed = events.wait_for_close("overflow");
    assert_eq!(closed.id, slow);
}

/// Produces the pattern piece by piece, the next one when the last has left.
struct Producer {
    produced: usize,
    total: usize,
}

const PIECE: usize = 48 << 10;

impl Handler for Producer {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.want_drained();
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) -> Result {
        if self.produced == self.total {
            return cx.close_after_flush();
        }
        let piece = pattern(self.produced, PIECE.min(self.total - self.produced));
        self.produced += piece.len();
        cx.want_drained();
        cx.send(piece)
    }
}

#[test]
fn a_producer_streams_to_a_slow_reader_in_bounded_memory() {
    for transport in Transport::ALL {
        let most_buffered = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&most_buffered);
        let total = 64 << 20;
        let server = TestLoop::serve_with(limits(), transport, move || Watched {
            inner: Producer { produced: 0, total },
            most_buffered: Arc::clone(&watched),
        });
        let mut client = server.client();
        server.eventually("it waits for the reader", |metrics| metrics.buffered > LOW as u64);
        server.assert_quiet();
        read_slowly(&mut client, total);
        server.eventually("it has closed", |metrics| metrics.open == 0);
        let most = most_buffered.load(Ordering::Relaxed);
        assert!(most <= (LOW + PIECE) as u64, "{most} bytes waited");
    }
}
