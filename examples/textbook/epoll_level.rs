//! Level-triggered epoll(7): one thread, and a turn costs only what is active. What is left unread is told again, so one read a turn
//! is enough and nothing is lost by stopping early. It ends at the cost of a change of mind: output is almost always possible,
//! so it may be asked for only while some waits, which is a system call when it begins and another when it ends; and what is told
//! again is paid for again, each turn, for as long as it is left. At the limit of open files it spins: the listener stays ready and
//! nothing can be accepted.

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
    epoll::watch(&epoll, listener.as_raw_fd(), libc::EPOLLIN)?;
    let mut table: Vec<Option<Connection>> = Vec::new();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = epoll::wait(&epoll, &mut events)?;
        for &libc::epoll_event { u64: fd, .. } in &events[..count] {
            if fd == listener.as_raw_fd() as u64 {
                accept_all(&epoll, &listener, &mut table);
                continue;
            }
            // A descriptor closed in this batch can be another client's by now, who then only has nothing to read.
            let slot = &mut table[fd as usize];
            if slot.as_mut().is_some_and(|connection| step(&epoll, connection, &mut buffer).is_err()) {
                *slot = None;
            }
        }
    }
}

/// Sends what waits, or echoes once. An error says that the connection has ended.
fn step(epoll: &OwnedFd, connection: &mut Connection, buffer: &mut [u8]) -> io::Result<()> {
    let was_blocked = connection.is_blocked();
    if was_blocked {
        connection.flush()?;
    } else if connection.echo(buffer) == Echo::Ended {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if connection.is_blocked() == was_blocked {
        return Ok(());
    }
    // A peer that does not read is asked about its output only: what it sends waits in the kernel.
    let wanted = if was_blocked { libc::EPOLLIN } else { libc::EPOLLOUT };
    epoll::watch_for(epoll, connection.fd(), wanted)
}

fn accept_all(epoll: &OwnedFd, listener: &OwnedFd, table: &mut Vec<Option<Connection>>) {
    loop {
        match socket::accept(listener, libc::SOCK_NONBLOCK) {
            Ok(socket) => {
                let fd = socket.as_raw_fd() as usize;
                if epoll::watch(epoll, socket.as_raw_fd(), libc::EPOLLIN).is_err() {
                    continue;
                }
                if table.len() <= fd {
                    table.resize_with(fd + 1, || None);
                }
                table[fd] = Some(Connection::new(socket));
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(_) => return,
        }
    }
}
