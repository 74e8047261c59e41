//! All the ways in which a peer can go, and what the handler is told of each.
//!
//! The trap: "the peer is gone" is five different things. A `recv` of 0 bytes says only that the peer sends no more; it may still read,
//! and who closes at once takes its answer away. A reset destroys what was on its way. And a peer whose machine was switched off
//! says nothing at all: without a time limit its connection stays for ever. Here a FIN is `on_eof`, in which one can still answer, and
//! the end of everything is `on_close` with a [`CloseReason`]: called once, last, whatever happened.
//!
//! Try, alone; the second needs a network of its own, which it switches off, and takes some seconds:
//!
//!     cargo run -p examples --example peer_close
//!     unshare -rn target/debug/examples/peer_close keepalive
//!
//! Each way is followed by what the handler was told, such as `on_eof`, then `on_close: eof (the peer closed)`.

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use examples::say;
use reactor::{
    CloseReason, ConnId, Context, EventLoop, Handler, Input, Keepalive, ListenOptions, Result, SocketOptions,
};
use rustix::net::sockopt::set_socket_linger;

/// Shows the ways in which a peer can go, and what the handler is told of each.
#[derive(Parser)]
struct Options {
    /// Which ways.
    #[arg(value_enum, default_values = ["close", "half-close", "reset", "vanish"])]
    ways: Vec<Way>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Way {
    /// The peer closes its socket.
    Close,
    /// The peer ends its sending direction, and reads on.
    HalfClose,
    /// The peer resets the connection.
    Reset,
    /// The peer says nothing more, and the handler gives it 200 ms.
    Vanish,
    /// The network goes away, which the kernel finds out by asking (SO_KEEPALIVE).
    Keepalive,
}

#[derive(Default)]
struct Seen {
    open: Option<ConnId>,
    closed: bool,
}

struct Watcher;

impl Handler<Seen> for Watcher {
    fn on_open(&mut self, cx: &mut Context<'_, Seen>) -> Result {
        cx.state().open = Some(cx.id());
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_, Seen>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Seen>) -> Result {
        say!("  on_eof: the peer sends no more; it is told goodbye");
        cx.send("goodbye")?;
        cx.close_after_flush()
    }

    fn on_close(&mut self, cx: &mut Context<'_, Seen>, reason: &CloseReason) {
        say!("  on_close: {} ({reason})", reason.name());
        cx.state().closed = true;
    }
}

/// Turns the loop until something has come to pass.
fn turn_until(event_loop: &mut EventLoop<Seen>, come_to_pass: impl Fn(&Seen) -> bool) -> Result {
    while !come_to_pass(event_loop.state()) {
        event_loop.turn(None)?;
    }
    Ok(())
}

fn show(event_loop: &mut EventLoop<Seen>, way: Way) -> Result {
    let mut peer = TcpStream::connect(event_loop.local_addresses()[0].to_string())?;
    *event_loop.state_mut() = Seen::default();
    turn_until(event_loop, |seen| seen.open.is_some())?;
    match way {
        Way::Close => {
            say!("close: the peer has closed its socket");
            drop(peer);
            turn_until(event_loop, |seen| seen.closed)
        }
        Way::HalfClose => {
            say!("half-close: the peer has shut down its sending direction");
            peer.shutdown(Shutdown::Write)?;
            turn_until(event_loop, |seen| seen.closed)?;
            let mut answer = String::new();
            peer.read_to_string(&mut answer)?;
            say!("  the peer reads {answer:?}");
            Ok(())
        }
        Way::Reset => {
            say!("reset: the peer has closed its socket with SO_LINGER of 0");
            set_socket_linger(&peer, Some(Duration::ZERO))?;
            drop(peer);
            turn_until(event_loop, |seen| seen.closed)
        }
        Way::Vanish => {
            say!("vanish: the peer says nothing for 200 ms, the idle timeout");
            let open = event_loop.state().open;
            let mut context = event_loop.context();
            let mut watched = open.and_then(|id| context.peer(id)).ok_or(io::ErrorKind::NotConnected)?;
            watched.set_idle_timeout(Duration::from_millis(200));
            turn_until(event_loop, |seen| seen.closed)
        }
        Way::Keepalive => {
            say!("keepalive: the network is gone, and the kernel asks three times, a second apart");
            ip_link("down")?;
            turn_until(event_loop, |seen| seen.closed)?;
            ip_link("up")
        }
    }
}

fn ip_link(state: &str) -> Result {
    let done = Command::new("ip").args(["link", "set", "lo", state]).status()?.success();
    if done { Ok(()) } else { Err(io::Error::other("ip link failed; run this under `unshare -rn`")) }
}

fn main() -> Result {
    let options = Options::parse();
    if options.ways.iter().any(|way| matches!(way, Way::Keepalive)) {
        // A new network is there and not up.
        ip_link("up")?;
    }
    // The system's defaults are two hours, 75 seconds and nine times.
    let second = Duration::from_secs(1);
    let keepalive = Keepalive::after(second).interval(second).count(3);
    let listen_options = ListenOptions::default().socket(SocketOptions::default().keepalive(keepalive));
    let mut event_loop = EventLoop::new(Seen::default())?;
    event_loop.listen("127.0.0.1:0", &listen_options, |_peer| Watcher)?;
    options.ways.into_iter().try_for_each(|way| show(&mut event_loop, way))
}
