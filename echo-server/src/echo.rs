//! The handler: what comes in goes out.

use reactor::{CloseReason, Context, Handler, Input, Result};

/// One connection of the echo server. It has no state: what the peer does not read waits in the library, within limits.
pub(crate) struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        if tracing::enabled!(tracing::Level::DEBUG) {
            match cx.peer_address() {
                Ok(peer) => tracing::debug!("connection {} from {peer}", cx.id()),
                Err(error) => tracing::debug!("connection {}: {error}", cx.id()),
            }
        }
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        tracing::trace!("connection {}: {} bytes", cx.id(), input.len());
        cx.send(input.take())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        tracing::debug!("connection {} ended: {reason}", cx.id());
    }
}
