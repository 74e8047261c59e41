//! Sockets in the simulated kernel: bound, listening, connecting, accepted, closed; see socket(7).

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address::{SocketAddress, UnixName};
use crate::sim::kernel::{FIRST_PORT, Kernel, Object, Occurrence};
use crate::sim::remote::Answer;
use crate::sim::socket::{Role, Socket};
use crate::sim::stream::{ANYTHING, BUFFER, End, Owner, Phase, Side, Stream};
use crate::sim::words::{Id, bits, error};

impl Kernel {
    /// Makes a stream socket of the family that `address` needs.
    pub(super) fn create_socket(&mut self, address: &SocketAddress) -> io::Result<i32> {
        self.create_socket_for(address, Role::Fresh)
    }

    pub(super) fn create_socket_for(&mut self, address: &SocketAddress, role: Role) -> io::Result<i32> {
        let local = match address {
            SocketAddress::Inet(SocketAddr::V4(_)) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into(),
            SocketAddress::Inet(SocketAddr::V6(_)) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into(),
            SocketAddress::Unix(_) => UnixName::Unnamed.into(),
        };
        self.enter_socket(local, role)
    }

    fn enter_socket(&mut self, local: SocketAddress, role: Role) -> io::Result<i32> {
        let socket =
            Socket { role, local, reuse_port: false, reset_on_close: false, receive_buffer: None, send_buffer: None };
        self.open(Object::Socket(socket))
    }

    fn buffer_size(&mut self, asked: Option<usize>) -> usize {
        if self.fails(|faults| faults.small_buffers) {
            return self.random.magnitude(4096).try_into().unwrap_or(BUFFER);
        }
        asked.unwrap_or(BUFFER)
    }

    pub(super) fn socket(&mut self, number: i32) -> io::Result<&mut Socket> {
        match self.object(number)? {
            Object::Socket(socket) => Ok(socket),
            _ => Err(error(libc::ENOTSOCK)),
        }
    }

    /// The connection, and the side of it, that a descriptor names.
    pub(super) fn end_of(&mut self, number: i32) -> io::Result<(Id, Side)> {
        match self.socket(number)?.role {
            Role::End(stream, side) => Ok((stream, side)),
            _ => Err(error(libc::ENOTCONN)),
        }
    }

    pub(super) fn is_connection(&self, id: Id) -> bool {
        matches!(self.objects.get(&id), Some(Object::Socket(Socket { role: Role::End(..), .. })))
    }

    pub(super) fn socket_readiness(&mut self, id: Id) -> u32 {
        let Some(Object::Socket(socket)) = self.objects.get(&id) else { return 0 };
        match &socket.role {
            Role::Fresh => bits(libc::EPOLLOUT | libc::EPOLLHUP),
            Role::Listening { waiting, .. } => {
                if waiting.is_empty() {
                    0
                } else {
                    bits(libc::EPOLLIN)
                }
            }
            &Role::End(stream, side) => self.streams.get_mut(&stream).map_or(0, |stream| stream.readiness(side)),
            Role::Datagram(_) => self.datagram_readiness(id),
        }
    }

    /// See bind(2). Port 0 is any that is free; a Unix name leaves no file.
    pub(super) fn bind(&mut self, number: i32, address: &SocketAddress) -> io::Result<()> {
        let socket = self.socket(number)?;
        let (reuse_port, datagram) = (socket.reuse_port, matches!(socket.role, Role::Datagram(_)));
        let local = self.with_port(address);
        // Streams and datagrams have ports of their own.
        let same_kind = |socket: &Socket| matches!(socket.role, Role::Datagram(_)) == datagram;
        let clashes =
            |socket: &Socket| same_kind(socket) && overlap(&socket.local, &local) && !(reuse_port && socket.reuse_port);
        let taken = self.sockets().any(|(_, socket)| !matches!(socket.role, Role::End(..)) && clashes(socket));
        if taken {
            return Err(error(libc::EADDRINUSE));
        }
        self.socket(number)?.local = local;
        Ok(())
    }

    fn sockets(&self) -> impl Iterator<Item = (Id, &Socket)> {
        self.objects.iter().filter_map(|(id, object)| match object {
            Object::Socket(socket) => Some((*id, socket)),
            _ => None,
        })
    }

    /// The address, with a port if it has none.
    pub(super) fn with_port(&mut self, address: &SocketAddress) -> SocketAddress {
        match address {
            SocketAddress::Inet(inet) if inet.port() == 0 => SocketAddr::new(inet.ip(), self.free_port()).into(),
            other => other.clone(),
        }
    }

    fn free_port(&mut self) -> u16 {
        self.last_port = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
        self.last_port
    }

    /// See listen(2).
    pub(super) fn listen(&mut self, number: i32, backlog: u32) -> io::Result<()> {
        let socket = self.socket(number)?;
        socket.role = Role::Listening { backlog: backlog.min(SOMAXCONN) as usize, waiting: VecDeque::new() };
        Ok(())
    }

    /// See accept(2). As in the real one, a shortage is found before an empty backlog.
    pub(super) fn accept(&mut self, number: i32) -> io::Result<(i32, SocketAddress)> {
        self.check_descriptors()?;
        self.meets_shortage()?;
        let aborts = self.fails(|faults| faults.connection_aborted);
        let listener = self.socket(number)?;
        let sizes = (listener.receive_buffer, listener.send_buffer);
        let Role::Listening { waiting, .. } = &mut listener.role else { return Err(error(libc::EINVAL)) };
        let Some(stream) = waiting.pop_front() else { return Err(error(libc::EAGAIN)) };
        if aborts {
            self.close_end(stream, Side::Server, true);
            return Err(error(libc::ECONNABORTED));
        }
        let Some(end) = self.end_mut(stream, Side::Server) else { return Err(error(libc::ECONNABORTED)) };
        let local = end.address.clone();
        let accepted = self.enter_socket(local, Role::End(stream, Side::Server))?;
        let socket = self.socket(accepted)?;
        (socket.receive_buffer, socket.send_buffer) = sizes;
        self.take_over(accepted, stream, Side::Server)?;
        let peer = self.stream(stream).map(|stream| stream.end(Side::Client).address.clone());
        Ok((accepted, peer.ok_or_else(|| error(libc::ECONNABORTED))?))
    }

    /// An end becomes a socket's, with the socket's buffers.
    fn take_over(&mut self, number: i32, stream: Id, side: Side) -> io::Result<()> {
        let id = self.id_of(number)?;
        let socket = self.socket(number)?;
        let asked = (socket.receive_buffer, socket.send_buffer);
        let (receive_buffer, send_buffer) = (self.buffer_size(asked.0), self.buffer_size(asked.1));
        if let Some(end) = self.end_mut(stream, side) {
            end.owner = Owner::Socket(id);
            (end.receive_buffer, end.send_buffer) = (receive_buffer, send_buffer);
        }
        Ok(())
    }

    /// See connect(2). `false`: it is under way.
    pub(super) fn connect(&mut self, number: i32, target: &SocketAddress) -> io::Result<bool> {
        let socket = self.socket(number)?;
        if matches!(socket.role, Role::Datagram(_)) {
            return self.connect_datagram(number, target);
        }
        if !matches!(socket.role, Role::Fresh) {
            return Err(error(libc::EALREADY));
        }
        let local = socket.local.clone();
        let local = self.local_for(&local, target);
        if target.is_unix() && self.listener_at(target).is_none() && !self.remotes.is_at(target) {
            return Err(error(libc::ECONNREFUSED));
        }
        let stream = self.join(number, local, target)?;
        self.send_knock(stream);
        let phase = self.stream(stream).map(|stream| stream.end(Side::Client).phase);
        Ok(phase == Some(Phase::Open))
    }

    /// A socket becomes the client's end of a new stream.
    fn join(&mut self, number: i32, local: SocketAddress, target: &SocketAddress) -> io::Result<Id> {
        let stream = self.begin_stream(local.clone(), target.clone(), Owner::Nobody);
        let socket = self.socket(number)?;
        (socket.role, socket.local) = (Role::End(stream, Side::Client), local);
        self.take_over(number, stream, Side::Client)?;
        Ok(stream)
    }

    /// A fresh socket becomes one of a pair; see socketpair(2).
    pub(super) fn join_to_outside(&mut self, number: i32) -> io::Result<Id> {
        self.join(number, UnixName::Unnamed.into(), &UnixName::Unnamed.into())
    }

    /// The address that a socket has which connects to `target`.
    pub(super) fn local_for(&mut self, bound: &SocketAddress, target: &SocketAddress) -> SocketAddress {
        let (SocketAddress::Inet(bound), SocketAddress::Inet(target)) = (bound, target) else { return bound.clone() };
        let ip = match target.ip() {
            _ if !bound.ip().is_unspecified() => bound.ip(),
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let port = if bound.port() == 0 { self.free_port() } else { bound.port() };
        SocketAddr::new(ip, port).into()
    }

    /// Makes the two ends of an attempt to connect.
    pub(super) fn begin_stream(&mut self, from: SocketAddress, to: SocketAddress, owner: Owner) -> Id {
        let id = self.new_id();
        let unix = to.is_unix();
        self.streams.insert(id, Stream::new(End::new(from, owner), End::new(to, Owner::Nobody), unix));
        id
    }

    /// Asks for a connection; on a Unix socket the answer is there at once.
    pub(super) fn send_knock(&mut self, stream: Id) {
        if self.stream(stream).is_some_and(|stream| stream.unix) {
            return self.knock(stream, 0);
        }
        let delay = self.delay();
        self.schedule(delay, Occurrence::Knock { stream, tries: 0 });
    }

    /// The request to connect reaches who listens there, if anybody does. A full backlog hears nothing, and the client asks
    /// again after a second, two, four.
    pub(super) fn knock(&mut self, stream: Id, tries: u32) {
        let Some(target) = self.stream(stream).map(|stream| stream.end(Side::Server).address.clone()) else { return };
        if self.stream(stream).is_some_and(|stream| stream.end(Side::Client).phase != Phase::Connecting) {
            return;
        }
        if self.remotes.is_at(&target) {
            return self.knock_remote(stream, &target);
        }
        let Some(listener) = self.listener_at(&target) else { return self.refuse(stream, libc::ECONNREFUSED) };
        if self.push_into_backlog(listener, stream) {
            self.open_stream(stream, Owner::Backlog(listener));
            return self.notify(listener, bits(libc::EPOLLIN));
        }
        if tries == SYN_RETRIES {
            return self.refuse(stream, libc::ETIMEDOUT);
        }
        self.schedule(SECOND_NS << tries, Occurrence::Knock { stream, tries: tries + 1 });
    }

    /// A request to connect reaches a host outside.
    pub(super) fn knock_remote(&mut self, stream: Id, target: &SocketAddress) {
        let fails = self.fails(|faults| faults.connect_failure);
        let failure = *self.random.pick(&[Answer::Refuse, Answer::Unreachable, Answer::Silence]);
        let Some(host) = self.remotes.at(target) else { return };
        match if fails { failure } else { host.answer } {
            Answer::Accept => {
                host.waiting.push_back(stream);
                self.open_stream(stream, Owner::Peer { reads: true });
                if let Some(end) = self.end_mut(stream, Side::Server) {
                    end.held = true;
                }
            }
            Answer::Refuse => self.refuse(stream, libc::ECONNREFUSED),
            Answer::Unreachable => self.refuse(stream, libc::EHOSTUNREACH),
            Answer::Silence => self.schedule(SYN_TIMEOUT_NS, Occurrence::Refusal { stream, errno: libc::ETIMEDOUT }),
        }
    }

    pub(super) fn waiting_clients(&self) -> usize {
        self.sockets()
            .map(|(_, socket)| if let Role::Listening { waiting, .. } = &socket.role { waiting.len() } else { 0 })
            .sum()
    }

    /// Of several listeners at an address one is picked, as `SO_REUSEPORT` does.
    fn listener_at(&mut self, target: &SocketAddress) -> Option<Id> {
        let listens = |socket: &Socket| matches!(socket.role, Role::Listening { .. }) && overlap(&socket.local, target);
        let found: Vec<Id> = self.sockets().filter(|(_, socket)| listens(socket)).map(|(id, _)| id).collect();
        if found.len() < 2 { found.first().copied() } else { Some(*self.random.pick(&found)) }
    }

    fn push_into_backlog(&mut self, listener: Id, stream: Id) -> bool {
        let Some(Object::Socket(Socket { role: Role::Listening { backlog, waiting }, .. })) =
            self.objects.get_mut(&listener)
        else {
            return false;
        };
        // The kernel lets one more wait than was asked for.
        let fits = waiting.len() <= *backlog;
        if fits {
            waiting.push_back(stream);
        }
        fits
    }

    /// The connection is made.
    pub(super) fn open_stream(&mut self, id: Id, server: Owner) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.open(server);
        self.note("connected", id.cast_signed(), 0);
        self.notify_end(id, Side::Client, ANYTHING);
        self.transmit(id, Side::Client);
    }

    /// The connection is not made.
    pub(super) fn refuse(&mut self, id: Id, errno: i32) {
        let Some(end) = self.end_mut(id, Side::Client) else { return };
        if end.phase == Phase::Connecting {
            end.error = Some(errno);
            self.die(id, Side::Client);
        }
        if let Some(end) = self.end_mut(id, Side::Server) {
            end.phase = Phase::Dead;
        }
        self.forget_if_gone(id);
    }

    /// A socket was closed.
    pub(super) fn close_socket(&mut self, socket: Socket) {
        match socket.role {
            Role::Fresh | Role::Datagram(_) => {}
            // Who waits to be accepted is turned away.
            Role::Listening { waiting, .. } => {
                waiting.into_iter().for_each(|stream| self.close_end(stream, Side::Server, true));
            }
            // A Unix socket knows no `SO_LINGER`.
            Role::End(stream, side) => {
                self.close_end(stream, side, socket.reset_on_close && !socket.local.is_unix());
            }
        }
    }

    /// See getpeername(2).
    pub(super) fn peer_address(&mut self, number: i32) -> io::Result<SocketAddress> {
        if matches!(self.socket(number)?.role, Role::Datagram(_)) {
            return self.datagram_peer(number);
        }
        let (stream, side) = self.end_of(number)?;
        let stream = self.stream(stream).ok_or_else(|| error(libc::ENOTCONN))?;
        if !stream.unix && stream.end(side).phase != Phase::Open {
            return Err(error(libc::ENOTCONN));
        }
        Ok(stream.end(side.other()).address.clone())
    }

    /// `SO_ERROR`.
    pub(super) fn take_error(&mut self, number: i32) -> io::Result<i32> {
        if matches!(self.socket(number)?.role, Role::Datagram(_)) {
            return self.take_datagram_error(number);
        }
        let Role::End(stream, side) = self.socket(number)?.role else { return Ok(0) };
        Ok(self.end_mut(stream, side).and_then(|end| end.error.take()).unwrap_or(0))
    }
}

/// Whether two addresses are one for who listens: a wildcard is every address.
pub(super) fn overlap(one: &SocketAddress, other: &SocketAddress) -> bool {
    match (one, other) {
        (SocketAddress::Inet(one), SocketAddress::Inet(other)) => {
            let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && same_ip
        }
        (SocketAddress::Unix(UnixName::Unnamed), _) => false,
        _ => one == other,
    }
}

/// What `net.core.somaxconn` is by default.
const SOMAXCONN: u32 = 4096;

/// What `net.ipv4.tcp_syn_retries` is by default.
const SYN_RETRIES: u32 = 6;

const SECOND_NS: u64 = 1_000_000_000;

/// Six retries, each after twice the time of the one before; see `tcp_syn_retries` in tcp(7).
const SYN_TIMEOUT_NS: u64 = 127_000_000_000;
