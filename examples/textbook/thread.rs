//! A thread for each connection: the shortest correct server. It ends at memory and the scheduler: every connection, however
//! idle, has a stack, a buffer and a place in the kernel's thread table; ten thousand of them mean ten thousand threads, and
//! every message a switch between two. A slow reader blocks its own thread and nobody else.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
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
    loop {
        let socket = match socket::accept(&listener, 0) {
            Ok(socket) => socket,
            Err(error) if is_passing(&error) => {
                // Nothing tells when a descriptor is free again, so the server looks from time to time.
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            Err(error) => return Err(error),
        };
        // Without memory for a thread the connection is closed: the closure is dropped, and the socket with it.
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || echo(&socket, &mut vec![0; BUFFER]));
    }
}

/// Enough for the calls above, a thirty-second of the default.
const STACK: usize = 64 << 10;
