//! Clients behind a load balancer, which tells their addresses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reactor::{CloseReason, ConnId, ConnectionView, Context, Handler, Input, Result, SocketAddress};
use tracing::Level;

use crate::echo::{Echo, TracedEcho};

/// The clients of the connections that are open, which the kernel does not know.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<ConnId, SocketAddress>>);

impl Clients {
    /// Has views tell the clients instead of the balancer.
    pub(crate) fn name(&self, views: &mut [ConnectionView]) {
        let clients = self.lock();
        for view in views {
            if let Some(client) = clients.get(&view.id) {
                view.peer = Some(client.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, SocketAddress>> {
        // Each change is one call, so a panic leaves none half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of such a client.
pub(crate) struct ProxiedEcho {
    client: SocketAddress,
    clients: Arc<Clients>,
    is_traced: bool,
}

impl ProxiedEcho {
    pub(crate) fn new(client: &SocketAddress, clients: &Arc<Clients>) -> Self {
        let is_traced = tracing::enabled!(Level::TRACE);
        Self { client: client.clone(), clients: Arc::clone(clients), is_traced }
    }
}

impl Handler for ProxiedEcho {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        tracing::debug!("connection {} from {}", cx.id(), self.client);
        self.clients.lock().insert(cx.id(), self.client.clone());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        if self.is_traced { TracedEcho.on_data(cx, input) } else { Echo.on_data(cx, input) }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        self.clients.lock().remove(&cx.id());
        Echo.on_close(cx, reason);
    }
}
