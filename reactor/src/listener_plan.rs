//! A listener as the loops of a server are to use it.

use std::io;
use std::sync::Arc;

use crate::address::SocketAddress;
use crate::handler::Handler;
use crate::net::listener::{ListenOptions, Listener};
use crate::per_address::PerAddress;
use crate::placement::{Balance, Handover};
use crate::rate::TokenBucket;

/// How the loops of a server share a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Every loop watches the one socket, and a new connection wakes one of those that sleep (`EPOLLEXCLUSIVE`). A second
    /// server on the port fails. The default.
    #[default]
    Exclusive,
    /// The first loop accepts, and hands connections over to all, itself included. The spread is even, at the price of
    /// a hop between threads for each connection.
    Handover(Balance),
    /// Every loop has a socket of its own on the port, and the kernel spreads connections by a hash of the addresses
    /// (`SO_REUSEPORT`). Other servers of the same user can join the port. TCP only.
    ReusePort,
}

/// A handler factory that every loop may call.
type SharedMakeHandler<S> = dyn Fn(&SocketAddress) -> Box<dyn Handler<S>> + Send + Sync;

/// How each loop is to use a listener.
pub(crate) struct ListenerPlan<S> {
    pub(crate) options: ListenOptions,
    pub(crate) sharing: Sharing,
    pub(crate) make: Arc<SharedMakeHandler<S>>,
    /// What the loops tell each other where one accepts for all.
    pub(crate) handover: Arc<Handover>,
    pub(crate) per_address: Option<Arc<PerAddress>>,
}

impl<S: 'static> ListenerPlan<S> {
    pub(crate) fn new<H: Handler<S>>(
        options: &ListenOptions,
        sharing: Sharing,
        make: impl Fn(&SocketAddress) -> H + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(move |peer: &SocketAddress| Box::new(make(peer)) as Box<dyn Handler<S>>);
        let per_address = options.max_per_address.map(PerAddress::new);
        Self { options: options.clone(), sharing, make, handover: Arc::default(), per_address }
    }

    /// A loop's share of the rate at which connections are accepted.
    pub(crate) fn accept_pace(&self, count: usize, now_ns: u64) -> Option<TokenBucket> {
        let parts = if matches!(self.sharing, Sharing::Handover(_)) { 1 } else { count as u64 };
        self.options.accept_rate.map(|limit| TokenBucket::share(limit, parts, now_ns))
    }

    /// The socket that the loop with this index watches.
    pub(crate) fn socket_for(&self, index: usize, bound: &Listener) -> io::Result<Listener> {
        match self.sharing {
            Sharing::ReusePort if index > 0 => Listener::bind_to(bound.local_address(), &self.options),
            _ => Ok(bound.clone()),
        }
    }
}
