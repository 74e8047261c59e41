//! What waits in memory is bounded over all connections of a loop, and of a server: first nobody is let in, then those with the most
//! are closed, and who has nothing waiting is served as ever.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{Client, TestLoop, any_port, eventually};
use reactor::{
    CloseReason, Context, Handler, Input, Limits, ListenOptions, MemoryBudget, Overflow, Result, Server, Sharing,
};

/// Answers `n` by so many KiB, and anything else by itself.
#[derive(Clone, Default)]
struct Generous {
    /// The most that waited, as each callback left it.
    peak: Arc<AtomicU64>,
    /// What waited on those that were closed for want of memory.
    asked: usize,
    closed: Arc<Mutex<Vec<usize>>>,
}

impl Handler for Generous {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let bytes = input.take();
        let Ok(kibibytes) = String::from_utf8_lossy(bytes).parse::<usize>() else { return cx.send(bytes) };
        self.asked = kibibytes;
        let sent = cx.send(vec![7; kibibytes << 10]);
        self.peak.fetch_max(cx.handle().metrics().buffered, Ordering::Relaxed);
        sent
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        if matches!(reason, CloseReason::Overflow(Overflow::Memory)) {
            self.closed.lock().unwrap().push(self.asked);
        }
    }
}

/// Small socket buffers: what is sent to who does not read waits in the loop.
fn options() -> ListenOptions {
    let mut options = ListenOptions::default();
    options.socket.send_buffer = Some(4096);
    options
}

fn limits(soft: usize, hard: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.memory_soft, limits.memory_hard) = (soft, hard);
    limits
}

/// A client that asks for so many KiB and reads none of them, once they wait.
fn slow_reader(server: &TestLoop, kibibytes: usize) -> Client {
    let before = server.metrics().bytes_in;
    let mut client = server.client();
    client.send(kibibytes.to_string());
    server.eventually("the question is read", |metrics| metrics.bytes_in > before);
    server.on_loop(|_| ());
    client
}

fn serve(limits: Limits, handler: Generous) -> TestLoop {
    TestLoop::start(limits, move |event_loop| {
        event_loop.listen(any_port(), &options(), move |_| handler.clone()).unwrap();
    })
}

const MIB: usize = 1 << 20;
/// What the kernel takes of an answer is less than this on every kernel with buffers so small.
const KERNEL: usize = 3 * MIB;

#[test]
fn above_the_hard_mark_those_with_the_most_are_closed_first() {
    let handler = Generous::default();
    let (peak, closed) = (Arc::clone(&handler.peak), Arc::clone(&handler.closed));
    let server = serve(limits(24 * MIB, 32 * MIB), handler);
    let mut bystander = server.client();
    bystander.send("before");
    bystander.expect("before");
    let mut small: Vec<_> = (0..3).map(|_| slow_reader(&server, 4 << 10)).collect();
    let large = slow_reader(&server, 9 << 10);
    assert!(closed.lock().unwrap().is_empty());
    // This one passes the mark: the largest goes, and that is enough.
    let larger = slow_reader(&server, 14 << 10);
    server.eventually("memory is to spare", |metrics| metrics.closed.overflow == 1);
    assert_eq!(*closed.lock().unwrap(), [14 << 10]);
    assert!(server.metrics().buffered <= 24 * MIB as u64);
    assert!(peak.load(Ordering::Relaxed) <= 32 * MIB as u64, "{peak:?}");
    bystander.send("after");
    bystander.expect("after");
    // Those that stayed get all of theirs.
    for client in &mut small {
        assert!(client.receive(4 * MIB).iter().all(|byte| *byte == 7));
    }
    drop((large, larger));
}

#[test]
fn many_slow_readers_do_not_pass_the_mark_and_others_are_served() {
    let handler = Generous::default();
    let peak = Arc::clone(&handler.peak);
    let server = serve(limits(16 * MIB, 20 * MIB), handler);
    let mut bystander = server.client();
    let mut readers = Vec::new();
    // Each would keep 5 MiB: 200 in all.
    for _ in 0..40 {
        let Ok(mut client) = Client::try_connect(server.address()) else { continue };
        // Who waits in the backlog is not read; the others are.
        client.send(5120_u32.to_string());
        bystander.send("ping");
        bystander.expect("ping");
        readers.push(client);
    }
    assert!(peak.load(Ordering::Relaxed) <= 20 * MIB as u64, "{peak:?}");
    assert!(server.metrics().buffered <= 20 * MIB as u64);
    drop(readers);
    server.eventually("all is let go", |metrics| metrics.buffered == 0 && metrics.open == 1);
}

#[test]
fn above_the_soft_mark_nobody_is_let_in_until_it_is_passed_again() {
    let server = serve(limits(4 * MIB, 64 * MIB), Generous::default());
    let slow = slow_reader(&server, (8 * MIB + KERNEL) >> 10);
    server.eventually("it waits", |metrics| metrics.buffered > 4 * MIB as u64);
    // The kernel completes the connection, and the loop leaves it there.
    let mut waiting = server.client();
    waiting.send("hello");
    server.on_loop(|_| ());
    server.on_loop(|_| ());
    assert_eq!((server.metrics().open, server.metrics().closed.total()), (1, 0));
    server.assert_quiet();
    drop(slow);
    waiting.expect("hello");
}

#[test]
fn above_the_soft_mark_who_has_output_waiting_is_not_read() {
    let mut limits = limits(4 * MIB, 64 * MIB);
    (limits.high_mark, limits.max_output) = (16 * MIB, 16 * MIB);
    let server = serve(limits, Generous::default());
    let mut slow = slow_reader(&server, (8 * MIB + KERNEL) >> 10);
    server.eventually("it waits", |metrics| metrics.buffered > 4 * MIB as u64);
    let read = server.metrics().bytes_in;
    slow.send("and more");
    server.on_loop(|_| ());
    server.on_loop(|_| ());
    assert_eq!(server.metrics().bytes_in, read, "it is read on");
    // Once it has read all, it is served again.
    slow.receive(8 * MIB + KERNEL);
    slow.expect("and more");
}

#[test]
fn input_that_handlers_leave_counts_too() {
    struct Hoarder;
    impl Handler for Hoarder {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
            if input.len() >= MIB / 2 {
                cx.pause();
            }
            Ok(())
        }
    }
    let server = TestLoop::start(limits(2 * MIB, 3 * MIB), |event_loop| {
        event_loop.listen(any_port(), &ListenOptions::default(), |_| Hoarder).unwrap();
    });
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let bytes = vec![7; MIB / 2];
    // One that was closed may refuse what comes then.
    clients.iter_mut().for_each(|client| drop(std::io::Write::write_all(client, &bytes)));
    server.eventually("some are closed", |metrics| metrics.closed.overflow > 0);
    assert!(server.metrics().buffered <= 3 * MIB as u64);
}

#[test]
fn the_loops_of_a_server_share_a_budget() {
    let budget = MemoryBudget::new(16 * MIB, 20 * MIB);
    let handler = Generous::default();
    let closed = Arc::clone(&handler.closed);
    let server = Server::builder()
        .threads(2)
        .memory(&budget)
        .listen_with(any_port(), &options(), Sharing::Handover(reactor::Balance::RoundRobin), move |_| handler.clone())
        .unwrap()
        .start()
        .unwrap();
    let address = server.local_addresses()[0].clone();
    let mut readers = Vec::new();
    for index in 0..6 {
        let mut client = Client::connect(&address);
        client.send(if index == 3 { "9000" } else { "5000" });
        readers.push(client);
    }
    eventually("some are closed", || !closed.lock().unwrap().is_empty());
    // Loops tell of 64 KiB at a time.
    let most = (20 * MIB + 2 * (64 << 10)) as u64;
    eventually("memory is to spare", || {
        server.handle().metrics().buffered <= most && budget.in_use() <= 20 * MIB as u64
    });
    drop(readers);
    eventually("all is let go", || budget.in_use() == 0);
    let mut client = Client::connect(&address);
    client.send("hello");
    client.expect("hello");
    drop(server);
    assert_eq!(budget.in_use(), 0);
}
