//! Of several addresses each is tried in turn, within its share of the time, and the handler hears of the first that answers.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use common::{DEADLINE, Echo, Event, Events, Log, Logged, Record, TestLoop, Transport, Vacant};
use more::Script;
use reactor::{ConnId, ConnectOptions, Limits, SocketAddress, UnixName};

fn any() -> ConnectOptions {
    ConnectOptions::default()
}

/// Connects from a loop, with a handler that says nothing.
fn connect(from: &TestLoop, to: Vec<SocketAddress>, options: ConnectOptions, log: &Log) -> std::io::Result<ConnId> {
    let log = log.clone();
    from.on_loop(move |cx| cx.connect(to, &options, Logged::new(&log, Script::new())))
}

/// An address at which nobody listens, kept to the end of the process.
fn vacant() -> SocketAddress {
    Box::leak(Box::new(Vacant::new())).address.into()
}

/// An address that no connection can be made to, as is known at once; see connect(2).
fn unreachable() -> SocketAddress {
    SocketAddr::from(([255, 255, 255, 255], 9)).into()
}

/// A name that nobody has.
fn missing() -> SocketAddress {
    UnixName::Abstract(b"reactor-test-nobody-has-this-name".to_vec()).into()
}

/// A listener that lets nobody in any more, and those who are in.
fn silent() -> (SocketAddress, TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    rustix::net::listen(&listener, 0).expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let mut inside = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        inside.push(stream);
    }
    (address.into(), listener, inside)
}

/// The only record is that the connection could not be made.
#[track_caller]
fn expect_failure(events: &Events) -> String {
    let Record { event: Event::Close { reason: "connect_failed", text, .. }, .. } = events.next() else {
        panic!("it cannot be made")
    };
    assert_eq!(events.so_far(), []);
    text
}

#[test]
fn one_that_refuses_is_followed_by_the_next() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Echo);
        let good = server.address().clone();
        for before in [
            vec![vacant()],
            vec![missing()],
            vec![unreachable()],
            vec![vacant(), missing(), vacant(), unreachable(), vacant()],
        ] {
            let (log, events) = Events::new();
            let made = server.metrics().connected;
            let addresses = before.into_iter().chain([good.clone()]).collect();
            connect(&server, addresses, any(), &log).expect("it can be tried");
            events.expect(&Event::Open);
            assert_eq!(events.so_far(), []);
            assert_eq!(server.metrics().connected, made + 1);
        }
        assert_eq!(server.metrics().closed.total(), 0);
    }
}

#[test]
fn one_that_is_silent_has_its_share_of_the_time_and_no_more() {
    let (silent, _listener, _inside) = silent();
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let addresses = vec![silent, server.address().clone()];
    // The second one has as much time as the first, and needs none.
    connect(&server, addresses, any().deadline(Duration::from_secs(4)), &log).expect("it can be tried");
    events.expect(&Event::Open);
}

#[test]
fn what_became_of_each_is_told() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let (first, second) = (vacant(), vacant());
    let addresses = vec![first.clone(), unreachable(), second.clone()];
    connect(&server, addresses, any(), &log).expect("it can be tried");
    let text = expect_failure(&events);
    assert!(text.contains("none of 3 addresses"), "{text}");
    for address in [first, unreachable(), second] {
        assert!(text.contains(&format!(" {address}: ")), "{text}");
    }
    assert!(text.contains("refused") && text.contains("unreachable"), "{text}");
    server.eventually("it is counted once", |metrics| metrics.open == 0 && metrics.closed.connect_failed == 1);
}

#[test]
fn what_fails_at_once_at_all_addresses_is_an_error_at_once() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let error = connect(&server, vec![unreachable()], any(), &log).expect_err("it is known at once");
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{error}");
    let error = connect(&server, vec![unreachable(), missing()], any(), &log).expect_err("it is known at once");
    assert!(error.to_string().contains("none of 2 addresses"), "{error}");
    let error = connect(&server, vec![], any(), &log).expect_err("there is nothing to try");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 0));
    server.assert_quiet();
}

#[test]
fn the_deadline_is_for_all_of_them() {
    let silent: Vec<_> = (0..3).map(|_| silent()).collect();
    let addresses: Vec<_> = silent.iter().map(|(address, ..)| address.clone()).collect();
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    connect(&server, addresses.clone(), any().deadline(Duration::from_millis(60)), &log).expect("it can be tried");
    let text = expect_failure(&events);
    assert!(text.contains("none of 3 addresses") && text.contains("no answer within the deadline"), "{text}");
    // Where the machine is busy, there is no time for the last ones.
    assert!(text.contains(&format!("{}: no answer within", addresses[0])), "{text}");
    server.eventually("nothing is left", |metrics| metrics.open == 0 && metrics.timers == 0);
    server.assert_quiet();
}

#[test]
fn no_more_are_tried_than_asked_for() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let addresses = vec![vacant(), server.address().clone()];
    for count in [0, 1] {
        connect(&server, addresses.clone(), any().max_addresses(count), &log).expect("it can be tried");
        assert!(expect_failure(&events).contains("refused"));
    }
    connect(&server, addresses, any().max_addresses(2), &log).expect("it can be tried");
    events.expect(&Event::Open);
}

#[test]
fn output_waits_until_one_answers() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Script::new()));
    let (theirs, _ours) = Events::new();
    let addresses = vec![vacant(), missing(), server.address().clone()];
    server.on_loop(move |cx| {
        let id = cx.connect(addresses, &any(), Logged::new(&theirs, Script::new())).expect("it can be tried");
        assert!(cx.send_to(id, "queued"), "output may be queued");
    });
    events.expect(&Event::Open);
    events.expect(&Event::Data(b"queued".into()));
}

#[test]
fn a_socket_that_meets_itself_is_followed_by_the_next() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    // It is free again, and of this process alone.
    let itself = SocketAddress::from(Vacant::new().address);
    let local = itself.as_inet().expect("it is one");
    let addresses = vec![itself, server.address().clone()];
    // The local port is taken again for the second address: the first socket is closed before.
    connect(&server, addresses, any().local(local), &log).expect("it can be tried");
    events.expect(&Event::Open);
}

#[test]
fn a_local_address_of_another_family_is_followed_by_the_next() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let six: SocketAddr = "[::1]:9".parse().expect("it is one");
    let local: SocketAddr = "127.0.0.1:0".parse().expect("it is one");
    let addresses = vec![six.into(), server.address().clone()];
    connect(&server, addresses, any().local(local), &log).expect("it can be tried");
    events.expect(&Event::Open);
}

#[test]
fn an_attempt_is_given_up_between_two_addresses() {
    let (first, _listener, _inside) = silent();
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let addresses = vec![vacant(), first, server.address().clone()];
    let id = connect(&server, addresses, any().deadline(DEADLINE * 10), &log).expect("it can be tried");
    server.on_loop(|_| ());
    server.on_loop(move |cx| cx.peer(id).expect("it is under way").close());
    events.expect_close("closed");
    assert_eq!(events.so_far(), []);
    server.eventually("nothing is left", |metrics| metrics.open == 0 && metrics.timers == 0);
    server.assert_quiet();
}
