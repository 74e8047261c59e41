//! What an application implements for datagrams: one value a socket, called for each datagram that arrives.

use std::any::Any;
use std::time::Instant;

use crate::Result;
use crate::address::SocketAddress;
use crate::close_reason::CloseReason;
use crate::datagram_context::DatagramContext;
use crate::datagram_error::DatagramError;
use crate::timer::TimerId;

/// What happens on one datagram socket, UDP or Unix. The value is the state of the socket, which serves all its peers.
///
/// Callbacks run as those of a [`Handler`](crate::Handler) do: on the loop's thread, one at a time, never nested. Datagrams are
/// taken from the kernel many at a time; what the callbacks of one such batch say leaves together, in one call, after the
/// last of them.
///
/// A callback that returns an error ends nothing, for a socket serves many peers and what is wrong with one must not end it
/// for the others: the error is counted ([`Datagrams::failed`](crate::Datagrams::failed)) and logged at the level `debug`. To
/// close is [`DatagramContext::close`]. A panic closes the socket, and the loop goes on.
///
/// ```
/// use reactor::{DatagramContext, DatagramHandler, DatagramOptions, EventLoop, Result, SocketAddress};
///
/// struct Echo;
///
/// impl DatagramHandler for Echo {
///     fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _from: &SocketAddress, bytes: &[u8]) -> Result {
///         cx.reply(bytes)
///     }
/// }
///
/// let mut event_loop = EventLoop::new(())?;
/// let id = event_loop.bind_datagram("udp://127.0.0.1:0", &DatagramOptions::default(), Echo)?;
/// let address = event_loop.context().datagram(id).unwrap().local_address().as_inet().unwrap();
///
/// let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", address)?;
/// # client.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
/// event_loop.turn(None)?;
/// let mut answer = [0; 16];
/// assert_eq!(client.recv_from(&mut answer)?, (5, address));
/// assert_eq!(&answer[..5], b"hello");
/// # Result::Ok(())
/// ```
pub trait DatagramHandler<S = ()>: Any {
    /// The socket is in its loop: the time to join groups, to send first, to set timers.
    ///
    /// # Errors
    /// An error is counted and logged, as from every callback.
    fn on_open(&mut self, cx: &mut DatagramContext<'_, S>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// A datagram has arrived. It may be empty, and it may have been cut: [`DatagramContext::is_truncated`].
    ///
    /// `from` can be forged, but for a Unix socket's; it is [`UnixName::Unnamed`](crate::UnixName::Unnamed) of one that
    /// cannot be answered.
    ///
    /// # Errors
    /// An error is counted and logged, as from every callback.
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, S>, from: &SocketAddress, bytes: &[u8]) -> Result;

    /// A datagram that was sent was not delivered, as far as the kernel or the network has told. The socket goes on.
    ///
    /// Most losses nobody tells. In a flood of errors some are only counted
    /// ([`Datagrams::errors`](crate::Datagrams::errors)).
    ///
    /// # Errors
    /// An error is counted and logged, as from every callback.
    fn on_error(&mut self, cx: &mut DatagramContext<'_, S>, error: &DatagramError) -> Result {
        let _ = (cx, error);
        Ok(())
    }

    /// Datagrams had to wait, and now none does.
    ///
    /// # Errors
    /// An error is counted and logged, as from every callback.
    fn on_drained(&mut self, cx: &mut DatagramContext<'_, S>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// A timer set with [`DatagramContext::set_timer`] is due.
    ///
    /// # Errors
    /// An error is counted and logged, as from every callback.
    fn on_timer(&mut self, cx: &mut DatagramContext<'_, S>, timer: TimerId) -> Result {
        let _ = (cx, timer);
        Ok(())
    }

    /// The loop drains, and closes by force what is open at `deadline`. By default what has arrived is still served, what
    /// waits is sent, and then the socket closes: [`DatagramContext::finish`].
    ///
    /// # Errors
    /// An error is counted and logged, as from every callback.
    fn on_shutdown(&mut self, cx: &mut DatagramContext<'_, S>, deadline: Instant) -> Result {
        let _ = deadline;
        cx.finish()
    }

    /// The socket has ended: called exactly once, after everything else, for whatever reason.
    fn on_close(&mut self, cx: &mut DatagramContext<'_, S>, reason: &CloseReason) {
        let _ = (cx, reason);
    }
}
