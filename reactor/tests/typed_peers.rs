//! Connections of a loop reach each other by name and by type, without a lock or a shared cell.

mod common;

use common::{Client, Event, Events, Logged, TestLoop};
use reactor::{CloseReason, ConnId, Context, Handler, Input, Limits, ListenOptions, Result};

/// A chat room: the members by name, in the state of the loop.
#[derive(Default)]
struct Room {
    members: Vec<ConnId>,
}

/// One who is in the room. The first line is the name; each further line goes to all others.
#[derive(Default)]
struct Member {
    name: String,
    heard: usize,
}

impl Member {
    fn tell_others(cx: &mut Context<'_, Room>, line: &str) {
        let myself = cx.id();
        for id in cx.state().members.clone() {
            if id != myself {
                cx.with(id, |member: &mut Self, cx| {
                    member.heard += 1;
                    cx.send(line)
                });
            }
        }
    }

    fn says(&mut self, cx: &mut Context<'_, Room>, line: &str) -> Result {
        match line {
            "/count" => cx.send(format!("{} heard\n", self.heard)),
            "/quit" => cx.close_after_flush(),
            name if self.name.is_empty() => {
                self.name = name.to_owned();
                let id = cx.id();
                cx.state().members.push(id);
                Self::tell_others(cx, &format!("{name} joins\n"));
                cx.send(format!("hello {name}\n"))
            }
            words => {
                Self::tell_others(cx, &format!("{}: {words}\n", self.name));
                Ok(())
            }
        }
    }
}

impl Handler<Room> for Member {
    fn on_data(&mut self, cx: &mut Context<'_, Room>, input: &mut Input<'_>) -> Result {
        while let Some(line) = input.take_until(b'\n') {
            self.says(cx, &String::from_utf8_lossy(line))?;
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Room>, _reason: &CloseReason) {
        let id = cx.id();
        cx.state().members.retain(|&member| member != id);
        Self::tell_others(cx, &format!("{} leaves\n", self.name));
    }
}

fn chat_room() -> TestLoop<Room> {
    TestLoop::start_with_state(Limits::default(), Room::default, |event_loop| {
        event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_| Member::default()).expect("port 0 is free");
    })
}

fn join(room: &TestLoop<Room>, name: &str) -> Client {
    let mut client = room.client();
    client.send(format!("{name}\n"));
    client.expect(format!("hello {name}\n"));
    client
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn what_one_says_all_others_hear() {
    let room = chat_room();
    let mut ann = join(&room, "ann");
    let mut others = Vec::new();
    for index in 0..50 {
        let name = format!("member{index}");
        let newcomer = join(&room, &name);
        ann.expect(format!("{name} joins\n"));
        others.push(newcomer);
    }
    for (index, other) in others.iter_mut().enumerate() {
        (index + 1..50).for_each(|later| other.expect(format!("member{later} joins\n")));
    }
    ann.send("good morning\n");
    for other in &mut others {
        other.expect("ann: good morning\n");
        other.send("/count\n");
    }
    for (index, other) in others.iter_mut().enumerate() {
        other.expect(format!("{} heard\n", 50 - index));
    }
    ann.send("/count\n");
    ann.expect("50 heard\n");
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no SO_LINGER")]
fn who_leaves_is_told_of_and_reached_no_more() {
    let room = chat_room();
    let mut ann = join(&room, "ann");
    let mut bob = join(&room, "bob");
    ann.expect("bob joins\n");
    bob.send("/quit\n");
    bob.expect_end();
    ann.expect("bob leaves\n");
    ann.send("anyone?\n");
    let cid = join(&room, "cid");
    ann.expect("cid joins\n");
    cid.reset();
    ann.expect("cid leaves\n");
    assert_eq!(room.on_loop(|cx| cx.state().members.len()), 1);
    ann.send("/quit\n");
    ann.expect_end();
    room.eventually("the room is empty", |metrics| metrics.open == 0);
    assert_eq!(room.metrics().panics, 0);
}

/// Is visited. The state of its loop is its name.
struct Host;

impl Handler<Option<ConnId>> for Host {
    fn on_open(&mut self, cx: &mut Context<'_, Option<ConnId>>) -> Result {
        let id = cx.id();
        *cx.state() = Some(id);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Option<ConnId>>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

/// Does to the host what it is told to, and tells how that went.
struct Visitor;

impl Handler<Option<ConnId>> for Visitor {
    fn on_data(&mut self, cx: &mut Context<'_, Option<ConnId>>, input: &mut Input<'_>) -> Result {
        let myself = cx.id();
        let host = cx.state().expect("the host came first");
        let outcome = match input.take() {
            b"itself" => format!("{:?}", cx.with(myself, |_: &mut Self, _| ())),
            b"wrong type" => format!("{:?}", cx.with(host, |_: &mut Self, _| ())),
            b"host" => format!("{:?}", cx.with(host, |_: &mut Host, cx| cx.id() == host)),
            b"back" => {
                // While the host is visited, the visitor's own callback runs still.
                let back = cx.with(host, |_: &mut Host, cx| cx.with(myself, |_: &mut Self, _| ()));
                format!("{back:?}")
            }
            b"panic" => format!("{:?}", cx.with(host, |_: &mut Host, _| panic!("the visitor stumbles"))),
            b"send to me" => {
                cx.send("1 ")?;
                let sent =
                    cx.with(host, |_: &mut Host, cx| cx.send_to(myself, "2 ") && cx.send("from the visitor").is_ok());
                cx.send("3 ")?;
                format!("{sent:?}")
            }
            b"close" => {
                cx.with(host, |_: &mut Host, cx| cx.close());
                let sent = cx.with(host, |_: &mut Host, cx| cx.send("x").is_ok());
                format!("{sent:?} {}", cx.send_to(host, "x"))
            }
            other => panic!("{}", other.escape_ascii()),
        };
        cx.send(outcome)
    }
}

/// A loop, the client of a host and the client of a visitor.
fn visit() -> (TestLoop<Option<ConnId>>, Events, Client, Client) {
    let (log, events) = Events::new();
    let server = TestLoop::start_with_state(
        Limits::default(),
        || None,
        move |event_loop| {
            let options = ListenOptions::default();
            event_loop.listen("127.0.0.1:0", &options, |_| Host).expect("port 0 is free");
            event_loop.listen("127.0.0.1:0", &options, move |_| Logged::new(&log, Visitor)).expect("port 0 is free");
        },
    );
    let mut host = Client::connect(&server.addresses()[0]);
    host.send("up");
    host.expect("up");
    let visitor = Client::connect(&server.addresses()[1]);
    events.expect(&Event::Open);
    (server, events, host, visitor)
}

#[track_caller]
fn ask(visitor: &mut Client, command: &str, answer: &str) {
    visitor.send(command);
    visitor.expect(answer);
}

#[test]
fn with_reaches_a_peer_of_the_right_type_only_and_not_itself() {
    let (_server, _events, _host, mut visitor) = visit();
    ask(&mut visitor, "host", "Some(true)");
    ask(&mut visitor, "itself", "None");
    ask(&mut visitor, "wrong type", "None");
    ask(&mut visitor, "back", "Some(None)");
    ask(&mut visitor, "host", "Some(true)");
}

#[test]
fn a_connection_that_is_gone_is_not_reached() {
    let (server, _events, host, mut visitor) = visit();
    drop(host);
    server.eventually("the host is gone", |metrics| metrics.open == 1);
    ask(&mut visitor, "host", "None");
}

#[test]
fn a_new_connection_in_the_old_slot_is_not_reached_by_the_old_name() {
    let (server, _events, host, mut visitor) = visit();
    drop(host);
    server.eventually("the host is gone", |metrics| metrics.open == 1);
    // The same type, and the slot that has become free; but it tells the loop its name, so the old one is put back.
    let old = server.on_loop(|cx| *cx.state());
    let mut newcomer = Client::connect(&server.addresses()[0]);
    newcomer.send("up");
    newcomer.expect("up");
    let new = server.on_loop(move |cx| std::mem::replace(cx.state(), old));
    assert_ne!(new, old);
    ask(&mut visitor, "host", "None");
    assert!(server.on_loop(move |cx| !cx.send_to(old.unwrap(), "x") && cx.peer(old.unwrap()).is_none()));
}

#[test]
fn a_panic_in_a_visit_closes_the_visitor_alone() {
    let (server, events, mut host, mut visitor) = visit();
    visitor.send("panic");
    events.wait_for_close("panic");
    visitor.expect_end();
    host.send("still here");
    host.expect("still here");
    server.eventually("it alone is gone", |metrics| (metrics.open, metrics.panics) == (1, 1));
}

#[test]
fn what_is_sent_on_a_visit_keeps_its_order() {
    let (_server, _events, mut host, mut visitor) = visit();
    ask(&mut visitor, "send to me", "1 2 3 Some(true)");
    host.expect("from the visitor");
}

#[test]
fn a_peer_closed_on_a_visit_takes_no_more() {
    let (server, _events, mut host, mut visitor) = visit();
    ask(&mut visitor, "close", "None false");
    host.expect_end();
    server.eventually("the host is gone", |metrics| metrics.open == 1);
    ask(&mut visitor, "host", "None");
}
