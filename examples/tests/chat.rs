//! Words reach those who are to hear them, in one room, on all loops, and not through one who does not read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Write;
use std::net::SocketAddr;

use common::{LineClient, Program};

/// A member in the lobby.
fn member(address: SocketAddr, name: &str) -> LineClient {
    let mut member = LineClient::connect(address);
    member.expect("* your name?");
    member.say(name);
    member.expect("* you are in lobby; /join ROOM goes to another, /quit ends");
    member
}

#[test]
fn members_hear_each_other_come_speak_and_leave() {
    let (_server, address) = Program::serve("chat", &["127.0.0.1:0"]);
    let mut ana = member(address, "ana");
    let mut bob = member(address, "bob");
    ana.expect("* bob enters lobby");
    ana.say("hello, wörld");
    bob.expect("ana: hello, wörld");
    bob.say("hi\u{7}");
    ana.expect("bob: hi\u{fffd}");
    bob.say("/quit");
    assert_eq!(bob.hear(), None);
    ana.expect("* bob leaves: closed here");
    let carl = member(address, "carl");
    ana.expect("* carl enters lobby");
    drop(carl);
    ana.expect("* carl leaves: the peer closed");
}

#[test]
fn a_name_has_one_owner_at_a_time() {
    let (_server, address) = Program::serve("chat", &["127.0.0.1:0"]);
    let mut ana = member(address, "ana");
    let mut other = LineClient::connect(address);
    other.expect("* your name?");
    other.say("ana");
    other.expect("* that name is taken; your name?");
    other.say("two words");
    other.expect("* a name is a word of at most 32 bytes; your name?");
    ana.say("/quit");
    assert_eq!(ana.hear(), None);
    other.say("ana");
    other.expect("* you are in lobby; /join ROOM goes to another, /quit ends");
}

#[test]
fn what_is_said_in_a_room_stays_there() {
    let (_server, address) = Program::serve("chat", &["127.0.0.1:0"]);
    let (mut ana, mut bob) = (member(address, "ana"), member(address, "bob"));
    ana.expect("* bob enters lobby");
    bob.say("/join kitchen");
    bob.expect("* you are in kitchen; /join ROOM goes to another, /quit ends");
    ana.expect("* bob leaves: off to kitchen");
    bob.say("anybody here?");
    bob.say("/dance");
    bob.expect("* that is /join ROOM, or /quit");
    ana.say("/join kitchen");
    ana.expect("* you are in kitchen; /join ROOM goes to another, /quit ends");
    bob.expect("* ana enters kitchen");
}

#[test]
fn a_member_who_does_not_read_is_dropped_and_the_others_go_on() {
    let (_server, address) = Program::serve("chat", &["127.0.0.1:0"]);
    let mut reader = member(address, "reader");
    let slow = member(address, "slow");
    let mut talker = member(address, "talker");
    reader.expect("* slow enters lobby");
    reader.expect("* talker enters lobby");
    let line = "x".repeat(1000);
    let batch = format!("{line}\n").repeat(64);
    // The reader keeps pace, and the slow one does not read at all, until what waits for it is too much.
    let mut farewells = 0;
    for _ in 0..1000 {
        talker.stream.write_all(batch.as_bytes()).unwrap();
        for _ in 0..64 {
            match reader.hear().unwrap() {
                words if words == format!("talker: {line}") => {}
                words => {
                    assert_eq!(words, "* slow leaves: more output waits than the limit");
                    farewells += 1;
                }
            }
        }
        if farewells > 0 {
            break;
        }
    }
    assert_eq!(farewells, 1);
    talker.expect("* slow leaves: more output waits than the limit");
    // One line stands behind those 64, for the farewell took a place among them.
    reader.expect(&format!("talker: {line}"));
    talker.say("all well");
    reader.expect("talker: all well");
    drop(slow);
}

#[test]
fn what_is_published_reaches_the_subscribers_on_all_loops_in_order() {
    let (_server, address) = Program::serve("pubsub", &["127.0.0.1:0", "--threads", "2"]);
    // Connections go to the loops in turn: two on each.
    let mut clients: Vec<_> = (0..4).map(|_| LineClient::connect(address)).collect();
    for client in &mut clients {
        client.say("sub weather");
        client.expect("ok");
    }
    clients[3].say("unsub weather");
    clients[3].expect("ok");
    clients[3].say("unsub weather");
    clients[3].expect("error: you have not subscribed to that");
    for number in 0..100 {
        clients[3].say(&format!("pub weather rain {number}"));
        clients[3].say("pub other nobody hears this");
    }
    for client in &mut clients[..3] {
        for number in 0..100 {
            client.expect(&format!("weather: rain {number}"));
        }
    }
    for _ in 0..200 {
        clients[3].expect("ok");
    }
    clients[3].say("sing");
    clients[3].expect("error: that is sub TOPIC, unsub TOPIC or pub TOPIC TEXT");
}
