//! Sockets that a service manager has bound and passed in; see sd_listen_fds(3).

use std::io;
use std::os::fd::OwnedFd;

use anyhow::Context;
use listenfd::ListenFd;
use reactor::Listener;

/// The listening sockets passed in, in their order; none when this process was started in the usual way.
///
/// To be called before any thread starts: it takes `LISTEN_FDS` out of the environment.
///
/// # Errors
/// A socket that was passed in is no listening stream socket; the error says which.
pub fn listeners() -> anyhow::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).map(|index| listener(&mut passed, index)).collect()
}

fn listener(passed: &mut ListenFd, index: usize) -> anyhow::Result<Listener> {
    let fd = take(passed, index).and_then(Listener::from_fd);
    fd.with_context(|| format!("cannot listen on socket {} of LISTEN_FDS", index + 1))
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
        return Ok(listener.into());
    }
    match passed.take_unix_listener(index) {
        Ok(Some(listener)) => Ok(listener.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no TCP or Unix stream socket")),
    }
}
