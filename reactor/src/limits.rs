//! Every bound of a loop, each with its reason; nothing in the library grows past one of these.

use std::io;
use std::time::Duration;

use crate::rate::Rates;

/// The bounds of one loop.
///
/// The defaults are safe for a server on the open Internet. Change what you know better:
///
/// ```
/// use reactor::Limits;
///
/// let mut limits = Limits::default();
/// limits.high_mark = 1 << 20;
/// limits.low_mark = 1 << 18;
/// assert!(limits.check().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections open at once on one loop, those that linger after their close included. At the bound accepting pauses
    /// and new clients wait in the backlog. Default: as many as a loop can name, so that the descriptor limit rules.
    pub connections: usize,
    /// Events taken from the kernel by one `epoll_wait`. More means fewer calls under load and a longer turn.
    /// Default 1024, 12 KiB of memory.
    pub events_per_wait: usize,
    /// Bytes read from one connection before the next one has its turn. Default 1 MiB, twice the largest read.
    pub read_per_turn: usize,
    /// Bytes of queued output sent on one connection before the next one has its turn, as far as they come from a file: a
    /// fast reader of a large file does not hold up the others. Default 1 MiB.
    pub write_per_turn: usize,
    /// Reads or writes of one connection before the next one has its turn. Default 16, so that a peer who sends in
    /// tiny pieces gets no more of the loop than one who sends in large ones.
    pub calls_per_turn: usize,
    /// Bytes read and sent in one turn after which the rest of the bulk waits for the next one: what is left to read on a
    /// connection that was read once, and output of more than [`low_mark`](Self::low_mark). So a request that comes
    /// while thousands of others move large bodies is looked at soon. In a turn it counts twice, for what has happened
    /// and for what was left over, and is passed by what one connection moves. If more connections have bulk to move than
    /// sixteen turns take, each is sent less at once, down to the low mark. Default 4 MiB: a millisecond or two.
    pub bytes_per_turn: usize,
    /// Datagrams received from one socket before the next one has its turn; their bytes count as
    /// [`read_per_turn`](Self::read_per_turn) says. Default 256.
    pub datagrams_per_turn: usize,
    /// Datagrams taken from the kernel by one `recvmmsg`, at most 1024, where memory for as many of the largest size is
    /// within `read_per_turn`. It is memory of the loop from the first datagram on, of which only what is written to counts.
    /// Default 32: beyond it a call costs little of what its datagrams do.
    pub datagrams_per_call: usize,
    /// Connections accepted from one listener before others have their turn. Default 256.
    pub accepts_per_turn: usize,
    /// Messages from other threads handled before sockets have their turn again. Default 1024.
    pub mail_per_turn: usize,
    /// Timers that fire in one turn, and connections closed as idle in one; what else is due waits for the next turn, behind new
    /// events. So ten thousand clients whose time is over together do not hold up others. Default 512: a few milliseconds.
    pub deadlines_per_turn: usize,
    /// Messages from other threads that may wait; one more is refused with [`PostError::Full`](crate::PostError::Full).
    /// Default 65 536. (Threads that post at the same instant may pass it by one message each.)
    pub mailbox: usize,
    /// Bytes of queued output above which reading from that connection stops. Default 256 KiB: a slow reader costs at
    /// most this and what one callback adds.
    pub high_mark: usize,
    /// Bytes of queued output at which reading goes on and `on_drained` is called. Default 64 KiB.
    pub low_mark: usize,
    /// Bytes of output that may wait in memory on one connection (each piece of shared bytes or of a file counts for some
    /// more); a send beyond it fails and closes that connection with
    /// [`CloseReason::Overflow`](crate::CloseReason::Overflow). It bounds what *others* queue to a peer that does not read. Default 16 MiB.
    pub max_output: usize,
    /// What may wait on one datagram socket for which the kernel has no room, in bytes, each datagram counted as 256 more
    /// than it has. The newest are dropped beyond it, and counted
    /// ([`Datagrams::dropped`](crate::Datagrams::dropped)). On a Unix socket that is not connected one peer has an eighth of
    /// it at most, so that one that does not read leaves room for the others. Default 1 MiB: a moment's burst; what waits
    /// for longer is of little use.
    pub max_datagram_queue: usize,
    /// How long datagrams that wait are left alone at the most. Sending is tried again after a millisecond, then after two,
    /// four and so on, for there are sockets of which the kernel does not tell when there is room. Default 100 ms.
    pub datagram_retry: Duration,
    /// Bytes of input a handler may leave unconsumed, which is also the longest message it can wait for; a handler that
    /// leaves more without pausing closes its connection with [`CloseReason::Overflow`](crate::CloseReason::Overflow). Default 1 MiB.
    pub max_input: usize,
    /// Size of the loop's read buffer at start, which is also what it shrinks back to. Default 64 KiB.
    pub scratch_min: usize,
    /// Size to which the read buffer may grow while a connection keeps filling it: a bulk stream then needs fewer calls.
    /// Default 512 KiB.
    pub scratch_max: usize,
    /// Descriptors that have come on one connection and that its handler has not taken
    /// ([`Context::receive_fds`](crate::Context::receive_fds)); one message brings at most 253. One more closes the connection with an
    /// error. Default 256.
    pub fds_per_connection: usize,
    /// The soft mark of the loop's memory: bytes that wait on all its connections together, output that the kernel has not taken
    /// and input that handlers left. Above it no connections are accepted, and one on which output has to wait is read no
    /// more until all of it is out. Shared bytes count once for each connection on which they wait, those
    /// [in pages](crate::SharedBytes::in_pages) not at all. Default 1 GiB: half of the hard mark.
    pub memory_soft: usize,
    /// The hard mark of the loop's memory. Above it connections are closed, those with the most waiting bytes first, until what
    /// waits is down to the soft mark: with [`CloseReason::Overflow`](crate::CloseReason::Overflow). One on which nothing waits is left
    /// alone. What waits passes the mark by what one call sends at the most. Default 2 GiB: four thousand connections at the
    /// default high mark, and as many that wait for less. For all loops of a process there is
    /// [`MemoryBudget`](crate::MemoryBudget).
    pub memory_hard: usize,
    /// Groups one connection may be in at once. Default 256.
    pub groups_per_connection: usize,
    /// Pipes through which relays of the loop move bytes at once, each two descriptors; see
    /// [`Context::relay_to`](crate::Context::relay_to). A relay has one only while much is on its way, or waits for a slow
    /// reader; those beyond the bound copy, which takes more of the processor. 0: all copy. Default 64.
    pub relay_pipes: usize,
    /// Timers one connection may have at once. Default 64.
    pub timers_per_connection: usize,
    /// Timers and tasks of the loop in all. Default 2 million.
    pub timers: usize,
    /// Rates for all connections of the loop together, in bytes; who waits gets an equal share in turn. With one, each
    /// connection keeps some 500 bytes more. Default none.
    pub rates: Rates,
    /// How long a closed connection with bytes in flight discards input, waiting for the peer's end, so that a reset
    /// does not eat what was sent. It ends earlier when the peer has acknowledged all and sends nothing. Default 5 s.
    pub linger: Duration,
    /// How long accepting rests when descriptors or kernel memory are short. No edge tells when they are back, so a
    /// timer tries again (and so does every connection that closes). Default 100 ms.
    pub accept_retry: Duration,
    /// How long clients wait in the backlog under a shortage of descriptors before they are accepted only to be closed,
    /// which tells them to go elsewhere. Default 5 s.
    pub accept_patience: Duration,
    /// How long the loop polls before it sleeps: fewer wake-ups and several times less latency, for a busy processor.
    /// Default zero: off.
    pub spin: Duration,
    /// Read until the kernel says `EAGAIN` even after a short read: one call more a message. The shortcut is sound on
    /// sockets, so the default is off; turn it on under fault injection that cuts reads short.
    pub strict_drain: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            events_per_wait: 1024,
            read_per_turn: 1 << 20,
            write_per_turn: 1 << 20,
            calls_per_turn: 16,
            bytes_per_turn: 4 << 20,
            datagrams_per_turn: 256,
            datagrams_per_call: 32,
            accepts_per_turn: 256,
            mail_per_turn: 1024,
            deadlines_per_turn: 512,
            mailbox: 65_536,
            high_mark: 256 << 10,
            low_mark: 64 << 10,
            max_output: 16 << 20,
            max_datagram_queue: 1 << 20,
            datagram_retry: Duration::from_millis(100),
            max_input: 1 << 20,
            scratch_min: 64 << 10,
            scratch_max: 512 << 10,
            fds_per_connection: 256,
            memory_soft: 1 << 30,
            memory_hard: 2 << 30,
            groups_per_connection: 256,
            relay_pipes: 64,
            timers_per_connection: 64,
            timers: 2_000_000,
            rates: Rates::default(),
            linger: Duration::from_secs(5),
            accept_retry: Duration::from_millis(100),
            accept_patience: Duration::from_secs(5),
            spin: Duration::ZERO,
            strict_drain: false,
        }
    }
}

impl Limits {
    /// Whether the bounds go together; a loop is not built on others.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field: a bound that must not be zero is, or a lower one is above its upper one.
    pub fn check(&self) -> io::Result<()> {
        let at_least_one = [
            ("events_per_wait", self.events_per_wait),
            ("read_per_turn", self.read_per_turn),
            ("write_per_turn", self.write_per_turn),
            ("calls_per_turn", self.calls_per_turn),
            ("bytes_per_turn", self.bytes_per_turn),
            ("datagrams_per_turn", self.datagrams_per_turn),
            ("datagrams_per_call", self.datagrams_per_call),
            ("accepts_per_turn", self.accepts_per_turn),
            ("mail_per_turn", self.mail_per_turn),
            ("deadlines_per_turn", self.deadlines_per_turn),
            ("mailbox", self.mailbox),
            ("high_mark", self.high_mark),
            ("max_output", self.max_output),
            ("max_datagram_queue", self.max_datagram_queue),
            ("max_input", self.max_input),
            ("memory_soft", self.memory_soft),
            ("scratch_min", self.scratch_min),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(invalid(format!("Limits::{name} must be at least 1")));
        }
        let ordered = [
            ("low_mark", self.low_mark, "high_mark", self.high_mark),
            ("high_mark", self.high_mark, "max_output", self.max_output),
            ("scratch_min", self.scratch_min, "scratch_max", self.scratch_max),
            ("memory_soft", self.memory_soft, "memory_hard", self.memory_hard),
            ("connections", self.connections, "the names a loop has", MAX_CONNECTIONS),
        ];
        match ordered.iter().find(|(_, low, _, high)| low > high) {
            Some((low, below, high, above)) => {
                Err(invalid(format!("Limits::{low} is {below}, above {high}, which is {above}")))
            }
            None => Ok(()),
        }
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// What the slot bits of a token can name, less a few for the loop's own sources.
pub(crate) const MAX_CONNECTIONS: usize = (1 << 22) - 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn a_contradiction_is_named() {
        let limits = Limits { low_mark: 2, high_mark: 1, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("low_mark"));
        let limits = Limits { mailbox: 0, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("mailbox"));
    }
}
