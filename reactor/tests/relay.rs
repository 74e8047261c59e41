//! Of two relayed connections each gets what comes on the other: every byte, in order, both ways at once.

#![cfg(not(miri))]

mod common;
#[path = "common/more.rs"]
mod more;
#[path = "common/relays.rs"]
mod relays;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Client, DEADLINE, Event, Events, Full, Logged, TestLoop, Transport, any_port, eventually, pattern};
use more::Script;
use reactor::{Balance, ConnId, Limits, ListenOptions, LoopContext, Server, Sharing, SocketAddress};
use relays::{
    Relays, Side, Target, ends, expect_pattern, pass, pass_both_ways, relay_to, send_pattern, send_until_it_stands,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn limits_with_pipes(pipes: usize) -> Limits {
    let mut limits = Limits::default();
    limits.relay_pipes = pipes;
    limits
}

#[test]
fn sixty_four_mib_pass_both_ways_at_once() {
    let relays = Relays::start(Transport::Tcp, Limits::default());
    pass_both_ways(&relays.pair(), 64 << 20);
    relays.events.wait_for_close("eof");
    relays.events.wait_for_close("eof");
}

#[test]
fn bytes_are_exact_over_unix_sockets_too() {
    let relays = Relays::start(Transport::Unix, Limits::default());
    pass_both_ways(&relays.pair(), 16 << 20);
}

#[test]
fn bytes_are_exact_without_pipes_too() {
    let relays = Relays::start(Transport::Tcp, limits_with_pipes(0));
    pass_both_ways(&relays.pair(), 16 << 20);
}

#[test]
fn relays_share_few_pipes() {
    let relays = Relays::start(Transport::Tcp, limits_with_pipes(1));
    let pairs: Vec<_> = (0..4).map(|_| relays.pair()).collect();
    thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(move || pass_both_ways(pair, 4 << 20));
        }
    });
}

#[test]
fn small_bounds_lose_nothing() {
    let mut limits = Limits::default();
    (limits.scratch_min, limits.scratch_max) = (3, 7);
    (limits.low_mark, limits.high_mark, limits.max_output) = (100, 100, 100);
    (limits.read_per_turn, limits.calls_per_turn) = (20, 2);
    let relays = Relays::start(Transport::Tcp, limits);
    pass_both_ways(&relays.pair(), 64 << 10);
}

#[test]
fn an_urgent_byte_in_a_large_transfer_stops_nothing() {
    let relays = Relays::start(Transport::Tcp, Limits::default());
    let (mut client, mut server) = relays.pair();
    let sender = thread::spawn(move || {
        client.send(pattern(0, 8 << 20));
        client.send_urgent(b'!');
        send_pattern(&mut client, 8 << 20, 8 << 20);
    });
    expect_pattern(&mut server, 0, 16 << 20);
    sender.join().expect("it is taken");
}

#[test]
fn messages_pass_to_and_fro() {
    let relays = Relays::start(Transport::Tcp, Limits::default());
    let (mut client, mut server) = relays.pair();
    for length in [1, 64, 4096, 100_000, 1, 1 << 20, 64] {
        let question = pattern(length, length);
        let mut writer = client.twin();
        let sent = question.clone();
        let thread = thread::spawn(move || writer.send(sent));
        assert!(server.receive(length) == question);
        thread.join().expect("it is taken");
        server.send("answer");
        client.expect("answer");
    }
    relays.server.assert_quiet();
}

#[test]
fn what_was_sent_and_what_was_left_go_first() {
    let target = Target::new(Transport::Tcp);
    let address = target.address();
    let server = TestLoop::serve(move || {
        let address = address.clone();
        Script::new().data(move |cx, input| {
            // The first line is for the handler, and the rest for the target.
            if input.take_until(b'\n').is_none() {
                return Ok(());
            }
            cx.send("welcome ")?;
            relay_to(cx, address.clone())?;
            cx.send("in ")
        })
    });
    let mut client = server.client();
    client.send("head");
    client.send("er\nfirst ");
    let mut far = target.accept();
    far.expect("first ");
    client.send("second");
    far.expect("second");
    far.send("and on");
    client.expect("welcome in and on");
}

#[test]
fn what_a_paused_handler_left_goes_first() {
    let target = Target::new(Transport::Tcp);
    let address = target.address();
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let address = address.clone();
        let script = Script::new().data(|cx, _input| {
            cx.pause();
            cx.set_timer(Duration::from_millis(1)).map(drop)
        });
        Logged::new(
            &log,
            script.timer(move |cx, _timer| {
                relay_to(cx, address.clone())?;
                cx.resume();
                Ok(())
            }),
        )
    });
    let mut client = server.client();
    client.send("left ");
    events.wait_for(|event| matches!(event, Event::Timer(_)));
    client.send("and more");
    let mut far = target.accept();
    far.expect("left and more");
}

#[test]
fn a_stream_that_has_ended_can_be_relayed_yet() {
    let target = Target::new(Transport::Tcp);
    let address = target.address();
    let server = TestLoop::serve(move || {
        let address = address.clone();
        // Nothing is taken.
        Script::new().data(|_cx, _input| Ok(())).eof(move |cx| relay_to(cx, address.clone()))
    });
    let mut client = server.client();
    client.send("all of it");
    client.end();
    let mut far = target.accept();
    assert_eq!(far.receive_to_end(), b"all of it");
    far.send("thanks");
    far.end();
    assert_eq!(client.receive_to_end(), b"thanks");
}

#[test]
fn bytes_wait_for_a_connection_that_is_being_made() {
    let full = Full::new();
    let target = full.address;
    let server = TestLoop::serve(move || Side { target: Some(target.into()) });
    let mut client = server.client();
    client.send("early");
    server.eventually("it waits", |metrics| metrics.buffered == 5);
    // There is a bound: what is beyond it stays in the kernel.
    let sent = send_until_it_stands(&mut client);
    server.assert_quiet();
    assert!(server.metrics().buffered <= Limits::default().high_mark as u64);
    client.end();
    let mut far = full.let_in();
    far.expect("early");
    expect_pattern(&mut far, 0, sent);
}

#[test]
fn one_that_is_paused_is_not_read() {
    let relays = Relays::start(Transport::Tcp, Limits::default());
    let (mut client, mut far) = relays.pair();
    client.send("one");
    far.expect("one");
    let id = relays.events.next().id;
    relays.server.on_loop(move |cx| cx.peer(id).expect("it is open").pause());
    // Whichever of the two it is, its peer's bytes wait, and the other's do not.
    client.send("two");
    far.send("three");
    let passed = |client: &mut Client, far: &mut Client| (client.receive_waiting().len(), far.receive_waiting().len());
    let mut seen = (0, 0);
    eventually("the other passes", || {
        let (came, went) = passed(&mut client, &mut far);
        seen = (seen.0 + came, seen.1 + went);
        seen == (5, 0) || seen == (0, 3)
    });
    relays.server.assert_quiet();
    assert_eq!(passed(&mut client, &mut far), (0, 0));
    relays.server.on_loop(move |cx| cx.peer(id).expect("it is open").resume());
    eventually("both pass", || {
        let (came, went) = passed(&mut client, &mut far);
        seen = (seen.0 + came, seen.1 + went);
        seen == (5, 3)
    });
}

/// Descriptors are the process's, so a process of its own has them.
#[test]
fn large_transfers_pass_through_pipes_and_without_descriptors_are_copied() {
    const ROLE: &str = "large_transfers_pass_through_pipes_and_without_descriptors_are_copied";
    if !more::plays(ROLE) {
        let pipes = more::Actor::start(ROLE).count("pass");
        assert!((1..=8).contains(&pipes), "{pipes} pipes are kept");
        assert_eq!(more::Actor::start(ROLE).count("pass without descriptors"), 0);
        return;
    }
    more::answer_questions(|question| {
        let relays = Relays::start(Transport::Tcp, Limits::default());
        let pair = relays.pair();
        let (ends, before, limit) = (ends(&pair), pipes(), getrlimit(Resource::Nofile));
        if question == "pass without descriptors" {
            // The next one would have the lowest number that is free.
            let next = File::open("/dev/null").expect("a descriptor is free").as_raw_fd();
            let none = Rlimit { current: Some(u64::try_from(next).expect("it is a number")), ..limit };
            setrlimit(Resource::Nofile, none).expect("less is allowed");
        }
        pass(ends, 32 << 20);
        setrlimit(Resource::Nofile, limit).expect("it was allowed before");
        (pipes() - before).to_string()
    });
}

/// How many pipes this process has.
fn pipes() -> usize {
    let links =
        fs::read_dir("/proc/self/fd").expect("proc is mounted").filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count() / 2
}

#[test]
fn what_cannot_be_relayed_is_a_clear_error() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Script::new()));
    let other_loop = TestLoop::serve(Script::new);
    let (client, clients) = (server.client(), [server.client(), server.client(), server.client()]);
    let [one, two, three, stale] = [(); 4].map(|()| events.wait_for(|event| *event == Event::Open).id);
    server.on_loop(move |cx| cx.peer(stale).expect("it is open").close());
    events.wait_for_close("closed");
    // It is the first of its loop, as `one` is.
    let _foreigner = other_loop.client();
    let errors = server.on_loop(move |cx| {
        let mut relay = |from: ConnId, to: ConnId| {
            let result = cx.peer(from).expect("it is open").relay_to(to);
            result.map_err(|error| (error.kind(), error.to_string()))
        };
        let itself = relay(one, one);
        let gone = relay(one, stale);
        assert_eq!(relay(one, two), Ok(()));
        let again = [relay(one, two), relay(two, one), relay(one, three), relay(three, one)];
        cx.peer(three).expect("it is open").close_after_flush();
        let closing = cx.peer(three).expect("it is closing").relay_to(one);
        (itself, gone, again, closing.map_err(|error| error.kind()))
    });
    let (itself, gone, again, closing) = errors;
    assert_eq!(itself, Err((ErrorKind::InvalidInput, "a connection is not relayed to itself".to_owned())));
    assert_eq!(gone, Err((ErrorKind::NotConnected, "the connection is gone".to_owned())));
    for result in again {
        assert_eq!(result, Err((ErrorKind::AlreadyExists, "the connection is relayed already".to_owned())));
    }
    assert_eq!(closing, Err(ErrorKind::NotConnected));
    drop((client, clients));
}

#[test]
fn a_connection_of_another_loop_is_a_clear_error() {
    let (log, events) = Events::new();
    let make = move |_: &SocketAddress| Logged::new(&log, Script::new());
    let sharing = Sharing::Handover(Balance::RoundRobin);
    let builder = Server::builder().threads(2).listen_with(any_port(), &ListenOptions::default(), sharing, make);
    let server = builder.expect("port 0 is free").start().expect("threads can be started");
    let _clients = [(); 2].map(|()| Client::connect(&server.local_addresses()[0]));
    let ids = [(); 2].map(|()| events.expect(&Event::Open));
    let loop_of = |id: ConnId| usize::from(id.to_string().starts_with("1."));
    assert_ne!(loop_of(ids[0]), loop_of(ids[1]));
    let (answer, answered) = mpsc::channel();
    let task = move |cx: &mut LoopContext<'_>| {
        let result = cx.peer(ids[0]).expect("it is open").relay_to(ids[1]);
        answer.send(result).expect("the test waits");
    };
    server.handle().loops()[loop_of(ids[0])].execute(task).expect("the loop runs");
    let error = answered.recv_timeout(DEADLINE).expect("the loop answers").expect_err("it is of another loop");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "a connection of another loop cannot be relayed to");
}
