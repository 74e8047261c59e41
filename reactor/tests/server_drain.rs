//! The loops of a server drain together: nobody who was let in is forgotten between them, and nobody else is let in.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io::ErrorKind;
use std::sync::Mutex;
use std::time::Duration;

use common::{Client, Event, Events, Log, Logged, any_port};
use more::{Script, hold};
use reactor::{Balance, ListenOptions, Server, Sharing};

const AMPLE: Duration = Duration::from_secs(60);

const WAYS: [Sharing; 4] = [
    Sharing::Exclusive,
    Sharing::Handover(Balance::RoundRobin),
    Sharing::Handover(Balance::FewestConnections),
    Sharing::ReusePort,
];

/// A server of two loops whose connections echo; those that sent `stay` stay in a drain.
fn serve(log: Log, sharing: Sharing) -> Server {
    let log = Mutex::new(log);
    let make = move |_: &_| {
        let (stay, stays) = std::sync::mpsc::channel();
        let script = Script::new().data(move |cx, input| {
            if input.as_slice() == b"stay" {
                stay.send(()).expect("the handler lives");
            }
            cx.send(input.take())
        });
        let script = script.shutdown(move |cx, _| if stays.try_recv().is_ok() { Ok(()) } else { cx.finish() });
        Logged::new(&log.lock().expect("nobody panics"), script)
    };
    let builder = Server::builder().threads(2);
    let builder = builder.listen_with(any_port(), &ListenOptions::default(), sharing, make).expect("port 0 is free");
    builder.start().expect("a server can be made")
}

/// A client that keeps its loop draining.
fn staying(server: &Server) -> Client {
    let mut client = Client::connect(&server.local_addresses()[0]);
    client.send("stay");
    client.expect("stay");
    client
}

#[test]
fn nobody_is_let_in_while_it_drains() {
    for sharing in WAYS {
        let (log, events) = Events::new();
        let server = serve(log, sharing);
        let stays = [staying(&server), staying(&server)];
        server.handle().begin_shutdown(AMPLE);
        for _ in &stays {
            events.wait_for(|event| *event == Event::Shutdown);
        }
        common::eventually("no loop listens", || {
            let late = Client::try_connect(&server.local_addresses()[0]);
            late.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
        drop(stays);
        let report = server.wait().expect("no loop fails");
        assert_eq!(report.cut, 0, "{sharing:?}");
    }
}

#[test]
fn everybody_in_the_backlog_is_served() {
    for sharing in WAYS {
        let (log, _events) = Events::new();
        let server = serve(log, sharing);
        let held = [0, 1].map(|index| hold(&server.handle().loops()[index]));
        let mut clients: Vec<_> = (0..10).map(|_| Client::connect(&server.local_addresses()[0])).collect();
        clients.iter_mut().for_each(|client| client.send("hello"));
        server.handle().begin_shutdown(AMPLE);
        drop(held);
        for client in &mut clients {
            let mut answer = Vec::new();
            let end = std::io::Read::read_to_end(client, &mut answer);
            assert!(end.is_ok() && answer == b"hello", "{sharing:?}: {end:?} after {answer:?}");
        }
        drop(clients);
        let report = server.wait().expect("no loop fails");
        assert_eq!((report.clean, report.cut), (10, 0), "{sharing:?}");
    }
}

#[test]
fn who_is_handed_to_a_loop_that_drains_already_is_told_and_served() {
    let (log, _events) = Events::new();
    let server = serve(log, Sharing::Handover(Balance::RoundRobin));
    let stays = [staying(&server), staying(&server)];
    let handle = server.handle();
    // The second loop drains while the first, which accepts, has not heard of it.
    let held = hold(&handle.loops()[0]);
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(&server.local_addresses()[0])).collect();
    clients.iter_mut().for_each(|client| client.send("hello"));
    handle.begin_shutdown(AMPLE);
    drop(held);
    for client in &mut clients {
        assert_eq!(client.receive_to_end(), b"hello");
    }
    drop((clients, stays));
    let report = server.wait().expect("no loop fails");
    assert_eq!((report.clean, report.cut), (8, 0));
}

#[test]
fn who_is_handed_to_a_loop_that_has_ended_is_served_by_the_other() {
    let (log, _events) = Events::new();
    let server = serve(log, Sharing::Handover(Balance::RoundRobin));
    let handle = server.handle();
    let held = hold(&handle.loops()[0]);
    handle.loops()[1].stop().expect("the loop runs");
    common::eventually("it has ended", || handle.loops()[1].execute(|_| ()).is_err());
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(&server.local_addresses()[0])).collect();
    clients.iter_mut().for_each(|client| client.send("hello"));
    drop(held);
    for client in &mut clients {
        client.expect("hello");
    }
}

#[test]
fn who_is_handed_to_a_loop_that_is_just_ending_is_served() {
    for round in 0..200 {
        let (log, _events) = Events::new();
        let server = serve(log, Sharing::Handover(Balance::RoundRobin));
        let handle = server.handle();
        let held = hold(&handle.loops()[0]);
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(&server.local_addresses()[0])).collect();
        clients.iter_mut().for_each(|client| client.send("hello"));
        handle.loops()[0].shutdown(AMPLE).expect("the loop runs");
        // They meet in the time in which the second loop ends.
        let second = handle.loops()[1].clone();
        let ends = std::thread::spawn(move || {
            more::dawdle(Duration::from_micros(round));
            second.shutdown(AMPLE)
        });
        drop(held);
        for client in &mut clients {
            assert_eq!(client.receive_to_end(), b"hello", "round {round}");
        }
        drop(clients);
        ends.join().expect("it does not panic").expect("the loop runs");
        server.wait().expect("no loop fails");
    }
}
