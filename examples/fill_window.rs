//! Sends to a peer that does not read, and shows where the bytes stay.
//!
//! The trap: `send` seems to send, and only hands over to the kernel. The first megabytes go down without a word from the other side,
//! into its receive buffer and our send buffer; then the window is closed, a blocking send waits for ever, and a nonblocking one
//! says EAGAIN. What a program keeps for later from there on is its own memory, and a peer that never reads has it all. Here what
//! the kernel does not take waits in the connection's queue. Above the high mark the connection is not read any more, so a peer
//! that asks without taking the answers is not answered further; at the low mark that ends, and `on_drained` says so.
//!
//! Try, alone; the second, while the first waits at its end, is what administrators look at:
//!
//!     cargo run -p examples --example fill_window -- --stay
//!     ss -tn state established '( sport = :7777 or dport = :7777 )'
//!
//! It says after how many bytes EAGAIN came and where they are, that above the high mark nothing is read, and what happens when the
//! peer reads again. With `--stay` it stops while the window is full, so that `ss` shows the same figures, until you press Enter.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clap::Parser;
use examples::say;
use reactor::{ConnId, Context, EventLoop, Handler, Input, Limits, ListenOptions, Result};

/// Sends to a peer that does not read, and shows where the bytes stay.
#[derive(Parser)]
struct Options {
    /// Where the sending side listens.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
    /// Stop while the window is full, until Enter is pressed.
    #[arg(long)]
    stay: bool,
}

/// What the script below wants to know of the sending side.
#[derive(Default)]
struct Seen {
    sender: Option<ConnId>,
    peer_reads: bool,
    heard: bool,
}

struct Sender;

impl Handler<Seen> for Sender {
    fn on_open(&mut self, cx: &mut Context<'_, Seen>) -> Result {
        cx.state().sender = Some(cx.id());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Seen>, input: &mut Input<'_>) -> Result {
        say!("on_data: {:?}", String::from_utf8_lossy(input.take()));
        cx.state().heard = true;
        Ok(())
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Seen>) -> Result {
        if cx.state().peer_reads {
            say!("on_drained: {} bytes wait", cx.queued());
        }
        Ok(())
    }
}

fn main() -> Result {
    let options = Options::parse();
    let mut event_loop = EventLoop::new(Seen::default())?;
    event_loop.listen(options.address, &ListenOptions::default(), |_peer| Sender)?;
    let address = &event_loop.local_addresses()[0];
    examples::tell_listening(address);
    let mut peer = TcpStream::connect(address.to_string())?;
    let sender = loop {
        event_loop.turn(None)?;
        if let Some(sender) = event_loop.state().sender {
            break sender;
        }
    };
    let ports = (peer.peer_addr()?.port(), peer.local_addr()?.port());

    let given = send_until(&mut event_loop, sender, 1)?;
    let queued = queued(&mut event_loop, sender);
    let (send_buffer, receive_buffer) = (in_kernel(ports)?.0, in_kernel((ports.1, ports.0))?.1);
    say!(
        "EAGAIN after {given} bytes: about {send_buffer} are in our send buffer, {receive_buffer} in the peer's receive buffer, {queued} in our queue"
    );

    let high_mark = Limits::default().high_mark;
    let more = send_until(&mut event_loop, sender, high_mark + 1)?;
    peer.write_all(b"are you there?")?;
    event_loop.turn(Some(MOMENT))?;
    let unread = in_kernel(ports)?.1;
    say!(
        "above the high mark of {high_mark} nothing is read: the {unread} bytes that the peer says wait in our receive buffer"
    );
    if options.stay {
        say!("press Enter to have the peer read");
        io::stdin().read_line(&mut String::new())?;
    }

    say!("the peer reads:");
    event_loop.state_mut().peer_reads = true;
    peer.set_nonblocking(true)?;
    let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
    while read < given + more || !event_loop.state().heard {
        event_loop.turn(Some(Duration::from_millis(1)))?;
        while let Ok(count @ 1..) = peer.read(&mut buffer) {
            read += count;
        }
    }
    say!("the peer has read all {read} bytes");
    Ok(())
}

/// Sends until so many bytes wait in our queue and stay there; answers how many it gave.
fn send_until(event_loop: &mut EventLoop<Seen>, sender: ConnId, wanted: usize) -> Result<usize> {
    let mut given = 0;
    while queued(event_loop, sender) < wanted {
        event_loop.context().send_to(sender, [b'x'; CHUNK]);
        given += CHUNK;
        event_loop.turn(Some(Duration::ZERO))?;
        if queued(event_loop, sender) >= wanted {
            // The peer acknowledges after a moment, and then the kernel may have room again.
            event_loop.turn(Some(MOMENT))?;
        }
    }
    Ok(given)
}

fn queued(event_loop: &mut EventLoop<Seen>, sender: ConnId) -> usize {
    event_loop.context().peer(sender).map_or(0, |peer| peer.queued())
}

/// Bytes in the send and the receive buffer of the socket with these ports, its own first; see proc_net_tcp in the kernel's
/// documentation.
fn in_kernel((local, remote): (u16, u16)) -> Result<(usize, usize)> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let queues = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_ours =
            fields.get(1)?.ends_with(&format!(":{local:04X}")) && fields[2].ends_with(&format!(":{remote:04X}"));
        let (send, receive) = fields[4].split_once(':').filter(|_| is_ours)?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some((number(send)?, number(receive)?))
    });
    queues.ok_or_else(|| io::Error::other("the socket is not in /proc/net/tcp, which has those of IPv4"))
}

/// Bytes sent at a time.
const CHUNK: usize = 16 << 10;

/// Longer than an acknowledgement is delayed.
const MOMENT: Duration = Duration::from_millis(50);
