//! A chat server: names, rooms, joins and leaves, and a policy for members who do not read.
//!
//! The trap: what one says is written to all, and one of all does not read. A blocking write then stops the whole chat; a queue without
//! a bound keeps every word for the one who sleeps, until memory is gone; and a member who is removed while the list is walked
//! crashes the walk. Here a room is a [`Group`]: the words are shared, not copied, each member has a queue of its own, and one for whom
//! more than `max_output` waits is closed when the turn is over, with [`CloseReason::Overflow`] as the reason that the others hear.
//!
//! Try, the second in two terminals:
//!
//!     cargo run -p examples --example chat
//!     nc 127.0.0.1 7777
//!
//! You are asked for your name. What ana says bob sees as `ana: hello`; `/join kitchen` goes to another room, `/quit` ends. Stop one `nc`
//! by Ctrl-Z and paste some megabytes into the other: the stopped one is dropped, and the chat goes on.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use clap::Parser;
use examples::printable;
use reactor::codec::{Codec, Lines};
use reactor::{CloseReason, Context, Group, Handler, Input, Limits, Result, Server};

/// Serves a chat with names and rooms.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

/// What the members share.
#[derive(Default)]
struct Chat {
    names: HashSet<String>,
    /// Makes numbers of the names of rooms, other ones in each process, so that nobody can name two rooms alike.
    rooms: RandomState,
}

struct Member {
    lines: Lines,
    /// Empty while it is asked for.
    name: String,
    room: Group,
}

type Cx<'a> = Context<'a, Chat>;

impl Member {
    fn introduce(&mut self, cx: &mut Cx<'_>, name: &str) -> Result {
        if name.is_empty() || name.len() > 32 || name.contains(char::is_whitespace) {
            return cx.send("* a name is a word of at most 32 bytes; your name?\n");
        }
        if !cx.state().names.insert(name.to_owned()) {
            return cx.send("* that name is taken; your name?\n");
        }
        name.clone_into(&mut self.name);
        self.enter(cx, "lobby")
    }

    fn enter(&mut self, cx: &mut Cx<'_>, room: &str) -> Result {
        self.room = Group(cx.state().rooms.hash_one(room));
        cx.join(self.room)?;
        self.tell_others(cx, &format!("* {} enters {room}\n", self.name));
        cx.send(format!("* you are in {room}; /join ROOM goes to another, /quit ends\n"))
    }

    fn leave(&mut self, cx: &mut Cx<'_>, why: &str) {
        cx.leave(self.room);
        self.tell_others(cx, &format!("* {} leaves: {why}\n", self.name));
    }

    fn obey(&mut self, cx: &mut Cx<'_>, line: &str) -> Result {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("/quit", _) => return cx.close_after_flush(),
            ("/join", room) if !room.is_empty() => {
                self.leave(cx, &format!("off to {room}"));
                return self.enter(cx, room);
            }
            (command, _) if command.starts_with('/') => return cx.send("* that is /join ROOM, or /quit\n"),
            _ => self.tell_others(cx, &format!("{}: {line}\n", self.name)),
        }
        Ok(())
    }

    fn tell_others(&self, cx: &mut Cx<'_>, words: &str) {
        // It fails when another loop cannot take it, and there is none.
        let _ = cx.broadcast_to_others(self.room, words);
    }
}

impl Handler<Chat> for Member {
    fn on_open(&mut self, cx: &mut Cx<'_>) -> Result {
        cx.send("* your name?\n")
    }

    fn on_data(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = self.lines.decode(input)? {
            let line = printable(line);
            if self.name.is_empty() { self.introduce(cx, &line)? } else { self.obey(cx, &line)? }
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Cx<'_>, reason: &CloseReason) {
        if !self.name.is_empty() {
            cx.state().names.remove(&self.name);
            self.leave(cx, &reason.to_string());
        }
    }
}

fn main() -> Result {
    let options = Options::parse();
    let mut limits = Limits::default();
    // What one member says in a turn is queued for the others before any of it is sent: it must be much less than `SLOW`.
    limits.read_per_turn = 16 << 10;
    limits.max_output = SLOW;
    let make = |_peer: &_| Member { lines: Lines::new(LONGEST), name: String::new(), room: Group(0) };
    let builder = Server::with_state(|_loop| Chat::default()).limits(limits);
    examples::serve(builder.listen(options.address, make)?)
}

/// Bytes that may wait for a member, beyond what the kernel holds for it. One for whom more waits is too slow for this chat.
const SLOW: usize = 1 << 20;

/// Bytes of a line.
const LONGEST: usize = 4096;
