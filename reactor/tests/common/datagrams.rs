//! What the tests of datagrams share: a handler that tells the test what it hears, and plain sockets for peers.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use reactor::{
    CloseReason, DatagramContext, DatagramError, DatagramHandler, DatagramId, DatagramOptions, LoopContext, Result,
    SocketAddress, TimerId, UnixName,
};

use super::common::{DEADLINE, TestLoop};

/// What a handler has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Open,
    Datagram(Vec<u8>),
    Error {
        kind: ErrorKind,
        destination: Option<SocketAddress>,
        reporter: Option<IpAddr>,
        icmp: Option<(u8, u8)>,
    },
    Drained,
    Timer(TimerId),
    Shutdown,
    Close(&'static str),
    /// What the test itself wrote.
    Note(String),
}

/// The end of the log that the test reads.
pub(crate) struct Ears(Receiver<Heard>);

impl Ears {
    #[track_caller]
    pub(crate) fn next(&self) -> Heard {
        self.0.recv_timeout(DEADLINE).expect("a callback comes within the deadline")
    }

    #[track_caller]
    pub(crate) fn expect(&self, expected: &Heard) {
        assert_eq!(self.next(), *expected);
    }

    #[track_caller]
    pub(crate) fn expect_datagram(&self, expected: &[u8]) {
        match self.next() {
            Heard::Datagram(bytes) => assert!(bytes == expected, "{} bytes instead of {}", bytes.len(), expected.len()),
            other => panic!("{other:?} instead of a datagram"),
        }
    }

    /// Skips to the first that is wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = self.next();
            if wanted(&heard) {
                return heard;
            }
        }
    }

    pub(crate) fn so_far(&self) -> Vec<Heard> {
        self.0.try_iter().collect()
    }
}

type OnDatagram = Box<dyn FnMut(&mut DatagramContext<'_>, &SocketAddress, &[u8]) -> Result + Send>;

/// A handler that logs all it hears and then does what it was told to.
pub(crate) struct Listening {
    log: Sender<Heard>,
    on_datagram: OnDatagram,
    stays: bool,
}

impl Listening {
    /// One that only listens.
    pub(crate) fn new() -> (Self, Ears) {
        Self::doing(|_, _, _| Ok(()))
    }

    /// One that answers each datagram with the same.
    pub(crate) fn echo() -> (Self, Ears) {
        Self::doing(|cx, _, bytes| cx.reply(bytes))
    }

    pub(crate) fn doing(
        on_datagram: impl FnMut(&mut DatagramContext<'_>, &SocketAddress, &[u8]) -> Result + Send + 'static,
    ) -> (Self, Ears) {
        let (log, ears) = mpsc::channel();
        (Self { log, on_datagram: Box::new(on_datagram), stays: false }, Ears(ears))
    }

    /// Does not close by itself in a drain.
    pub(crate) fn staying(mut self) -> Self {
        self.stays = true;
        self
    }

    fn log(&self, heard: Heard) {
        // The test may have heard enough.
        let _ = self.log.send(heard);
    }
}

impl DatagramHandler for Listening {
    fn on_open(&mut self, _cx: &mut DatagramContext<'_>) -> Result {
        self.log(Heard::Open);
        Ok(())
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, from: &SocketAddress, bytes: &[u8]) -> Result {
        self.log(Heard::Datagram(bytes.to_vec()));
        (self.on_datagram)(cx, from, bytes)
    }

    fn on_error(&mut self, _cx: &mut DatagramContext<'_>, error: &DatagramError) -> Result {
        let DatagramError { destination, reporter, icmp, .. } = error;
        let kind = error.error.kind();
        self.log(Heard::Error { kind, destination: destination.clone(), reporter: *reporter, icmp: *icmp });
        Ok(())
    }

    fn on_drained(&mut self, _cx: &mut DatagramContext<'_>) -> Result {
        self.log(Heard::Drained);
        Ok(())
    }

    fn on_timer(&mut self, _cx: &mut DatagramContext<'_>, timer: TimerId) -> Result {
        self.log(Heard::Timer(timer));
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut DatagramContext<'_>, _deadline: Instant) -> Result {
        self.log(Heard::Shutdown);
        if self.stays { Ok(()) } else { cx.finish() }
    }

    fn on_close(&mut self, _cx: &mut DatagramContext<'_>, reason: &CloseReason) {
        self.log(Heard::Close(reason.name()));
    }
}

/// Binds a socket on a running loop, and waits until its handler is called.
#[track_caller]
pub(crate) fn bind(
    server: &TestLoop,
    address: &str,
    options: &DatagramOptions,
    (handler, ears): (Listening, Ears),
) -> (DatagramId, SocketAddress, Ears) {
    let (address, options) = (address.to_owned(), options.clone());
    let (id, local) = server.on_loop(move |cx| {
        let id = cx.bind_datagram(&*address, &options, handler).expect("the address is free");
        (id, local_address(cx, id))
    });
    ears.expect(&Heard::Open);
    (id, local, ears)
}

/// Waits until datagrams wait for room, and the loop is past trying to send them.
#[track_caller]
pub(crate) fn wait_until_some_wait(server: &TestLoop) {
    server.eventually("some wait", |metrics| metrics.buffered > 0);
    server.on_loop(|_| ());
    server.on_loop(|_| ());
    assert!(server.metrics().buffered > 0);
}

/// [`bind`] on UDP, with default options.
#[track_caller]
pub(crate) fn bind_udp(server: &TestLoop, handler: (Listening, Ears)) -> (DatagramId, SocketAddr, Ears) {
    let (id, local, ears) = bind(server, "udp://127.0.0.1:0", &DatagramOptions::default(), handler);
    (id, local.as_inet().expect("it is UDP"), ears)
}

pub(crate) fn local_address(cx: &mut LoopContext<'_>, id: DatagramId) -> SocketAddress {
    cx.datagram(id).expect("it is open").local_address()
}

/// A client that waits for no longer than the deadline.
pub(crate) fn udp_client() -> UdpSocket {
    udp_client_on("127.0.0.1:0")
}

pub(crate) fn udp_client_on(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("port 0 is free");
    socket.set_read_timeout(Some(DEADLINE)).expect("the option is known");
    socket
}

#[track_caller]
pub(crate) fn receive(client: &UdpSocket) -> Vec<u8> {
    receive_from(client).0
}

#[track_caller]
pub(crate) fn receive_from(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (count, from) = client.recv_from(&mut bytes).expect("a datagram comes within the deadline");
    bytes.truncate(count);
    (bytes, from)
}

/// A port that is taken, and from which all that others send is refused: its owner listens to itself alone.
pub(crate) fn deaf_port() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("port 0 is free");
    let address = socket.local_addr().expect("it is bound");
    socket.connect(address).expect("it can be connected to itself");
    (socket, address)
}

/// An abstract name that nobody else has.
pub(crate) fn abstract_name() -> Vec<u8> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("reactor-datagram-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)).into_bytes()
}

/// A Unix socket with an abstract name that waits for no longer than the deadline.
pub(crate) fn unix_peer() -> (UnixDatagram, SocketAddress) {
    let name = abstract_name();
    let address = net::SocketAddr::from_abstract_name(&name).expect("it fits");
    let socket = UnixDatagram::bind_addr(&address).expect("the name is free");
    socket.set_read_timeout(Some(DEADLINE)).expect("the option is known");
    (socket, SocketAddress::Unix(UnixName::Abstract(name)))
}

/// `unix-dgram:@` and a name that nobody else has.
pub(crate) fn unix_url() -> String {
    format!("unix-dgram:@{}", String::from_utf8(abstract_name()).expect("it is ASCII"))
}

/// Sends to a socket with an abstract name.
#[track_caller]
pub(crate) fn unix_send(socket: &UnixDatagram, bytes: &[u8], to: &SocketAddress) {
    let Some(UnixName::Abstract(name)) = to.as_unix() else { panic!("{to} is no abstract name") };
    let to = net::SocketAddr::from_abstract_name(name).expect("it fits");
    assert_eq!(socket.send_to_addr(bytes, &to).expect("it is there"), bytes.len());
}

#[track_caller]
pub(crate) fn unix_receive(socket: &UnixDatagram) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let count = socket.recv(&mut bytes).expect("a datagram comes within the deadline");
    bytes.truncate(count);
    bytes
}
