//! Publish and subscribe: what is published on a topic goes to all who have subscribed to it, on whatever loop they are.
//!
//! The trap: with several threads the list of subscribers is shared, so it gets a lock, which is held while the message is written to
//! each: the slowest subscriber sets the pace of all publishers on all threads. Here each loop has its own members of a [`Group`]. To
//! publish is to send to the members on one's own loop and to post one message to each other loop, which shares the bytes. What
//! one publisher says a subscriber gets in that order.
//!
//! Try, the second twice, for they come to different loops:
//!
//!     cargo run -p examples --example pubsub -- --threads 2
//!     nc 127.0.0.1 7777
//!
//! Type `sub weather` in one, `pub weather it rains` in the other: each answers `ok`, and the first shows `weather: it rains`.

#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};

use clap::Parser;
use examples::printable;
use reactor::codec::{Codec, Lines};
use reactor::{Balance, Context, Group, Handler, Input, ListenOptions, Result, Server, Sharing};

/// Brings what is published on a topic to all who have subscribed to it.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// How many threads; 0 is one for each processor.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

struct Client {
    lines: Lines,
    /// Makes numbers of topics: the same on all loops, and other ones in each process, so that nobody can name two alike.
    topics: RandomState,
}

impl Client {
    fn obey(&self, cx: &mut Context<'_>, line: &str) -> Result {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (topic, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let group = Group(self.topics.hash_one(topic));
        let answer = match command {
            "sub" if !topic.is_empty() => match cx.join(group) {
                Ok(()) => "ok\n",
                Err(_) => "error: those are too many topics\n",
            },
            "unsub" if cx.leave(group) => "ok\n",
            "unsub" => "error: you have not subscribed to that\n",
            "pub" if !topic.is_empty() => match cx.broadcast(group, format!("{topic}: {text}\n")) {
                Ok(()) => "ok\n",
                // The mailbox of a loop is full: those who publish are faster than it is.
                Err(_) => "error: not all subscribers were reached\n",
            },
            _ => "error: that is sub TOPIC, unsub TOPIC or pub TOPIC TEXT\n",
        };
        cx.send(answer)
    }
}

impl Handler for Client {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = self.lines.decode(input)? {
            self.obey(cx, &printable(line))?;
        }
        Ok(())
    }
}

fn main() -> Result {
    let options = Options::parse();
    let topics = RandomState::new();
    let make = move |_peer: &_| Client { lines: Lines::new(LONGEST), topics: topics.clone() };
    let sharing = Sharing::Handover(Balance::RoundRobin);
    let builder = Server::builder().threads(options.threads);
    examples::serve(builder.listen_with(options.address, &ListenOptions::default(), sharing, make)?)
}

/// Bytes of a line.
const LONGEST: usize = 4096;
