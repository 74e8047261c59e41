//! A client of `udp_echo_server`, on a socket that is connected or on one that is not.
//!
//! The trap: a client that waits in `recvfrom` for an answer that was lost waits for ever, and one that takes whatever arrives takes a
//! stranger's datagram for the answer. A connected socket gets its peer's datagrams alone, and is told when nobody has the port; an
//! unconnected one gets everybody's, so that the sender has to be looked at. Here both are one handler: a timer for each
//! datagram, the number of it in what is sent, and errors of the network in `on_error` either way.
//!
//! Try:
//!
//!     cargo run -p examples --example udp_echo_server
//!     cargo run -p examples --example udp_echo_client -- --count 3 --connected
//!
//! It says `datagram 1 of 3: 15 bytes came back` and so on. Without a server it says `a datagram to 127.0.0.1:7777 was not delivered:
//! Connection refused` and ends with exit code 1.

#![forbid(unsafe_code)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use examples::say;
use reactor::{
    DatagramContext, DatagramError, DatagramHandler, DatagramOptions, EventLoop, Result, SocketAddress, TimerId,
};

/// Sends numbered datagrams and waits for each to come back.
#[derive(Parser)]
struct Options {
    /// Where the server is.
    #[arg(default_value = "127.0.0.1:7777")]
    server: SocketAddr,
    /// How many datagrams.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// How long to wait for each to come back; then it counts as lost.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration, default_value = "1s")]
    timeout: Duration,
    /// Connect the socket: the kernel shows what the server sends and nothing else.
    #[arg(long)]
    connected: bool,
}

struct Asker {
    server: SocketAddress,
    timeout: Duration,
    sent: u64,
    count: u64,
    lost: u64,
    timer: Option<TimerId>,
}

impl Asker {
    fn text(&self) -> String {
        format!("datagram {} of {}", self.sent, self.count)
    }

    /// Sends the next, or ends the loop with how the whole went.
    fn go_on(&mut self, cx: &mut DatagramContext<'_, Result>) -> Result {
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
        if self.sent == self.count {
            if self.lost > 0 {
                *cx.state() = Err(io::Error::other(format!("{} of {} did not come back", self.lost, self.count)));
            }
            cx.stop();
            return Ok(());
        }
        self.sent += 1;
        self.timer = Some(cx.set_timer(self.timeout)?);
        // On a connected socket the address may be left out: `send`.
        cx.send_to(&self.server, self.text())
    }
}

impl DatagramHandler<Result> for Asker {
    fn on_open(&mut self, cx: &mut DatagramContext<'_, Result>) -> Result {
        self.go_on(cx)
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, Result>, from: &SocketAddress, bytes: &[u8]) -> Result {
        if *from != self.server || bytes != self.text().as_bytes() {
            say!("{from} sent something that is no answer");
            return Ok(());
        }
        say!("{}: {} bytes came back", self.text(), bytes.len());
        self.go_on(cx)
    }

    fn on_timer(&mut self, cx: &mut DatagramContext<'_, Result>, _timer: TimerId) -> Result {
        say!("{}: lost", self.text());
        self.lost += 1;
        self.go_on(cx)
    }

    fn on_error(&mut self, cx: &mut DatagramContext<'_, Result>, error: &DatagramError) -> Result {
        *cx.state() = Err(io::Error::other(error.to_string()));
        cx.stop();
        Ok(())
    }
}

fn main() -> Result {
    let Options { server, count, timeout, connected } = Options::parse();
    let asker = Asker { server: server.into(), timeout, sent: 0, count, lost: 0, timer: None };
    let mut event_loop = EventLoop::new(Ok(()))?;
    if connected {
        event_loop.context().connect_datagram(server, &DatagramOptions::default(), asker)?;
    } else {
        let any = if server.is_ipv4() { "udp://0.0.0.0:0" } else { "udp://[::]:0" };
        event_loop.bind_datagram(any, &DatagramOptions::default(), asker)?;
    }
    event_loop.run()?;
    mem::replace(event_loop.state_mut(), Ok(()))
}
