//! What every TCP socket starts with, on both sides, so that runs on different machines measure the same thing.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_tcp_congestion, set_tcp_nodelay};

/// Small messages leave at once, and the sender's window is managed alike everywhere. Accepted sockets inherit both from
/// the listener.
///
/// # Errors
/// The descriptor is no TCP socket.
pub fn set(socket: impl AsFd) -> io::Result<()> {
    set_tcp_nodelay(&socket, true)?;
    Ok(set_tcp_congestion(&socket, CONGESTION)?)
}

/// The congestion control that every kernel has and every user may set. What a machine has by default can change the cost
/// of a stream by a third: BBR paces it by timers.
const CONGESTION: &str = "reno";
