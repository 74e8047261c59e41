//! A server that sends at a pace: so much a second to each client, so much to all together, and so many clients of one address.
//!
//! The trap: who wants to send slowly and sleeps, sends slowly to everybody. Who counts per second sends the whole second's worth at once and
//! then nothing. Limits of each client say nothing about the line that all share, and one that is first come, first served
//! starves the rest. And a client that reads slowly on purpose costs a connection for ever. Here each direction of a connection has a
//! bucket of tokens, and so has the loop, whose tokens go to those who wait in turn; waiting costs a timer and no call.
//!
//! Try:
//!
//!     cargo run -p examples --example rate_limited -- --rate 200000 --size 1000000
//!     time nc 127.0.0.1 7777 | wc -c
//!
//! It takes some five seconds, and the server says `127.0.0.1:41234 had 1000000 bytes in 4.9 s`. With `--total 200000` two at once take
//! twice as long, each at half the pace; with `--per-address 1` the second is turned away.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use clap::Parser;
use examples::say;
use reactor::{
    CloseReason, Context, Handler, Input, Limits, ListenOptions, RateLimit, Rates, Result, Server, Sharing,
    SocketAddress, Timeouts,
};

/// Sends at a pace.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// How many bytes each client gets.
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    size: usize,
    /// Bytes a second for each client.
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
    /// Bytes a second for all together.
    #[arg(long, value_name = "BYTES")]
    total: Option<u64>,
    /// How many clients one address may have at once.
    #[arg(long, value_name = "COUNT")]
    per_address: Option<usize>,
    /// How long a client may take nothing, such as 30s.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "30s")]
    patience: Duration,
}

struct Sender {
    peer: SocketAddress,
    began: Instant,
    size: usize,
    given: usize,
}

impl Sender {
    /// Gives a piece, and asks to be called when most of it has left, at whatever pace that is.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Result {
        let piece = PIECE.min(self.size - self.given);
        cx.send(vec![b'x'; piece])?;
        self.given += piece;
        if self.given == self.size {
            return cx.close_after_flush();
        }
        cx.want_drained();
        Ok(())
    }
}

impl Handler for Sender {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.go_on(cx)
    }

    fn on_drained(&mut self, cx: &mut Context<'_>) -> Result {
        self.go_on(cx)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    /// A client that is done sending still wants its bytes.
    fn on_eof(&mut self, _cx: &mut Context<'_>) -> Result {
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        let had = self.given - cx.queued();
        let seconds = self.began.elapsed().as_secs_f64();
        match reason {
            CloseReason::Closed => say!("{} had {had} bytes in {seconds:.1} s", self.peer),
            reason => say!("{} had {had} bytes in {seconds:.1} s, then: {reason}", self.peer),
        }
    }
}

fn main() -> Result {
    let options = Options::parse();
    let pace = |rate: Option<u64>| Rates::default().output(rate.map(RateLimit::per_second));
    let mut limits = Limits::default();
    limits.rates = pace(options.total);
    let listen_options = ListenOptions::default()
        .rates(pace(options.rate))
        .max_per_address(options.per_address)
        .timeouts(Timeouts::default().write(options.patience));
    let size = options.size;
    let make = move |peer: &SocketAddress| Sender { peer: peer.clone(), began: Instant::now(), size, given: 0 };
    let builder = Server::builder().limits(limits);
    examples::serve(builder.listen_with(options.address, &listen_options, Sharing::default(), make)?)
}

/// Bytes given at a time.
const PIECE: usize = 32 << 10;
