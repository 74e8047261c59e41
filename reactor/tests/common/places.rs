//! Places to listen at and to connect to, that nobody else takes and that behave as they are named.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, ipproto, socket};

use super::{Client, DEADLINE};

/// A loopback address of this process alone. Nobody else takes a port here that has just become free; and who connects to
/// it comes from 127.0.0.1, so no socket meets itself.
pub(crate) fn loopback() -> Ipv4Addr {
    // A process id has 22 bits at most (see proc(5)), so this is in the upper half of 127.0.0.0/8.
    Ipv4Addr::from_bits(127 << 24 | 1 << 23 | process::id())
}

/// Port 0 of it.
pub(crate) fn any_port() -> SocketAddr {
    (loopback(), 0).into()
}

/// An address at which nobody listens, for as long as this is kept.
pub(crate) struct Vacant {
    pub(crate) address: SocketAddr,
    _bound: OwnedFd,
}

impl Vacant {
    pub(crate) fn new() -> Self {
        let bound = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP)).expect("a descriptor is free");
        bind(&bound, &any_port()).expect("port 0 is free");
        let address = getsockname(&bound).expect("it is bound").try_into().expect("it is of the internet");
        Self { address, _bound: bound }
    }
}

/// A listener that lets nobody in any more: its backlog holds one, who is there, and nobody accepts.
pub(crate) struct Full {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    _inside: TcpStream,
}

impl Full {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind(any_port()).expect("port 0 is free");
        rustix::net::listen(&listener, 0).expect("it listens");
        let address = listener.local_addr().expect("it is bound");
        let inside = TcpStream::connect(address).expect("there is room for one");
        // The client is connected a moment before the backlog counts it.
        let mut counted = [PollFd::new(&listener, PollFlags::IN)];
        let deadline = Timespec::try_from(DEADLINE).expect("it is short");
        assert_eq!(poll(&mut counted, Some(&deadline)), Ok(1), "the backlog holds the client");
        Self { address, listener, _inside: inside }
    }

    /// Lets in who waits outside, once the kernel has tried again.
    pub(crate) fn let_in(&self) -> Client {
        self.listener.accept().expect("it is inside");
        let mut waits = [PollFd::new(&self.listener, PollFlags::IN)];
        let deadline = Timespec::try_from(DEADLINE).expect("it is short");
        assert_eq!(poll(&mut waits, Some(&deadline)), Ok(1), "it tries again");
        let (stream, _) = self.listener.accept().expect("it has come");
        stream.set_read_timeout(Some(DEADLINE)).expect("it is no zero");
        Client::Tcp(stream)
    }
}
