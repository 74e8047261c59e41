//! Servers that echo, each on another library, each as its documentation advises.

mod calloop;
mod mio;
mod polling;
mod reactor;
mod session;
mod tokio;
mod writes;

use std::io;
use std::net::{SocketAddr, TcpListener};

use examples::textbook;

use crate::cores;
use crate::listener;

/// One way to write an echo server.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// What it is called on command lines and in reports.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The most connections it is asked to hold: where its own limit lies, or where it stops making sense.
    pub max_connections: usize,
    /// The most connections it can hold in a process that also holds the clients' ends.
    pub max_in_process: usize,
    /// Serves a listener until the process ends.
    pub serve: fn(TcpListener) -> io::Result<()>,
    /// The same, but each [`ANSWER`] bytes are sent back by a send of their own: a server that is sent many requests at
    /// once, and does not know of the next one when it answers.
    pub answer: Option<fn(TcpListener) -> io::Result<()>>,
}

impl Peer {
    /// The peer of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|peer| peer.name == name)
    }

    /// Serves a port of the loopback interface on a thread of its own, pinned to the server's processor, until the
    /// process ends.
    ///
    /// # Errors
    /// No port can be bound, or no thread started.
    pub fn spawn(&self) -> io::Result<SocketAddr> {
        self.spawn_to(self.serve)
    }

    /// As [`spawn`](Self::spawn), for a server that [answers](Self::answer). `None`: this one does not.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_answering(&self) -> Option<io::Result<SocketAddr>> {
        self.answer.map(|answer| self.spawn_to(answer))
    }

    fn spawn_to(&self, serve: fn(TcpListener) -> io::Result<()>) -> io::Result<SocketAddr> {
        let listener = listener::listen_locally()?;
        let address = listener.local_addr()?;
        cores::spawn_server(self.name, move || serve(listener))?;
        Ok(address)
    }

    const fn new(name: &'static str, serve: fn(TcpListener) -> io::Result<()>, about: &'static str) -> Self {
        Self { name, about, max_connections: usize::MAX, max_in_process: usize::MAX, serve, answer: None }
    }

    const fn answering(self, answer: fn(TcpListener) -> io::Result<()>) -> Self {
        Self { answer: Some(answer), ..self }
    }

    const fn up_to(self, max_connections: usize, max_in_process: usize) -> Self {
        Self { max_connections, max_in_process, ..self }
    }
}

/// All peers; the one that the others are measured by comes second.
pub const ALL: [Peer; 10] = [
    Peer::new("reactor", reactor::serve, "this project").answering(reactor::answer),
    Peer::new("epoll", textbook::epoll_edge::serve, "bare edge-triggered epoll, the practical limit")
        .answering(writes::answer),
    Peer::new("mio", mio::serve, "mio, and a slab of connections"),
    Peer::new("tokio", tokio::serve, "tokio on one thread, a task for each connection").answering(tokio::answer),
    Peer::new("polling", polling::serve, "polling as smol uses it: async-io, and a task for each connection"),
    Peer::new("calloop", calloop::serve, "calloop, a callback for each connection"),
    Peer::new("level", textbook::epoll_level::serve, "the textbook loop on level-triggered epoll"),
    Peer::new("poll", textbook::poll::serve, "the textbook loop on poll"),
    Peer::new("select", textbook::select::serve, "the textbook loop on select").up_to(1000, 450),
    Peer::new("thread", textbook::thread::serve, "the textbook server of a thread for each connection")
        .up_to(2000, 2000),
];

/// Bytes of a request, and of its answer.
pub const ANSWER: usize = 64;
