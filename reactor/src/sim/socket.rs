//! A simulated socket; see socket(7).

use std::collections::VecDeque;

use crate::address::SocketAddress;
use crate::sim::datagram::Datagrams;
use crate::sim::stream::Side;
use crate::sim::words::Id;

/// A socket, whatever has become of it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) role: Role,
    pub(super) local: SocketAddress,
    pub(super) reuse_port: bool,
    pub(super) reset_on_close: bool,
    /// The sizes that were asked for; accepted sockets inherit them.
    pub(super) receive_buffer: Option<usize>,
    pub(super) send_buffer: Option<usize>,
}

/// What a socket is for.
#[derive(Debug)]
pub(super) enum Role {
    /// Nothing yet.
    Fresh,
    /// Connections wait to be accepted.
    Listening { backlog: usize, waiting: VecDeque<Id> },
    /// One end of a connection, or of the attempt to make one.
    End(Id, Side),
    /// It sends and receives datagrams.
    Datagram(Box<Datagrams>),
}
