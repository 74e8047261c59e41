//! The name of what is gone names nothing, for ever, whoever has its place by then.

mod common;
#[path = "common/more.rs"]
mod more;

use std::sync::mpsc;
use std::time::Duration;

use common::{Client, Echo, Event, Events, Log, Logged, TestLoop};
use more::Script;
use reactor::{ConnId, LoopContext, Server, ServerHandle, TaskId};

/// The loop and the slot of a name, which is written `loop.slot.generation`.
fn place(id: ConnId) -> String {
    let id = id.to_string();
    id.rsplit_once('.').expect("a name has three parts").0.to_owned()
}

/// A loop, the name of a connection that is gone, and a client whose connection has its place.
fn reused() -> (TestLoop, Events, ConnId, Client, ConnId) {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Echo));
    let client = server.client();
    let stale = events.expect(&Event::Open);
    drop(client);
    events.wait_for_close("eof");
    server.on_loop(|_| ());
    let client = server.client();
    let fresh = events.expect(&Event::Open);
    assert_eq!(place(fresh), place(stale), "the place is used again");
    assert_ne!(fresh, stale);
    (server, events, stale, client, fresh)
}

#[test]
fn code_on_the_loop_finds_nobody() {
    let (server, _events, stale, mut client, fresh) = reused();
    server.on_loop(move |cx| {
        assert!(!cx.send_to(stale, "not for you"));
        assert!(cx.peer(stale).is_none());
        assert!(cx.with(stale, |_: &mut Logged<Echo>, _| ()).is_none());
        assert!(cx.peer(fresh).is_some());
        assert!(cx.with(fresh, |_: &mut Logged<Echo>, _| ()).is_some());
        assert!(cx.send_to(fresh, "for you"));
    });
    client.expect("for you");
}

#[test]
fn messages_from_other_threads_reach_nobody() {
    let (server, _events, stale, mut client, fresh) = reused();
    server.handle.send(stale, "not for you").expect("the loop runs");
    server.handle.close(stale).expect("the loop runs");
    server.handle.send(fresh, "for you").expect("the loop runs");
    client.expect("for you");
    client.send("still open");
    client.expect("still open");
}

#[test]
fn a_name_stays_stale_through_many_uses_of_its_place() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Echo));
    let mut names = Vec::new();
    for _ in 0..200 {
        let client = server.client();
        names.push(events.expect(&Event::Open));
        drop(client);
        events.wait_for_close("eof");
    }
    let mut client = server.client();
    let fresh = events.expect(&Event::Open);
    assert!(!names.contains(&fresh));
    server.on_loop(move |cx| assert!(names.iter().all(|&name| cx.peer(name).is_none())));
    client.send("alone");
    client.expect("alone");
}

#[test]
fn a_connection_that_ends_cannot_be_sent_to() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let noted = log.clone();
        let script = Script::new().close(move |cx, _| {
            let id = cx.id();
            noted.note(id, format!("{} {}", cx.send("too late").is_err(), cx.send_to(id, "too late")));
        });
        Logged::new(&log, script)
    });
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    server.on_loop(move |cx| cx.peer(id).expect("it is open").close());
    events.expect_close("closed");
    events.expect(&Event::Note("true false".into()));
    client.expect_end();
}

/// A server of two loops with four connections each.
fn two_loops(log: Log) -> (Server, Vec<Client>) {
    let log = std::sync::Mutex::new(log);
    let make = move |_: &_| Logged::new(&log.lock().expect("nobody panics"), Echo);
    let sharing = reactor::Sharing::Handover(reactor::Balance::RoundRobin);
    let builder = Server::builder().threads(2);
    let server =
        builder.listen_with("127.0.0.1:0", &reactor::ListenOptions::default(), sharing, make).expect("port 0 is free");
    let server = server.start().expect("a server can be made");
    let clients = (0..8).map(|_| Client::connect(&server.local_addresses()[0])).collect();
    (server, clients)
}

/// Sends through the wrong loop.
fn send_astray(handle: &ServerHandle, id: ConnId) {
    let other = &handle.loops()[1 - id.loop_index()];
    other.send(id, "astray").expect("the loop runs");
    other.close(id).expect("the loop runs");
    let (done, is_done) = mpsc::channel();
    let look = move |cx: &mut LoopContext<'_>| {
        let found =
            cx.peer(id).is_some() || cx.send_to(id, "astray") || cx.with(id, |_: &mut Logged<Echo>, _| ()).is_some();
        done.send(found).expect("the test waits");
    };
    other.execute(look).expect("the loop runs");
    assert!(!is_done.recv().expect("the loop answers"), "the other loop knows {id}");
}

#[test]
fn a_name_of_another_loop_names_nothing() {
    let (log, events) = Events::new();
    let (server, mut clients) = two_loops(log);
    // The loops give out the same places, so that only the loop's number tells the names apart.
    let ids: Vec<_> = clients.iter().map(|_| events.expect(&Event::Open)).collect();
    assert_eq!(ids.iter().filter(|id| id.loop_index() == 0).count(), 4);
    for id in ids {
        send_astray(&server.handle(), id);
    }
    for client in &mut clients {
        client.send("all is well");
        client.expect("all is well");
    }
}

#[test]
fn a_task_of_another_loop_is_not_ours_to_cancel() {
    let (log, _events) = Events::new();
    let (server, _clients) = two_loops(log);
    let handle = server.handle();
    let (ran, has_run) = mpsc::channel();
    let (set, are_set) = mpsc::channel();
    // Enough of them for the two loops to give out the same places.
    for (index, handle) in handle.loops().iter().enumerate() {
        let (ran, set) = (ran.clone(), set.clone());
        let set_tasks = move |cx: &mut LoopContext<'_>| {
            for _ in 0..10 {
                let ran = ran.clone();
                let run = move |_: &mut LoopContext<'_>| ran.send(index).expect("the test waits");
                set.send((index, cx.run_after(Duration::from_millis(50), run).expect("there is room")))
                    .expect("the test waits");
            }
        };
        handle.execute(set_tasks).expect("the loop runs");
    }
    for (index, task) in are_set.iter().take(20) {
        let cancel = move |cx: &mut LoopContext<'_>| assert!(!cx.cancel_task(task), "the other loop knows {task}");
        handle.loops()[1 - index].execute(cancel).expect("the loop runs");
    }
    for count in 0..20 {
        has_run.recv_timeout(common::DEADLINE).unwrap_or_else(|_| panic!("{count} of 20 tasks have run"));
    }
    assert_eq!(handle.metrics().panics, 0);
}

#[test]
fn a_stale_timer_cancels_nothing() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let mut first = None;
        let noted = log.clone();
        let script = Script::new().open(|cx| cx.set_timer(Duration::ZERO).map(drop));
        let script = script.timer(move |cx, timer| {
            if let Some(first) = first {
                noted.note(cx.id(), format!("{}", cx.cancel_timer(first)));
                return Ok(());
            }
            first = Some(timer);
            // It takes the place that has just become free.
            cx.set_timer(Duration::ZERO)?;
            noted.note(cx.id(), format!("{}", cx.cancel_timer(timer)));
            Ok(())
        });
        Logged::new(&log, script)
    });
    let _client = server.client();
    events.expect(&Event::Open);
    let Event::Timer(first) = events.next().event else { panic!("the timer fires") };
    events.expect(&Event::Note("false".into()));
    let Event::Timer(second) = events.next().event else { panic!("the second timer fires") };
    events.expect(&Event::Note("false".into()));
    assert_ne!(first, second);
}

#[test]
fn a_timer_of_another_connection_is_not_ours_to_cancel() {
    let (log, events) = Events::new();
    let (sender, timers) = mpsc::channel();
    let timers = std::sync::Arc::new(std::sync::Mutex::new(timers));
    let server = TestLoop::serve(move || {
        let (noted, sender, timers) = (log.clone(), sender.clone(), timers.clone());
        let script = Script::new().data(move |cx, input| {
            match input.take() {
                b"set" => sender.send(cx.set_timer(Duration::from_millis(50))?).expect("the test waits"),
                _ => {
                    let timer = timers.lock().expect("nobody panics").recv().expect("it was set");
                    noted.note(cx.id(), format!("{}", cx.cancel_timer(timer)));
                }
            }
            cx.send("done")
        });
        Logged::new(&log, script)
    });
    let (mut owner, mut other) = (server.client(), server.client());
    owner.send("set");
    owner.expect("done");
    other.send("cancel");
    other.expect("done");
    // On a slow machine it may have fired before.
    let mut awaited = ["the note", "the timer"].to_vec();
    while !awaited.is_empty() {
        match events.next().event {
            Event::Note(text) => {
                assert_eq!(text, "false");
                awaited.retain(|what| *what != "the note");
            }
            Event::Timer(_) => awaited.retain(|what| *what != "the timer"),
            _ => {}
        }
    }
}

#[test]
fn a_stale_task_cancels_nothing() {
    let server = TestLoop::serve(|| Echo);
    let (sender, ran) = mpsc::channel();
    let stale: TaskId = server.on_loop(move |cx| {
        cx.run_after(Duration::ZERO, move |_| sender.send(()).expect("the test waits")).expect("there is room")
    });
    ran.recv().expect("it runs");
    let (sender, ran) = mpsc::channel();
    server.on_loop(move |cx| {
        assert!(!cx.cancel_task(stale), "it has run");
        let delay = Duration::from_millis(20);
        let cancelled = cx.run_after(delay, |_| panic!("it was cancelled")).expect("there is room");
        assert!(cx.cancel_task(cancelled));
        cx.run_after(delay, move |_| sender.send(()).expect("the test waits")).expect("there is room");
        assert!(!cx.cancel_task(cancelled) && !cx.cancel_task(stale));
    });
    ran.recv().expect("it runs, whatever else was cancelled");
    assert_eq!(server.metrics().panics, 0);
}
