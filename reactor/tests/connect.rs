//! An outgoing connection is like an accepted one once it is up, and one `on_close` with the cause if it cannot be made.

mod common;
#[path = "common/more.rs"]
mod more;

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use common::{Client, DEADLINE, Echo, Event, Events, Full, Log, Logged, Record, TestLoop, Transport, Vacant, any_port};
use more::Script;
use reactor::{ConnId, ConnectOptions, Context, EventLoop, Limits, Reconnect, SocketAddress, UnixName};
use rustix::io::Errno;

fn any() -> ConnectOptions {
    ConnectOptions::default()
}

/// Connects from a loop, with a handler that says nothing.
fn connect(from: &TestLoop, to: impl Into<SocketAddress>, options: ConnectOptions, log: &Log) -> io::Result<ConnId> {
    let (to, log) = (to.into(), log.clone());
    from.on_loop(move |cx| cx.connect(to, &options, Logged::new(&log, Script::new())))
}

fn unix(path: &Path) -> SocketAddress {
    UnixName::Path(path.to_path_buf()).into()
}

/// The only record is that the connection could not be made.
#[track_caller]
fn expect_failure(events: &Events) -> (String, Option<i32>) {
    let Record { event: Event::Close { reason: "connect_failed", text, errno }, .. } = events.next() else {
        panic!("it cannot be made")
    };
    assert_eq!(events.so_far(), []);
    (text, errno)
}

#[test]
fn nobody_listens_there() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let nobody = Vacant::new();
    connect(&server, nobody.address, any(), &log).expect("it can be tried");
    assert_eq!(expect_failure(&events).1, Some(Errno::CONNREFUSED.raw_os_error()));
    server.eventually("it is counted", |metrics| metrics.open == 0 && metrics.closed.connect_failed == 1);
    assert_eq!(server.metrics().connected, 0);
}

#[test]
fn no_way_leads_there() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    // TCP is not for broadcasts; see connect(2).
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    let error = connect(&server, nowhere, any(), &log).expect_err("it is known at once");
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{error}");
    assert!(error.to_string().contains(&nowhere.to_string()), "{error}");
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 0));
}

#[test]
fn a_reset_before_it_is_up_is_a_failure_to_connect() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let target = listener.local_addr().expect("it is bound");
    server.on_loop(move |cx| {
        cx.connect(target, &any(), Logged::new(&log, Script::new())).expect("it can be tried");
        // The loop looks at it only when this is over.
        let (peer, _) = listener.accept().expect("it comes");
        Client::Tcp(peer).reset();
    });
    assert_eq!(expect_failure(&events).1, Some(Errno::CONNRESET.raw_os_error()));
}

#[test]
fn what_others_send_meanwhile_does_not_hide_why_it_failed() {
    // With a message a turn, the second one comes when the kernel has told of the failure and nobody has looked yet.
    let mut limits = Limits::default();
    limits.mail_per_turn = 1;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let (log, events) = Events::new();
    let nobody = Vacant::new();
    let target = nobody.address;
    let handle = server.handle.clone();
    server.on_loop(move |cx| {
        let id = cx.connect(target, &any(), Logged::new(&log, Script::new())).expect("it can be tried");
        handle.send(id, "into the void").expect("the loop runs");
    });
    assert_eq!(expect_failure(&events).1, Some(Errno::CONNREFUSED.raw_os_error()));
}

/// The limit of descriptors is the process's, so a process of its own has it.
#[test]
fn a_shortage_of_descriptors_is_a_failure_and_passes() {
    const ROLE: &str = "a_shortage_of_descriptors_is_a_failure_and_passes";
    if !more::plays(ROLE) {
        let mut actor = more::Actor::start(ROLE);
        let told = ["at once", "on the way", "again"].map(|question| actor.ask(question));
        assert!(
            told[0].contains("cannot connect to 127.0.0.1:") && told[0].contains("Too many open files"),
            "{}",
            told[0]
        );
        assert!(told[1].contains("refused") && told[1].contains("Too many open files"), "{}", told[1]);
        return assert_eq!(told[2], "connected 1");
    }
    more::answer_questions(|question| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
        let good = listener.local_addr().expect("it is bound");
        let mut event_loop = EventLoop::new(()).expect("a loop can be made");
        let (log, events) = Events::new();
        let nobody = Vacant::new();
        let addresses = vec![nobody.address, good];
        let handler = || Logged::new(&log, Script::new());
        let policy = Reconnect::default().first(Duration::from_millis(1)).longest(Duration::from_millis(1));
        let none_left = || {
            let mut all = Vec::new();
            while let Ok(another) = rustix::io::dup(&listener) {
                all.push(another);
            }
            all
        };
        match question {
            "at once" => {
                let _all = none_left();
                event_loop.connect(good, &any(), handler()).expect_err("there is no descriptor").to_string()
            }
            "on the way" => {
                event_loop.connect(addresses, &any(), handler()).expect("it can be tried");
                let _all = none_left();
                let mut told = Vec::new();
                while told.is_empty() {
                    event_loop.turn(Some(DEADLINE)).expect("the kernel lets it wait");
                    told = events.so_far();
                }
                format!("{told:?}")
            }
            _ => {
                event_loop.connect(addresses, &any().reconnect(policy), handler()).expect("it can be tried");
                let all = none_left();
                // It fails, and fails again.
                (0..20).for_each(|_| event_loop.turn(Some(Duration::from_millis(2))).expect("the kernel lets it wait"));
                assert_eq!(events.so_far(), []);
                drop(all);
                while events.so_far().is_empty() {
                    event_loop.turn(Some(DEADLINE)).expect("the kernel lets it wait");
                }
                format!("connected {}", event_loop.metrics().connected)
            }
        }
    });
}

#[test]
fn nobody_answers_within_the_deadline() {
    let full = Full::new();
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    connect(&server, full.address, any().deadline(Duration::from_millis(50)), &log).expect("it can be tried");
    let (text, _) = expect_failure(&events);
    assert!(text.contains("deadline"), "{text}");
    server.assert_quiet();
}

#[test]
fn an_attempt_is_given_up() {
    let full = Full::new();
    let server = TestLoop::serve(|| Echo);
    for how in ["close", "abort", "close_after_flush", "handle"] {
        let (log, events) = Events::new();
        let id = connect(&server, full.address, any(), &log).expect("it can be tried");
        let handle = server.handle.clone();
        server.on_loop(move |cx| {
            let mut peer = cx.peer(id).expect("it is under way");
            match how {
                "close" => peer.close(),
                "abort" => peer.abort(),
                "close_after_flush" => peer.close_after_flush(),
                _ => handle.close(id).expect("the loop runs"),
            }
        });
        events.expect_close(if how == "abort" { "aborted" } else { "closed" });
        assert_eq!(events.so_far(), [], "{how}");
    }
    server.eventually("nothing is left", |metrics| metrics.open == 0 && metrics.lingering == 0);
}

#[test]
fn the_handler_sees_what_an_accepted_ones_sees() {
    for transport in Transport::ALL {
        let (log, events) = Events::new();
        let server = TestLoop::serve_with(Limits::default(), transport, || {
            Script::new().data(|cx, input| {
                cx.send(input.take())?;
                cx.close_after_flush()
            })
        });
        let target = server.address().clone();
        let connects = server.on_loop(move |cx| {
            let script = Script::new().open(|cx| cx.send("hello"));
            cx.connect(target, &any(), Logged::new(&log, script)).expect("it can be tried")
        });
        assert_eq!(events.expect(&Event::Open), connects);
        events.expect(&Event::Data(b"hello".into()));
        events.expect(&Event::Eof);
        events.expect_close("eof");
        let metrics = server.metrics();
        assert_eq!((metrics.connected, metrics.accepted), (1, 1));
    }
}

#[test]
fn output_is_queued_until_it_is_connected() {
    for transport in Transport::ALL {
        let (log, events) = Events::new();
        let server = TestLoop::serve_with(Limits::default(), transport, move || Logged::new(&log, Script::new()));
        let (theirs, ours) = Events::new();
        let target = server.address().clone();
        server.on_loop(move |cx| {
            let id = cx.connect(target, &any(), Logged::new(&theirs, Script::new())).expect("it can be tried");
            assert!(cx.send_to(id, "queued "), "output may be queued");
            cx.peer(id).expect("it is under way").send("before").expect("output may be queued");
        });
        ours.expect(&Event::Open);
        events.expect(&Event::Open);
        let mut received = Vec::new();
        while received != b"queued before" {
            let Event::Data(bytes) = events.next().event else { panic!("only {}", received.escape_ascii()) };
            received.extend(bytes);
        }
    }
}

#[test]
fn what_was_queued_for_a_connection_that_is_not_made_is_dropped() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let nobody = Vacant::new();
    let target = nobody.address;
    server.on_loop(move |cx| {
        let id = cx.connect(target, &any(), Logged::new(&log, Script::new())).expect("it can be tried");
        cx.send_to(id, "into the void");
    });
    expect_failure(&events);
    server.eventually("nothing waits", |metrics| metrics.buffered == 0 && metrics.open == 0);
}

#[test]
fn an_end_asked_for_before_it_is_connected_is_sent() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Script::new()));
    let target = server.address().clone();
    server.on_loop(move |cx| {
        let id = cx.connect(target, &any(), Script::new()).expect("it can be tried");
        cx.peer(id).expect("it is under way").shutdown_write();
    });
    events.expect(&Event::Open);
    events.expect(&Event::Eof);
    events.expect_close("eof");
}

#[test]
fn it_comes_from_the_local_address() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let log = log.clone();
        Script::new().open(move |cx| {
            log.note(cx.id(), cx.peer_address()?.to_string());
            Ok(())
        })
    });
    let (theirs, ours) = Events::new();
    let local = SocketAddr::from(([127, 0, 0, 9], 0));
    connect(&server, server.address().clone(), any().local(local), &theirs).expect("it can be tried");
    ours.expect(&Event::Open);
    let Event::Note(peer) = events.next().event else { panic!("the peer is noted") };
    assert!(peer.starts_with("127.0.0.9:"), "{peer}");
}

#[test]
fn a_local_address_that_cannot_be_used_is_named() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let listener = TcpListener::bind(any_port()).expect("port 0 is free");
    let address = listener.local_addr().expect("it is bound");
    let nobody = Vacant::new();
    let target = nobody.address;
    let error = connect(&server, target, any().local(address), &log).expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(
        error.to_string().contains(&address.to_string()) && error.to_string().contains(&target.to_string()),
        "{error}"
    );
    let foreign: SocketAddr = "192.0.2.1:0".parse().expect("it is one");
    let error = connect(&server, target, any().local(foreign), &log).expect_err("it is not ours");
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 0));
}

#[test]
fn a_socket_that_meets_itself_is_refused() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    // It is free again, and of this process alone.
    let itself = Vacant::new().address;
    connect(&server, itself, any().local(itself), &log).expect("it can be tried");
    let (text, _) = expect_failure(&events);
    assert!(text.contains("itself"), "{text}");
}

#[test]
fn a_path_at_which_nobody_listens_is_known_at_once() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let directory = tempfile::tempdir().expect("there is room");
    let missing = directory.path().join("missing");
    let plain = directory.path().join("plain");
    fs::write(&plain, "no socket").expect("there is room");
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).expect("the name is free"));
    for (path, kind) in
        [(missing, ErrorKind::NotFound), (plain, ErrorKind::ConnectionRefused), (stale, ErrorKind::ConnectionRefused)]
    {
        let error = connect(&server, unix(&path), any(), &log).expect_err("nobody listens");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 0));
}

#[test]
fn a_unix_listener_that_is_full_is_known_at_once() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("full");
    let listener = UnixListener::bind(&path).expect("the name is free");
    rustix::net::listen(&listener, 0).expect("it listens");
    connect(&server, unix(&path), any(), &log).expect("one has room");
    let error = connect(&server, unix(&path), any(), &log).expect_err("no more have room");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    events.expect(&Event::Open);
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 1));
}

#[test]
fn a_loop_that_is_full_connects_no_more() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let target = TestLoop::serve(|| Echo);
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let (log, events) = Events::new();
    let id = connect(&server, target.address().clone(), any(), &log).expect("there is room for one");
    let error = connect(&server, target.address().clone(), any(), &log).expect_err("there is no more room");
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    server.on_loop(move |cx| cx.peer(id).expect("it is open").close());
    events.wait_for_close("closed");
    server.eventually("the place is free", |metrics| metrics.open == 0 && metrics.lingering == 0);
    connect(&server, target.address().clone(), any(), &log).expect("there is room again");
    events.expect(&Event::Open);
}

#[test]
fn a_handler_connects_anew_when_it_is_closed() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(|| Script::new().open(|cx: &mut Context<'_>| cx.close_after_flush()));
    let target = server.address().clone();
    server.on_loop(move |cx| {
        let again = target.clone();
        let script = Script::new().close(move |cx, _| {
            cx.connect(again.clone(), &any(), Logged::new(&log, Script::new())).expect("it can be tried");
        });
        cx.connect(target, &any(), script).expect("it can be tried");
    });
    events.expect(&Event::Open);
    events.expect(&Event::Eof);
    events.expect_close("eof");
}

#[test]
fn the_idle_time_begins_when_it_is_connected() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    let timeout = Duration::from_millis(30);
    connect(&server, server.address().clone(), any().idle_timeout(timeout), &log).expect("it can be tried");
    events.expect(&Event::Open);
    events.expect_close("timeout");
    // The deadline is what ends an attempt, however long nothing moves.
    let full = Full::new();
    connect(&server, full.address, any().idle_timeout(timeout).deadline(10 * timeout), &log).expect("it can be tried");
    expect_failure(&events);
}

#[test]
fn a_target_that_cannot_be_reached_is_known_at_once() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    // No stream goes to a group.
    let group = SocketAddr::from(([224, 0, 0, 1], 7));
    let error = connect(&server, group, any(), &log).expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{error}");
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 0));
}
