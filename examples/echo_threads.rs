//! The echo server on several threads, one loop on each.
//!
//! The trap: threads that all wait for one listening socket all wake up for one client (the thundering herd), and threads that
//! share what their clients have in common need locks, and sooner or later wait for each other. Here a connection belongs to one
//! loop for life, and each loop has a state of its own that never leaves its thread: there is nothing to lock.
//!
//! Who accepts is a choice of three. This example has one loop accept and hand connections to each in turn
//! ([`Sharing::Handover`]); the default lets all watch the socket and the kernel wakes one ([`Sharing::Exclusive`]); or each loop has
//! a socket of its own on the same port ([`Sharing::ReusePort`]).
//!
//! Try, the second twice:
//!
//!     cargo run -p examples --example echo_threads -- --threads 2
//!     nc 127.0.0.1 7777
//!
//! The server says `loop 0 serves its client number 1`, then `loop 1 serves its client number 1`, and both echo.

#![forbid(unsafe_code)]

use clap::Parser;
use examples::say;
use reactor::{Balance, Context, Handler, Input, ListenOptions, Result, Server, Sharing};

/// Sends back what it is sent, on several threads.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// How many threads; 0 is one for each processor.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// What the connections of one loop share.
struct Shared {
    loop_index: usize,
    served: u64,
}

struct Echo;

impl Handler<Shared> for Echo {
    fn on_open(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        let shared = cx.state();
        shared.served += 1;
        say!("loop {} serves its client number {}", shared.loop_index, shared.served);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Shared>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

fn main() -> Result {
    let options = Options::parse();
    let sharing = Sharing::Handover(Balance::RoundRobin);
    let builder = Server::with_state(|loop_index| Shared { loop_index, served: 0 }).threads(options.threads);
    examples::serve(builder.listen_with(options.address, &ListenOptions::default(), sharing, |_peer| Echo)?)
}
