//! A small edge-triggered epoll loop for the clients' side.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Says which sockets have something to do, by the numbers they were added under.
pub(super) struct Watcher {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Watcher {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// Watches a socket for both directions until it is closed.
    pub(super) fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let both = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number as u64), both)?)
    }

    /// Waits, and answers the numbers of the sockets to look at. A server that is silent for too long is an error: a load
    /// that loses an answer must not wait for ever.
    pub(super) fn wait(&mut self) -> io::Result<impl Iterator<Item = usize>> {
        self.events.clear();
        let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the server has been silent for 10 s")),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize))
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Events taken by one call.
const EVENTS: usize = 1024;
