//! A chat server under the simulation: the subject of docs/testing.md.

use std::time::Duration;

use reactor::sim::{Faults, Peer, Seeds};
use reactor::{CloseReason, ConnId, Context, EventLoop, Handler, Input, ListenOptions, LoopContext, Result};

// The server, as it would stand in a file of its own.

/// Who is here.
#[derive(Default)]
struct Room {
    members: Vec<ConnId>,
}

impl Room {
    fn tell_others(cx: &mut LoopContext<'_, Self>, speaker: ConnId, text: &[u8]) {
        for member in cx.state().members.clone() {
            if member != speaker {
                cx.send_to(member, text);
            }
        }
    }
}

/// One who speaks in lines, each of which goes to everybody else.
struct Member;

impl Handler<Room> for Member {
    fn on_open(&mut self, cx: &mut Context<'_, Room>) -> Result {
        let id = cx.id();
        cx.state().members.push(id);
        cx.send("welcome\n")
    }

    fn on_data(&mut self, cx: &mut Context<'_, Room>, input: &mut Input<'_>) -> Result {
        while let Some(line) = input.take_until(b'\n') {
            let id = cx.id();
            let line = [line, b"\n"].concat();
            Room::tell_others(cx, id, &line);
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Room>, _reason: &CloseReason) {
        let id = cx.id();
        cx.state().members.retain(|member| *member != id);
    }
}

/// A loop that serves the room, to whoever falls silent for an hour no longer.
fn room() -> Result<EventLoop<Room>> {
    let mut event_loop = EventLoop::new(Room::default())?;
    let options = ListenOptions::default().idle_timeout(Duration::from_secs(3600));
    event_loop.listen("127.0.0.1:7", &options, |_peer| Member)?;
    Ok(event_loop)
}

// The tests.

/// What somebody hears after the welcome.
fn heard(peer: &Peer) -> String {
    String::from_utf8_lossy(&peer.received()).replacen("welcome\n", "", 1)
}

#[test]
fn a_line_reaches_everybody_else_once() {
    Seeds::first(200).check(&Faults::default(), |sim| {
        let mut event_loop = room()?;
        let mut people: Vec<_> = (0..3).map(|_| sim.connect("127.0.0.1:7")).collect();
        sim.run_until(&mut event_loop, || people.iter().all(|person| person.received_len() == 8))?;
        people[0].send(b"good morning\n");
        sim.run_until(&mut event_loop, || people[1..].iter().all(|person| heard(person) == "good morning\n"))?;
        assert_eq!(heard(&people[0]), "");
        Ok(())
    });
}

#[test]
fn lines_of_one_speaker_stay_in_order_and_whole() {
    Seeds::first(200).check(&Faults::default(), |sim| {
        let mut random = sim.random();
        let mut event_loop = room()?;
        let (mut speaker, listener) = (sim.connect("127.0.0.1:7"), sim.connect("127.0.0.1:7"));
        sim.run_until(&mut event_loop, || listener.received_len() == 8)?;
        let said: String = (0..50).map(|number| format!("line {number}\n")).collect();
        let mut rest = said.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + random.index(rest.len()));
            speaker.send(piece);
            event_loop.turn(Some(Duration::ZERO))?;
            rest = behind;
        }
        sim.run_until(&mut event_loop, || heard(&listener) == said)
    });
}

#[test]
fn whoever_leaves_is_forgotten_however_it_leaves() {
    Seeds::first(200).check(&Faults::harsh(), |sim| {
        let mut random = sim.random();
        let mut event_loop = room()?;
        let mut people: Vec<_> = (0..8).map(|_| sim.connect("127.0.0.1:7")).collect();
        for person in &mut people {
            person.send(b"hello\n");
            event_loop.turn(Some(Duration::from_millis(5)))?;
            let leave = *random.pick(&[Peer::close as fn(&mut Peer), Peer::shutdown_write, Peer::reset, Peer::vanish]);
            leave(person);
        }
        // Who vanished without a word is found out an hour later.
        sim.run_for(&mut event_loop, Duration::from_secs(2 * 3600))?;
        assert_eq!(event_loop.state().members, []);
        Ok(())
    });
}

#[test]
fn a_room_that_was_busy_for_weeks_empties_after_an_hour_of_silence() {
    Seeds::first(20).check(&Faults::none(), |sim| {
        let mut event_loop = room()?;
        let mut people = [sim.connect("127.0.0.1:7"), sim.connect("127.0.0.1:7")];
        for half_hour in 0..1000 {
            people[half_hour % 2].send(b"still here\n");
            sim.run_for(&mut event_loop, Duration::from_secs(1800))?;
        }
        assert!(people.iter().all(|person| !person.is_over()));
        sim.run_for(&mut event_loop, Duration::from_secs(1801))?;
        assert!(people.iter().all(Peer::is_over));
        Ok(())
    });
}
