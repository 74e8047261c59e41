//! Every option reaches the socket, by what getsockopt(2) says, wherever it is set; what is refused is named.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use libc::{IPPROTO_TCP, SOL_SOCKET, c_int};
use rustix::net::sockopt;

use super::{Keepalive, SocketOptions};
use crate::Result;
use crate::context::Context;
use crate::event_loop::EventLoop;
use crate::handler::Handler;
use crate::input::Input;
use crate::net::connect::ConnectOptions;
use crate::net::listener::{ListenOptions, Listener};
use crate::sys::fd::FdRef;
use crate::sys::stream_option::read_back;

/// Options that neither need a privilege nor a role, and what getsockopt(2) then says.
fn common() -> (SocketOptions, Vec<(c_int, c_int, c_int)>) {
    let keepalive = Keepalive::after(Duration::from_millis(60_500)).interval(Duration::from_secs(11)).count(4);
    let options = SocketOptions::default()
        .nodelay(false)
        .keepalive(keepalive)
        .user_timeout(Duration::from_millis(12_345))
        .linger(Duration::ZERO)
        .receive_buffer(100_000_u32)
        .send_buffer(50_000_u32)
        .notsent_lowat(16_384_u32)
        .congestion("reno")
        .priority(5_u32);
    let expected = vec![
        (IPPROTO_TCP, libc::TCP_NODELAY, 0),
        (SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (IPPROTO_TCP, libc::TCP_KEEPIDLE, 61),
        (IPPROTO_TCP, libc::TCP_KEEPINTVL, 11),
        (IPPROTO_TCP, libc::TCP_KEEPCNT, 4),
        (IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 12_345),
        // The kernel doubles what it is asked for; see socket(7).
        (SOL_SOCKET, libc::SO_RCVBUF, 200_000),
        (SOL_SOCKET, libc::SO_SNDBUF, 100_000),
        (IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 16_384),
        (SOL_SOCKET, libc::SO_PRIORITY, 5),
    ];
    (options, expected)
}

#[track_caller]
fn expect(fd: FdRef<'_>, expected: &[(c_int, c_int, c_int)]) {
    for &(level, name, value) in expected {
        assert_eq!(read_back(fd, level, name).unwrap(), value, "option {name} of level {level}");
    }
    assert_eq!(sockopt::tcp_congestion(fd).unwrap(), "reno");
    assert_eq!(sockopt::socket_linger(fd).unwrap(), Some(Duration::ZERO));
}

/// Runs a check on its socket once it is up, and ends the loop after the second.
struct Probe {
    check: Box<dyn FnOnce(&mut Context<'_>)>,
    opened: Rc<RefCell<u32>>,
}

impl Handler for Probe {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        *self.opened.borrow_mut() += 1;
        // Before the check, which may panic.
        if *self.opened.borrow() == 2 {
            cx.stop();
        }
        std::mem::replace(&mut self.check, Box::new(|_| {}))(cx);
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        Ok(())
    }
}

/// Makes a connection and runs a check on each of its ends.
fn connected(
    listen: &ListenOptions,
    connect: &ConnectOptions,
    on_accepted: impl Fn(&mut Context<'_>) + Copy + 'static,
    on_connected: impl Fn(&mut Context<'_>) + 'static,
) {
    let opened = Rc::new(RefCell::new(0));
    let of_accepted = Rc::clone(&opened);
    let mut event_loop = EventLoop::new(()).unwrap();
    let make = move |_: &_| Probe { check: Box::new(on_accepted), opened: Rc::clone(&of_accepted) };
    event_loop.listen("127.0.0.1:0", listen, make).unwrap();
    let address = event_loop.local_addresses()[0].clone();
    event_loop.connect(address, connect, Probe { check: Box::new(on_connected), opened: Rc::clone(&opened) }).unwrap();
    event_loop.run().unwrap();
    // A panic in a callback ends the connection and not the test.
    assert_eq!((event_loop.metrics().panics, *opened.borrow()), (0, 2));
}

fn with_socket(cx: &Context<'_>, check: impl FnOnce(FdRef<'_>)) {
    check(cx.engine.connection(cx.id().0).unwrap().fd().as_fd());
}

#[test]
fn a_listener_has_them_and_accepted_sockets_inherit_them() {
    let (options, expected) = common();
    let listener = Listener::bind("127.0.0.1:0", &ListenOptions::default().socket(options.clone())).unwrap();
    expect(listener.as_fd(), &expected);
    let check = |cx: &mut Context<'_>| {
        with_socket(cx, |fd| {
            let (_, mut inherited) = common();
            let (level, priority, _) = inherited.pop().unwrap();
            expect(fd, &inherited);
            assert_eq!(read_back(fd, level, priority).unwrap(), 0);
        });
    };
    connected(&ListenOptions::default().socket(options), &ConnectOptions::default(), check, |_| {});
}

#[test]
fn an_outgoing_socket_has_them_from_the_start() {
    let (options, expected) = common();
    let options = ConnectOptions::default().socket(options.fastopen(1_u32));
    connected(
        &ListenOptions::default(),
        &options,
        |_| {},
        move |cx| {
            with_socket(cx, |fd| {
                expect(fd, &expected);
                assert_eq!(read_back(fd, IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT).unwrap(), 1);
            });
        },
    );
}

#[test]
fn a_live_socket_can_be_changed() {
    let change = |cx: &mut Context<'_>| {
        let (options, expected) = common();
        cx.set_options(&options).unwrap();
        with_socket(cx, |fd| expect(fd, &expected));
        // What is not said stays.
        cx.set_options(&SocketOptions::default().priority(6_u32)).unwrap();
        with_socket(cx, |fd| {
            expect(fd, &expected[..expected.len() - 1]);
            assert_eq!(read_back(fd, SOL_SOCKET, libc::SO_PRIORITY).unwrap(), 6);
        });
        cx.set_options(&SocketOptions::default().keepalive(Keepalive::off())).unwrap();
        with_socket(cx, |fd| assert!(!sockopt::socket_keepalive(fd).unwrap()));
    };
    connected(&ListenOptions::default(), &ConnectOptions::default(), change, change);
}

#[test]
fn nodelay_is_on_unless_it_is_said_to_be_off() {
    let is_on = |cx: &mut Context<'_>| with_socket(cx, |fd| assert!(sockopt::tcp_nodelay(fd).unwrap()));
    let other = SocketOptions::default().keepalive(Keepalive::on());
    connected(&ListenOptions::default(), &ConnectOptions::default(), is_on, is_on);
    connected(&ListenOptions::default().socket(other.clone()), &ConnectOptions::default().socket(other), is_on, is_on);
}

#[test]
fn what_is_for_listeners_reaches_them() {
    let options = SocketOptions::default().fastopen(17_u32).defer_accept(Duration::from_secs(1)).incoming_cpu(0_u32);
    let listener = Listener::bind("127.0.0.1:0", &ListenOptions::default().socket(options).reuse_port(true)).unwrap();
    let fd = listener.as_fd();
    assert_eq!(read_back(fd, IPPROTO_TCP, libc::TCP_FASTOPEN).unwrap(), 17);
    assert_eq!(read_back(fd, IPPROTO_TCP, libc::TCP_DEFER_ACCEPT).unwrap(), 1);
    assert_eq!(read_back(fd, SOL_SOCKET, libc::SO_INCOMING_CPU).unwrap(), 0);
    assert!(sockopt::socket_reuseport(fd).unwrap() && sockopt::socket_reuseaddr(fd).unwrap());
}

/// With the privilege the options are set and inherited, without it the error says which one was not.
#[test]
fn what_needs_a_privilege_is_set_or_named() {
    let mark = SocketOptions::default().mark(7_u32);
    let busy = SocketOptions::default().busy_poll(Duration::from_micros(50));
    let listen = |options: &SocketOptions| ListenOptions::default().socket(options.clone());
    for (options, name) in [(&mark, "SO_MARK to 7"), (&busy, "SO_BUSY_POLL to 50µs")] {
        if let Err(error) = Listener::bind("127.0.0.1:0", &listen(options)) {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().contains(name), "{error}");
            return;
        }
    }
    let has = |cx: &mut Context<'_>, name, value| {
        with_socket(cx, |fd| assert_eq!(read_back(fd, SOL_SOCKET, name).unwrap(), value));
    };
    connected(&listen(&mark), &ConnectOptions::default(), move |cx| has(cx, libc::SO_MARK, 7), |_| {});
    connected(&listen(&busy), &ConnectOptions::default(), move |cx| has(cx, libc::SO_BUSY_POLL, 50), |_| {});
}

#[test]
fn an_error_names_the_option_the_value_and_the_address() {
    let bind = |options| Listener::bind("127.0.0.1:0", &ListenOptions::default().socket(options)).unwrap_err();
    let probes = Keepalive::on().count(1000);
    for (options, kind, text) in [
        (SocketOptions::default().congestion("none"), ErrorKind::NotFound, "TCP_CONGESTION to none on 127.0.0.1:0"),
        (SocketOptions::default().keepalive(probes), ErrorKind::InvalidInput, "TCP_KEEPCNT to 1000 on 127.0.0.1:0"),
        (
            SocketOptions::default().linger(Duration::from_secs(1)),
            ErrorKind::InvalidInput,
            "SO_LINGER to 1s on 127.0.0.1:0",
        ),
    ] {
        let error = bind(options);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    let mut event_loop = EventLoop::new(()).unwrap();
    let options = ConnectOptions::default().socket(SocketOptions::default().congestion("none"));
    let probe = Probe { check: Box::new(|_| {}), opened: Rc::default() };
    let error = event_loop.connect("127.0.0.1:9", &options, probe).unwrap_err().to_string();
    assert!(error.contains("cannot set TCP_CONGESTION to none on 127.0.0.1:9"), "{error}");
}

#[test]
fn an_option_in_a_place_that_it_is_not_for_is_an_error() {
    let check = |cx: &mut Context<'_>| {
        for (options, text) in [
            (SocketOptions::default().fastopen(1_u32), "TCP_FASTOPEN_CONNECT to 1 on"),
            (SocketOptions::default().defer_accept(Duration::from_secs(1)), "TCP_DEFER_ACCEPT to 1s on"),
        ] {
            let error = cx.set_options(&options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.to_string().contains(&cx.peer_address().unwrap().to_string()), "{error}");
        }
    };
    connected(&ListenOptions::default(), &ConnectOptions::default(), check, check);
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return println!("skipped: this machine has no IPv6");
    }
    let mut event_loop = EventLoop::new(()).unwrap();
    let options = ConnectOptions::default().socket(SocketOptions::default().v6_only(true));
    let probe = || Probe { check: Box::new(|_| {}), opened: Rc::default() };
    let error = event_loop.connect("[::1]:9", &options, probe()).unwrap_err();
    assert!(error.to_string().contains("IPV6_V6ONLY"), "{error}");
}

#[test]
fn a_unix_socket_has_those_that_are_not_of_tcp() {
    let (options, _) = common();
    let name = format!("unix:@reactor-options-{}", std::process::id());
    let listener = Listener::bind(name.as_str(), &ListenOptions::default().socket(options)).unwrap();
    assert_eq!(read_back(listener.as_fd(), SOL_SOCKET, libc::SO_SNDBUF).unwrap(), 100_000);
    assert!(sockopt::socket_keepalive(listener.as_fd()).unwrap());
}
