//! At the bound on connections the next clients wait in the backlog until a place is free, on whichever loop that is.

mod common;
#[path = "common/more.rs"]
mod more;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Client, Echo, TestLoop, Transport, any_port, eventually};
use more::{Script, hold};
use reactor::{Balance, Limits, ListenOptions, LoopHandle, Metrics, Server, Sharing, SocketAddress};

/// The ways in which a free place on any loop serves any client.
const POOLING: [Sharing; 3] =
    [Sharing::Exclusive, Sharing::Handover(Balance::RoundRobin), Sharing::Handover(Balance::FewestConnections)];

fn serve(threads: usize, places: usize, sharing: Sharing) -> Server {
    let builder = Server::builder().threads(threads).max_connections(places);
    let builder =
        builder.listen_with(any_port(), &ListenOptions::default(), sharing, |_| Echo).expect("port 0 is free");
    builder.start().expect("a server can be made")
}

/// A client that has spoken, whether or not it is let in.
fn visitor(address: &SocketAddress) -> Client {
    let mut client = Client::connect(address);
    client.send("hello");
    client
}

/// Lets clients in through `places`, one out one in; more than that are never inside.
#[track_caller]
fn let_through(address: &SocketAddress, places: usize, visitors: usize, metrics: impl Fn() -> Metrics) {
    let mut outside: VecDeque<_> = (0..visitors).map(|_| visitor(address)).collect();
    let mut inside = VecDeque::new();
    let mut served = 0;
    while served < visitors {
        // Which of those who wait is let in first is the loops' affair.
        eventually("somebody is let in", || {
            let (answered, silent) = outside.drain(..).partition::<Vec<_>, _>(is_answered);
            served += answered.len();
            inside.extend(answered);
            outside.extend(silent);
            inside.len() >= places || outside.is_empty()
        });
        let open = metrics().open;
        assert!(open.max(inside.len() as u64) <= places as u64, "{open} are open in {places} places");
        inside.pop_front();
    }
}

fn is_answered(client: &Client) -> bool {
    match client.twin().receive_waiting().as_slice() {
        b"" => false,
        b"hello" => true,
        other => panic!("{} was answered", other.escape_ascii()),
    }
}

#[test]
fn a_loop_lets_in_as_many_as_have_room() {
    for transport in Transport::ALL {
        for places in [1, 3] {
            let mut limits = Limits::default();
            limits.connections = places;
            let server = TestLoop::serve_with(limits, transport, || Echo);
            let_through(server.address(), places, 20, || server.metrics());
        }
    }
}

#[test]
fn a_full_loop_is_quiet() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let mut inside = visitor(server.address());
    inside.expect("hello");
    let mut waiting: Vec<_> = (0..10).map(|_| visitor(server.address())).collect();
    server.assert_quiet();
    inside.send("still here");
    inside.expect("still here");
    drop(inside);
    for mut client in waiting.drain(..) {
        client.expect("hello");
    }
}

#[test]
fn every_pool_of_loops_lets_in_as_many_as_have_room() {
    for sharing in POOLING {
        for (threads, places) in [(1, 2), (2, 2), (2, 5), (3, 2)] {
            let server = serve(threads, places, sharing);
            let_through(&server.local_addresses()[0], places, 24, || server.handle().metrics());
        }
    }
}

#[test]
fn a_full_loop_takes_no_wake_up_from_one_with_room() {
    let server = serve(2, 4, Sharing::Exclusive);
    let address = &server.local_addresses()[0];
    // One loop fills up while the other one cannot come.
    let held = hold(&server.handle().loops()[1]);
    let mut inside: Vec<_> = (0..2).map(|_| visitor(address)).collect();
    inside.iter_mut().for_each(|client| drop(client.receive(5)));
    let mut waiting: Vec<_> = (0..2).map(|_| visitor(address)).collect();
    drop(held);
    waiting.iter_mut().for_each(|client| drop(client.receive(5)));
    // Now the wake-ups of late-comers must go to the loop that has room.
    for _ in 0..50 {
        waiting.clear();
        eventually("the second loop is empty", || server.handle().loops()[1].metrics().open == 0);
        waiting.extend((0..2).map(|_| visitor(address)));
        waiting.iter_mut().for_each(|client| drop(client.receive(5)));
    }
    assert_eq!(server.handle().loops()[0].metrics().accepted, 2);
}

#[test]
fn loops_with_ports_of_their_own_serve_everybody_in_time() {
    let server = serve(2, 4, Sharing::ReusePort);
    let clients: Vec<_> = (0..30).map(|_| visitor(&server.local_addresses()[0])).collect();
    // A client waits for a place on the loop that the kernel gave it to, so all leave as they are served.
    let threads = clients.into_iter().map(|mut client| std::thread::spawn(move || client.receive(5)));
    for thread in threads.collect::<Vec<_>>() {
        assert_eq!(thread.join().expect("it is served"), b"hello");
    }
    assert_eq!(server.handle().metrics().accepted, 30);
}

#[test]
fn who_lingers_has_a_place() {
    let mut limits = Limits::default();
    limits.connections = 1;
    limits.linger = Duration::from_secs(60);
    // All but the first byte is unread when the connection closes.
    limits.read_per_turn = 1;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || {
        Script::new().data(|cx, input| {
            cx.send(input.take())?;
            cx.close_after_flush()
        })
    });
    let mut first = visitor(server.address());
    assert_eq!(first.receive_to_end(), b"h");
    server.eventually("it lingers", |metrics| metrics.lingering == 1);
    let mut second = visitor(server.address());
    server.assert_quiet();
    assert_eq!(second.receive_waiting(), b"");
    drop(first);
    assert_eq!(second.receive_to_end(), b"h");
}

/// Waits until the loop has done all that was there to do when this was called.
#[track_caller]
fn pass_a_whole_turn<S>(handle: &LoopHandle<S>) {
    let turns = handle.metrics().turns;
    eventually("the loop turns", || {
        handle.execute(|_| ()).expect("the loop runs");
        handle.metrics().turns >= turns + 2
    });
}

#[test]
fn a_place_that_a_failed_handler_leaves_is_filled() {
    let made = AtomicUsize::new(0);
    let make = move |_: &SocketAddress| {
        assert_ne!(made.fetch_add(1, Ordering::Relaxed), 1, "no handler for the second client");
        Echo
    };
    let builder = Server::builder().threads(2).max_connections(2);
    let sharing = Sharing::Handover(Balance::RoundRobin);
    let builder = builder.listen_with("127.0.0.1:0", &ListenOptions::default(), sharing, make).expect("port 0 is free");
    let server = builder.start().expect("a server can be made");
    let address = &server.local_addresses()[0];
    let loops = server.handle().loops().to_vec();
    let mut first = visitor(address);
    first.expect("hello");
    // The second client is on its way to the other loop when the third one comes, so there is no place for that.
    let held = hold(&loops[1]);
    let (mut second, mut third) = (visitor(address), visitor(address));
    pass_a_whole_turn(&loops[0]);
    drop(held);
    second.expect_reset();
    third.expect("hello");
}

#[test]
fn listeners_that_hand_over_count_together() {
    let mut builder = Server::builder().threads(2).max_connections(2);
    for _ in 0..2 {
        let sharing = Sharing::Handover(Balance::RoundRobin);
        builder =
            builder.listen_with("127.0.0.1:0", &ListenOptions::default(), sharing, |_| Echo).expect("port 0 is free");
    }
    let server = builder.start().expect("a server can be made");
    let [one, other] = server.local_addresses() else { panic!("there are two listeners") };
    let loops = server.handle().loops().to_vec();
    // The other listener has handed something over before.
    let mut earlier = [visitor(other), visitor(other)];
    earlier.iter_mut().for_each(|client| client.expect("hello"));
    drop(earlier);
    eventually("they are gone", || server.handle().metrics().open == 0);
    let mut first = visitor(one);
    first.expect("hello");
    let held = hold(&loops[1]);
    let (mut second, mut third) = (visitor(one), visitor(one));
    pass_a_whole_turn(&loops[0]);
    drop(held);
    second.expect("hello");
    loops.iter().for_each(pass_a_whole_turn);
    assert_eq!(server.handle().metrics().open, 2);
    drop(first);
    third.expect("hello");
}
