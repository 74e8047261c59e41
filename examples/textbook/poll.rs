//! poll(2): one thread, a list of descriptors without select's limit of 1024. It ends at cost: each turn copies the whole list
//! to the kernel, which looks at every socket, and scans it here, O(n) in all connections for however few that are active. At
//! the limit of open files it spins: the listener stays ready and nothing can be accepted.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::connection::{BUFFER, Connection, Echo, is_clients_fault};
use super::socket;

/// Serves until the process ends.
///
/// # Errors
/// Only the failure of poll(2) itself.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = OwnedFd::from(listener);
    // The listener comes first; behind it `polled[n + 1]` is the entry of `connections[n]`.
    let mut polled = vec![entry(listener.as_raw_fd(), libc::POLLIN)];
    let mut connections: Vec<Connection> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        wait(&mut polled)?;
        // Backwards, so that the one swapped into a freed place has had its turn.
        for index in (0..connections.len()).rev() {
            let ready = polled[index + 1].revents;
            if ready == 0 {
                continue;
            }
            let connection = &mut connections[index];
            let ended = if connection.is_blocked() {
                connection.flush().is_err()
            } else {
                connection.echo(&mut buffer) == Echo::Ended
            };
            // A peer that does not read is asked about its output only: what it sends waits in the kernel.
            polled[index + 1].events = if connection.is_blocked() { libc::POLLOUT } else { libc::POLLIN };
            if ended {
                connections.swap_remove(index);
                polled.swap_remove(index + 1);
            }
        }
        if polled[0].revents != 0 {
            accept_all(&listener, &mut connections, &mut polled);
        }
    }
}

fn accept_all(listener: &OwnedFd, connections: &mut Vec<Connection>, polled: &mut Vec<libc::pollfd>) {
    loop {
        match socket::accept(listener, libc::SOCK_NONBLOCK) {
            Ok(socket) => {
                polled.push(entry(socket.as_raw_fd(), libc::POLLIN));
                connections.push(Connection::new(socket));
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(_) => return,
        }
    }
}

/// Sleeps until a descriptor is ready for what is asked of it, or has failed.
fn wait(polled: &mut [libc::pollfd]) -> io::Result<()> {
    socket::checked(|| {
        // SAFETY: the kernel reads and writes `polled.len()` entries of a slice that is ours alone meanwhile.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        ready as isize
    })?;
    Ok(())
}

fn entry(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}
