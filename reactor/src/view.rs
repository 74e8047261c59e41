//! Connections as someone sees them who looks at the loop from outside.

use std::fmt;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::connection::{Connection, Flag, Phase};
use crate::engine::Engine;
use crate::handle::LoopHandle;
use crate::loop_context::LoopContext;
use crate::mailbox::PostError;
use crate::rate::Direction;
use crate::registered::Registered;
use crate::sys::{socket, tcp_info};
use crate::token::{ConnId, Token};

/// One connection at one moment. It shows as one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Its name.
    pub id: ConnId,
    /// Whom it is with; `None` before it is made, and once the peer has reset it.
    pub peer: Option<SocketAddress>,
    /// How far its life has come.
    pub state: ConnectionState,
    /// Bytes of input that its handler has left.
    pub input: usize,
    /// Bytes of output that the kernel has not taken, parts of files included.
    pub output: u64,
    /// Why it is not read from, if it is not.
    pub paused: Option<PauseCause>,
    /// For how long no byte has moved, to the millisecond.
    pub idle: Duration,
    /// What TCP knows; `None` on Unix sockets and in a simulation.
    pub tcp: Option<TcpView>,
}

/// How far the life of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It is being made.
    Connecting,
    /// Both directions are open.
    Open,
    /// The peer has ended its direction.
    PeerEnded,
    /// We have ended ours.
    WriteEnded,
    /// The loop drains; what has arrived is still served.
    Finishing,
    /// It closes as soon as its output has left.
    Closing,
    /// Its handler has been told that it is closed; the socket waits for the peer's end so that nothing is lost.
    Lingering,
}

/// Why a connection is not read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PauseCause {
    /// Its handler asked for it: [`Context::pause`](crate::Context::pause).
    Handler,
    /// More output waits than [`Limits::high_mark`](crate::Limits::high_mark).
    Output,
    /// As much has come as [`Rates`](crate::Rates) allow.
    Rate,
}

/// What the kernel knows of a TCP connection; see tcp(7), `TCP_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpView {
    /// The round trip, smoothed.
    pub rtt: Duration,
    /// How much the round trip varies.
    pub rtt_variance: Duration,
    /// Segments sent more than once since the connection was made.
    pub retransmits: u32,
    /// Segments that may be under way at once.
    pub congestion_window: u32,
    /// Segments that are under way now.
    pub unacknowledged: u32,
}

impl<S> LoopContext<'_, S> {
    /// Connections of this loop, at most `most` of them: those that come after `after` in the order of their slots, or the
    /// first ones. To see all without holding the loop up, ask in pages, or use [`LoopHandle::connections`].
    ///
    /// A connection costs two system calls.
    #[must_use]
    pub fn connections(&self, after: Option<ConnId>, most: usize) -> Vec<ConnectionView> {
        self.engine.views(after.map(|id| id.0), most)
    }
}

impl<S: 'static> LoopHandle<S> {
    /// Looks at the loop's connections from any thread: `done` is called on the loop's thread with at most `most` of them.
    ///
    /// The loop looks at 256 connections at a time, and at 512 a turn at the most, so that those who want something of it hardly
    /// notice. Connections that
    /// come or go meanwhile may be missed, and none is there twice.
    ///
    /// # Errors
    /// [`PostError`]: the mailbox is full, or the loop has ended. `done` is dropped, as it is if the loop ends before all
    /// are seen, or has no timer left to go on by.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use reactor::{Context, Handler, Input, Result, Server};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
    ///         cx.send(input.take())
    ///     }
    /// }
    ///
    /// let server = Server::builder().threads(1).listen("127.0.0.1:0", |_peer| Echo)?.start()?;
    /// let (tell, told) = mpsc::channel();
    /// server.handle().loops()[0].connections(1000, move |views| drop(tell.send(views))).unwrap();
    /// for view in told.recv().unwrap() {
    ///     println!("{view}");
    /// }
    /// # Result::Ok(())
    /// ```
    pub fn connections(
        &self,
        most: usize,
        done: impl FnOnce(Vec<ConnectionView>) + Send + 'static,
    ) -> Result<(), PostError> {
        let look = Look { after: None, seen: Vec::new(), most, done: Box::new(done) };
        self.execute(move |cx| look.go_on(cx))
    }
}

/// A look at all connections that is under way, page by page.
struct Look {
    after: Option<Token>,
    seen: Vec<ConnectionView>,
    most: usize,
    done: Box<dyn FnOnce(Vec<ConnectionView>) + Send>,
}

impl Look {
    fn go_on<S: 'static>(mut self, cx: &mut LoopContext<'_, S>) {
        let page = PAGE.min(self.most - self.seen.len());
        let views = cx.engine.views(self.after, page);
        let complete = views.len() < page || self.seen.len() + views.len() == self.most;
        self.after = views.last().map(|view| view.id.0);
        self.seen.extend(views);
        if complete {
            return (self.done)(self.seen);
        }
        // A message would be read in this same turn. Without a timer left the look ends here, which is told by its silence.
        let _ = cx.run_after(Duration::ZERO, move |cx| self.go_on(cx));
    }
}

impl Engine {
    /// At most `most` connections, those behind `after`.
    fn views(&self, after: Option<Token>, most: usize) -> Vec<ConnectionView> {
        let first = after.map_or(0, |token| token.key().index + 1);
        let views = self.sources.from(first).filter_map(|(key, source)| {
            let id = ConnId(Token::new(self.loop_index, key));
            match source {
                Registered::Connection(connection) => Some(self.view(id, connection)),
                Registered::Lingering { fd, .. } => Some(ConnectionView {
                    id,
                    peer: socket::peer_address(fd.as_fd()).ok(),
                    state: ConnectionState::Lingering,
                    input: 0,
                    output: 0,
                    paused: None,
                    idle: Duration::ZERO,
                    tcp: tcp_info::get(fd.as_fd()).ok().map(TcpView::from),
                }),
                _ => None,
            }
        });
        views.take(most).collect()
    }

    fn view(&self, id: ConnId, connection: &Connection) -> ConnectionView {
        let fd = connection.fd().as_fd();
        let idle_ms = self.clock.stamp().wrapping_sub(connection.last_activity);
        ConnectionView {
            id,
            peer: socket::peer_address(fd).ok(),
            state: state_of(connection),
            input: connection.unread(),
            output: connection.queued() as u64,
            paused: pause_of(connection),
            idle: Duration::from_millis(idle_ms.into()),
            tcp: tcp_info::get(fd).ok().map(TcpView::from),
        }
    }
}

fn state_of(connection: &Connection) -> ConnectionState {
    match connection.phase {
        Phase::Connecting => ConnectionState::Connecting,
        Phase::Open if connection.has(Flag::EOF) => ConnectionState::PeerEnded,
        Phase::Open if connection.has(Flag::WRITE_ENDED) => ConnectionState::WriteEnded,
        Phase::Open => ConnectionState::Open,
        Phase::Finishing => ConnectionState::Finishing,
        Phase::Closing | Phase::Closed => ConnectionState::Closing,
    }
}

fn pause_of(connection: &Connection) -> Option<PauseCause> {
    if connection.has(Flag::PAUSED) {
        return Some(PauseCause::Handler);
    }
    if connection.has(Flag::BLOCKED) {
        return Some(PauseCause::Output);
    }
    connection.is_held(Direction::Input).then_some(PauseCause::Rate)
}

impl From<tcp_info::TcpInfo> for TcpView {
    fn from(info: tcp_info::TcpInfo) -> Self {
        let tcp_info::TcpInfo { rtt, rtt_variance, retransmits, congestion_window, unacknowledged } = info;
        Self { rtt, rtt_variance, retransmits, congestion_window, unacknowledged }
    }
}

impl fmt::Display for ConnectionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, peer, state, input, output, paused, idle, tcp } = self;
        write!(f, "{id} ")?;
        match peer {
            Some(peer) => write!(f, "{peer}")?,
            None => f.write_str("-")?,
        }
        write!(f, " {state}, in {input} B, out {output} B")?;
        if let Some(cause) = paused {
            write!(f, ", paused by {cause}")?;
        }
        write!(f, ", idle {:.3} s", idle.as_secs_f64())?;
        let Some(tcp) = tcp else { return Ok(()) };
        write!(f, ", rtt {:.3} ms", tcp.rtt.as_secs_f64() * 1e3)?;
        write!(f, ", cwnd {}, retransmits {}", tcp.congestion_window, tcp.retransmits)
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::PeerEnded => "peer ended",
            Self::WriteEnded => "write ended",
            Self::Finishing => "finishing",
            Self::Closing => "closing",
            Self::Lingering => "lingering",
        })
    }
}

impl fmt::Display for PauseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "its handler",
            Self::Output => "its output",
            Self::Rate => "its rate",
        })
    }
}

/// Connections looked at at a time: two system calls each, together less than a millisecond.
const PAGE: usize = 256;
