//! Datagrams in the simulated kernel: sent, on their way, lost, received, and errors told of them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::address::{SocketAddress, UnixName};
use crate::sim::datagram::{Datagram, Datagrams, RECEIVE_BUFFER};
use crate::sim::kernel::{Kernel, Object, Occurrence};
use crate::sim::network::overlap;
use crate::sim::socket::{Role, Socket};
use crate::sim::words::{Id, bits, error, nanos};

impl Kernel {
    pub(super) fn create_datagram_socket(&mut self, address: &SocketAddress) -> io::Result<i32> {
        self.create_socket_for(address, Role::Datagram(Box::default()))
    }

    fn datagrams(&mut self, number: i32) -> io::Result<&mut Datagrams> {
        match &mut self.socket(number)?.role {
            Role::Datagram(datagrams) => Ok(datagrams),
            _ => Err(error(libc::EOPNOTSUPP)),
        }
    }

    fn datagrams_of(&mut self, id: Id) -> Option<&mut Datagrams> {
        match self.objects.get_mut(&id) {
            Some(Object::Socket(Socket { role: Role::Datagram(datagrams), .. })) => Some(datagrams),
            _ => None,
        }
    }

    pub(super) fn datagram_readiness(&self, id: Id) -> u32 {
        match self.objects.get(&id) {
            Some(Object::Socket(Socket { role: Role::Datagram(datagrams), .. })) => datagrams.readiness(),
            _ => 0,
        }
    }

    /// See connect(2) of datagrams: it says whom the socket sends to and hears.
    pub(super) fn connect_datagram(&mut self, number: i32, peer: &SocketAddress) -> io::Result<bool> {
        if peer.is_unix() && !self.is_anybody_at(peer, peer) {
            return Err(error(libc::ECONNREFUSED));
        }
        let local = self.socket(number)?.local.clone();
        let local = self.local_for(&local, peer);
        self.socket(number)?.local = local;
        self.datagrams(number)?.peer = Some(peer.clone());
        Ok(true)
    }

    pub(super) fn datagram_peer(&mut self, number: i32) -> io::Result<SocketAddress> {
        self.datagrams(number)?.peer.clone().ok_or_else(|| error(libc::ENOTCONN))
    }

    /// Takes the oldest datagram that has arrived; see recvmsg(2).
    pub(super) fn receive_datagram(&mut self, number: i32) -> io::Result<Datagram> {
        let datagrams = self.datagrams(number)?;
        datagrams.take_error()?;
        datagrams.arrived.pop_front().ok_or_else(|| error(libc::EAGAIN))
    }

    /// Takes the oldest error that was told of a datagram; see `MSG_ERRQUEUE` in recv(2).
    pub(super) fn receive_undelivered(&mut self, number: i32) -> io::Result<(SocketAddress, i32)> {
        let datagrams = self.datagrams(number)?;
        let told = datagrams.undelivered.pop_front().ok_or_else(|| error(libc::EAGAIN))?;
        if datagrams.undelivered.is_empty() {
            // Who takes the last one has heard of it.
            datagrams.error = None;
        }
        Ok(told)
    }

    /// Sends one datagram; see sendmsg(2).
    pub(super) fn send_datagram(
        &mut self,
        number: i32,
        to: Option<&SocketAddress>,
        source: Option<IpAddr>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let blocks = self.fails(|faults| faults.send_would_block);
        let id = self.id_of(number)?;
        let datagrams = self.datagrams(number)?;
        datagrams.take_error()?;
        if datagrams.squeezed {
            return Err(error(libc::EAGAIN));
        }
        let to = to.or(datagrams.peer.as_ref()).cloned().ok_or_else(|| error(libc::EDESTADDRREQ))?;
        if bytes.len() > longest(&to) {
            return Err(error(libc::EMSGSIZE));
        }
        if blocks {
            self.squeeze_datagrams(id);
            return Err(error(libc::EAGAIN));
        }
        let from = self.sender(number, &to, source)?;
        let datagram = Datagram { from, to, bytes: bytes.to_vec() };
        if datagram.to.is_unix() {
            return self.hand_over(datagram);
        }
        self.put_on_its_way(Some(id), datagram);
        Ok(())
    }

    /// The address a datagram comes from; a socket that has none is given one.
    fn sender(&mut self, number: i32, to: &SocketAddress, source: Option<IpAddr>) -> io::Result<SocketAddress> {
        let bound = self.socket(number)?.local.clone();
        let local = self.local_for(&bound, to);
        if let (SocketAddress::Inet(bound), SocketAddress::Inet(local)) = (&bound, &local)
            && bound.port() == 0
        {
            self.socket(number)?.local = SocketAddr::new(bound.ip(), local.port()).into();
        }
        Ok(match (local, source) {
            (SocketAddress::Inet(local), Some(ip)) => SocketAddr::new(ip, local.port()).into(),
            (local, _) => local,
        })
    }

    /// Between two sockets of one machine nothing takes time and nothing is lost.
    fn hand_over(&mut self, datagram: Datagram) -> io::Result<()> {
        let Some(receiver) = self.receiver_of(&datagram) else {
            return if self.deliver_outside(&datagram) { Ok(()) } else { Err(error(libc::ECONNREFUSED)) };
        };
        let Some(datagrams) = self.datagrams_of(receiver) else { return Err(error(libc::ECONNREFUSED)) };
        if !datagrams.hears(&datagram.from) {
            return Err(error(libc::EPERM));
        }
        if datagrams.arrived.len() > UNIX_QUEUE {
            return Err(error(libc::EAGAIN));
        }
        datagrams.arrived.push_back(datagram);
        self.notify(receiver, bits(libc::EPOLLIN));
        Ok(())
    }

    /// Sends a datagram over the network, which may lose it or deliver it twice. `sender` is who hears if nobody is there.
    pub(super) fn put_on_its_way(&mut self, sender: Option<Id>, datagram: Datagram) {
        if self.fails(|faults| faults.datagram_loss) {
            self.note("datagram lost", 0, datagram.bytes.len());
            return;
        }
        if self.fails(|faults| faults.datagram_twice) {
            self.carry_datagram(sender, datagram.clone());
        }
        self.carry_datagram(sender, datagram);
    }

    /// What is on its way is kept under a number, so that what will happen stays small.
    fn carry_datagram(&mut self, sender: Option<Id>, datagram: Datagram) {
        let (delay, id) = (self.delay(), self.new_id());
        self.datagrams_under_way.insert(id, datagram);
        self.schedule(delay, Occurrence::Datagram { datagram: id, sender });
    }

    /// A datagram arrives where it was sent to, if anybody is there.
    pub(super) fn datagram_arrives(&mut self, datagram: Id, sender: Option<Id>) {
        let Some(datagram) = self.datagrams_under_way.remove(&datagram) else { return };
        self.note("datagram arrives", 0, datagram.bytes.len());
        let Some(receiver) = self.receiver_of(&datagram) else {
            if !self.deliver_outside(&datagram) {
                self.tell_undelivered(sender, datagram.to);
            }
            return;
        };
        let Some(datagrams) = self.datagrams_of(receiver) else { return };
        if datagrams.held() + datagram.bytes.len() <= RECEIVE_BUFFER {
            datagrams.arrived.push_back(datagram);
            self.notify(receiver, bits(libc::EPOLLIN));
        }
    }

    /// The socket that a datagram is for. One that is connected to the sender goes before others; of several that share a
    /// port one is picked.
    fn receiver_of(&mut self, datagram: &Datagram) -> Option<Id> {
        let mut found: Vec<(bool, Id)> = Vec::new();
        for (&id, object) in &self.objects {
            if let Object::Socket(Socket { role: Role::Datagram(datagrams), local, .. }) = object
                && overlap(local, &datagram.to)
                && (datagram.to.is_unix() || datagrams.hears(&datagram.from))
            {
                found.push((datagrams.peer.is_none(), id));
            }
        }
        let best = found.iter().map(|(unconnected, _)| *unconnected).min()?;
        found.retain(|(unconnected, _)| *unconnected == best);
        if found.len() == 1 { Some(found[0].1) } else { Some(self.random.pick(&found).1) }
    }

    fn deliver_outside(&mut self, datagram: &Datagram) -> bool {
        let Some(place) = self.outside.iter_mut().find(|place| place.address == datagram.to) else { return false };
        place.received.push(datagram.clone());
        self.peer_heard = true;
        true
    }

    fn is_anybody_at(&mut self, to: &SocketAddress, from: &SocketAddress) -> bool {
        let probe = Datagram { from: from.clone(), to: to.clone(), bytes: Vec::new() };
        self.receiver_of(&probe).is_some() || self.outside.iter().any(|place| place.address == *to)
    }

    /// ICMP says that nobody is there; see `IP_RECVERR` in ip(7).
    fn tell_undelivered(&mut self, sender: Option<Id>, to: SocketAddress) {
        let Some(sender) = sender else { return };
        let Some(datagrams) = self.datagrams_of(sender) else { return };
        datagrams.error = Some(libc::ECONNREFUSED);
        datagrams.undelivered.push_back((to, libc::ECONNREFUSED));
        self.notify(sender, bits(libc::EPOLLERR));
    }

    /// The kernel takes nothing more for some time, and then tells that it does.
    fn squeeze_datagrams(&mut self, socket: Id) {
        if let Some(datagrams) = self.datagrams_of(socket) {
            datagrams.squeezed = true;
            let longest = nanos(self.faults.longest_delay);
            let delay = self.random.magnitude(longest);
            self.schedule(delay, Occurrence::DatagramRoom { socket });
        }
    }

    pub(super) fn make_datagram_room(&mut self, socket: Id) {
        if let Some(datagrams) = self.datagrams_of(socket) {
            datagrams.squeezed = false;
            self.notify(socket, bits(libc::EPOLLOUT));
        }
    }

    pub(super) fn take_datagram_error(&mut self, number: i32) -> io::Result<i32> {
        Ok(self.datagrams(number)?.error.take().unwrap_or(0))
    }
}

/// What one datagram may carry there.
fn longest(to: &SocketAddress) -> usize {
    match to {
        SocketAddress::Inet(SocketAddr::V4(_)) => 65_507,
        SocketAddress::Inet(SocketAddr::V6(_)) => 65_527,
        SocketAddress::Unix(UnixName::Unnamed) => 0,
        SocketAddress::Unix(_) => RECEIVE_BUFFER - 32,
    }
}

/// What `net.unix.max_dgram_qlen` is by default.
const UNIX_QUEUE: usize = 10;
