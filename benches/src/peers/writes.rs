//! A bare loop on edge-triggered epoll that answers each request by a write of its own, as one does without a queue.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use slab::Slab;

use super::ANSWER;
use super::session::BUFFER;
use crate::blocking::unless_blocked;

pub(super) fn answer(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    Loop { epoll, listener, peers: Slab::new(), buffer: vec![0; BUFFER] }.run()
}

struct Loop {
    epoll: OwnedFd,
    listener: TcpListener,
    peers: Slab<Peer>,
    buffer: Vec<u8>,
}

impl Loop {
    fn run(&mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for &Event { flags, data } in &events {
                match data.u64() {
                    LISTENER => self.accept_all()?,
                    place => self.serve(place as usize, flags),
                }
            }
        }
    }

    fn accept_all(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            let entry = self.peers.vacant_entry();
            epoll::add(&self.epoll, &stream, EventData::new_u64(entry.key() as u64), BOTH_WAYS)?;
            entry.insert(Peer { stream, pending: Vec::new(), ending: false });
        }
        Ok(())
    }

    fn serve(&mut self, place: usize, flags: EventFlags) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        peer.ending |= flags.intersects(ENDING);
        if !peer.serve(&mut self.buffer).unwrap_or(false) {
            self.peers.remove(place);
        }
    }
}

struct Peer {
    stream: TcpStream,
    /// Answers that the peer has not taken yet. While there are some, nothing is read.
    pending: Vec<u8>,
    /// The end was announced: a short read no longer means that all was read.
    ending: bool,
}

impl Peer {
    /// Answers all that is there. `false`: the connection has ended.
    fn serve(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            while !self.pending.is_empty() {
                let Some(written) = unless_blocked(self.stream.write(&self.pending))? else { return Ok(true) };
                self.pending.drain(..written);
            }
            let Some(read) = unless_blocked(self.stream.read(buffer))? else { return Ok(true) };
            if read == 0 {
                return Ok(false);
            }
            for request in buffer[..read].chunks(ANSWER) {
                self.send(request)?;
            }
            if read < buffer.len() && self.pending.is_empty() && !self.ending {
                return Ok(true);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match self.pending.is_empty() {
            true => unless_blocked(self.stream.write(bytes))?.unwrap_or(0),
            false => 0,
        };
        self.pending.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}

const LISTENER: u64 = u64::MAX;

const BOTH_WAYS: EventFlags = EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// What announces an end.
const ENDING: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
