//! select(2): one thread, a bitmap of descriptors. It ends at descriptor 1023, for which the bitmap has no bit (such a client
//! is closed here; the C macros would write past the end), and at cost: each turn copies the whole bitmap to the kernel and
//! back and scans it here, O(n) in the highest descriptor, whoever is active. At the limit of open files it spins: the
//! listener stays ready and nothing can be accepted.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use super::connection::{BUFFER, Connection, Echo, is_clients_fault};
use super::socket;

/// Serves until the process ends.
///
/// # Errors
/// Only the failure of select(2) itself, or of a listener whose descriptor has no bit.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = OwnedFd::from(listener);
    let listening = listener.as_raw_fd();
    if listening as usize >= libc::FD_SETSIZE {
        return Err(io::Error::other("the listener's descriptor has no bit in an fd_set"));
    }
    let mut connections: Vec<Option<Connection>> = (0..libc::FD_SETSIZE).map(|_| None).collect();
    let mut buffer = vec![0; BUFFER];
    let mut highest = listening;
    loop {
        let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
        readable.insert(listening);
        for connection in connections[..=highest as usize].iter().flatten() {
            // A peer that does not read is asked about its output only: what it sends waits in the kernel.
            let set = if connection.is_blocked() { &mut writable } else { &mut readable };
            set.insert(connection.fd());
        }
        wait(highest, &mut readable, &mut writable)?;
        for slot in &mut connections[..=highest as usize] {
            let Some(connection) = slot else { continue };
            let ended = if readable.contains(connection.fd()) {
                connection.echo(&mut buffer) == Echo::Ended
            } else {
                writable.contains(connection.fd()) && connection.flush().is_err()
            };
            if ended {
                *slot = None;
            }
        }
        if readable.contains(listening) {
            highest = highest.max(accept_all(&listener, &mut connections));
        }
    }
}

/// Takes all connections that wait, and answers the highest descriptor among them.
fn accept_all(listener: &OwnedFd, connections: &mut [Option<Connection>]) -> RawFd {
    let mut highest = 0;
    loop {
        match socket::accept(listener, libc::SOCK_NONBLOCK) {
            Ok(socket) => {
                // One without a slot is without a bit: it is dropped, which closes it.
                if let Some(slot) = connections.get_mut(socket.as_raw_fd() as usize) {
                    highest = highest.max(socket.as_raw_fd());
                    *slot = Some(Connection::new(socket));
                }
            }
            Err(error) if is_clients_fault(&error) => {}
            Err(_) => return highest,
        }
    }
}

/// Sleeps until a descriptor of either set is ready, and leaves only those in the sets that are.
fn wait(highest: RawFd, readable: &mut FdSet, writable: &mut FdSet) -> io::Result<()> {
    let (asked_readable, asked_writable) = (readable.0, writable.0);
    socket::checked(|| {
        // An interrupted call may have changed the sets.
        (readable.0, writable.0) = (asked_readable, asked_writable);
        // SAFETY: both sets live through the call and have a bit for every descriptor up to `highest`.
        let ready =
            unsafe { libc::select(highest + 1, &mut readable.0, &mut writable.0, ptr::null_mut(), ptr::null_mut()) };
        ready as isize
    })?;
    Ok(())
}

/// A set of descriptors below `FD_SETSIZE`.
struct FdSet(libc::fd_set);

impl FdSet {
    fn new() -> Self {
        // SAFETY: an fd_set is an array of integers, all zero for the empty set.
        Self(unsafe { mem::zeroed() })
    }

    fn insert(&mut self, fd: RawFd) {
        assert!((fd as usize) < libc::FD_SETSIZE);
        // SAFETY: the line above holds, so the bit lies within the set.
        unsafe { libc::FD_SET(fd, &mut self.0) };
    }

    fn contains(&self, fd: RawFd) -> bool {
        assert!((fd as usize) < libc::FD_SETSIZE);
        // SAFETY: the line above holds, so the bit lies within the set.
        unsafe { libc::FD_ISSET(fd, &self.0) }
    }
}
