//! A thread for each connection: the shortest correct server. It ends at memory and the scheduler: every connection, however
//! idle, has a stack, a buffer and a place in the kernel's thread table; ten thousand of them mean ten thousand threads, and
//! every message a switch between two. A slow reader blocks its own thread and nobody else.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

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
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || echo(&socket));
    }
}

/// The life of one connection.
fn echo(socket: &OwnedFd) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(received @ 1..) = socket::receive(socket, &mut buffer) {
        if send_all(socket, &buffer[..received]).is_err() {
            return;
        }
    }
}

/// A blocking send may still take less than it is given, when a signal comes in between.
fn send_all(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = socket::send(socket, bytes)?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Whether accepting may work again later: one client gave up, or descriptors or memory are short.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::ECONNABORTED, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| passing.contains(&code))
}

/// Enough for the calls above, a thirty-second of the default.
const STACK: usize = 64 << 10;
