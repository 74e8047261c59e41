//! Sources come and go at any time: from many threads while the loop sleeps, thousands in one callback, one socket in two
//! loops, a loop within a callback of another.

mod common;
#[path = "common/more.rs"]
mod more;

use std::sync::mpsc;
use std::thread;

use common::{Client, Echo, Event, Events, Logged, TestLoop, Transport, any_port, raise_descriptor_limit};
use more::Script;
use reactor::{ConnectOptions, EventLoop, Limits, ListenOptions, Listener, LoopContext};

#[test]
fn connections_are_made_from_many_threads_while_the_loop_sleeps() {
    const THREADS: usize = 4;
    const EACH: usize = 100;
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(Limits::default(), Transport::Unix, || Echo);
    let connect_from_elsewhere = || {
        let (target, log) = (server.address().clone(), log.clone());
        let connect = move |cx: &mut LoopContext<'_>| {
            let script = Script::new().open(|cx| cx.send("hello"));
            cx.connect(target, &ConnectOptions::default(), Logged::new(&log, script)).expect("there is room");
        };
        server.handle.execute(connect).expect("the mailbox has room");
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    connect_from_elsewhere();
                    // The loop falls asleep between two of them, now and then.
                    thread::yield_now();
                }
            });
        }
    });
    for _ in 0..THREADS * EACH {
        events.wait_for(|event| *event == Event::Data(b"hello".to_vec()));
    }
    assert_eq!(server.metrics().connected, (THREADS * EACH) as u64);
    server.assert_quiet();
}

#[test]
fn thousands_are_added_by_one_callback_and_all_are_served() {
    const MANY: usize = 1500;
    assert!(raise_descriptor_limit() > 3 * MANY as u64, "the process may have too few descriptors");
    let (log, events) = Events::new();
    let mut limits = Limits::default();
    // What is known of the sources grows while a batch of their events is gone through.
    limits.events_per_wait = 16;
    let server = TestLoop::serve_with(limits, Transport::Tcp, move || {
        let log = log.clone();
        Script::new().data(move |cx, input| {
            if input.as_slice() == b"multiply" {
                let target = cx.local_address()?;
                for _ in 0..MANY {
                    let script = Script::new().open(|cx| cx.send("x"));
                    cx.connect(target.clone(), &ConnectOptions::default(), Logged::new(&log, script))?;
                }
            }
            cx.send(input.take())
        })
    });
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    server.hold_up(|| {
        clients[0].send("multiply");
        clients[1..].iter_mut().for_each(|client| client.send("hello"));
    });
    clients[0].expect("multiply");
    clients[1..].iter_mut().for_each(|client| client.expect("hello"));
    for _ in 0..MANY {
        events.wait_for(|event| *event == Event::Data(b"x".to_vec()));
    }
    assert_eq!((server.metrics().connected, server.metrics().panics), (MANY as u64, 0));
}

#[test]
fn one_socket_in_two_loops_serves_each_client_once() {
    let listener = Listener::bind(any_port(), &ListenOptions::default()).expect("port 0 is free");
    let address = listener.local_address().clone();
    let loops = [listener.clone(), listener].map(|listener| {
        TestLoop::start(Limits::default(), move |event_loop| {
            event_loop.listen_on(listener, &ListenOptions::default(), |_| Echo).expect("it can be watched");
        })
    });
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(&address)).collect();
    for client in &mut clients {
        client.send("hello");
        client.expect("hello");
    }
    assert_eq!(loops.iter().map(|server| server.metrics().accepted).sum::<u64>(), 50);
    // What one of them does to the socket is its own affair.
    let [one, other] = loops;
    drop((clients, one));
    let mut late = Client::connect(&address);
    late.send("hello");
    late.expect("hello");
    drop((late, other));
    Client::try_connect(&address).expect_err("nobody listens");
}

#[test]
fn a_loop_runs_within_a_callback_of_another() {
    let server = TestLoop::serve(|| {
        Script::new().data(|cx, input| {
            let mut inner = EventLoop::new(Vec::new())?;
            let (handle, bytes) = (inner.handle(), input.take().to_vec());
            let task = move |cx: &mut LoopContext<'_, Vec<u8>>| {
                *cx.state() = bytes;
                cx.stop();
            };
            handle.execute(task)?;
            inner.run()?;
            cx.send(inner.state())
        })
    });
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("through another loop");
        client.expect("through another loop");
    }
}

#[test]
fn two_loops_take_turns_on_one_thread() {
    let made = || EventLoop::new(0).expect("a loop can be made");
    let (mut one, mut other) = (made(), made());
    let (to_one, to_other) = (one.handle(), other.handle());
    let (sender, rounds) = mpsc::channel();
    for round in 0..100 {
        let (sender, to_other) = (sender.clone(), to_other.clone());
        let pass_on = move |cx: &mut LoopContext<'_, i32>| {
            *cx.state() += 1;
            let answer = move |cx: &mut LoopContext<'_, i32>| {
                *cx.state() += 1;
                sender.send(round).expect("the test waits");
            };
            to_other.execute(answer).expect("the loop is there");
        };
        to_one.execute(pass_on).expect("the loop is there");
        one.turn(None).expect("the loop goes on");
        other.turn(None).expect("the loop goes on");
        assert_eq!(rounds.try_recv(), Ok(round));
    }
    assert_eq!((*one.state(), *other.state()), (100, 100));
}
