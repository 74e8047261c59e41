//! Who is at the other end of a Unix socket is told by the kernel; a socket pair and sockets made elsewhere can be served.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/more.rs"]
mod more;

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use common::{DEADLINE, Echo, Silent, TestLoop, Transport, any_port};
use more::Script;
use reactor::{ConnectOptions, Credentials, EventLoop, Limits};

const ROLE: &str = "REACTOR_CREDENTIALS_TEST";

fn ourselves() -> (u32, u32, u32) {
    (std::process::id(), rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn parts(credentials: Credentials) -> (u32, u32, u32) {
    (credentials.pid, credentials.uid, credentials.gid)
}

/// A loop that listens on a Unix socket, and tells who has connected.
fn telling() -> (TestLoop, mpsc::Receiver<Credentials>) {
    let (told, is_told) = mpsc::channel();
    let server = TestLoop::serve_with(Limits::default(), Transport::Unix, move || {
        let told = told.clone();
        Script::new().open(move |cx| {
            told.send(cx.peer_credentials()?).unwrap();
            cx.send("seen")
        })
    });
    (server, is_told)
}

#[test]
fn who_connected_is_told() {
    let (server, told) = telling();
    let _client = server.client();
    assert_eq!(parts(told.recv_timeout(DEADLINE).unwrap()), ourselves());
}

/// What the process does that another test starts; it is no test by itself.
#[test]
fn connects() {
    let Some(name) = env::var_os(ROLE) else { return };
    let address = SocketAddr::from_abstract_name(name.as_encoded_bytes()).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).unwrap();
    // Until it has been looked at.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn another_process_is_told_from_this_one() {
    let (server, told) = telling();
    let address = server.address().to_string();
    let name = address.strip_prefix("unix:@").expect("it is an abstract name");
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "connects"])
        .env(ROLE, name)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (_, uid, gid) = ourselves();
    assert_eq!(parts(told.recv_timeout(DEADLINE).unwrap()), (child.id(), uid, gid));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_listening_side_is_told_too() {
    let (server, _told) = telling();
    let address = server.address().clone();
    let (told, is_told) = mpsc::channel();
    server.on_loop(move |cx| {
        let client = Script::new().open(move |cx| {
            told.send(cx.peer_credentials()?).unwrap();
            Ok(())
        });
        cx.connect(address, &ConnectOptions::default(), client).map(drop).unwrap();
    });
    assert_eq!(parts(is_told.recv_timeout(DEADLINE).unwrap()), ourselves());
}

#[test]
fn both_ends_of_a_pair_can_be_served() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (one, other) = UnixStream::pair().unwrap();
    let (told, is_told) = mpsc::channel();
    server.on_loop(move |cx| {
        cx.adopt(one, Echo).unwrap();
        let asks = Script::new().open(|cx| cx.send("hello")).data(move |cx, input| {
            told.send((input.take().to_vec(), cx.peer_credentials()?)).unwrap();
            cx.close_after_flush()
        });
        cx.adopt(other, asks).unwrap();
    });
    let (bytes, credentials) = is_told.recv_timeout(DEADLINE).unwrap();
    assert_eq!((&bytes[..], parts(credentials)), (&b"hello"[..], ourselves()));
    server.eventually("both are closed", |metrics| metrics.open == 0);
    let metrics = server.metrics();
    assert_eq!((metrics.connected, metrics.closed.closed, metrics.closed.eof), (2, 1, 1));
}

#[test]
fn a_tcp_connection_made_elsewhere_is_served_with_what_it_has_received() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let listener = TcpListener::bind(any_port()).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"early").unwrap();
    let (accepted, _) = listener.accept().unwrap();
    server.on_loop(move |cx| cx.adopt(accepted, Echo).map(drop).unwrap());
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"early");
}

#[test]
fn what_is_no_connected_stream_is_refused() {
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    let mut kind = |fd: OwnedFd| cx.adopt(fd, Silent).unwrap_err().kind();
    let listener = TcpListener::bind(any_port()).unwrap();
    assert_eq!(kind(listener.into()), ErrorKind::NotConnected);
    let (datagrams, _other) = UnixDatagram::pair().unwrap();
    assert_eq!(kind(datagrams.into()), ErrorKind::InvalidInput);
    let (reader, _writer) = std::io::pipe().unwrap();
    assert!(cx.adopt(reader, Silent).is_err());
    assert_eq!(event_loop.metrics().open, 0);
}
