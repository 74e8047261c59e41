//! Edge-triggered epoll(7): one thread, and a turn costs only what is active. One receive and one send a message, a table
//! indexed by descriptor, no timers, no handlers: about the least that an echo server on epoll can do, and so the measure of
//! the others. It ends where programs begin: a peer that always sends holds the loop for as long as its buffer is full, at
//! the limit of open files the clients in the backlog get no further edge and wait until another arrives, and nothing ever
//! times out.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use super::connection::{BUFFER, Connection, Echo, is_clients_fault};
use super::epoll::{self, EVENTS};
use super::socket;

/// Serves until the process ends.
///
/// # Errors
/// Only the failure of epoll itself.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = OwnedFd::from(listener);
    let epoll = epoll::create()?;
    epoll::watch(&epoll, listener.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET)?;
    let mut table: Vec<Option<Peer>> = Vec::new();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = epoll::wait(&epoll, &mut events)?;
        for &libc::epoll_event { events: ready, u64: fd } in &events[..count] {
            if fd == listener.as_raw_fd() as u64 {
                accept_all(&epoll, &listener, &mut table);
                continue;
            }
            // A descriptor closed in this batch can be another client's by now, who then only has nothing to read.
            let slot = &mut table[fd as usize];
            if slot.as_mut().is_some_and(|peer| !peer.serve(ready, &mut buffer)) {
                *slot = None;
            }
        }
    }
}

struct Peer {
    connection: Connection,
    /// The end was announced: a short read no longer means that all was read, for no other edge will come.
    ending: bool,
}

impl Peer {
    /// Echoes all that is there. `false`: the connection has ended.
    #[inline]
    fn serve(&mut self, ready: u32, buffer: &mut [u8]) -> bool {
        self.ending |= ready & ENDING != 0;
        loop {
            if self.connection.is_blocked() {
                if self.connection.flush().is_err() {
                    return false;
                }
                if self.connection.is_blocked() {
                    return true;
                }
            }
            match self.connection.echo(buffer) {
                Echo::Full => {}
                Echo::Short if self.ending => {}
                Echo::Short | Echo::Empty => return true,
                // An edge is promised only once a send has found no room at all.
                Echo::Blocked => {}
                Echo::Ended => return false,
            }
        }
    }
}

fn accept_all(epoll: &OwnedFd, listener: &OwnedFd, table: &mut Vec<Option<Peer>>) {
    loop {
        match socket::accept(listener, libc::SOCK_NONBLOCK) {
            Ok(socket) => {
                let fd = socket.as_raw_fd() as usize;
                if epoll::watch(epoll, socket.as_raw_fd(), BOTH_WAYS).is_err() {
                    continue;
                }
                if table.len() <= fd {
                    table.resize_with(fd + 1, || None);
                }
                table[fd] = Some(Peer { connection: Connection::new(socket), ending: false });
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(_) => return,
        }
    }
}

const BOTH_WAYS: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

/// What announces an end.
const ENDING: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
