//! What was sent before a close arrives: no reset eats it, and a loop that is dropped tells each connection once.

mod common;
#[path = "common/more.rs"]
mod more;

use std::time::Duration;

use common::{Client, Echo, Event, Events, Logged, TestLoop, Transport, any_port};
use more::Script;
use reactor::{ConnectOptions, Context, EventLoop, Limits, ListenOptions};

#[test]
fn a_close_with_input_unread_does_not_reset() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || {
            Script::new().data(|cx, input| {
                input.take();
                cx.send("no more, please")?;
                cx.close_after_flush()
            })
        });
        let mut client = server.client();
        server.hold_up(|| client.send(vec![0; 200_000]));
        assert_eq!(client.receive_to_end(), b"no more, please");
        drop(client);
        server.eventually("nobody lingers", |metrics| metrics.lingering == 0 && metrics.open == 0);
    }
}

#[test]
fn a_close_before_the_first_look_at_the_input_does_not_reset() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || {
            Script::new().open(|cx| {
                cx.send("we are full")?;
                cx.close_after_flush()
            })
        });
        let mut client = server.hold_up(|| {
            let mut client = server.client();
            client.send("hello");
            client
        });
        assert_eq!(client.receive_to_end(), b"we are full");
    }
}

#[test]
fn a_large_answer_to_a_talkative_peer_arrives_whole() {
    let server = TestLoop::serve(|| {
        Script::new().data(|cx, input| {
            input.take();
            cx.send(common::pattern(0, 4 << 20))?;
            cx.close_after_flush()
        })
    });
    let mut client = server.client();
    let mut talker = client.twin();
    client.send("x");
    let talk = std::thread::spawn(move || {
        // It ends with an error, for the server has closed.
        for _ in 0..64 {
            if std::io::Write::write_all(&mut talker, &[0; 4096]).is_err() {
                return;
            }
        }
    });
    common::assert_pattern(0, &client.receive(4 << 20));
    talk.join().expect("it does not panic");
}

#[test]
fn lingering_ends_with_its_time() {
    let mut limits = Limits::default();
    limits.linger = Duration::from_millis(50);
    let server = TestLoop::serve_with(limits, Transport::Tcp, || {
        Script::new().data(|cx, _| {
            cx.send("bye")?;
            cx.pause();
            cx.close_after_flush()
        })
    });
    let mut client = server.client();
    server.hold_up(|| client.send(vec![0; 2 << 20]));
    client.expect("bye");
    server.eventually("nobody lingers", |metrics| metrics.lingering == 0 && metrics.closed.closed == 1);
}

#[test]
fn who_lingers_does_not_hold_up_a_stop() {
    let mut limits = Limits::default();
    limits.linger = Duration::from_secs(3600);
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(limits, Transport::Tcp, move || {
        let script = Script::new().open(|cx| {
            cx.pause();
            Ok(())
        });
        Logged::new(&log, script)
    });
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    client.send(vec![0; 100_000]);
    server.on_loop(move |cx| cx.peer(id).expect("it is open").close_after_flush());
    server.eventually("it lingers", |metrics| metrics.lingering == 1);
    let report = server.shut_down(Duration::from_millis(20));
    assert_eq!(report.cut, 0);
}

/// Two connections to each other on a loop that is not running.
fn idle_pair(events_of: &common::Log, inner: impl Fn() -> Script + 'static) -> (EventLoop, Client) {
    let mut event_loop = EventLoop::new(()).expect("a loop can be made");
    let log = events_of.clone();
    let make = move |_: &_| Logged::new(&log, inner());
    event_loop.listen(any_port(), &ListenOptions::default(), make).expect("port 0 is free");
    let client = Client::connect(&event_loop.local_addresses()[0]);
    while event_loop.metrics().accepted == 0 {
        event_loop.turn(Some(common::DEADLINE)).expect("the kernel lets it wait");
    }
    (event_loop, client)
}

#[test]
fn a_loop_that_is_dropped_tells_each_connection_once() {
    let (log, events) = Events::new();
    let (mut event_loop, mut client) = idle_pair(&log, Script::new);
    events.expect(&Event::Open);
    let address = event_loop.local_addresses()[0].clone();
    let connecting = Logged::new(&log, Echo);
    event_loop.context().connect(address, &ConnectOptions::default(), connecting).expect("it can be tried");
    drop(event_loop);
    events.expect_close("cut");
    events.expect_close("cut");
    assert_eq!(events.so_far(), []);
    client.expect_end();
}

#[test]
fn who_connects_anew_when_cut_is_refused_by_a_loop_that_is_dropped() {
    let (log, events) = Events::new();
    let noted = log.clone();
    let (event_loop, _client) = idle_pair(&log, move || {
        let noted = noted.clone();
        Script::new().close(move |cx: &mut Context<'_>, _| {
            let target = cx.local_address().expect("it is open");
            let again = cx.connect(target, &ConnectOptions::default(), Logged::new(&noted, Echo));
            noted.note(cx.id(), if again.is_ok() { "tries again" } else { "is refused" });
        })
    });
    events.expect(&Event::Open);
    drop(event_loop);
    events.expect_close("cut");
    // Or else it must be told of its end too.
    if events.next().event == Event::Note("tries again".into()) {
        events.expect_close("cut");
    }
    assert_eq!(events.so_far(), []);
}

#[test]
fn a_handler_dropped_with_its_loop_is_dropped_once() {
    use std::sync::Arc;
    let alive = Arc::new(());
    let counted = Arc::clone(&alive);
    let (log, _events) = Events::new();
    let (event_loop, _client) = idle_pair(&log, move || {
        let held = Arc::clone(&counted);
        Script::new().close(move |_, _| drop(Arc::clone(&held)))
    });
    assert!(Arc::strong_count(&alive) >= 3);
    drop(event_loop);
    assert_eq!(Arc::strong_count(&alive), 1);
}
