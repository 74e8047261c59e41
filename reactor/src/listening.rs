//! Listeners in the engine: watched, left to others, closed.

use std::io;

use crate::acceptor::Rest;
use crate::engine::Engine;
use crate::interest::Interest;
use crate::registered::Registered;
use crate::token::Token;

impl Engine {
    /// Watches a listener, unless it is watched.
    pub(crate) fn register_listener(&mut self, token: Token) -> io::Result<()> {
        let Some(Registered::Listener(acceptor)) = self.sources.get_mut(token.key()) else { return Ok(()) };
        if !acceptor.registered {
            let interest = if acceptor.shared { Interest::SHARED_LISTENER } else { Interest::READ };
            self.poller.register(acceptor.as_fd(), interest, token)?;
            acceptor.registered = true;
        }
        Ok(())
    }

    /// Watches a listener no longer if other loops watch it; says whether that is so.
    pub(crate) fn deregister_shared_listener(&mut self, token: Token) -> bool {
        let Some(Registered::Listener(acceptor)) = self.sources.get_mut(token.key()) else { return false };
        if !acceptor.shared || !acceptor.registered {
            return false;
        }
        acceptor.registered = self.poller.deregister(acceptor.as_fd()).is_err();
        true
    }

    /// Takes a listener out of the loop; its socket closes unless other loops have it.
    pub(crate) fn remove_listener(&mut self, token: Token) {
        if let Some(Registered::Listener(acceptor)) = self.sources.remove(token.key()) {
            if acceptor.registered
                && let Err(error) = self.poller.deregister(acceptor.as_fd())
            {
                log::warn!("a listener could not be taken out of the poller: {error}");
            }
            if let Some(retry) = acceptor.rest.and_then(Rest::retry) {
                self.timers.cancel(retry);
            }
        }
    }
}
