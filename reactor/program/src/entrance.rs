//! How the stream listeners of a program let connections in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reactor::{Address, Handler, ListenOptions, Listener, ServerBuilder, SocketAddress};

use crate::proxy_header::ProxyHeader;
use crate::sharing::HowToShare;

/// What listeners of a kind have in common.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The options of each.
    pub options: ListenOptions,
    /// How the loops share each.
    pub sharing: HowToShare,
    /// How long the PROXY header may take with which every connection then begins; `None`: there is none.
    pub proxy_header: Option<Duration>,
}

impl Entrance {
    /// Binds an address now. `make` makes a handler for each client, given its address.
    ///
    /// # Errors
    /// As [`ServerBuilder::listen_with`].
    pub fn listen<S: 'static, H: Handler<S>>(
        &self,
        builder: ServerBuilder<S>,
        address: Address,
        make: impl Fn(&SocketAddress) -> H + Send + Sync + 'static,
    ) -> io::Result<ServerBuilder<S>> {
        let sharing = self.sharing.of(&address);
        match self.proxy_header {
            None => builder.listen_with(address, &self.options, sharing, make),
            Some(timeout) => builder.listen_with(address, &self.options, sharing, behind_header(timeout, make)),
        }
    }

    /// Listens on a socket that was passed in.
    #[must_use]
    pub fn listen_on<S: 'static, H: Handler<S>>(
        &self,
        builder: ServerBuilder<S>,
        listener: Listener,
        make: impl Fn(&SocketAddress) -> H + Send + Sync + 'static,
    ) -> ServerBuilder<S> {
        let sharing = self.sharing.of_inherited();
        match self.proxy_header {
            None => builder.listen_on(listener, &self.options, sharing, make),
            Some(timeout) => builder.listen_on(listener, &self.options, sharing, behind_header(timeout, make)),
        }
    }
}

/// Makes handlers that make the real ones.
fn behind_header<M>(timeout: Duration, make: M) -> impl Fn(&SocketAddress) -> ProxyHeader<M> {
    let make = Arc::new(make);
    move |peer| ProxyHeader::new(peer, timeout, &make)
}
