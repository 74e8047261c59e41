//! What goes wrong in a simulation, and how often.

use std::time::Duration;

/// How often the simulated system does what a real one may do. Each rate is a probability from 0 to 1.
///
/// The default has what a program must not even notice: bytes come late and in pieces, the kernel takes few of them, calls are
/// interrupted, events come in any order. [`harsh`](Self::harsh) adds what a program must survive: resets, shortages of
/// descriptors, connections that cannot be made, datagrams that never arrive.
///
/// ```
/// use reactor::sim::Faults;
///
/// let mut faults = Faults::default();
/// faults.reset = 0.01;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// Bytes, an end of stream or a connection take time on their way.
    pub delay: f64,
    /// The longest they take. Short times are likelier.
    pub longest_delay: Duration,
    /// Only some of the bytes arrive, the others later: what a reader sees as a short read, and then `EAGAIN`.
    pub split: f64,
    /// The kernel takes only some of the bytes. At times it takes more at once if asked again, and no edge comes.
    pub short_write: f64,
    /// The kernel takes no bytes (`EAGAIN`), and tells some time later that it does.
    pub send_would_block: f64,
    /// A signal interrupts a call (`EINTR`).
    pub interrupt: f64,
    /// An event comes with nothing behind it.
    pub spurious: f64,
    /// The events of one wait come in any order.
    pub reorder: bool,
    /// A socket has a small send or receive buffer, of 1 byte to 4 KiB.
    pub small_buffers: f64,
    /// Before a wait, the process is not run for some time.
    pub stall: f64,
    /// The longest time it is not run.
    pub longest_stall: Duration,
    /// A wait with a deadline ends late.
    pub oversleep: f64,
    /// A segment meets a reset on its way.
    pub reset: f64,
    /// A call that needs a descriptor or kernel memory fails (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`), and so do others for
    /// some time.
    pub shortage: f64,
    /// The longest time a shortage lasts.
    pub longest_shortage: Duration,
    /// A client is gone before it is accepted (`ECONNABORTED`).
    pub connection_aborted: f64,
    /// An outgoing connection fails: refused, unreachable, or no answer ever.
    pub connect_failure: f64,
    /// A datagram is lost on its way.
    pub datagram_loss: f64,
    /// A datagram arrives twice.
    pub datagram_twice: f64,
}

impl Faults {
    /// A perfect world: everything arrives whole and at once.
    #[must_use]
    pub fn none() -> Self {
        Self {
            delay: 0.0,
            longest_delay: Duration::from_millis(200),
            split: 0.0,
            short_write: 0.0,
            send_would_block: 0.0,
            interrupt: 0.0,
            spurious: 0.0,
            reorder: false,
            small_buffers: 0.0,
            stall: 0.0,
            longest_stall: Duration::from_secs(5),
            oversleep: 0.0,
            reset: 0.0,
            shortage: 0.0,
            longest_shortage: Duration::from_secs(10),
            connection_aborted: 0.0,
            connect_failure: 0.0,
            datagram_loss: 0.0,
            datagram_twice: 0.0,
        }
    }

    /// All that can go wrong.
    #[must_use]
    pub fn harsh() -> Self {
        Self {
            reset: 0.01,
            shortage: 0.03,
            connection_aborted: 0.02,
            connect_failure: 0.2,
            datagram_loss: 0.1,
            datagram_twice: 0.05,
            stall: 0.005,
            ..Self::default()
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            delay: 0.3,
            split: 0.3,
            short_write: 0.15,
            send_would_block: 0.1,
            interrupt: 0.05,
            spurious: 0.05,
            reorder: true,
            small_buffers: 0.4,
            oversleep: 0.2,
            ..Self::none()
        }
    }
}
