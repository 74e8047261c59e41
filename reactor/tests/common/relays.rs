//! What the tests of relays share: a loop that relays each client to a target, which the test plays.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::thread;

use reactor::{ConnectOptions, Context, Handler, Input, Limits, Result, SocketAddress, UnixName};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::common::{Client, DEADLINE, Events, Logged, TestLoop, Transport, any_port, assert_pattern, fill_pattern};

/// One side of a relay: a client that is to be passed on, or what is connected for it.
pub(crate) struct Side {
    pub(crate) target: Option<SocketAddress>,
}

impl Handler for Side {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        let Some(target) = self.target.take() else { return Ok(()) };
        relay_to(cx, target)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        unreachable!("what comes is relayed")
    }
}

/// Connects to the target and relays.
pub(crate) fn relay_to(cx: &mut Context<'_>, target: SocketAddress) -> Result {
    let other = cx.connect(target, &ConnectOptions::default(), Side { target: None })?;
    cx.relay_to(other)
}

/// A loop that relays, and its target.
pub(crate) struct Relays {
    pub(crate) server: TestLoop,
    pub(crate) events: Events,
    pub(crate) target: Target,
}

impl Relays {
    pub(crate) fn start(transport: Transport, limits: Limits) -> Self {
        let target = Target::new(transport);
        let address = target.address();
        let (log, events) = Events::new();
        let log_of_targets = log.clone();
        let server = TestLoop::serve_with(limits, transport, move || Relayed {
            log: log_of_targets.clone(),
            target: address.clone(),
        });
        Self { server, events, target }
    }

    /// A client, and the target's end of what is connected for it.
    pub(crate) fn pair(&self) -> (Client, Client) {
        let client = self.server.client();
        (client, self.target.accept())
    }
}

/// A client whose callbacks are logged, as are those of the other side.
struct Relayed {
    log: crate::common::Log,
    target: SocketAddress,
}

impl Handler for Relayed {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        let other = Logged::new(&self.log, Side { target: None });
        let other = cx.connect(self.target.clone(), &ConnectOptions::default(), other)?;
        cx.relay_to(other)?;
        cx.replace_handler(Logged::new(&self.log, Side { target: None }));
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        unreachable!("what comes is relayed")
    }
}

/// Where relays lead to.
pub(crate) enum Target {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Target {
    pub(crate) fn new(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp(TcpListener::bind(any_port()).expect("port 0 is free")),
            Transport::Unix => {
                let name = transport.address();
                let name = name.strip_prefix("unix:@").expect("it is an abstract name");
                let address = UnixAddr::from_abstract_name(name).expect("it is short");
                Self::Unix(UnixListener::bind_addr(&address).expect("nobody has the name"))
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddress {
        match self {
            Self::Tcp(listener) => listener.local_addr().expect("it is bound").into(),
            Self::Unix(listener) => {
                let address = listener.local_addr().expect("it is bound");
                UnixName::Abstract(address.as_abstract_name().expect("it is abstract").to_vec()).into()
            }
        }
    }

    pub(crate) fn accept(&self) -> Client {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().expect("it comes");
                stream.set_read_timeout(Some(DEADLINE)).expect("it is no zero");
                stream.set_write_timeout(Some(DEADLINE)).expect("it is no zero");
                Client::Tcp(stream)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().expect("it comes");
                stream.set_read_timeout(Some(DEADLINE)).expect("it is no zero");
                stream.set_write_timeout(Some(DEADLINE)).expect("it is no zero");
                Client::Unix(stream)
            }
        }
    }
}

/// Sends so many bytes of the stream from `offset` on, and ends the direction.
pub(crate) fn send_pattern(client: &mut Client, offset: usize, total: usize) {
    let mut piece = vec![0; 128 << 10];
    let mut sent = 0;
    while sent < total {
        let count = piece.len().min(total - sent);
        fill_pattern(offset + sent, &mut piece[..count]);
        client.write_all(&piece[..count]).expect("it is taken");
        sent += count;
    }
    client.end();
}

/// Sends the stream from its beginning until nothing moves any more, and says how much went.
pub(crate) fn send_until_it_stands(client: &mut Client) -> usize {
    let mut piece = vec![0; 128 << 10];
    let mut sent = 0;
    loop {
        fill_pattern(sent, &mut piece);
        match rustix::net::send(client.as_fd(), &piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::new(client, PollFlags::OUT)];
                if poll(&mut room, Some(&A_WHILE)).expect("it can be waited for") == 0 {
                    return sent;
                }
            }
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
}

/// Far longer than bytes take from one end to the other.
const A_WHILE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Receives so many bytes of the stream from `offset` on, and then its end.
pub(crate) fn expect_pattern(client: &mut Client, offset: usize, total: usize) {
    let mut piece = vec![0; 128 << 10];
    let mut received = 0;
    loop {
        let count = client.read(&mut piece).expect("the stream goes on");
        assert_pattern(offset + received, &piece[..count]);
        received += count;
        if count == 0 {
            return assert_eq!(received, total);
        }
    }
}

/// Two hands on each of two directions, and where in the stream each begins.
pub(crate) type Ends = [(Client, Client, usize); 2];

pub(crate) fn ends((client, server): &(Client, Client)) -> Ends {
    [(client.twin(), server.twin(), 0), (server.twin(), client.twin(), 1000)]
}

/// Sends so many bytes each way at once, other ones each way, and expects them and the two ends.
pub(crate) fn pass(ends: Ends, total: usize) {
    let threads = ends.map(|(mut from, mut to, offset)| {
        let write = move || {
            send_pattern(&mut from, offset, total);
            from
        };
        let read = move || {
            expect_pattern(&mut to, offset, total);
            to
        };
        [thread::spawn(write), thread::spawn(read)]
    });
    // No descriptor becomes free before the end.
    let hands: Vec<_> = threads.into_iter().flatten().map(|thread| thread.join().expect("all bytes pass")).collect();
    drop(hands);
}

pub(crate) fn pass_both_ways(pair: &(Client, Client), total: usize) {
    pass(ends(pair), total);
}
