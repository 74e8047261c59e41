//! The network as datagrams.

use std::io;
use std::time::{Duration, Instant};

use reactor::{DatagramContext, DatagramError, DatagramHandler, Result, SocketAddress, TimerId};

use crate::stdio::{Ends, Network, begin, finish, write_out};

pub(crate) struct Datagrams {
    /// The one connected to, or the first that sends something.
    pub(crate) peer: Option<SocketAddress>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) last_came: Instant,
}

impl DatagramHandler<Ends> for Datagrams {
    fn on_open(&mut self, cx: &mut DatagramContext<'_, Ends>) -> Result {
        if let Some(timeout) = self.timeout {
            cx.set_timer(timeout)?;
        }
        let (id, peer) = (cx.id(), self.peer.clone());
        peer.map_or(Ok(()), |peer| begin(cx, Network::Datagrams(id, peer)))
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, Ends>, from: &SocketAddress, bytes: &[u8]) -> Result {
        if self.peer.is_none() {
            self.peer = Some(from.clone());
            let id = cx.id();
            begin(cx, Network::Datagrams(id, from.clone()))?;
        }
        if self.peer.as_ref() == Some(from) {
            self.last_came = Instant::now();
            // Datagrams for which there is no room are lost, here as in the kernel.
            write_out(cx, bytes)?;
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut DatagramContext<'_, Ends>, _timer: TimerId) -> Result {
        let left = self.timeout.unwrap_or_default().saturating_sub(self.last_came.elapsed());
        if left.is_zero() {
            finish(cx, Ok(()));
            return Ok(());
        }
        cx.set_timer(left).map(drop)
    }

    fn on_error(&mut self, cx: &mut DatagramContext<'_, Ends>, error: &DatagramError) -> Result {
        finish(cx, Err(io::Error::other(error.to_string())));
        Ok(())
    }
}
