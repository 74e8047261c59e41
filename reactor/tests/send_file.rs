//! Parts of files leave in their place among bytes, within a budget, and a file that shrinks ends the connection.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use common::{Client, DEADLINE, TestLoop, Transport, assert_pattern, eventually, pattern};
use reactor::{CloseReason, Context, Handler, Input, Limits, Result};

/// Answers each byte with a head, a part of the file, and a tail.
struct Server {
    file: Arc<File>,
    part: std::ops::Range<u64>,
    reasons: mpsc::Sender<String>,
}

impl Handler for Server {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        for _ in input.take() {
            cx.send("<")?;
            cx.send_file(Arc::clone(&self.file), self.part.clone())?;
            cx.send_shared(">")?;
        }
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        // The test may be over.
        let _ = self.reasons.send(reason.to_string());
    }
}

/// A file with the pattern in it.
fn file_of(length: usize) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(0, length)).unwrap();
    Arc::new(file)
}

fn serve(
    limits: Limits,
    transport: Transport,
    file: &Arc<File>,
    part: std::ops::Range<u64>,
) -> (TestLoop, mpsc::Receiver<String>) {
    let (reasons, told) = mpsc::channel();
    let file = Arc::clone(file);
    let make = move || Server { file: Arc::clone(&file), part: part.clone(), reasons: reasons.clone() };
    (TestLoop::serve_with(limits, transport, make), told)
}

/// Expects one answer: head, part, tail.
fn expect_answer(client: &mut Client, from: usize, length: usize) {
    client.expect("<");
    assert_pattern(from, &client.receive(length));
    client.expect(">");
}

#[test]
fn a_part_of_a_file_leaves_between_what_was_sent_before_and_after() {
    for transport in Transport::ALL {
        let file = file_of(300_000);
        let (server, _) = serve(Limits::default(), transport, &file, 1000..200_000);
        let mut client = server.client();
        client.send("...");
        (0..3).for_each(|_| expect_answer(&mut client, 1000, 199_000));
        server.assert_quiet();
        eventually("the file is let go", || Arc::strong_count(&file) <= 3);
    }
}

#[test]
fn a_large_file_waits_for_a_slow_reader_and_costs_no_memory() {
    let length = 64 << 20;
    let file = file_of(length);
    let (server, _) = serve(Limits::default(), Transport::Tcp, &file, 0..length as u64);
    let mut client = server.client();
    client.send(".");
    // What is in files is not in memory.
    server.eventually("the first bytes are sent", |metrics| metrics.bytes_out > 0);
    assert!(server.metrics().buffered < 1000);
    expect_answer(&mut client, 0, length);
    server.eventually("nothing waits", |metrics| metrics.buffered == 0);
}

#[test]
fn a_fast_reader_of_a_large_file_does_not_hold_up_others() {
    let length = 64 << 20;
    let mut limits = Limits::default();
    limits.write_per_turn = 4096;
    let (server, _) = serve(limits, Transport::Tcp, &file_of(length), 0..length as u64);
    let mut greedy = server.client();
    greedy.send(".");
    greedy.receive(1 << 20);
    let before = server.metrics();
    server.on_loop(|_| ());
    server.on_loop(|_| ());
    let after = server.metrics();
    let (turns, bytes) = (after.turns - before.turns, after.bytes_out - before.bytes_out);
    assert!(bytes <= (turns + 1) * 4096, "{bytes} bytes in {turns} turns");
}

#[test]
fn a_file_that_shrinks_ends_the_connection_with_the_count() {
    let file = file_of(1000);
    let (server, reasons) = serve(Limits::default(), Transport::Tcp, &file, 0..2000);
    let mut client = server.client();
    client.send(".");
    client.expect("<");
    assert_pattern(0, &client.receive_to_end());
    let reason = reasons.recv_timeout(DEADLINE).unwrap();
    assert!(reason.contains("after 1000 of the 2000 bytes"), "{reason}");
}

#[test]
fn a_range_that_is_none_is_refused_and_nothing_is_sent() {
    let server = TestLoop::serve(|| common::Echo);
    let mut client = server.client();
    client.send("a");
    client.expect("a");
    struct Refused;
    impl Handler for Refused {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
            let file = Arc::new(File::open("/proc/self/exe")?);
            #[allow(clippy::reversed_empty_ranges, reason = "that is the point")]
            let error = cx.send_file(Arc::clone(&file), 2..1).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            cx.send_file(Arc::clone(&file), 0..u64::MAX).unwrap_err();
            cx.send_file(file, 5..5)?;
            cx.send("done")?;
            cx.close_after_flush()
        }

        fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
            Ok(())
        }
    }
    let server = TestLoop::serve(|| Refused);
    assert_eq!(server.client().receive_to_end(), b"done");
}

#[test]
fn a_drain_waits_for_the_file() {
    let length = 8 << 20;
    let (server, _) = serve(Limits::default(), Transport::Tcp, &file_of(length), 0..length as u64);
    let mut client = server.client();
    client.send(".");
    client.expect("<");
    let handle = server.handle.clone();
    handle.shutdown(Duration::from_secs(60)).unwrap();
    assert_pattern(0, &client.receive(length));
    client.expect(">");
    assert_eq!(client.receive_to_end(), b"");
    drop(client);
    let report = server.wait();
    assert_eq!((report.cut, report.unsent), (0, 0));
}
