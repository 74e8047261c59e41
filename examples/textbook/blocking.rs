//! Blocking calls, one connection after another: the first server of every textbook, and right for what it is. It ends at the second
//! client, who is connected by the kernel, waits in the backlog, and is served when the first one has gone; a first one that says
//! nothing and stays makes it wait for ever.

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
    let mut buffer = vec![0; BUFFER];
    loop {
        match socket::accept(&listener, 0) {
            Ok(socket) => echo(&socket, &mut buffer),
            // Nothing tells when a descriptor is free again, so the server looks from time to time.
            Err(error) if is_passing(&error) => thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error),
        }
    }
}

/// The life of one connection.
pub(super) fn echo(socket: &OwnedFd, buffer: &mut [u8]) {
    while let Ok(received @ 1..) = socket::receive(socket, buffer) {
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
pub(super) fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::ECONNABORTED, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| passing.contains(&code))
}
