//! fork(2) for each connection: a client that crashes its server crashes a copy. It ends at what a copy costs: every connection, however
//! idle, is a process, with its page tables and its place in the scheduler, and making one takes longer than most answers. Two
//! leaks are its classics, and closed here: a parent that keeps its copy of the socket never lets the client see the end, and one
//! that does not ask for its dead children leaves them as zombies (with SIGCHLD ignored the kernel keeps none; see wait(2)).
//!
//! It is for a process of its own: the children have copies of every descriptor, and all children of the process are forgotten
//! alike, so that none can be waited for.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use super::blocking::{echo, is_passing};
use super::connection::BUFFER;
use super::socket;

/// Serves until the process ends.
///
/// # Errors
/// Only the listener's own failure.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let listener = OwnedFd::from(listener);
    // SAFETY: to ignore a signal installs no handler, so no code runs at a bad moment.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    // Made before the fork: a child of a process with threads must not allocate.
    let mut buffer = vec![0; BUFFER];
    loop {
        match socket::accept(&listener, 0) {
            Ok(socket) => serve_in_child(&listener, &socket, &mut buffer),
            // Nothing tells when a descriptor is free again, so the server looks from time to time.
            Err(error) if is_passing(&error) => thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error),
        }
    }
}

/// Without memory for a process the connection is closed, as the parent's copy of it is in any case when this returns.
fn serve_in_child(listener: &OwnedFd, socket: &OwnedFd, buffer: &mut [u8]) {
    // SAFETY: the child goes on in its copy of memory, and up to its end makes only calls that are safe after a fork.
    if unsafe { libc::fork() } != 0 {
        return;
    }
    // A child that listened too would keep the port when its parent has died.
    // SAFETY: nobody in this process uses the number again, which ends without dropping its owner.
    unsafe { libc::close(listener.as_raw_fd()) };
    echo(socket, buffer);
    // SAFETY: it ends the process at once, without the parent's exit handlers and unwritten output.
    unsafe { libc::_exit(0) };
}
