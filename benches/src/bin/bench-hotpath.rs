//! Runs the hot path over a fixed script of events, for whoever counts its instructions.
//!
//! Everything happens on one thread: the clients send, then the loop takes its turns. So a count of instructions is the same
//! in every run, and two runs that differ in their rounds alone differ by what a round costs. Only what happens below
//! [`counted_turn`] should be counted: the clients are none of the loop's business.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Listener};

/// Runs a script of events through one event loop.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// What happens in a round.
    script: Script,
    /// How often it happens.
    rounds: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Script {
    /// 64 connections send 64 bytes each, and get them back.
    Message,
    /// The same with an idle timeout on every connection.
    IdleTimeout,
    /// 64 connections send 16 KiB each, and get them back.
    Large,
    /// 64 connections send 16 requests of 64 bytes each, and each request is answered by a send of its own.
    Answers,
    /// A client comes, exchanges 64 bytes and goes.
    Visit,
    /// 64 connections each set a timer and cancel it, for 64 bytes received.
    Timer,
    /// 64 connections are sent 64 bytes each by the loop's handle.
    Posted,
}

fn main() -> anyhow::Result<()> {
    let Options { script, rounds } = Options::parse();
    let mut bench = Bench::new(script)?;
    match script {
        Script::Visit => (0..rounds).try_for_each(|_| bench.visit()),
        Script::Posted => (0..rounds).try_for_each(|_| bench.post()),
        Script::Large => bench.exchange(rounds, 16 << 10),
        Script::Answers => bench.exchange(rounds, 16 * SMALL),
        Script::Message | Script::IdleTimeout | Script::Timer => bench.exchange(rounds, SMALL),
    }
}

/// The loop and its clients, which are ready: each has been served once, except that visitors come later.
struct Bench {
    event_loop: EventLoop<Ids>,
    address: SocketAddr,
    clients: Vec<TcpStream>,
    buffer: Vec<u8>,
}

/// The connections that the loop has.
type Ids = Vec<reactor::ConnId>;

impl Bench {
    fn new(script: Script) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let mut options = ListenOptions::default();
        if script == Script::IdleTimeout {
            options.idle_timeout = Some(Duration::from_secs(600));
        }
        let listener = Listener::from_fd(OwnedFd::from(listener))?;
        let mut event_loop = EventLoop::new(Ids::new())?;
        match script {
            Script::Timer => event_loop.listen_on(listener, &options, |_peer| TimedEcho)?,
            Script::Answers => event_loop.listen_on(listener, &options, |_peer| Answers)?,
            _ => event_loop.listen_on(listener, &options, |_peer| Echo)?,
        };
        let mut bench = Self { event_loop, address, clients: Vec::new(), buffer: vec![b'x'; 64 << 10] };
        if script != Script::Visit {
            bench.clients = (0..CONNECTIONS).map(|_| bench.connect()).collect::<io::Result<_>>()?;
            bench.exchange(1, SMALL)?;
        }
        Ok(bench)
    }

    /// A client's socket. It does not block: the loop runs on the same thread.
    fn connect(&self) -> io::Result<TcpStream> {
        let client = TcpStream::connect(self.address)?;
        client.set_nodelay(true)?;
        client.set_nonblocking(true)?;
        Ok(client)
    }

    /// Every client sends a message; when all are there, they are served.
    fn exchange(&mut self, rounds: usize, size: usize) -> anyhow::Result<()> {
        for _ in 0..rounds {
            for client in &mut self.clients {
                client.write_all(&self.buffer[..size]).context("a message fits into a socket's buffer")?;
            }
            self.collect(size)?;
        }
        Ok(())
    }

    /// The loop sends each client a message, as its handle asked.
    fn post(&mut self) -> anyhow::Result<()> {
        let handle = self.event_loop.handle();
        for id in self.event_loop.state() {
            handle.send(*id, &self.buffer[..SMALL])?;
        }
        self.collect(SMALL)
    }

    /// A client comes, is served, and sees the server's end.
    fn visit(&mut self) -> anyhow::Result<()> {
        let mut client = self.connect()?;
        client.write_all(&self.buffer[..SMALL])?;
        self.clients.push(client);
        self.collect(SMALL)?;
        let mut client = self.clients.pop().context("the client is still there")?;
        client.shutdown(std::net::Shutdown::Write)?;
        for _ in 0..PATIENCE {
            counted_turn(&mut self.event_loop)?;
            match client.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("the server did not end")
    }

    /// Turns the loop until every client has so many bytes.
    fn collect(&mut self, size: usize) -> anyhow::Result<()> {
        let mut missing = vec![size; self.clients.len()];
        for _ in 0..PATIENCE {
            counted_turn(&mut self.event_loop)?;
            for (client, missing) in self.clients.iter_mut().zip(&mut missing) {
                *missing -= read_up_to(client, &mut self.buffer[..*missing])?;
            }
            if missing.iter().all(|missing| *missing == 0) {
                return Ok(());
            }
        }
        anyhow::bail!("not every message came back")
    }
}

/// One turn of the loop: what is counted.
#[inline(never)]
fn counted_turn(event_loop: &mut EventLoop<Ids>) -> io::Result<()> {
    event_loop.turn(Some(Duration::from_secs(1)))
}

fn read_up_to(client: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<usize> {
    if buffer.is_empty() {
        return Ok(0);
    }
    match client.read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => {
            let count = result?;
            ensure!(count > 0, "the server closed a connection");
            Ok(count)
        }
    }
}

struct Echo;

impl Handler<Ids> for Echo {
    fn on_open(&mut self, cx: &mut Context<'_, Ids>) -> reactor::Result {
        let id = cx.id();
        // Visitors come without end, and nobody asks for them.
        if cx.state().len() < CONNECTIONS {
            cx.state().push(id);
        }
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Ids>, input: &mut Input<'_>) -> reactor::Result {
        cx.send(input.take())
    }
}

/// Echoes, and arms a timer that it takes back at once.
struct TimedEcho;

impl Handler<Ids> for TimedEcho {
    fn on_data(&mut self, cx: &mut Context<'_, Ids>, input: &mut Input<'_>) -> reactor::Result {
        let timer = cx.set_timer(Duration::from_secs(60))?;
        cx.cancel_timer(timer);
        cx.send(input.take())
    }
}

/// Answers each request by a send of its own.
struct Answers;

impl Handler<Ids> for Answers {
    fn on_data(&mut self, cx: &mut Context<'_, Ids>, input: &mut Input<'_>) -> reactor::Result {
        while let Some(request) = input.take_exact(SMALL) {
            cx.send(request)?;
        }
        Ok(())
    }
}

const CONNECTIONS: usize = 64;

/// Bytes of a small message.
const SMALL: usize = 64;

/// Turns after which a round should long be over. Each waits for up to a second.
const PATIENCE: usize = 100;
