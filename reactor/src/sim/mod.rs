//! A simulated kernel, network and clock, under which unchanged handlers and servers run: feature `sim`.
//!
//! A seed decides everything that is left to chance on a real system: how many bytes a read brings, which event comes first, when
//! the kernel is short of descriptors, whose turn it is. One seed makes one run, each time and on every machine, so a failure
//! can be replayed. Time is virtual: a thousand hours of idle timeouts pass in seconds.
//!
//! ```
//! use std::time::Duration;
//! use reactor::sim::{Faults, Seeds};
//! use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Result};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
//!         cx.send(input.take())
//!     }
//! }
//!
//! // A hundred seeds; REACTOR_SEED=n runs one, REACTOR_SEEDS=n runs so many.
//! Seeds::first(100).check(&Faults::default(), |sim| {
//!     let mut event_loop = EventLoop::new(())?;
//!     let options = ListenOptions::default().idle_timeout(Duration::from_secs(3600));
//!     event_loop.listen("127.0.0.1:7", &options, |_peer| Echo)?;
//!     let mut peer = sim.connect("127.0.0.1:7");
//!     peer.send(&[7; 10_000]);
//!     // Should the loop sleep for ever, this panics, and the message names the seed.
//!     sim.run_until(&mut event_loop, || peer.received_len() == 10_000)?;
//!     // An hour passes at once.
//!     sim.run_until(&mut event_loop, || peer.is_over())
//! });
//! ```
//!
//! A [`Server`](crate::Server) starts its loops on threads as always. They run one at a time, and the seed decides which; the test
//! goes on in [`Sim::wait_until`] and [`Sim::sleep`].
//!
//! # How faithful it is
//!
//! The edges are those of the real kernel: an edge comes when something happens and tells how things stand when it is taken, many become
//! one, and closing a descriptor takes back its edges but not those that were taken already. Descriptors' numbers are used again at
//! once. No fault is one that Linux cannot have: a short read is followed by an edge when the rest arrives, a full send buffer by one
//! when there is room. A file of the library's tests runs one script on both kernels and compares.
//!
//! What is not a connection has its other side in the test's hands, too: [`Sim::datagram_peer`]; pipes by
//! [`Sim::pipe_to_read`] and [`Sim::pipe_to_write`]; child processes by [`Sim::on_spawn`]; changes to files that are watched by
//! [`Sim::change`]. Any [source](crate::sources) runs on these, and on [`Sim::eventfd`] and [`Sim::socket`].
//!
//! What it does not have:
//!
//! - a file system: files are real ones, which simulated threads of the worker pool read and write, and watches are of paths, below
//!   which nothing is;
//! - real pipes, terminals and sockets, which `add_source` and the others refuse (`Unsupported`);
//! - descriptors and credentials passed through Unix sockets (`Unsupported`);
//! - groups of datagrams (joining one has no effect), and datagrams cut by the network;
//! - options that change nothing a handler can see (`TCP_NODELAY`, keep-alive probes);
//! - host names, which are looked up for real.

pub(crate) mod calls;
pub(crate) mod datagram;
mod datagram_peer;
mod datagrams;
mod descriptors;
mod dump;
mod epoll;
mod faults;
mod inotify;
mod kernel;
mod network;
#[cfg(test)]
mod parity;
mod peer;
mod pipe;
mod pipe_peer;
mod pipes;
mod polling;
mod process;
mod processes;
mod random;
mod remote;
mod runner;
#[allow(clippy::module_inception, reason = "the file is about the one type that the module is named after")]
mod sim;
mod socket;
pub(crate) mod spawning;
mod stream;
pub(crate) mod thread;
mod trace;
mod transfer;
mod watching_files;
mod words;
pub(crate) mod world;

pub use datagram_peer::DatagramPeer;
pub use faults::Faults;
pub use peer::{Peer, PeerState, Remote};
pub use pipe_peer::{PipeReceiver, PipeSender};
pub use process::{ChildState, SimChild};
pub use random::Random;
pub use remote::Answer;
pub use runner::Seeds;
pub use sim::{Sim, now, sleep};
pub use thread::SimThread;
