//! However many connections, attempts and loops come and go, no descriptor and no memory stays behind.

mod common;
#[path = "common/more.rs"]
mod more;

use std::fs;
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Client, Echo, Silent, TestLoop, Transport, Vacant, any_port, descriptors, eventually};
use reactor::{Balance, ConnectOptions, EventLoop, Limits, ListenOptions, Server, Sharing};

/// Descriptors and memory are the process's, so its tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory that the process has in use; see proc(5).
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages = statm.split(' ').nth(1).expect("the second figure is the resident set");
    pages.parse::<usize>().expect("it is a number") * rustix::param::page_size()
}

/// Runs rounds, the first of which may grow what is kept for the next ones.
#[track_caller]
fn assert_no_growth(rounds: usize, mut run: impl FnMut(usize)) {
    const SLACK: usize = 2 << 20;
    let warm_up = rounds / 10;
    (0..warm_up).for_each(&mut run);
    let before = resident();
    (warm_up..rounds).for_each(&mut run);
    let growth = resident().saturating_sub(before);
    assert!(growth < SLACK, "{growth} bytes more after {rounds} rounds");
}

/// Comes, speaks, and goes in one of several ways.
fn visit(server: &TestLoop, round: usize) {
    let mut client = server.client();
    match round % 4 {
        0 => {}
        1 => {
            client.write_all(b"hello").expect("the server reads");
            client.expect("hello");
        }
        2 => client.write_all(b"who needs an answer").expect("the server reads"),
        _ => {
            client.write_all(b"goodbye").expect("the server reads");
            client.end();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("it ends in good order");
            assert_eq!(answer, b"goodbye");
        }
    }
    // With a reset, no port is left in TIME-WAIT.
    client.reset();
}

#[test]
fn connections_leave_nothing_behind() {
    let _alone = alone();
    let before = descriptors();
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Echo);
        let idle = descriptors();
        assert_no_growth(10_000, |round| visit(&server, round));
        server.eventually("all are closed", |metrics| metrics.open == 0 && metrics.lingering == 0);
        let metrics = server.metrics();
        assert_eq!((metrics.accepted, metrics.closed.total(), metrics.buffered), (10_000, 10_000, 0));
        assert_eq!(descriptors(), idle);
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn attempts_to_connect_leave_nothing_behind() {
    let _alone = alone();
    let nobody = Vacant::new();
    let refused = nobody.address;
    let before = descriptors();
    let server = TestLoop::serve_with(Limits::default(), Transport::Unix, || Silent);
    let idle = descriptors();
    let good = server.address().clone();
    assert_no_growth(3000, |round| {
        let good = good.clone();
        server.on_loop(move |cx| match round % 3 {
            0 => {
                let id = cx.connect(good, &ConnectOptions::default(), Silent).expect("it can be tried");
                assert!(cx.send_to(id, "hello"));
                cx.peer(id).expect("it is there").close_after_flush();
            }
            1 => drop(cx.connect(refused, &ConnectOptions::default(), Silent)),
            _ => drop(cx.connect(refused, &ConnectOptions::default().local(([192, 0, 2, 1], 0).into()), Silent)),
        });
    });
    server.eventually("all are closed", |metrics| metrics.open == 0 && metrics.lingering == 0);
    assert_eq!(descriptors(), idle);
    drop(server);
    assert_eq!(descriptors(), before);
}

#[test]
fn loops_leave_nothing_behind() {
    let _alone = alone();
    let before = descriptors();
    assert_no_growth(500, |round| {
        let mut event_loop = EventLoop::new(()).expect("a loop can be made");
        let options = ListenOptions::default();
        event_loop.listen(&*Transport::Unix.address(), &options, |_| Echo).expect("the name is free");
        let address = event_loop.local_addresses()[0].clone();
        let client = Client::connect(&address);
        event_loop.context().connect(address, &ConnectOptions::default(), Echo).expect("it can be tried");
        event_loop.context().run_after(Duration::MAX, |_| ()).expect("there is room");
        (0..round % 4).for_each(|_| event_loop.turn(Some(Duration::ZERO)).expect("the kernel lets it wait"));
        drop((event_loop, client));
    });
    assert_eq!(descriptors(), before);
}

#[test]
fn servers_leave_nothing_behind() {
    let _alone = alone();
    let before = descriptors();
    let ways = [Sharing::Exclusive, Sharing::Handover(Balance::FewestConnections), Sharing::ReusePort];
    for round in 0..30 {
        let builder = Server::builder().threads(2);
        let sharing = ways[round % ways.len()];
        let builder = builder.listen_with(any_port(), &ListenOptions::default(), sharing, |_| Echo);
        let server = builder.expect("port 0 is free").start().expect("a server can be made");
        let mut client = Client::connect(&server.local_addresses()[0]);
        client.send("hello");
        client.expect("hello");
        if round % 2 == 0 {
            client.reset();
            server.handle().shutdown(Duration::from_secs(60)).expect("no loop fails");
        }
        drop(server);
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let _alone = alone();
    let before = descriptors();
    for _ in 0..30 {
        let builder = Server::with_state(|index| assert!(index < 2, "on purpose")).threads(3);
        let builder = builder.listen(any_port(), |_| Echo).expect("port 0 is free");
        assert!(builder.start().is_err());
    }
    eventually("the loops that were made are gone", || descriptors() == before);
}
