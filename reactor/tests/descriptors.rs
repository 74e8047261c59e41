//! A loop owns its descriptors: one that is held elsewhere, shut down behind its back, of the wrong kind, or offered twice
//! harms nobody.

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Client, Echo, Event, Events, Log, Logged, TestLoop, any_port};
use reactor::{EventLoop, Limits, ListenOptions, Listener};
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Who looks for one descriptor holds others for a moment, and what is held does not close: the tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A second descriptor of the socket at the other end of `client`, as a process has it that was forked, or handed it.
fn held_elsewhere(client: &TcpStream) -> OwnedFd {
    let peer = client.local_addr().expect("it is connected");
    let ourselves =
        pidfd_open(Pid::from_raw(std::process::id().cast_signed()).expect("it is not zero"), PidfdFlags::empty());
    let ourselves = ourselves.expect("a process may look at itself");
    let numbers = std::fs::read_dir("/proc/self/fd").expect("proc is mounted");
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // Other tests open and close theirs meanwhile.
    let mut copies = numbers.filter_map(|number| pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty()).ok());
    copies.find(|copy| is_connected_to(copy, peer)).expect("the loop has accepted it")
}

fn is_connected_to(fd: &OwnedFd, peer: SocketAddr) -> bool {
    rustix::net::getpeername(fd).ok().flatten().is_some_and(|address| SocketAddr::try_from(address) == Ok(peer))
}

fn tcp(client: &Client) -> &TcpStream {
    let Client::Tcp(stream) = client else { panic!("it is TCP") };
    stream
}

fn serve(log: Log) -> TestLoop {
    TestLoop::serve(move || Logged::new(&log, Echo))
}

#[test]
fn a_closed_connection_that_somebody_else_holds_is_silent_here() {
    let _alone = alone();
    let (log, events) = Events::new();
    let server = serve(log);
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut client = server.client();
        let id = events.expect(&Event::Open);
        let elsewhere = held_elsewhere(tcp(&client));
        server.on_loop(move |cx| cx.peer(id).expect("it is open").close());
        events.expect_close("closed");
        // It would linger, and take what comes, if that came before its end.
        server.eventually("it is closed", |metrics| (metrics.open, metrics.lingering) == (0, 0));
        // The socket lives on, and with it what the kernel tells of it. Its number and its place are given anew.
        client.send("for whoever has it now");
        held.push((client, elsewhere));
        let mut next = server.client();
        let new = events.expect(&Event::Open);
        assert_ne!(new, id);
        next.send("for the new one");
        next.expect("for the new one");
        assert_eq!(events.expect(&Event::Data(b"for the new one".to_vec())), new);
        next.reset();
        assert_eq!(events.expect_close("error").id, new);
    }
    held.iter_mut().for_each(|(client, _)| client.send("more"));
    server.assert_quiet();
    for (mut client, elsewhere) in held {
        let mut stream = TcpStream::from(elsewhere);
        stream.set_nonblocking(false).expect("it is a socket");
        stream.set_read_timeout(Some(common::DEADLINE)).expect("it is a socket");
        let mut bytes = [0; 26];
        stream.read_exact(&mut bytes).expect("who holds it reads it");
        assert_eq!(&bytes, b"for whoever has it nowmore");
        drop(stream);
        client.expect_end();
    }
    assert_eq!(events.so_far(), []);
}

#[test]
fn a_connection_that_somebody_else_shuts_down_ends() {
    let _alone = alone();
    for how in [Shutdown::Read, Shutdown::Both] {
        let (log, events) = Events::new();
        let server = serve(log);
        let client = server.client();
        events.expect(&Event::Open);
        TcpStream::from(held_elsewhere(tcp(&client))).shutdown(how).expect("it is connected");
        events.expect(&Event::Eof);
        events.expect_close("eof");
        assert_eq!(events.so_far(), []);
    }
}

#[test]
fn a_listener_offered_twice_is_refused_and_the_first_serves_on() {
    let _alone = alone();
    let options = ListenOptions::default();
    let listener = Listener::bind(any_port(), &options).expect("port 0 is free");
    let address = listener.local_address().clone();
    let mut event_loop = EventLoop::new(()).expect("a loop can be made");
    event_loop.listen_on(listener.clone(), &options, |_| Echo).expect("it can be watched");
    for _ in 0..3 {
        let again = event_loop.listen_on(listener.clone(), &options, |_| Echo);
        assert_eq!(again.expect_err("it is watched already").kind(), ErrorKind::AlreadyExists);
    }
    drop(listener);
    assert_eq!(event_loop.local_addresses(), std::slice::from_ref(&address));
    let mut client = Client::connect(&address);
    let handle = event_loop.handle();
    let running = std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send("hello");
            client.expect("hello");
            handle.shutdown(common::DEADLINE).expect("the loop runs");
            client.expect_end();
        });
        event_loop.run()
    });
    assert_eq!(running.expect("the loop does not fail").clean, 1);
    // Nothing of what was refused keeps the socket.
    Client::try_connect(&address).expect_err("nobody listens");
}

#[test]
fn what_is_no_listening_stream_socket_is_refused() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("there is room");
    let connected = TcpListener::bind(any_port()).and_then(|listener| TcpStream::connect(listener.local_addr()?));
    let kinds: [(&str, OwnedFd); 9] = [
        ("a file", File::create(directory.path().join("file")).expect("there is room").into()),
        ("a directory", File::open(directory.path()).expect("it is there").into()),
        ("a device", File::open("/dev/null").expect("it is there").into()),
        ("a pipe", std::io::pipe().expect("a pipe can be made").0.into()),
        ("an epoll instance", epoll::create(epoll::CreateFlags::CLOEXEC).expect("one can be made")),
        ("a datagram socket", UdpSocket::bind(any_port()).expect("port 0 is free").into()),
        ("a Unix datagram socket", UnixDatagram::unbound().expect("one can be made").into()),
        ("a Unix stream", UnixStream::pair().expect("a pair can be made").0.into()),
        ("a connection", connected.expect("it is connected").into()),
    ];
    for (what, fd) in kinds {
        assert!(Listener::from_fd(fd).is_err(), "{what} was taken for a listener");
    }
}

#[test]
fn a_listener_that_fails_is_closed_and_the_others_serve_on() {
    let _alone = alone();
    let fails = TcpListener::bind(any_port()).expect("port 0 is free");
    let twin = OwnedFd::from(fails.try_clone().expect("a descriptor is free"));
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let options = ListenOptions::default();
        let listener = Listener::from_fd(fails.into()).expect("it listens");
        event_loop.listen_on(listener, &options, |_| Echo).expect("it can be watched");
        event_loop.listen(any_port(), &options, |_| Echo).expect("port 0 is free");
    });
    let mut before = server.client();
    before.send("before");
    before.expect("before");
    // A socket that was shut down listens no more, and says so to who accepts.
    rustix::net::shutdown(&twin, rustix::net::Shutdown::Both).expect("it listens");
    let mut other = Client::connect(&server.addresses()[1]);
    for client in [&mut before, &mut other] {
        client.write_all(b"after").expect("the loop serves");
        client.expect("after");
    }
    server.assert_quiet();
}
