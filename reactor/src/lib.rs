//! A callback event loop for Linux servers over raw edge-triggered epoll(7).
//!
//! One thread runs one [`EventLoop`]. An application implements [`Handler`], one value for each connection, and never sees a
//! file descriptor, a partial write or `EAGAIN`. A [`Server`] runs a loop on each of N threads. There is no async runtime, no
//! `Rc<RefCell>`, and no lock.
//!
//! # A server
//!
//! ```no_run
//! use reactor::{Context, Handler, Input, Result, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
//!         cx.send(input.take())
//!     }
//! }
//!
//! fn main() -> Result {
//!     Server::builder().listen("127.0.0.1:7777", |_peer| Echo)?.run().map(drop)
//! }
//! ```
//!
//! # State
//!
//! The handler value *is* the state of its connection. What the connections of a loop share is the loop's own `S`, built on
//! the loop's thread by [`Server::with_state`] and reached by [`LoopContext::state`]. It never leaves that thread.
//!
//! Connections name each other by [`ConnId`], 64 bits that are never used again: a name of a connection that is gone names
//! nothing. By name a handler sends to a peer ([`LoopContext::send_to`]), uses it ([`LoopContext::peer`]), or visits its handler
//! ([`LoopContext::with`]). Here is a chat room, in which each line goes to everybody else:
//!
//! ```
//! use reactor::{CloseReason, ConnId, Context, Handler, Input, LoopContext, Result, Server};
//!
//! #[derive(Default)]
//! struct Room {
//!     members: Vec<ConnId>,
//! }
//!
//! impl Room {
//!     fn tell_others(cx: &mut LoopContext<'_, Self>, speaker: ConnId, text: &str) {
//!         for member in cx.state().members.clone() {
//!             if member != speaker {
//!                 cx.send_to(member, text);
//!             }
//!         }
//!     }
//! }
//!
//! struct Member;
//!
//! impl Handler<Room> for Member {
//!     fn on_open(&mut self, cx: &mut Context<'_, Room>) -> Result {
//!         let id = cx.id();
//!         cx.state().members.push(id);
//!         Room::tell_others(cx, id, &format!("{id} joined\n"));
//!         Ok(())
//!     }
//!
//!     fn on_data(&mut self, cx: &mut Context<'_, Room>, input: &mut Input<'_>) -> Result {
//!         while let Some(line) = input.take_until(b'\n') {
//!             let id = cx.id();
//!             Room::tell_others(cx, id, &format!("{id}: {}\n", String::from_utf8_lossy(line)));
//!         }
//!         Ok(())
//!     }
//!
//!     fn on_close(&mut self, cx: &mut Context<'_, Room>, reason: &CloseReason) {
//!         let id = cx.id();
//!         cx.state().members.retain(|member| *member != id);
//!         Room::tell_others(cx, id, &format!("{id} left: {reason}\n"));
//!     }
//! }
//!
//! let server = Server::with_state(|_loop_index| Room::default()).listen("127.0.0.1:0", |_peer| Member)?.start()?;
//! # drop(server);
//! # Result::Ok(())
//! ```
//!
//! # What the loop takes care of
//!
//! - **Edges.** Each socket is registered once, for both directions, edge-triggered. Whatever stops before `EAGAIN` (a budget, a
//!   pause, a full queue) is remembered: no edge is lost, and the loop never spins.
//! - **Output.** All that a callback sends leaves in one system call as it returns. What the kernel does not take waits in
//!   the connection's queue and leaves when there is room.
//! - **Back-pressure.** Above [`Limits::high_mark`] of queued output a connection is not read until it falls to
//!   [`Limits::low_mark`]. A slow reader costs memory up to the mark, not up to the stream.
//! - **Fairness.** A connection gets a budget of bytes and calls a turn, then the next one has its turn.
//! - **The end.** What was sent before the end is flushed before the socket closes. [`Handler::on_close`] is called exactly once,
//!   last, with the [`CloseReason`].
//! - **Failure.** An error or a panic in a callback closes that connection alone. A shortage of descriptors pauses accepting.
//! - **Memory.** All reads of a loop go through one buffer. An idle connection owns no buffer at all.
//! - **Time.** Timers ([`Context::set_timer`]) cost a constant whatever their number. An idle timeout costs a stored number a
//!   message, no timer.
//! - **Slow and greedy peers.** [`Timeouts`] bound how slow a peer may be and how long a connection lives, [`Rates`] how fast it may
//!   go, [`Limits::memory_hard`] and [`MemoryBudget`] what waits on all of them together, [`ListenOptions::accept_rate`] and
//!   [`ListenOptions::max_per_address`] how many come.
//! - **Bounds.** Nothing grows without a limit. [`Limits`] names each, with its reason.
//!
//! # Threads
//!
//! Handlers and state stay on their loop's thread. From elsewhere, a [`LoopHandle`] posts bytes, closures and the end:
//!
//! ```
//! use reactor::EventLoop;
//!
//! let mut event_loop = EventLoop::new(Vec::new())?;
//! let handle = event_loop.handle();
//! let worker = std::thread::spawn(move || handle.execute(|cx| {
//!     cx.state().push("done elsewhere");
//!     cx.stop();
//! }));
//! event_loop.run()?;
//! assert_eq!(*event_loop.state(), ["done elsewhere"]);
//! # worker.join().unwrap().unwrap();
//! # reactor::Result::Ok(())
//! ```
//!
//! A handler must not block. What blocks runs by [`Context::spawn_blocking`] on a bounded pool of threads, and its outcome comes
//! back to the connection.
//!
//! # Clients
//!
//! [`LoopContext::connect`] makes a connection, to an address, to the first of several that answers, or to a host by name, with a
//! deadline and, if wanted, further tries ([`Reconnect`]). Its handler sees what an accepted one sees.
//!
//! # Features
//!
//! - `chaos` (off): calls on real sockets fail on purpose, as the environment variable `REACTOR_CHAOS` says when a loop is made.
//!   `42:short=0.1,reset=0.001` is a seed and the rates of faults: `short` reads and writes, `eagain`, `eintr`; `emfile` and `abort` of
//!   accept(2); `enospc` of epoll_ctl(2); `reset` of connections; `delay` and `shuffle` of waits. A rate is a number from 0 to
//!   0.9. A plan that cannot be read is the `InvalidInput` error of [`EventLoop::new`] and [`ServerBuilder::start`]. Without the feature, and without
//!   the variable, nothing fails.
//!
//! # Datagrams
//!
//! A [`DatagramHandler`] is the state of a UDP or Unix datagram socket. [`EventLoop::bind_datagram`] binds one,
//! [`LoopContext::connect_datagram`] makes one with a single peer, and [`ServerBuilder::bind_datagram`] one for each loop.
//!
//! # Any other descriptor
//!
//! A [`Source`] is called when its descriptor is ready, whatever that is. Ready-made ones are in [`sources`].
//!
//! # Testing a handler
//!
//! [`Input::new`] makes input of any bytes, and [`EventLoop::turn`] runs a loop step by step. Bind port 0 and ask
//! [`EventLoop::local_addresses`].

mod accepting;
mod acceptor;
mod address;
mod application;
mod attempt;
mod blocking;
mod broadcasting;
mod budget;
pub mod buffer;
mod bulk_share;
mod clock;
mod close_reason;
mod closing;
pub mod codec;
mod connecting;
mod connection;
mod context;
mod counter;
mod credentials;
mod datagram;
mod datagram_context;
mod datagram_error;
mod datagram_handler;
mod datagram_outbox;
mod datagram_plan;
mod datagram_queue;
mod datagram_sending;
mod datagram_service;
mod deadlines;
mod drain;
mod drain_report;
mod engine;
mod event;
mod event_loop;
mod expiry;
mod file_range;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod governing;
mod governor;
mod group;
mod handle;
mod handler;
mod histogram;
mod idle;
mod input;
mod interest;
mod lent;
mod limits;
mod linger;
mod listener_plan;
mod listening;
mod loop_context;
mod mail;
mod mailbox;
mod metrics;
#[cfg(all(loom, test))]
mod model;
pub mod net;
mod outbox;
mod output;
mod pacer;
mod pacing;
mod peer;
mod per_address;
mod pipe_pool;
mod placement;
mod poller;
mod prometheus;
mod rate;
mod registered;
pub mod registry;
mod relay;
mod relaying;
mod resolver;
mod scratch;
mod search;
mod sending;
mod sending_pieces;
mod server;
mod server_builder;
mod server_plan;
mod service;
mod shared_bytes;
mod sharing;
mod shedding;
#[cfg(feature = "sim")]
pub mod sim;
mod socket_reader;

pub mod sources;
mod starting;
mod sync;
mod sys;
mod timeouts;
pub mod timer;
mod timer_slots;
mod token;
mod turn;
mod unix_sockets;
mod unwind;
mod view;
mod wheel;
mod worker_pool;

pub use address::{SocketAddress, UnixName};
pub use blocking::JobPanic;
pub use budget::MemoryBudget;
pub use close_reason::{CloseReason, Overflow, Timeout};
pub use context::Context;
pub use credentials::Credentials;
pub use datagram_context::{DatagramContext, DatagramRef};
pub use datagram_error::DatagramError;
pub use datagram_handler::DatagramHandler;
pub use datagram_plan::DatagramSharing;
pub use drain_report::DrainReport;
pub use event::Readiness;
pub use event_loop::EventLoop;
pub use group::Group;
pub use handle::LoopHandle;
pub use handler::Handler;
pub use histogram::Histogram;
pub use input::Input;
pub use interest::Interest;
pub use limits::Limits;
pub use listener_plan::Sharing;
pub use loop_context::LoopContext;
pub use mailbox::PostError;
pub use metrics::{Closed, Datagrams, Metrics};
pub use net::{
    Address, AddressError, ConnectOptions, DatagramOptions, DatagramSocket, Host, Keepalive, ListenOptions, Listener,
    MulticastGroup, Reconnect, SocketOptions, Target,
};
pub use peer::Peer;
pub use placement::Balance;
pub use prometheus::prometheus_text;
pub use rate::{RateLimit, Rates};
pub use resolver::ResolverOptions;
pub use server::{Server, ServerHandle};
pub use server_builder::ServerBuilder;
pub use shared_bytes::SharedBytes;
pub use socket_reader::SocketReader;
pub use sources::source::{Progress, Source};
pub use sources::source_context::SourceContext;
pub use timeouts::{ReadProgress, Timeouts};
pub use timer::TimerId;
pub use token::{ConnId, DatagramId, ListenerId, SourceId, TaskId};
pub use view::{ConnectionState, ConnectionView, PauseCause, TcpView};
pub use worker_pool::WorkerOptions;

/// What callbacks answer: an error closes the connection, with that error as the reason.
///
/// It is `std::io::Result`, so that `?` works on what sockets answer; an error of one's own becomes one with
/// [`std::io::Error::other`].
pub type Result<T = ()> = std::io::Result<T>;
