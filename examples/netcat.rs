//! Client and server in one: what comes from stdin goes to the peer, what comes from the peer goes to stdout, both at once.
//!
//! The trap: two directions, four ends, and each may stop alone. A program that waits in `read(stdin)` does not hear the peer, and one that
//! waits for the peer does not hear the keyboard. An end of stdin is not the end of the connection: the answer is still to come, so it
//! must become `shutdown(WR)`. A stdout that nobody reads must stop the peer, not fill memory. And epoll refuses files, which
//! stdin may well be. Here stdin and stdout are sources of the same loop, pipes, terminals and files alike, and each side that
//! cannot take more pauses the other.
//!
//! Try, both also with the real `nc` or `socat` at the other end:
//!
//!     cargo run -p examples --example netcat -- --listen 127.0.0.1:7777
//!     cargo run -p examples --example netcat -- 127.0.0.1:7777
//!
//! What you type in one terminal appears in the other. Ctrl-D ends one direction; when both have ended, both programs have. To send a file:
//! `netcat --listen 127.0.0.1:7777 > copy`, then `netcat 127.0.0.1:7777 < file`, and Ctrl-D at the first.

#![forbid(unsafe_code)]

#[path = "netcat/datagrams.rs"]
mod datagrams;
#[path = "netcat/stdio.rs"]
mod stdio;

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::Parser;
use datagrams::Datagrams;
use reactor::sources::ByteStream;
use reactor::{
    Address, CloseReason, ConnectOptions, Context, DatagramOptions, EventLoop, Handler, Input, Limits, ListenOptions,
    Result,
};
use stdio::{Ends, Network, Stdout, begin, finish, write_out};

/// Joins stdin and stdout with a peer of the network.
#[derive(Parser)]
struct Options {
    /// HOST:PORT, or with --unix a path.
    target: String,
    /// Wait for one peer there instead of connecting.
    #[arg(long)]
    listen: bool,
    /// Send datagrams; without --timeout it goes on after the end of stdin, for datagrams have no end.
    #[arg(long)]
    udp: bool,
    /// The target is the path of a Unix socket.
    #[arg(long, conflicts_with = "udp")]
    unix: bool,
    /// The local port to connect from (IPv4).
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    source_port: u16,
    /// How long connecting may take, and how long nothing may move after that, such as 500ms or 10s.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

struct Stream;

impl Handler<Ends> for Stream {
    fn on_open(&mut self, cx: &mut Context<'_, Ends>) -> Result {
        let id = cx.id();
        begin(cx, Network::Stream(id))
    }

    fn on_data(&mut self, cx: &mut Context<'_, Ends>, input: &mut Input<'_>) -> Result {
        if write_out(cx, input.take())? {
            cx.pause();
        }
        Ok(())
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Ends>) -> Result {
        if let Some(mut stdin) = cx.state().stdin.and_then(|id| cx.reader(id)) {
            stdin.resume();
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Ends>) -> Result {
        cx.state().network_ended = true;
        if cx.state().stdin_ended { cx.close_after_flush() } else { Ok(()) }
    }

    fn on_close(&mut self, cx: &mut Context<'_, Ends>, reason: &CloseReason) {
        let ended_well = matches!(reason, CloseReason::Eof | CloseReason::Closed);
        finish(cx, if ended_well { Ok(()) } else { Err(io::Error::other(reason.to_string())) });
    }
}

/// Listens or connects, as the options say.
fn start(event_loop: &mut EventLoop<Ends>, options: &Options) -> Result {
    let Options { target, timeout, .. } = options;
    let local = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), options.source_port);
    if options.udp {
        let address: Address = format!("udp://{target}").parse().map_err(io::Error::other)?;
        let mut datagrams = Datagrams { peer: None, timeout: *timeout, last_came: Instant::now() };
        if options.listen {
            let id = event_loop.bind_datagram(address, &DatagramOptions::default(), datagrams)?;
            let mut context = event_loop.context();
            let bound = context.datagram(id).map(|socket| socket.local_address());
            bound.iter().for_each(examples::tell_bound);
            return Ok(());
        }
        let peer = address.resolve()?.swap_remove(0);
        datagrams.peer = Some(peer.clone());
        let mut datagram_options = DatagramOptions::default();
        datagram_options.local = (options.source_port != 0).then_some(local.into());
        return event_loop.context().connect_datagram(peer, &datagram_options, datagrams).map(drop);
    }
    let address = if options.unix { format!("unix:{target}") } else { format!("tcp://{target}") };
    if options.listen {
        let listen_options = ListenOptions::default().idle_timeout(*timeout);
        event_loop.listen(address, &listen_options, |_peer| Stream)?;
        event_loop.local_addresses().iter().for_each(examples::tell_listening);
        return Ok(());
    }
    let mut connect_options = ConnectOptions::default().idle_timeout(*timeout);
    connect_options.deadline = timeout.unwrap_or(connect_options.deadline);
    connect_options.local = (options.source_port != 0).then_some(local);
    event_loop.connect(address, &connect_options, Stream).map(drop)
}

fn main() -> Result {
    let options = Options::parse();
    let mut limits = Limits::default();
    // Who comes second waits in the backlog until this program has ended.
    limits.connections = 1;
    let (network, outcome) = (Network::Nobody, Ok(()));
    let ends = Ends { network, stdin: None, stdout: None, stdin_ended: false, network_ended: false, outcome };
    let mut event_loop = EventLoop::with_limits(limits, ends)?;
    let stdout = event_loop.context().add_writer(ByteStream::stdout()?, Stdout)?;
    event_loop.state_mut().stdout = Some(stdout);
    start(&mut event_loop, &options)?;
    event_loop.run()?;
    mem::replace(&mut event_loop.state_mut().outcome, Ok(()))
}
