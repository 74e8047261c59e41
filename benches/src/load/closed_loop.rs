//! A closed loop: every connection has so many messages under way, and sends the next one when one has come back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::connect::connect;
use super::watcher::Watcher;
use crate::blocking::unless_blocked;

/// What a closed loop looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections that exchange messages at the same time.
    pub connections: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages that each connection has under way.
    pub depth: u64,
}

/// Connections that exchange messages with a server that echoes.
pub struct ClosedLoop {
    watcher: Watcher,
    clients: Vec<Client>,
    shape: Shape,
    /// What messages are cut from.
    filler: Vec<u8>,
    buffer: Vec<u8>,
}

impl ClosedLoop {
    /// Connects. The server has accepted every connection when the first [`run`](Self::run) returns.
    ///
    /// # Errors
    /// As [`connect`].
    pub fn connect(server: SocketAddr, shape: Shape) -> io::Result<Self> {
        let watcher = Watcher::new()?;
        let clients: Vec<Client> = connect(server, shape.connections)?.into_iter().map(Client::new).collect();
        for (number, client) in clients.iter().enumerate() {
            watcher.add(&client.stream, number)?;
        }
        Ok(Self { watcher, clients, shape, filler: vec![b'x'; FILLER], buffer: vec![0; BUFFER] })
    }

    /// Exchanges so many messages on each connection, and answers how long that took. Nothing is under way afterwards.
    ///
    /// # Errors
    /// The server closed a connection, sent what it was not sent, or nothing for 10 s.
    pub fn run(&mut self, messages_each: u64) -> io::Result<Duration> {
        let start = Instant::now();
        let mut active = if messages_each == 0 { 0 } else { self.clients.len() };
        for client in &mut self.clients {
            client.begin(messages_each, self.shape);
            client.pump(false, self.shape.size, &self.filler, &mut self.buffer)?;
        }
        while active > 0 {
            for number in self.watcher.wait()? {
                let client = &mut self.clients[number];
                if client.is_done() {
                    // An edge of earlier, such as that of the connection being up.
                    continue;
                }
                client.pump(true, self.shape.size, &self.filler, &mut self.buffer)?;
                active -= usize::from(client.is_done());
            }
        }
        Ok(start.elapsed())
    }
}

/// One connection of the load.
struct Client {
    stream: TcpStream,
    /// Messages not begun yet.
    left: u64,
    /// Bytes of begun messages that are not sent yet.
    to_send: u64,
    /// Bytes of begun messages that have not come back yet.
    to_receive: u64,
    /// Bytes of the message that is coming back.
    received: usize,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, left: 0, to_send: 0, to_receive: 0, received: 0 }
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.to_receive == 0
    }

    fn begin(&mut self, messages: u64, shape: Shape) {
        self.left = messages;
        self.begin_messages(shape.depth, shape.size);
    }

    fn begin_messages(&mut self, count: u64, size: usize) {
        let count = count.min(self.left);
        self.left -= count;
        self.to_send += count * size as u64;
        self.to_receive += count * size as u64;
    }

    /// Receives and sends until the socket would block. A read that does not fill the buffer has taken all: what comes
    /// later brings an edge.
    fn pump(&mut self, mut readable: bool, size: usize, filler: &[u8], buffer: &mut [u8]) -> io::Result<()> {
        let mut writable = true;
        while readable || (writable && self.to_send > 0) {
            if readable {
                let count = unless_blocked(self.stream.read(buffer))?;
                if count == Some(0) {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection"));
                }
                readable = count == Some(buffer.len());
                self.account(count.unwrap_or(0), size)?;
            }
            if writable && self.to_send > 0 {
                let chunk = filler.len().min(usize::try_from(self.to_send).unwrap_or(usize::MAX));
                let count = unless_blocked(self.stream.write(&filler[..chunk]))?;
                writable = count.is_some();
                self.to_send -= count.unwrap_or(0) as u64;
            }
        }
        Ok(())
    }

    /// Notes what came back, and begins a message for each that is whole.
    fn account(&mut self, count: usize, size: usize) -> io::Result<()> {
        let surplus = || io::Error::new(ErrorKind::InvalidData, "the server sent more than it was sent");
        self.to_receive = self.to_receive.checked_sub(count as u64).ok_or_else(surplus)?;
        self.received += count;
        let whole = self.received / size;
        self.received %= size;
        self.begin_messages(whole as u64, size);
        Ok(())
    }
}

/// The most bytes sent by one call.
const FILLER: usize = 256 << 10;

/// The most bytes received by one call.
const BUFFER: usize = 256 << 10;
