//! The handler: what comes in goes out.

use reactor::{
    CloseReason, Context, DatagramContext, DatagramError, DatagramHandler, Handler, Input, Result, SocketAddress,
};
use tracing::Level;

/// One connection of the echo server. It has no state: what the peer does not read waits in the library, within limits.
pub(crate) struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        if tracing::enabled!(Level::DEBUG) {
            match cx.peer_address() {
                Ok(peer) => tracing::debug!("connection {} from {peer}", cx.id()),
                Err(error) => tracing::debug!("connection {}: {error}", cx.id()),
            }
        }
        if tracing::enabled!(Level::TRACE) {
            cx.replace_handler(TracedEcho);
        }
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        tracing::debug!("connection {} ended: {reason}", cx.id());
    }
}

/// The same with a log line for each piece. Whether to write one is asked once a connection: to ask for every message is a
/// twentieth of what a message costs in user space.
pub(crate) struct TracedEcho;

impl Handler for TracedEcho {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        tracing::trace!("connection {}: {} bytes", cx.id(), input.len());
        Echo.on_data(cx, input)
    }

    fn on_close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        Echo.on_close(cx, reason);
    }
}

/// A datagram socket of the echo server. What comes goes back from the address that was asked.
pub(crate) struct DatagramEcho;

impl DatagramHandler for DatagramEcho {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, from: &SocketAddress, bytes: &[u8]) -> Result {
        tracing::trace!("socket {}: {} bytes from {from}", cx.id(), bytes.len());
        if cx.is_truncated() {
            tracing::debug!("socket {}: a datagram of {} bytes from {from} is too long", cx.id(), cx.full_length());
            return Ok(());
        }
        cx.reply(bytes)
    }

    fn on_error(&mut self, cx: &mut DatagramContext<'_>, error: &DatagramError) -> Result {
        tracing::debug!("socket {}: {error}", cx.id());
        Ok(())
    }

    fn on_close(&mut self, cx: &mut DatagramContext<'_>, reason: &CloseReason) {
        tracing::debug!("socket {} ended: {reason}", cx.id());
    }
}
