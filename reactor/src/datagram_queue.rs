//! Datagrams that the kernel did not take yet, in the order in which they were said.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;

use crate::sys::ancillary::Source;
use crate::sys::datagram::{self, Message, SendBatch};
use crate::sys::fd::FdRef;
use crate::sys::sockaddr::RawAddress;

/// The send queue of one socket.
#[derive(Default)]
pub(crate) struct DatagramQueue {
    waiting: VecDeque<Waiting>,
    /// What all that waits costs.
    cost: usize,
    /// What waits for each peer costs, where peers are told apart.
    of_peers: HashMap<RawAddress, usize>,
}

struct Waiting {
    to: Option<RawAddress>,
    from: Option<Source>,
    bytes: Box<[u8]>,
}

/// How a queue is to be flushed.
#[derive(Clone, Copy)]
pub(crate) struct Policy {
    /// A peer that takes nothing for now does not hold up the others: on a Unix socket that is not connected each peer has
    /// a queue of its own in the kernel. Order holds for each peer by itself then.
    pub(crate) apart: bool,
    /// What may wait, in all; for one peer an eighth of it where peers are told apart. The newest is dropped first: what
    /// waits was said before.
    pub(crate) max: usize,
}

/// What became of a datagram that has left the queue.
#[derive(Debug)]
pub(crate) enum Outcome {
    Sent,
    Failed(io::Error),
    /// There was no room for it.
    Dropped,
}

impl DatagramQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many datagrams wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many bytes they have.
    pub(crate) fn bytes(&self) -> usize {
        self.cost - self.waiting.len() * OVERHEAD
    }

    /// Whether something waits that is to go before a datagram to this peer.
    pub(crate) fn goes_before(&self, to: Option<&RawAddress>, apart: bool) -> bool {
        !self.is_empty() && to.filter(|_| apart).is_none_or(|to| self.of_peers.contains_key(to))
    }

    /// Whether one more datagram is within what may wait.
    pub(crate) fn has_room(&self, message: &Message<'_>, Policy { apart, max }: Policy) -> bool {
        let cost = message.bytes.len() + OVERHEAD;
        let of_peer = message.to.filter(|_| apart).and_then(|to| self.of_peers.get(to)).copied().unwrap_or(0);
        is_within(self.cost, of_peer, cost, max)
    }

    /// Puts a datagram behind the others. What is too much is dropped by the next [`flush`](Self::flush), after all had their
    /// chance to be sent.
    pub(crate) fn push(&mut self, message: Message<'_>, apart: bool) {
        let cost = message.bytes.len() + OVERHEAD;
        self.cost += cost;
        if let Some(to) = message.to.filter(|_| apart) {
            *self.of_peers.entry(*to).or_default() += cost;
        }
        let bytes = message.bytes.into();
        self.waiting.push_back(Waiting { to: message.to.copied(), from: message.from.copied(), bytes });
    }

    /// Sends what the kernel takes, and drops what is too much of the rest. `tell` hears what became of each that leaves.
    pub(crate) fn flush(
        &mut self,
        fd: FdRef<'_>,
        batch: &mut SendBatch,
        policy: Policy,
        mut tell: impl FnMut(Message<'_>, Outcome),
    ) {
        let left = self.send(fd, batch, policy.apart, &mut tell);
        let mut left = left.into_iter();
        self.waiting.retain(|_| left.next().is_none_or(|left| !left));
        self.drop_excess(policy, tell);
    }

    /// Sends what the kernel takes; answers for each whether it leaves the queue.
    fn send(
        &self,
        fd: FdRef<'_>,
        batch: &mut SendBatch,
        apart: bool,
        tell: &mut impl FnMut(Message<'_>, Outcome),
    ) -> Vec<bool> {
        let mut full = Full::default();
        let mut leaves = vec![false; self.waiting.len()];
        let (mut index, mut tried_again) = (0, false);
        while let Some(waiting) = self.waiting.get(index) {
            if full.holds_up(waiting) {
                index += 1;
                continue;
            }
            let run = self.waiting.iter().skip(index).take_while(|waiting| !full.holds_up(waiting));
            match datagram::send(fd, batch, run.map(Waiting::message)) {
                Ok(sent) => {
                    leaves[index..index + sent].fill(true);
                    self.waiting.range(index..index + sent).for_each(|sent| tell(sent.message(), Outcome::Sent));
                    index += sent;
                    tried_again = false;
                }
                Err(error) if datagram::is_full(&error) => full.note(waiting, apart),
                // It may be an error that the socket has kept of another datagram: then it is gone now, and told elsewhere.
                Err(_) if !tried_again => tried_again = true,
                Err(error) => {
                    leaves[index] = true;
                    tell(waiting.message(), Outcome::Failed(error));
                    index += 1;
                    tried_again = false;
                }
            }
        }
        leaves
    }

    /// Counts what waits, and drops what is beyond the bounds.
    fn drop_excess(&mut self, Policy { apart, max }: Policy, mut tell: impl FnMut(Message<'_>, Outcome)) {
        let Self { waiting, cost: total, of_peers } = self;
        *total = 0;
        of_peers.clear();
        waiting.retain(|waiting| {
            let cost = waiting.bytes.len() + OVERHEAD;
            let peer = waiting.to.filter(|_| apart);
            let of_peer = peer.and_then(|peer| of_peers.get(&peer)).copied().unwrap_or(0);
            let fits = is_within(*total, of_peer, cost, max);
            if !fits {
                tell(waiting.message(), Outcome::Dropped);
                return false;
            }
            *total += cost;
            of_peers.extend(peer.map(|peer| (peer, of_peer + cost)));
            true
        });
    }
}

/// Whether a datagram of this cost may wait behind others, and those of its peer. The first one of a peer may be larger than
/// its share.
fn is_within(others: usize, of_peer: usize, cost: usize, max: usize) -> bool {
    others + cost <= max && (of_peer == 0 || of_peer + cost <= max / SHARES)
}

impl Waiting {
    fn message(&self) -> Message<'_> {
        Message { bytes: &self.bytes, to: self.to.as_ref(), from: self.from.as_ref() }
    }
}

/// Who was found to take nothing for now.
#[derive(Default)]
struct Full {
    peers: HashSet<RawAddress>,
    all: bool,
}

impl Full {
    fn note(&mut self, waiting: &Waiting, apart: bool) {
        match waiting.to {
            Some(peer) if apart => drop(self.peers.insert(peer)),
            _ => self.all = true,
        }
    }

    fn holds_up(&self, waiting: &Waiting) -> bool {
        self.all || !self.peers.is_empty() && waiting.to.is_some_and(|to| self.peers.contains(&to))
    }
}

/// What a datagram that waits costs besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 256;

/// One peer may have this part of a queue, where peers are told apart.
const SHARES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use crate::address::{SocketAddress, UnixName};
    use crate::sys::fd::Fd;

    const APART: Policy = Policy { apart: true, max: 1 << 20 };

    fn peer(name: &str) -> (UnixDatagram, RawAddress) {
        let name = format!("reactor-queue-{}-{name}", std::process::id()).into_bytes();
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let address = SocketAddress::Unix(UnixName::Abstract(name));
        (socket, RawAddress::encode(&address).unwrap())
    }

    fn sender() -> Fd {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        Fd::from(OwnedFd::from(socket))
    }

    fn message<'a>(bytes: &'a [u8], to: &'a RawAddress) -> Message<'a> {
        Message { bytes, to: Some(to), from: None }
    }

    fn received(socket: &UnixDatagram) -> u8 {
        let mut bytes = [0; 2];
        assert_eq!(socket.recv(&mut bytes).unwrap(), 1);
        bytes[0]
    }

    /// Sends what can be sent; answers what became of the others.
    fn flush(queue: &mut DatagramQueue, sender: &Fd, policy: Policy) -> Vec<(u8, String)> {
        let mut told = Vec::new();
        queue.flush(sender.as_fd(), &mut SendBatch::default(), policy, |message, outcome| match outcome {
            Outcome::Sent => {}
            Outcome::Failed(error) => told.push((message.bytes[0], error.kind().to_string())),
            Outcome::Dropped => told.push((message.bytes[0], "dropped".to_owned())),
        });
        told
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no Unix sockets")]
    fn a_peer_that_is_full_holds_up_nobody_else() {
        let ((slow, slow_address), (quick, quick_address)) = (peer("slow"), peer("quick"));
        let (sender, mut queue) = (sender(), DatagramQueue::default());
        for index in 0..100 {
            queue.push(message(&[index], &slow_address), true);
            queue.push(message(&[index], &quick_address), true);
            assert_eq!(flush(&mut queue, &sender, APART), []);
            assert_eq!(received(&quick), index);
        }
        assert!(!queue.is_empty() && queue.len() == queue.bytes());
        assert!(queue.goes_before(Some(&slow_address), true) && !queue.goes_before(Some(&quick_address), true));
        for index in 0..100 {
            assert_eq!(received(&slow), index);
            assert_eq!(flush(&mut queue, &sender, APART), []);
        }
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no Unix sockets")]
    fn no_peer_has_more_than_its_share_and_the_newest_is_dropped() {
        let ((_slow, slow_address), (_other, other_address)) = (peer("a"), peer("b"));
        let (sender, mut queue) = (sender(), DatagramQueue::default());
        for index in 0..200 {
            queue.push(message(&[index], &slow_address), true);
            queue.push(message(&[index], &other_address), true);
        }
        // Two of a peer, and three of all peers: the share counts, and then the whole.
        let policy = Policy { apart: true, max: 16 * (OVERHEAD + 1) };
        let dropped = flush(&mut queue, &sender, policy);
        assert_eq!(queue.len(), 4);
        assert!(dropped.iter().all(|(_, what)| what == "dropped"));
        let is_newest = |dropped: &[(u8, String)]| dropped.is_sorted_by_key(|(index, _)| *index);
        assert!(is_newest(&dropped) && dropped.last().unwrap().0 == 199);
        assert!(!queue.has_room(&message(b"x", &slow_address), policy));
        assert!(queue.has_room(&message(b"x", &peer("c").1), policy));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no Unix sockets")]
    fn one_that_fails_leaves_the_others_alone() {
        let ((there, address), sender) = (peer("there"), sender());
        let gone = peer("gone").1;
        let mut queue = DatagramQueue::default();
        for (bytes, to) in [(b"1", &address), (b"2", &gone), (b"3", &address)] {
            queue.push(message(bytes, to), true);
        }
        assert_eq!(flush(&mut queue, &sender, APART), [(b'2', io::ErrorKind::ConnectionRefused.to_string())]);
        assert_eq!((received(&there), received(&there)), (b'1', b'3'));
    }
}
