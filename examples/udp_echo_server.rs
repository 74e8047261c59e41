//! A UDP socket that sends back each datagram it gets.
//!
//! The trap: one socket serves everybody, so whatever goes wrong with one peer happens on the socket of all. An ICMP message about a client
//! that is gone comes back as the error of the *next* call, about somebody else; a server bound to all addresses answers from the
//! address that the routes prefer, and a client that asked another one does not take it for an answer; `recvfrom` cuts what is longer
//! than its buffer without a word. Here errors come to `on_error` with the address they are about, [`DatagramContext::reply`] answers
//! from where it was asked, and `is_truncated` tells.
//!
//! Try:
//!
//!     cargo run -p examples --example udp_echo_server
//!     cargo run -p examples --example udp_echo_client -- --count 3
//!
//! The server says `127.0.0.1:41234 sent 15 bytes` for each; `nc -u 127.0.0.1 7777` works too.

#![forbid(unsafe_code)]

use clap::Parser;
use examples::say;
use reactor::{
    Address, DatagramContext, DatagramError, DatagramHandler, DatagramOptions, Result, Server, SocketAddress,
};

/// Sends back each datagram it gets.
#[derive(Parser)]
struct Options {
    /// Where to bind.
    #[arg(default_value = "udp://127.0.0.1:7777")]
    address: Address,
}

struct Echo;

impl DatagramHandler for Echo {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, from: &SocketAddress, bytes: &[u8]) -> Result {
        let cut = if cx.is_truncated() { ", and was cut" } else { "" };
        say!("{from} sent {} bytes{cut}", cx.full_length());
        cx.reply(bytes)
    }

    fn on_error(&mut self, _cx: &mut DatagramContext<'_>, error: &DatagramError) -> Result {
        say!("{error}");
        Ok(())
    }
}

fn main() -> Result {
    let options = Options::parse();
    // An echo is as long as what it answers; what does not fit one packet of Ethernet is not worth echoing.
    let datagram_options = DatagramOptions::default().max_size(1472);
    examples::serve(Server::builder().bind_datagram(options.address, &datagram_options, |_loop| Echo)?)
}
