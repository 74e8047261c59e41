//! Connections that come, exchange one message and go.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, bind, connect, recv, send, shutdown,
    socket_with,
};

use super::watcher::Watcher;
use crate::options;

/// Clients that connect, send a message, wait for it to come back, end their direction, wait for the server's end, and
/// begin again: so the server sees an orderly end each time, and has seen it when a connection counts.
pub struct Churn {
    watcher: Watcher,
    server: SocketAddr,
    slots: Vec<Option<Visit>>,
    message: Vec<u8>,
    sources: Sources,
}

struct Visit {
    socket: OwnedFd,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Connecting,
    /// So many bytes have come back.
    Waiting(usize),
    Ending,
}

impl Churn {
    /// A load of so many clients at a time.
    ///
    /// # Errors
    /// No descriptor is free for the epoll instance.
    pub fn new(server: SocketAddr, clients: usize, size: usize) -> io::Result<Self> {
        let slots = (0..clients).map(|_| None).collect();
        let sources = Sources::for_server(server);
        Ok(Self { watcher: Watcher::new()?, server, slots, message: vec![b'x'; size], sources })
    }

    /// Makes so many visits, and answers how long they took in all.
    ///
    /// # Errors
    /// The server refuses, closes too early, or is silent for 10 s; or ports run out.
    pub fn run(&mut self, visits: u64) -> io::Result<Duration> {
        let start = Instant::now();
        let mut to_begin = visits;
        let mut to_end = visits;
        for number in 0..self.slots.len().min(usize::try_from(visits).unwrap_or(usize::MAX)) {
            self.begin(number)?;
            to_begin -= 1;
        }
        while to_end > 0 {
            let ready: Vec<usize> = self.watcher.wait()?.collect();
            for number in ready {
                let Some(visit) = &mut self.slots[number] else { continue };
                if !visit.proceed(&self.message)? {
                    continue;
                }
                self.slots[number] = None;
                to_end -= 1;
                if to_begin > 0 {
                    self.begin(number)?;
                    to_begin -= 1;
                }
            }
        }
        Ok(start.elapsed())
    }

    fn begin(&mut self, number: usize) -> io::Result<()> {
        let family = if self.server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        options::set(&socket)?;
        if let Some(source) = self.sources.next() {
            bind(&socket, &source)?;
        }
        match connect(&socket, &self.server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.watcher.add(&socket, number)?;
        self.slots[number] = Some(Visit { socket, stage: Stage::Connecting });
        Ok(())
    }
}

impl Visit {
    /// Goes as far as the socket lets it. `true`: the visit is over.
    fn proceed(&mut self, message: &[u8]) -> io::Result<bool> {
        if let Stage::Connecting = self.stage {
            socket_error(&self.socket)??;
            match send(&self.socket, message, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == message.len() => self.stage = Stage::Waiting(0),
                Ok(_) => return Err(io::Error::other("a fresh connection has no room for a message")),
                Err(Errno::AGAIN | Errno::NOTCONN) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        loop {
            let (count, _) = match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Err(Errno::AGAIN) => return Ok(false),
                result => result?,
            };
            match self.stage {
                Stage::Ending if count == 0 => return Ok(true),
                Stage::Waiting(received) if count > 0 && received + count < message.len() => {
                    self.stage = Stage::Waiting(received + count);
                }
                Stage::Waiting(received) if count > 0 && received + count == message.len() => {
                    shutdown(&self.socket, Shutdown::Write)?;
                    self.stage = Stage::Ending;
                    return Ok(false);
                }
                _ => return Err(io::Error::new(ErrorKind::InvalidData, "the server did not answer as an echo does")),
            }
        }
    }
}

/// Where clients come from. A closed connection keeps its pair of addresses for a minute, so that one source address would
/// run out of ports in a second; the loopback network has sixteen million.
enum Sources {
    /// The kernel picks.
    Any,
    Loopback(u8),
}

impl Sources {
    fn for_server(server: SocketAddr) -> Self {
        match server.ip() {
            IpAddr::V4(address) if address.is_loopback() => Self::Loopback(0),
            _ => Self::Any,
        }
    }
}

impl Iterator for Sources {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Self::Any => None,
            Self::Loopback(last) => {
                *last = last.wrapping_add(1);
                Some(SocketAddr::from((Ipv4Addr::new(127, 0, 1, *last), 0)))
            }
        }
    }
}
