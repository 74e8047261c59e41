//! What fails on one connection, a panic included, ends that connection and no other.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io;
use std::panic::{panic_any, resume_unwind};
use std::sync::mpsc;
use std::time::Duration;

use common::{Client, Echo, Event, Events, Log, Logged, TestLoop, Transport};
use more::Script;
use reactor::{ConnectOptions, Context, EventLoop, Limits, ListenOptions, Result};

/// Where a script fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Data,
    Eof,
    Timer,
    Shutdown,
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Panic,
    Error,
}

fn fail(how: Failure) -> Result {
    match how {
        Failure::Panic => panic!("out of {}", "cheese"),
        Failure::Error => Err(io::Error::other("out of cheese")),
    }
}

/// A handler that comes to every callback, and fails in one of them.
fn failing(stage: Stage, how: Failure) -> Script {
    let fail_in = move |here: Stage| if here == stage { fail(how) } else { Ok(()) };
    let script = Script::new().open(move |_| fail_in(Stage::Open)).eof(move |_| fail_in(Stage::Eof));
    let script = script.data(move |cx, input| {
        input.take();
        cx.set_timer(Duration::ZERO)?;
        fail_in(Stage::Data)
    });
    script.timer(move |_, _| fail_in(Stage::Timer)).shutdown(move |_, _| fail_in(Stage::Shutdown))
}

/// A loop with two listeners: on the first every connection fails, on the second none does.
fn serve(log: Log, mut make: impl FnMut() -> Script + 'static + Send) -> (TestLoop, Client) {
    let server = TestLoop::start(Limits::default(), move |event_loop: &mut EventLoop| {
        let options = ListenOptions::default();
        event_loop.listen("127.0.0.1:0", &options, move |_| Logged::new(&log, make())).expect("port 0 is free");
        event_loop.listen(&*Transport::Unix.address(), &options, |_| Echo).expect("the name is free");
    });
    let bystander = Client::connect(&server.addresses()[1]);
    (server, bystander)
}

#[track_caller]
fn assert_unharmed(bystander: &mut Client) {
    bystander.send("all is well");
    bystander.expect("all is well");
}

#[test]
fn a_failure_in_any_callback_closes_that_connection_with_its_reason() {
    for (how, reason) in [(Failure::Panic, "panic"), (Failure::Error, "error")] {
        for stage in [Stage::Open, Stage::Data, Stage::Timer, Stage::Eof, Stage::Shutdown] {
            let (log, events) = Events::new();
            let (server, mut bystander) = serve(log, move || failing(stage, how));
            let mut client = server.client();
            match stage {
                Stage::Open => {}
                Stage::Data | Stage::Timer => client.send("x"),
                Stage::Eof => client.end(),
                Stage::Shutdown => server.handle.shutdown(Duration::from_secs(10)).expect("the loop runs"),
            }
            let close = events.wait_for_close(reason).event;
            let Event::Close { text, .. } = close else { unreachable!("it was matched") };
            assert!(text.contains("out of cheese"), "{text}");
            client.expect_end();
            if stage != Stage::Shutdown {
                assert_unharmed(&mut bystander);
            }
            let metrics = server.metrics();
            let panics = u64::from(reason == "panic");
            assert_eq!(
                (metrics.panics, metrics.closed.panic, metrics.closed.error),
                (panics, panics, 1 - panics),
                "{stage:?}"
            );
            assert_eq!(events.so_far(), [], "{stage:?}");
        }
    }
}

#[test]
fn what_a_callback_sent_before_it_failed_still_leaves() {
    for how in [Failure::Panic, Failure::Error] {
        let (log, events) = Events::new();
        let (server, _bystander) = serve(log, move || {
            Script::new().data(move |cx, input| {
                cx.send(input.take())?;
                fail(how)
            })
        });
        let mut client = server.client();
        client.send("famous last words");
        assert_eq!(client.receive_to_end(), b"famous last words");
        events.wait_for(|event| event.close_reason().is_some());
    }
}

#[test]
fn a_panic_in_on_close_is_counted_and_the_connection_is_gone() {
    let (log, events) = Events::new();
    let (server, mut bystander) = serve(log, || Script::new().close(|_, _| panic!("on purpose")));
    drop(server.client());
    events.wait_for_close("eof");
    server.eventually("it is gone", |metrics| metrics.open == 1 && metrics.panics == 1 && metrics.closed.eof == 1);
    assert_unharmed(&mut bystander);
}

#[test]
fn no_other_callback_but_on_close_follows_a_panic() {
    let (log, events) = Events::new();
    let (server, _bystander) = serve(log, || {
        let open = |cx: &mut Context<'_>| {
            cx.set_timer(Duration::ZERO)?;
            cx.want_drained();
            cx.send(vec![0; 1 << 20])?;
            more::dawdle(Duration::from_millis(5));
            panic!("on purpose")
        };
        Script::new().open(open)
    });
    let mut client = server.client();
    client.send("x");
    events.expect(&Event::Open);
    events.expect_close("panic");
    drop(client);
    server.on_loop(|_| ());
    assert_eq!(events.so_far(), []);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose");
        }
    }
}

#[test]
fn a_panic_in_a_handlers_drop_harms_nobody() {
    let (log, events) = Events::new();
    let (server, mut bystander) = serve(log, || {
        let bomb = Bomb;
        Script::new().data(move |cx, input| {
            let _ = &bomb;
            match input.take() {
                b"replace" => cx.replace_handler(Echo),
                _ => cx.close(),
            }
            Ok(())
        })
    });
    let mut client = server.client();
    client.send("close");
    client.expect_end();
    events.wait_for_close("closed");
    let mut client = server.client();
    client.send("replace");
    events.wait_for(|event| matches!(event, Event::Data(_)));
    client.send("more");
    client.expect("more");
    assert_unharmed(&mut bystander);
}

#[test]
fn a_panic_whose_payload_panics_as_well_harms_nobody() {
    let (log, events) = Events::new();
    let (server, mut bystander) = serve(log, || Script::new().data(|_, _| panic_any(Bomb)));
    let mut client = server.client();
    client.send("x");
    client.expect_end();
    events.wait_for_close("panic");
    assert_unharmed(&mut bystander);
}

#[test]
fn a_factory_that_panics_turns_its_client_away() {
    let mut calls = 0;
    let server = TestLoop::serve(move || {
        calls += 1;
        assert!(calls % 2 == 0, "on purpose");
        Echo
    });
    for round in 1..=3 {
        server.client().expect_end();
        assert_unharmed(&mut server.client());
        let metrics = server.metrics();
        assert_eq!((metrics.refused, metrics.panics, metrics.accepted), (round, round, round));
    }
}

#[test]
fn a_visitor_that_panics_is_closed_and_the_visited_is_not() {
    let (log, events) = Events::new();
    let (host, hosts) = mpsc::channel();
    let (server, _bystander) = serve(log, move || {
        let host = host.clone();
        Script::new().data(move |cx, input| {
            match input.take() {
                b"host" => host.send(cx.id()).expect("the test waits"),
                other => cx.send(other)?,
            }
            Ok(())
        })
    });
    let mut visited = server.client();
    visited.send("host");
    let id = hosts.recv().expect("it says its name");
    let address = server.addresses()[0].clone();
    server.on_loop(move |cx| {
        let visit = Script::new().open(move |cx| {
            cx.with(id, |_: &mut Logged<Script>, _| panic!("rude guest"));
            Ok(())
        });
        cx.connect(address, &ConnectOptions::default(), visit).map(drop).expect("it can be tried");
    });
    server.eventually("the visitor is closed", |metrics| metrics.closed.panic == 1 && metrics.panics == 1);
    visited.send("unharmed");
    visited.expect("unharmed");
    assert!(events.so_far().iter().all(|record| record.event.close_reason() != Some("panic")));
}

#[test]
fn peers_that_reset_harm_nobody() {
    let (log, events) = Events::new();
    let (server, mut bystander) = serve(log, || {
        Script::new().data(|cx, input| {
            input.take();
            cx.send(vec![7; 1 << 20])
        })
    });
    for _ in 0..20 {
        let mut client = server.client();
        client.send("x");
        client.receive(1000);
        client.reset();
        events.wait_for_close("error");
        assert_unharmed(&mut bystander);
    }
    // Two resets that the loop finds in one turn, one of them before it has accepted.
    let early = server.client();
    server.hold_up(|| {
        early.reset();
        server.client().reset();
    });
    events.wait_for(|event| event.close_reason().is_some());
    events.wait_for(|event| event.close_reason().is_some());
    assert_unharmed(&mut bystander);
    server.eventually("only the bystander is left", |metrics| metrics.open == 1 && metrics.lingering == 0);
}

#[test]
fn a_task_that_panics_closes_nobody() {
    let (log, events) = Events::new();
    let (server, mut bystander) = serve(log, Script::new);
    server.handle.execute(|_| resume_unwind(Box::new("a payload of its own"))).expect("the loop runs");
    server.eventually("it is counted", |metrics| metrics.panics == 1);
    assert_eq!(server.metrics().closed.total(), 0);
    assert_unharmed(&mut bystander);
    assert_eq!(events.so_far(), []);
}
