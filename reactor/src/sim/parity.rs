//! The simulated kernel against the real one: the same calls, the same answers.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use crate::address::{SocketAddress, UnixName};
use crate::sim::sim::Sim;
use crate::sys::epoll::{self, EventBuffer};
use crate::sys::fd::{Fd, FdRef};
use crate::sys::{eventfd, option, socket, stream};

mod datagrams;
mod files;
mod pipes;
mod processes;
mod splices;

/// A script's world: an epoll instance, and what was seen so far.
struct Stage {
    epoll: Fd,
    seen: Vec<String>,
    /// How long nothing must happen for all to have happened.
    patience: Duration,
    target: SocketAddress,
}

/// A connection and where it was accepted.
struct Pair {
    listener: Fd,
    client: Fd,
    server: Fd,
}

const CLIENT: u64 = 1;
const SERVER: u64 = 2;
const LISTENER: u64 = 3;
const STREAM: libc::c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET;

impl Stage {
    fn new(target: SocketAddress, patience: Duration) -> Self {
        Self { epoll: epoll::create().unwrap(), seen: Vec::new(), patience, target }
    }

    fn saw(&mut self, what: &str, result: impl Debug) {
        self.seen.push(format!("{what}: {result:?}"));
    }

    fn saw_result<T: Debug>(&mut self, what: &str, result: io::Result<T>) {
        self.saw(what, result.map_err(|error| error.raw_os_error()));
    }

    fn watch(&mut self, fd: &Fd, word: u64) {
        let result = epoll::add(self.epoll.as_fd(), fd.as_fd(), STREAM.cast_unsigned(), word);
        self.saw_result("watch", result);
    }

    /// What is told until nothing more is: the bits of all events of a word together, for the real network may take its time.
    fn events(&mut self, when: &str) {
        let mut told = [0; 8];
        let mut buffer = EventBuffer::new(8);
        let timeout = i32::try_from(self.patience.as_millis()).unwrap();
        loop {
            let count = epoll::wait(self.epoll.as_fd(), &mut buffer, timeout).unwrap();
            if count == 0 {
                break;
            }
            buffer.first(count).iter().for_each(|event| told[usize::try_from(event.u64).unwrap()] |= event.events);
        }
        let names =
            told.iter().enumerate().filter(|(_, bits)| **bits != 0).map(|(word, bits)| format!("{word}={bits:#x}"));
        let names = names.collect::<Vec<_>>();
        self.saw(when, names);
    }

    fn listen(&mut self) -> Fd {
        let listener = socket::stream(&self.target).unwrap();
        socket::bind(listener.as_fd(), &self.target).unwrap();
        socket::listen(listener.as_fd(), 8).unwrap();
        self.target = socket::local_address(listener.as_fd()).unwrap();
        listener
    }

    fn connect(&mut self) -> Fd {
        let client = socket::stream(&self.target).unwrap();
        socket::connect(client.as_fd(), &self.target).unwrap();
        client
    }

    fn pair(&mut self) -> Pair {
        let listener = self.listen();
        let client = self.connect();
        let server = self.accept(listener.as_fd());
        Pair { listener, client, server }
    }

    fn accept(&mut self, listener: FdRef<'_>) -> Fd {
        let word = LISTENER;
        let mut buffer = EventBuffer::new(1);
        let waiting = epoll::create().unwrap();
        epoll::add(waiting.as_fd(), listener, libc::EPOLLIN.cast_unsigned(), word).unwrap();
        assert_eq!(epoll::wait(waiting.as_fd(), &mut buffer, 5000).unwrap(), 1);
        socket::accept(listener).unwrap().0
    }

    fn recv(&mut self, what: &str, fd: &Fd) {
        let mut into = [0; 100];
        let result =
            stream::recv(fd.as_fd(), &mut into).map(|count| String::from_utf8_lossy(&into[..count]).into_owned());
        self.saw_result(what, result);
    }

    fn send(&mut self, what: &str, fd: &Fd, bytes: &[u8]) {
        let result = stream::send(fd.as_fd(), bytes);
        self.saw_result(what, result);
    }
}

/// Runs a script on both kernels, over TCP and over a Unix socket, and compares what it saw.
fn same(name: &str, script: fn(&mut Stage)) {
    let tcp = |_| SocketAddress::Inet("127.0.0.1:0".parse().unwrap());
    let unix = |attempt: u64| {
        let name = format!("reactor-parity-{name}-{}-{attempt}", std::process::id());
        SocketAddress::Unix(UnixName::Abstract(name.into_bytes()))
    };
    same_at(&format!("TCP, {name}"), tcp, script);
    same_at(&format!("Unix, {name}"), unix, script);
}

/// Runs a script on both kernels and compares what it saw.
fn same_at(name: &str, target: impl Fn(u64) -> SocketAddress, script: fn(&mut Stage)) {
    // A busy machine may need more time than the first attempt gives.
    for attempt in 0.. {
        let seen = |patience| {
            let mut stage = Stage::new(target(attempt), patience);
            script(&mut stage);
            stage.seen
        };
        let real = seen(Duration::from_millis(30 << (2 * attempt)));
        let sim = Sim::new(attempt);
        let simulated = seen(Duration::from_secs(1));
        drop(sim);
        if real == simulated || attempt == 3 {
            assert_eq!(real, simulated, "real and simulated {name}");
            break;
        }
    }
}

#[test]
fn bytes_make_edges_that_merge() {
    same("bytes", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&server, SERVER);
        stage.events("at first");
        stage.recv("nothing", &server);
        stage.send("some", &client, b"abc");
        stage.events("some");
        stage.events("no more edges though it is there");
        stage.send("more", &client, b"def");
        stage.send("and more", &client, b"ghi");
        stage.events("more");
        stage.saw_result("unread", option::unread(server.as_fd()));
        stage.recv("all", &server);
        stage.recv("no more", &server);
        stage.events("reading makes none");
    });
}

#[test]
fn what_is_ready_when_it_is_watched_is_told() {
    same("ready", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.send("some", &client, b"abc");
        stage.watch(&server, SERVER);
        stage.watch(&server, SERVER);
        stage.events("watched");
        let result = epoll::delete(stage.epoll.as_fd(), server.as_fd());
        stage.saw_result("deleted", result);
        stage.send("more", &client, b"abc");
        stage.events("deleted");
        stage.watch(&server, SERVER);
        stage.events("watched again");
        stage.send("more", &client, b"abc");
        drop(server);
        stage.events("closed");
    });
}

#[test]
fn an_end_of_stream_comes_after_the_bytes() {
    same("end", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&client, CLIENT);
        stage.watch(&server, SERVER);
        stage.events("at first");
        stage.send("some", &client, b"abc");
        let result = socket::shutdown_write(client.as_fd());
        stage.saw_result("shutdown", result);
        stage.events("ended");
        stage.recv("bytes", &server);
        stage.recv("end", &server);
        stage.recv("end again", &server);
        stage.send("after the shutdown", &client, b"x");
        stage.send("the other way", &server, b"xyz");
        stage.events("the other way");
        let result = socket::shutdown_write(server.as_fd());
        stage.saw_result("shutdown", result);
        stage.events("both ended");
        stage.recv("the other way", &client);
        stage.recv("the other way's end", &client);
    });
}

#[test]
fn closing_with_unread_input_resets() {
    same("unread", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&client, CLIENT);
        stage.events("at first");
        stage.send("to the server", &client, b"abc");
        stage.send("to the client", &server, b"def");
        stage.events("before");
        drop(server);
        stage.events("closed");
        stage.recv("what had come", &client);
        stage.recv("then", &client);
        stage.recv("and then", &client);
        stage.send("sent", &client, b"x");
        stage.saw_result("shutdown", socket::shutdown_write(client.as_fd()));
    });
}

#[test]
fn the_first_call_after_a_reset_tells_the_error() {
    same("first-call", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&client, CLIENT);
        stage.events("at first");
        stage.send("to the server", &client, b"abc");
        stage.events("sent");
        drop(server);
        stage.events("closed");
        stage.send("sent", &client, b"x");
        stage.send("sent again", &client, b"x");
        stage.recv("then", &client);
    });
}

#[test]
fn closing_with_nothing_unread_ends_the_stream_and_answers_bytes_with_a_reset() {
    same("closed", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&client, CLIENT);
        stage.events("at first");
        stage.send("last words", &server, b"bye");
        drop(server);
        stage.events("closed");
        let unix = matches!(stage.target, SocketAddress::Unix(_));
        stage.recv("last words", &client);
        stage.recv("end", &client);
        stage.send("into the void", &client, b"x");
        stage.events("answered");
        stage.recv("after the answer", &client);
        if !unix {
            let error = option::take_error(client.as_fd()).map(|error| error.and_then(|error| error.raw_os_error()));
            stage.saw_result("error", error);
        }
        stage.send("again", &client, b"x");
    });
}

#[test]
fn a_reset_on_demand_is_one() {
    same("reset", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&client, CLIENT);
        stage.events("at first");
        option::set_reset_on_close(server.as_fd()).unwrap();
        drop(server);
        stage.events("reset");
        let error = option::take_error(client.as_fd()).map(|error| error.and_then(|error| error.raw_os_error()));
        stage.saw_result("error", error);
        stage.recv("then", &client);
        let named = socket::peer_address(client.as_fd()).is_ok();
        stage.saw("has a peer", named);
    });
}

#[test]
fn a_full_send_buffer_makes_an_edge_when_it_empties() {
    same("full", |stage| {
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&client, CLIENT);
        stage.events("at first");
        let mut sent = 0;
        let last = loop {
            match stream::send(client.as_fd(), &[7; 8192]) {
                Ok(count) => sent += count,
                // The other end's buffer fills in its own time.
                Err(error) => {
                    if matches!(epoll::wait(stage.epoll.as_fd(), &mut EventBuffer::new(1), 100), Ok(0)) {
                        break error;
                    }
                }
            }
        };
        stage.saw("full", last.raw_os_error());
        stage.events("full");
        let mut received = 0;
        let mut into = vec![0; 1 << 20];
        while received < sent {
            received += stream::recv(server.as_fd(), &mut into).unwrap_or(0);
        }
        stage.events("room again");
        stage.saw_result("waits", option::unacknowledged(client.as_fd()));
    });
}

#[test]
fn a_listener_tells_of_each_that_comes() {
    same("listener", |stage| {
        let listener = stage.listen();
        stage.watch(&listener, LISTENER);
        stage.events("nobody");
        let nobody = socket::accept(listener.as_fd()).map(|_| ());
        stage.saw_result("nobody", nobody);
        let _first = stage.connect();
        stage.events("one");
        let _second = stage.connect();
        stage.events("another");
        let first = socket::accept(listener.as_fd()).map(|_| ());
        stage.saw_result("first", first);
        stage.events("accepting makes none");
        let second = socket::accept(listener.as_fd()).map(|_| ());
        stage.saw_result("second", second);
        let nobody = socket::accept(listener.as_fd()).map(|_| ());
        stage.saw_result("nobody", nobody);
    });
}

#[test]
fn a_closed_listener_turns_away_who_waits() {
    same("turned-away", |stage| {
        let listener = stage.listen();
        let client = stage.connect();
        stage.watch(&client, CLIENT);
        stage.events("connected");
        drop(listener);
        stage.events("turned away");
        stage.recv("then", &client);
        stage.recv("and then", &client);
    });
}

#[test]
fn connecting_to_nobody_is_refused() {
    same("refused", |stage| {
        let listener = stage.listen();
        drop(listener);
        let client = socket::stream(&stage.target).unwrap();
        stage.watch(&client, CLIENT);
        stage.events("fresh");
        let result = socket::connect(client.as_fd(), &stage.target).map(|_| ());
        stage.saw_result("connect", result);
        stage.events("refused");
        let error = option::take_error(client.as_fd()).map(|error| error.and_then(|error| error.raw_os_error()));
        stage.saw_result("error", error);
    });
}

#[test]
fn an_eventfd_makes_an_edge_a_write() {
    same("eventfd", |stage| {
        let event = eventfd::create().unwrap();
        stage.watch(&event, SERVER);
        stage.events("at first");
        eventfd::signal(event.as_fd()).unwrap();
        eventfd::signal(event.as_fd()).unwrap();
        stage.events("two writes");
        eventfd::signal(event.as_fd()).unwrap();
        stage.events("one more, with nothing read");
    });
}

#[test]
fn exclusive_watchers_that_are_awake_are_all_told() {
    same("exclusive", |stage| {
        let listener = stage.listen();
        let other = epoll::create().unwrap();
        let events = (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE).cast_unsigned();
        epoll::add(stage.epoll.as_fd(), listener.as_fd(), events, LISTENER).unwrap();
        epoll::add(other.as_fd(), listener.as_fd(), events, LISTENER).unwrap();
        let _client = stage.connect();
        stage.events("here");
        let there = epoll::wait(other.as_fd(), &mut EventBuffer::new(4), 0);
        stage.saw_result("there", there);
    });
}

#[test]
fn urgent_data_is_told_and_left_out() {
    same("urgent", |stage| {
        if stage.target.is_unix() {
            // Unix sockets have it only if the kernel was built so.
            return;
        }
        let Pair { client, server, .. } = stage.pair();
        stage.watch(&server, SERVER);
        stage.events("at first");
        stage.send("before", &client, b"abc");
        stream::send_urgent(client.as_fd(), b'!').unwrap();
        stage.send("behind", &client, b"def");
        stage.events("told");
        stage.recv("up to the mark", &server);
        stage.recv("behind it", &server);
        stage.recv("nothing", &server);
        stream::send_urgent(client.as_fd(), b'!').unwrap();
        stage.events("alone");
        stage.recv("nothing", &server);
        stage.events("no more");
    });
}

#[test]
fn calls_on_what_is_not_connected_fail() {
    same("unconnected", |stage| {
        let Pair { listener, client, server } = stage.pair();
        let fresh = socket::stream(&stage.target).unwrap();
        stage.saw_result("shutdown", socket::shutdown_write(fresh.as_fd()));
        stage.saw("peer", socket::peer_address(fresh.as_fd()).unwrap_err().raw_os_error());
        let taken = socket::bind(fresh.as_fd(), &stage.target);
        stage.saw_result("bind", taken);
        stage.saw_result("is listening", option::is_listening(listener.as_fd()));
        stage.saw("names", socket::local_address(server.as_fd()).unwrap() == stage.target);
        stage.saw("peers", socket::peer_address(client.as_fd()).unwrap() == stage.target);
    });
}
