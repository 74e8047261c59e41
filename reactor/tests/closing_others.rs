//! A callback may close, pause and reset other connections that have events in the same batch: they see none of them.

mod common;

use common::{Client, Event, Events, Logged, TestLoop};
use reactor::{CloseReason, ConnId, ConnectOptions, Context, Handler, Input, Limits, ListenOptions, Peer, Result};

/// What the first that is called does to all others, once.
#[derive(Clone, Copy)]
enum Deed {
    Close,
    CloseAfterFlush,
    Abort,
    Pause,
    ShutdownWrite,
}

impl Deed {
    fn is_done_to(self, peer: &mut Peer<'_>) {
        match self {
            Self::Close => peer.close(),
            Self::CloseAfterFlush => peer.close_after_flush(),
            Self::Abort => peer.abort(),
            Self::Pause => peer.pause(),
            Self::ShutdownWrite => peer.shutdown_write(),
        }
    }
}

/// The connections of the loop.
struct Crowd {
    members: Vec<ConnId>,
    deed: Option<Deed>,
}

/// Does the deed when bytes come.
struct Member;

impl Handler<Crowd> for Member {
    fn on_open(&mut self, cx: &mut Context<'_, Crowd>) -> Result {
        let id = cx.id();
        cx.state().members.push(id);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Crowd>, input: &mut Input<'_>) -> Result {
        let Some(deed) = cx.state().deed.take() else { return cx.send(input.take()) };
        let myself = cx.id();
        for id in cx.state().members.clone() {
            if id != myself
                && let Some(mut peer) = cx.peer(id)
            {
                deed.is_done_to(&mut peer);
            }
        }
        cx.send(input.take())
    }
}

const MANY: usize = 300;

/// Lets many send at once; the first that is served does the deed to all others.
fn all_send_at_once(deed: Deed) -> (TestLoop<Crowd>, Events, Vec<Client>) {
    let (log, events) = Events::new();
    let server = TestLoop::start_with_state(
        Limits::default(),
        move || Crowd { members: Vec::new(), deed: Some(deed) },
        move |event_loop| {
            let make = move |_: &_| Logged::new(&log, Member);
            event_loop.listen("127.0.0.1:0", &ListenOptions::default(), make).expect("port 0 is free");
        },
    );
    let mut clients = (0..MANY).map(|_| server.client()).collect::<Vec<_>>();
    for _ in 0..MANY {
        events.expect(&Event::Open);
    }
    server.hold_up(|| clients.iter_mut().for_each(|client| client.send("x")));
    (server, events, clients)
}

/// The first alone is served, and each of the others only ends.
fn only_the_first_is_served(deed: Deed, reason: &str) {
    let (server, events, clients) = all_send_at_once(deed);
    let first = events.expect(&Event::Data(b"x".to_vec()));
    for _ in 1..MANY {
        let close = events.expect_close(reason);
        assert_ne!(close.id, first);
    }
    // Two turns in which a late callback would come.
    (0..2).for_each(|_| server.on_loop(|_| ()));
    assert_eq!(events.so_far(), []);
    assert_eq!(server.metrics().open, 1);
    drop(clients);
    assert_eq!(events.wait_for(|event| event.close_reason().is_some()).id, first);
}

#[test]
fn the_closed_ones_see_no_data() {
    only_the_first_is_served(Deed::Close, "closed");
}

#[test]
fn the_closed_after_a_flush_see_no_data() {
    only_the_first_is_served(Deed::CloseAfterFlush, "closed");
}

#[test]
fn the_reset_ones_see_no_data() {
    only_the_first_is_served(Deed::Abort, "aborted");
}

#[test]
fn the_paused_ones_see_their_data_when_they_are_resumed() {
    let (server, events, mut clients) = all_send_at_once(Deed::Pause);
    let first = events.expect(&Event::Data(b"x".to_vec()));
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
    server.on_loop(move |cx| {
        for id in cx.state().members.clone() {
            cx.peer(id).unwrap().resume();
        }
    });
    for _ in 1..MANY {
        assert_ne!(events.expect(&Event::Data(b"x".to_vec())), first);
    }
    clients.iter_mut().for_each(|client| client.expect("x"));
}

#[test]
fn the_half_closed_ones_go_on_reading() {
    let (_server, events, mut clients) = all_send_at_once(Deed::ShutdownWrite);
    let served = (0..MANY).filter(|_| matches!(events.next().event, Event::Data(_) | Event::Close { .. })).count();
    assert_eq!(served, MANY);
    for client in &mut clients {
        // The first got its answer; the others' sending was over before theirs.
        client.end();
        assert!(matches!(&*client.receive_to_end(), b"" | b"x"));
    }
}

/// Ends another connection as it ends.
struct Domino;

impl Handler<Crowd> for Domino {
    fn on_open(&mut self, cx: &mut Context<'_, Crowd>) -> Result {
        let id = cx.id();
        cx.state().members.push(id);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Crowd>, _input: &mut Input<'_>) -> Result {
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Crowd>, _reason: &CloseReason) {
        let myself = cx.id();
        let next = cx.state().members.iter().position(|&id| id == myself).map(|place| place + 1);
        let next = next.and_then(|place| cx.state().members.get(place).copied());
        if let Some(mut peer) = next.and_then(|id| cx.peer(id)) {
            peer.close();
        }
    }
}

#[test]
fn a_chain_of_closes_runs_to_its_end_in_one_turn() {
    let (log, events) = Events::new();
    let server = TestLoop::start_with_state(
        Limits::default(),
        || Crowd { members: Vec::new(), deed: None },
        move |event_loop| {
            event_loop.listen("127.0.0.1:0", &ListenOptions::default(), move |_| Logged::new(&log, Domino)).unwrap();
        },
    );
    let mut clients = (0..MANY).map(|_| server.client()).collect::<Vec<_>>();
    let ids = (0..MANY).map(|_| events.expect(&Event::Open)).collect::<Vec<_>>();
    clients[0].send("x");
    events.expect(&Event::Data(b"x".to_vec()));
    let closed = (0..MANY).map(|_| events.expect_close("closed").id).collect::<Vec<_>>();
    assert_eq!(closed, ids);
    clients.iter_mut().for_each(Client::expect_end);
}

#[test]
fn a_name_that_was_given_anew_gets_none_of_the_old_ones_events() {
    let (log, events) = Events::new();
    let server = TestLoop::start_with_state(
        Limits::default(),
        || Crowd { members: Vec::new(), deed: None },
        move |event_loop| {
            event_loop.listen("127.0.0.1:0", &ListenOptions::default(), move |_| Logged::new(&log, Member)).unwrap();
        },
    );
    let (log, outgoing) = Events::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    for _ in 0..100 {
        let mut client = server.client();
        let old = events.expect(&Event::Open);
        let log = log.clone();
        // In one turn the old one, whose bytes wait, is reset and another takes its slot as soon as it is free.
        let handle = server.handle.clone();
        server.hold_up(|| {
            client.send("for the old one");
            handle
                .execute(move |cx| {
                    cx.peer(old).unwrap().abort();
                    cx.connect(target, &ConnectOptions::default(), Logged::new(&log, Member)).unwrap();
                })
                .unwrap();
        });
        let _accepted = listener.accept().unwrap();
        let new = outgoing.expect(&Event::Open);
        assert_ne!(new, old);
        let told = events.wait_for_close("aborted");
        assert_eq!(told.id, old);
        server.on_loop(move |cx| cx.peer(new).unwrap().abort());
        outgoing.expect_close("aborted");
    }
}
