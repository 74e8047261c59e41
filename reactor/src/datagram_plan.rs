//! How the loops of a server share a datagram socket.

use std::io;
use std::sync::Arc;

use crate::datagram_handler::DatagramHandler;
use crate::loop_context::LoopContext;
use crate::net::datagram_options::DatagramOptions;
use crate::net::datagram_socket::DatagramSocket;

/// How the loops of a server share a datagram socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramSharing {
    /// Every loop has a socket of its own on the port, and the kernel spreads datagrams by a hash of the addresses
    /// (`SO_REUSEPORT`), so that all of one peer come to one loop, in order. What is sent to a group or to everybody comes to
    /// each loop. A second server on the port fails, unless [`DatagramOptions::reuse_port`] lets it. UDP only.
    ReusePort,
    /// Every loop watches the one socket, and a datagram wakes one of those that sleep (`EPOLLEXCLUSIVE`). Each datagram comes
    /// to one loop, those of one peer to any, so that their order is not kept.
    Shared,
}

/// How each loop is to use a datagram socket.
pub(crate) struct DatagramPlan<S> {
    options: DatagramOptions,
    sharing: DatagramSharing,
    make: Arc<SharedMakeDatagramHandler<S>>,
}

/// Makes the handler of one loop, given its index; every loop may call it.
type SharedMakeDatagramHandler<S> = dyn Fn(usize) -> Box<dyn DatagramHandler<S>> + Send + Sync;

impl<S: 'static> DatagramPlan<S> {
    pub(crate) fn new<H: DatagramHandler<S>>(
        options: &DatagramOptions,
        sharing: DatagramSharing,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(move |index| Box::new(make(index)) as Box<dyn DatagramHandler<S>>);
        Self { options: options.clone(), sharing, make }
    }

    /// The socket that the loop with this index watches. The first has bound the port while it could be bound only once.
    pub(crate) fn socket_for(&self, index: usize, bound: &DatagramSocket) -> io::Result<DatagramSocket> {
        if index == 0 || self.sharing == DatagramSharing::Shared {
            return Ok(bound.clone());
        }
        bound.allow_reuse_port()?;
        DatagramSocket::bind_to(bound.local_address(), &self.options.clone().reuse_port(true))
    }

    /// Enters the socket into the loop with this index, one of `count`.
    pub(crate) fn enter(
        &self,
        mut cx: LoopContext<'_, S>,
        index: usize,
        count: usize,
        socket: DatagramSocket,
    ) -> io::Result<()> {
        let shared = count > 1 && self.sharing == DatagramSharing::Shared;
        cx.watch_datagram(socket, (self.make)(index), shared).map(drop)
    }
}
