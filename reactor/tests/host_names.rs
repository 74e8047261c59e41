//! A host name is looked up off the loop: slow look-ups hold up nobody, and one that is given up frees its place.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{DEADLINE, Echo, Event, Events, Log, Logged, Record, TestLoop, eventually};
use more::Script;
use reactor::{
    ConnId, ConnectOptions, EventLoop, Host, Limits, ListenOptions, LoopContext, Metrics, ResolverOptions, Server,
    SocketAddress,
};

fn any() -> ConnectOptions {
    ConnectOptions::default()
}

/// A loop that echoes and looks names up in this way.
fn serve(options: ResolverOptions) -> TestLoop {
    TestLoop::start(Limits::default(), move |event_loop: &mut EventLoop| {
        event_loop.set_resolver(&options).expect("it is sound");
        event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_| Echo).expect("port 0 is free");
    })
}

/// Connects from a loop, with a handler that says nothing.
fn connect(from: &TestLoop, to: impl Into<String>, options: ConnectOptions, log: &Log) -> io::Result<ConnId> {
    let (to, log) = (to.into(), log.clone());
    from.on_loop(move |cx| cx.connect(to, &options, Logged::new(&log, Script::new())))
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

/// Looks every host up at the loopback, but stands still in it for those whose name begins with "slow", until it is opened.
struct SlowNames {
    begun: Receiver<String>,
    open: Sender<()>,
}

impl SlowNames {
    fn new(options: ResolverOptions) -> (Self, ResolverOptions) {
        let (begin, begun) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        let opened = Arc::new(Mutex::new(opened));
        let options = options.look_up(move |host| {
            // The test may have seen enough.
            let _ = begin.send(host.name().to_owned());
            if host.name().starts_with("slow") {
                let _ = opened.lock().expect("nobody panics with it").recv();
            }
            Ok(vec![loopback(host)])
        });
        (Self { begun, open }, options)
    }

    #[track_caller]
    fn expect(&self, name: &str) {
        assert_eq!(self.begun.recv_timeout(DEADLINE).as_deref(), Ok(name));
    }

    /// Lets all pass, those to come included.
    fn open(self) -> Receiver<String> {
        drop(self.open);
        self.begun
    }
}

fn loopback(host: &Host) -> SocketAddress {
    std::net::SocketAddr::from(([127, 0, 0, 1], host.port())).into()
}

fn port_of(server: &TestLoop) -> u16 {
    server.address().as_inet().expect("it is TCP").port()
}

#[test]
fn a_name_is_looked_up_on_a_thread_of_its_own() {
    let (tell, told) = mpsc::channel();
    let server = serve(ResolverOptions::default().look_up(move |host| {
        tell.send((host.to_string(), thread::current().name().map(str::to_owned))).expect("the test waits");
        Ok(vec![loopback(host)])
    }));
    let (log, events) = Events::new();
    let port = port_of(&server);
    connect(&server, format!("backend:{port}"), any(), &log).expect("it can be tried");
    events.expect(&Event::Open);
    let (host, thread) = told.recv_timeout(DEADLINE).expect("it is looked up");
    assert_eq!(host, format!("backend:{port}"));
    assert!(thread.is_some_and(|name| name.starts_with("reactor-dns-")));
    // A number needs no look-up.
    connect(&server, format!("tcp://127.0.0.1:{port}"), any(), &log).expect("it can be tried");
    events.expect(&Event::Open);
    assert!(told.try_recv().is_err());
    server.assert_quiet();
}

#[test]
fn the_system_knows_localhost() {
    let server = TestLoop::start(Limits::default(), |event_loop| {
        event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_| Echo).expect("port 0 is free");
    });
    let (log, events) = Events::new();
    // It may be [::1] as well, at which nobody listens.
    connect(&server, format!("localhost:{}", port_of(&server)), any(), &log).expect("it can be tried");
    events.expect(&Event::Open);
}

#[test]
fn a_name_that_is_not_found_is_named() {
    // No name server is asked for a label of 64 bytes; see RFC 1035, 2.3.4.
    let name = "x".repeat(64);
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    connect(&server, format!("{name}:80"), any(), &log).expect("it can be tried");
    let text = expect_failure(&events);
    assert!(text.contains(&format!("cannot resolve the host \"{name}\"")), "{text}");
    let error = Host::new(&name, 80).expect("it may be one").resolve().expect_err("it has no address");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    server.eventually("it is counted", |metrics| metrics.open == 0 && metrics.closed.connect_failed == 1);
}

#[test]
fn a_look_up_that_fails_is_told() {
    type Answer = fn(&Host) -> io::Result<Vec<SocketAddress>>;
    let answers: [(Answer, &str); 3] = [
        (|_| Err(io::Error::other("the oracle is silent")), "the oracle is silent"),
        (|_| Ok(vec![]), "no address"),
        (|_| panic!("on purpose"), "the look-up panicked: on purpose"),
    ];
    for (answer, expected) in answers {
        let server = serve(ResolverOptions::default().threads(1).look_up(answer));
        let (log, events) = Events::new();
        for _ in 0..2 {
            connect(&server, "backend:80", any(), &log).expect("it can be tried");
            let text = expect_failure(&events);
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(server.metrics().panics, 0);
    }
}

#[test]
fn what_is_no_address_is_an_error_at_once() {
    let server = TestLoop::serve(|| Echo);
    let (log, events) = Events::new();
    for text in ["", "backend", "udp://backend:80", "backend:http"] {
        let error = connect(&server, text, any(), &log).expect_err("it is none");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 0));
}

#[test]
fn all_its_addresses_are_tried() {
    let vacant = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("port 0 is free");
    let options = ResolverOptions::default().look_up(move |host| Ok(vec![vacant.into(), loopback(host)]));
    let server = serve(options);
    let (log, events) = Events::new();
    connect(&server, format!("backend:{}", port_of(&server)), any(), &log).expect("it can be tried");
    events.expect(&Event::Open);
}

#[test]
fn slow_look_ups_hold_up_neither_the_loop_nor_its_jobs() {
    let (names, options) = SlowNames::new(ResolverOptions::default().threads(2));
    let server = serve(options);
    let (log, events) = Events::new();
    let port = port_of(&server);
    for name in ["slow-1", "slow-2", "slow-3"] {
        connect(&server, format!("{name}:{port}"), any(), &log).expect("it can be tried");
    }
    let mut client = server.client();
    client.send("hello");
    client.expect("hello");
    let (done, is_done) = mpsc::channel();
    server.on_loop(move |cx| {
        cx.spawn_blocking(|| (), move |_, _| done.send(()).expect("the test waits")).expect("it fits");
    });
    is_done.recv_timeout(DEADLINE).expect("other blocking work goes on");
    connect(&server, format!("127.0.0.1:{port}"), any(), &log).expect("it can be tried");
    events.expect(&Event::Open);
    assert_eq!(events.so_far(), []);
    names.open();
    (0..3).map(|_| events.expect(&Event::Open)).for_each(|id| assert!(server.on_loop(move |cx| cx.peer(id).is_some())));
}

#[test]
fn output_queued_during_the_look_up_is_sent() {
    let (names, options) = SlowNames::new(ResolverOptions::default());
    let server = serve(options);
    let (log, events) = Events::new();
    let target = format!("slow:{}", port_of(&server));
    server.on_loop(move |cx| {
        let id = cx.connect(target, &any(), Logged::new(&log, Script::new())).expect("it can be tried");
        assert!(cx.send_to(id, "queued"), "output may be queued");
    });
    names.expect("slow");
    names.open();
    events.expect(&Event::Open);
    events.wait_for(|event| *event == Event::Data(b"queued".into()));
}

#[test]
fn a_look_up_that_takes_too_long_frees_its_place() {
    let (names, options) = SlowNames::new(ResolverOptions::default().threads(1).queue(1));
    let server = serve(options);
    let (log, events) = Events::new();
    let port = port_of(&server);
    let patient = connect(&server, format!("slow:{port}"), any(), &log).expect("the thread is free");
    names.expect("slow");
    for _ in 0..3 {
        let hasty = any().deadline(Duration::from_millis(10));
        connect(&server, format!("waits:{port}"), hasty, &log).expect("the place is free");
        let text = expect_failure(&events);
        assert!(text.contains(&format!("waits:{port}")) && text.contains("within the deadline"), "{text}");
    }
    let waits = connect(&server, format!("waits-longer:{port}"), any(), &log).expect("the place is free");
    let error = connect(&server, format!("one-too-many:{port}"), any(), &log).expect_err("the place is taken");
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    assert!(error.to_string().contains("one-too-many"), "{error}");
    let begun = names.open();
    let mut opened = [(); 2].map(|()| events.expect(&Event::Open));
    opened.sort_by_key(|id| *id != patient);
    assert_eq!(opened, [patient, waits]);
    // Those that were given up were never looked up.
    assert_eq!(begun.try_iter().collect::<Vec<_>>(), ["waits-longer"]);
    server.eventually("nothing is left", |metrics| metrics.timers == 0);
}

#[test]
fn a_look_up_that_is_given_up_frees_its_place() {
    let (names, options) = SlowNames::new(ResolverOptions::default().threads(1).queue(1));
    let server = serve(options);
    let (log, events) = Events::new();
    let port = port_of(&server);
    let running = connect(&server, format!("slow:{port}"), any(), &log).expect("the thread is free");
    names.expect("slow");
    for how in ["close", "abort", "close_after_flush"] {
        let id = connect(&server, format!("waits:{port}"), any(), &log).expect("the place is free");
        server.on_loop(move |cx| {
            let mut peer = cx.peer(id).expect("it is under way");
            match how {
                "close" => peer.close(),
                "abort" => peer.abort(),
                _ => peer.close_after_flush(),
            }
        });
        events.expect_close(if how == "abort" { "aborted" } else { "closed" });
    }
    // One that runs cannot be stopped, but nobody waits for it any more.
    server.on_loop(move |cx| cx.peer(running).expect("it is under way").close());
    events.expect_close("closed");
    let begun = names.open();
    connect(&server, format!("next:{port}"), any(), &log).expect("the place is free");
    events.expect(&Event::Open);
    assert_eq!(begun.try_iter().collect::<Vec<_>>(), ["next"]);
    assert_eq!(server.metrics().connected, 1);
    assert_eq!(events.so_far(), []);
}

#[test]
fn a_drain_does_not_wait_for_a_look_up() {
    let (names, options) = SlowNames::new(ResolverOptions::default());
    let server = serve(options);
    let (log, events) = Events::new();
    connect(&server, "slow:80", any(), &log).expect("it can be tried");
    names.expect("slow");
    let report = server.shut_down(DEADLINE * 100);
    assert_eq!((report.clean, report.cut), (1, 0));
    events.expect_close("shutdown");
    names.open();
}

#[test]
fn a_loop_that_is_dropped_does_not_wait_for_a_look_up() {
    let (names, options) = SlowNames::new(ResolverOptions::default().threads(1));
    let mut event_loop = EventLoop::new(()).expect("a loop can be made");
    event_loop.set_resolver(&options).expect("it is sound");
    drop(options);
    let (log, events) = Events::new();
    for name in ["slow:80", "waits:80"] {
        event_loop.connect(name, &any(), Logged::new(&log, Script::new())).expect("it can be tried");
    }
    names.expect("slow");
    drop(event_loop);
    (0..2).for_each(|_| drop(events.expect_close("cut")));
    // What comes of it finds nobody.
    let begun = names.open();
    let ended = begun.recv_timeout(DEADLINE);
    assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "the thread ends, and what waited is not looked up");
}

#[test]
fn the_loops_of_a_server_share_the_threads() {
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = Arc::clone(&running);
    let options = ResolverOptions::default().threads(2).look_up(move |host| {
        let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(now, Ordering::SeqCst);
        thread::yield_now();
        counts.0.fetch_sub(1, Ordering::SeqCst);
        Ok(vec![loopback(host)])
    });
    let server = Server::builder().threads(3).resolver(options).listen("127.0.0.1:0", |_| Echo);
    let server = server.expect("port 0 is free").start().expect("a server can be made");
    let port = server.local_addresses()[0].as_inet().expect("it is TCP").port();
    for handle in server.handle().loops() {
        let connect = move |cx: &mut LoopContext<'_>| {
            for _ in 0..20 {
                cx.connect(format!("backend:{port}"), &any(), Script::new()).expect("it can be tried");
            }
        };
        handle.execute(connect).expect("the loop runs");
    }
    let all = |metrics: &Metrics| metrics.connected == 60;
    eventually("all are connected", || all(&server.handle().metrics()));
    assert!(running.1.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_resolver_without_threads_is_refused() {
    let none = ResolverOptions::default().threads(0);
    let error = EventLoop::new(()).expect("a loop can be made").set_resolver(&none).expect_err("nobody would look up");
    assert!(error.to_string().contains("ResolverOptions::threads"), "{error}");
    let server = Server::builder().resolver(none).listen("127.0.0.1:0", |_| Echo).expect("port 0 is free");
    assert_eq!(server.start().err().map(|error| error.kind()), Some(ErrorKind::InvalidInput));
}
