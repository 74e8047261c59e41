//! An open loop: messages at a fixed rate whatever the server does, and how long after its time each came back.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use benches::load::connect;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

/// The latencies, in nanoseconds, of messages sent for so long. They are counted from when a message was due: a server that
/// stalls delays those behind it too, and that must not be forgiven.
pub(crate) fn latencies(server: SocketAddr, rate: u64, length: Duration) -> anyhow::Result<Histogram<u64>> {
    let mut run = Run::new(server, rate)?;
    run.exchange(rate / 10)?;
    run.latencies.reset();
    run.exchange((rate as f64 * length.as_secs_f64()).ceil() as u64)?;
    Ok(run.latencies)
}

struct Run {
    clients: Vec<Client>,
    epoll: rustix::fd::OwnedFd,
    rate: u64,
    latencies: Histogram<u64>,
}

struct Client {
    stream: TcpStream,
    /// When each message under way was due.
    due: VecDeque<Duration>,
    /// Bytes of the message that is coming back.
    received: usize,
}

impl Run {
    fn new(server: SocketAddr, rate: u64) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let streams = connect(server, CONNECTIONS)?;
        for (number, stream) in streams.iter().enumerate() {
            let edges = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, stream, EventData::new_u64(number as u64), edges)?;
        }
        let client = |stream| Client { stream, due: VecDeque::new(), received: 0 };
        let clients = streams.into_iter().map(client).collect();
        Ok(Self { clients, epoll, rate, latencies: Histogram::new_with_max(HOUR_NS, 3)? })
    }

    /// Sends so many messages, each in its time, and waits until all are back.
    fn exchange(&mut self, messages: u64) -> anyhow::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(CONNECTIONS);
        let begin = Instant::now();
        let due = |number: u64| Duration::from_nanos((u128::from(number) * NANOS / u128::from(self.rate)) as u64);
        let end = begin + due(messages) + PATIENCE;
        let (mut sent, mut answered) = (0, 0);
        while answered < messages {
            let now = begin.elapsed();
            while sent < messages && due(sent) <= now {
                let client = &mut self.clients[sent as usize % CONNECTIONS];
                client.send(due(sent))?;
                sent += 1;
            }
            events.clear();
            // The load has a processor of its own: looking without sleeping adds no wake-up to what is measured.
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default()))?;
            for event in &events {
                let number = event.data.u64() as usize;
                answered += self.clients[number].receive(begin, &mut self.latencies)?;
            }
            if events.is_empty() {
                ensure!(Instant::now() < end, "{} messages did not come back", messages - answered);
            }
        }
        Ok(())
    }
}

impl Client {
    fn send(&mut self, due: Duration) -> anyhow::Result<()> {
        let written = self.stream.write(&[b'x'; SIZE]).context("the server does not keep up with the rate")?;
        ensure!(written == SIZE, "the server does not keep up with the rate");
        self.due.push_back(due);
        Ok(())
    }

    /// Takes what has come back, and notes how late that is. Answers how many messages it was.
    fn receive(&mut self, begin: Instant, latencies: &mut Histogram<u64>) -> anyhow::Result<u64> {
        let mut buffer = [0; 4096];
        let mut messages = 0;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => self.received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                Err(error) => return Err(error.into()),
            }
            let now = begin.elapsed();
            while self.received >= SIZE {
                self.received -= SIZE;
                let due = self.due.pop_front().ok_or_else(|| io::Error::other("more came back than was sent"))?;
                latencies.saturating_record(now.saturating_sub(due).as_nanos() as u64);
                messages += 1;
            }
        }
    }
}

const CONNECTIONS: usize = 64;

/// Bytes of a message.
const SIZE: usize = 64;

/// No latency is longer.
const HOUR_NS: u64 = 3_600_000_000_000;

const NANOS: u128 = 1_000_000_000;

/// How late the last message may be.
const PATIENCE: Duration = Duration::from_secs(10);
