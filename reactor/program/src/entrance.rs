//! How the stream listeners of a program let connections in.

use std::io;
use std::sync::Arc;

use reactor::{Address, Handler, ListenOptions, Listener, ServerBuilder, SocketAddress};

use crate::proxy_header::{ProxyHeader, ProxyTerms};
use crate::sharing::HowToShare;

/// What listeners of a kind have in common.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The options of each.
    pub options: ListenOptions,
    /// How the loops share each.
    pub sharing: HowToShare,
    /// What is expected of the PROXY header with which every connection then begins; `None`: there is none.
    pub proxy_header: Option<ProxyTerms>,
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
        match &self.proxy_header {
            None => builder.listen_with(address, &self.options, sharing, make),
            Some(terms) => builder.listen_with(address, &self.options, sharing, behind_header(terms, make)),
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
        match &self.proxy_header {
            None => builder.listen_on(listener, &self.options, sharing, make),
            Some(terms) => builder.listen_on(listener, &self.options, sharing, behind_header(terms, make)),
        }
    }
}

/// Makes handlers that make the real ones.
fn behind_header<M>(terms: &ProxyTerms, make: M) -> impl Fn(&SocketAddress) -> ProxyHeader<M> + use<M> {
    let (terms, make) = (terms.clone(), Arc::new(make));
    move |peer| ProxyHeader::new(peer, &terms, &make)
}
