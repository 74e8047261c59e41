//! With a policy to reconnect, what fails is tried again until it is up, is given up, or has failed often enough.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{DEADLINE, Event, Events, Logged, Record, TestLoop, Transport, eventually};
use more::Script;
use reactor::{ConnectOptions, Context, EventLoop, Limits, ListenOptions, Reconnect, ResolverOptions, UnixName};

/// Soon and for ever.
fn soon() -> Reconnect {
    Reconnect::default().first(Duration::from_millis(1)).longest(Duration::from_millis(4))
}

fn with(policy: Reconnect) -> ConnectOptions {
    ConnectOptions::default().reconnect(policy)
}

/// A loop whose names have no address, and the count of times that one was looked up.
fn without_names(found_after: u32) -> (TestLoop, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let tries = Arc::clone(&count);
    let options = ResolverOptions::default().look_up(move |host| match tries.fetch_add(1, Ordering::SeqCst) {
        tries if tries < found_after => Err(io::Error::other("not yet")),
        _ => Ok(vec![std::net::SocketAddr::from(([127, 0, 0, 1], host.port())).into()]),
    });
    let server = TestLoop::start(Limits::default(), move |event_loop: &mut EventLoop| {
        event_loop.set_resolver(&options).expect("it is sound");
        event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_| Script::new()).expect("port 0 is free");
    });
    (server, count)
}

#[test]
fn it_is_tried_until_somebody_listens() {
    let server = TestLoop::serve(Script::new);
    let (log, events) = Events::new();
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("late");
    let target = UnixName::Path(path.clone());
    server.on_loop(move |cx| {
        let handler = Logged::new(&log, Script::new());
        let id = cx.connect(target, &with(soon()), handler).expect("it is tried again");
        assert!(cx.send_to(id, "at last"), "output may be queued");
    });
    assert_eq!(events.so_far(), []);
    let listener = UnixListener::bind(&path).expect("the name is free");
    let (mut stream, _) = listener.accept().expect("it comes");
    events.expect(&Event::Open);
    let mut received = [0; 7];
    io::Read::read_exact(&mut stream, &mut received).expect("it sends");
    assert_eq!(&received, b"at last");
    server.eventually("no timer is left", |metrics| metrics.timers == 0 && metrics.connected == 1);
    server.assert_quiet();
}

#[test]
fn a_name_is_looked_up_anew_each_time() {
    let (server, count) = without_names(3);
    let (log, events) = Events::new();
    let target = format!("backend:{}", server.address().as_inet().expect("it is TCP").port());
    server.on_loop(move |cx| {
        cx.connect(target, &with(soon()), Logged::new(&log, Script::new())).map(drop).expect("it can be tried");
    });
    events.expect(&Event::Open);
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[test]
fn it_fails_when_it_has_been_tried_often_enough() {
    let (server, count) = without_names(u32::MAX);
    let (log, events) = Events::new();
    let policy = soon().attempts(3);
    server.on_loop(move |cx| {
        cx.connect("backend:80", &with(policy), Logged::new(&log, Script::new())).map(drop).expect("it can be tried");
    });
    let Record { event: Event::Close { reason: "connect_failed", text, .. }, .. } = events.next() else {
        panic!("it cannot be made")
    };
    assert!(text.contains("not yet"), "{text}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
    server.eventually("nothing is left", |metrics| metrics.open == 0 && metrics.timers == 0);
    assert_eq!((events.so_far(), server.metrics().closed.connect_failed), (vec![], 1));
}

#[test]
fn one_attempt_is_as_good_as_no_policy() {
    let server = TestLoop::serve(Script::new);
    let error = server.on_loop(|cx| {
        let nobody = UnixName::Abstract(b"reactor-test-nobody-has-this-name".to_vec());
        cx.connect(nobody, &with(soon().attempts(1)), Script::new()).map(drop)
    });
    assert_eq!(error.expect_err("it is known at once").kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(server.metrics().open, 0);
}

#[test]
fn each_try_has_the_whole_deadline() {
    // It lets nobody in any more.
    let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    rustix::net::listen(&listener, 0).expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let mut inside = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        inside.push(stream);
    }
    let server = TestLoop::serve(Script::new);
    let (log, events) = Events::new();
    let deadline = Duration::from_millis(20);
    let options = with(soon().attempts(3)).deadline(deadline);
    let before = Instant::now();
    server.on_loop(move |cx| {
        cx.connect(address, &options, Logged::new(&log, Script::new())).map(drop).expect("it can be tried");
    });
    let Record { event: Event::Close { reason: "connect_failed", text, .. }, .. } = events.next() else {
        panic!("it cannot be made")
    };
    assert!(text.contains("no answer within the deadline"), "{text}");
    let took = before.elapsed();
    assert!(took >= 3 * deadline, "{took:?}");
}

#[test]
fn it_is_given_up_while_it_waits() {
    for how in ["close", "shutdown", "stop"] {
        let server = TestLoop::serve_with(Limits::default(), Transport::Unix, Script::new);
        let (log, events) = Events::new();
        let policy = Reconnect::default().first(DEADLINE * 100).longest(DEADLINE * 100);
        let id = server.on_loop(move |cx| {
            let nobody = UnixName::Abstract(b"reactor-test-nobody-has-this-name".to_vec());
            cx.connect(nobody, &with(policy), Logged::new(&log, Script::new())).expect("it is tried again")
        });
        server.assert_quiet();
        match how {
            "close" => {
                server.on_loop(move |cx| cx.peer(id).expect("it waits").close());
                events.expect_close("closed");
                server.eventually("nothing is left", |metrics| metrics.open == 0 && metrics.timers == 0);
            }
            "shutdown" => {
                assert_eq!(server.shut_down(DEADLINE * 100).cut, 0);
                events.expect_close("shutdown");
            }
            _ => {
                drop(server);
                events.expect_close("cut");
            }
        }
        assert_eq!(events.so_far(), []);
    }
}

#[test]
fn a_connection_that_is_lost_is_made_anew_by_its_handler() {
    // Each one is turned away.
    let server = TestLoop::serve(|| Script::new().open(|cx: &mut Context<'_>| cx.close_after_flush()));
    let target = server.address().clone();
    fn connect(cx: &mut reactor::LoopContext<'_>, target: reactor::SocketAddress, failures: u32) {
        let again = target.clone();
        let script = Script::new().close(move |cx, _| {
            let policy = Reconnect::default().first(Duration::from_millis(1)).attempts(5);
            if let Some(delay) = policy.next_delay(failures + 1) {
                let target = again.clone();
                cx.run_after(delay, move |cx| connect(cx, target, failures + 1)).expect("there is room");
            }
        });
        cx.connect(target, &ConnectOptions::default(), script).expect("it can be tried");
    }
    server.on_loop(move |cx| connect(cx, target, 0));
    eventually("it has come five times", || server.metrics().connected == 5);
    server.eventually("and no more", |metrics| metrics.timers == 0 && metrics.open == 0);
    assert_eq!(server.metrics().accepted, 5);
}
