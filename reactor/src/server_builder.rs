//! What a server is to be made of, as its author says it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::SocketAddress;
use crate::budget::MemoryBudget;
use crate::datagram_handler::DatagramHandler;
use crate::datagram_plan::{DatagramPlan, DatagramSharing};
use crate::drain_report::DrainReport;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::listener_plan::{ListenerPlan, Sharing};
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::net::datagram_options::DatagramOptions;
use crate::net::datagram_socket::DatagramSocket;
use crate::net::listener::{ListenOptions, Listener};
use crate::resolver::ResolverOptions;
use crate::server::{Server, ServerHandle};
use crate::server_plan::{ServerPlan, SignalPlan, Sockets};
use crate::starting::start_loops;
use crate::sys::signal::{self, Blocked};
use crate::worker_pool::WorkerOptions;

/// What a [`Server`] is made of. See [`Server::builder`].
pub struct ServerBuilder<S: 'static = ()> {
    plan: ServerPlan<S>,
    /// Held until the loops run, which read the signals. The latest stands first and is let go first, for each puts back the
    /// mask that it met.
    blocked: Vec<io::Result<Blocked>>,
    /// The bound sockets. They leave for the loops, for a listener closes when the last who has it lets go.
    sockets: Sockets,
}

impl Server {
    /// What a server without shared state is made of.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        Self::with_state(|_| ())
    }
}

impl<S: 'static> Server<S> {
    /// What a server is made of whose loops have a state each. `make` is called on each loop's own thread, with the
    /// loop's index counted from 0; what it makes never leaves that thread, so it may hold an `Rc`.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use reactor::Server;
    ///
    /// let builder = Server::with_state(|index| Rc::new(format!("loop {index}")));
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn with_state(make: impl Fn(usize) -> S + Send + Sync + 'static) -> ServerBuilder<S> {
        ServerBuilder { plan: ServerPlan::new(Arc::new(make)), blocked: Vec::new(), sockets: Sockets::default() }
    }
}

impl<S: 'static> ServerBuilder<S> {
    /// How many loops run, each on its own thread: 1 to 1024. Default 1. 0 is one for each processor that this process
    /// may use.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.plan.threads = count;
        self
    }

    /// Whether each loop's thread stays on one processor, the first loop on the first. Default off. See
    /// sched_setaffinity(2).
    #[must_use]
    pub fn pin_threads(mut self, on: bool) -> Self {
        self.plan.pin = on;
        self
    }

    /// The bounds of each loop.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.plan.limits = limits;
        self
    }

    /// The bounds of the threads that run what blocks; all loops share them. See
    /// [`spawn_blocking`](crate::LoopContext::spawn_blocking).
    #[must_use]
    pub fn workers(mut self, options: WorkerOptions) -> Self {
        self.plan.workers = options;
        self
    }

    /// How host names are looked up; all loops share the threads that do it. See
    /// [`connect`](crate::LoopContext::connect).
    #[must_use]
    pub fn resolver(mut self, options: ResolverOptions) -> Self {
        self.plan.resolver = options;
        self
    }

    /// How many connections the server has at once, all loops together; each loop gets an equal share. The next clients
    /// wait in the backlog. Default: no other bound than [`Limits::connections`] for each loop.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.plan.max_connections = count;
        self
    }

    /// What may wait in the buffers of all loops together; several servers may share one. Default: no other bound than
    /// [`Limits::memory_hard`] for each loop.
    #[must_use]
    pub fn memory(mut self, budget: &MemoryBudget) -> Self {
        self.plan.memory = Some(budget.clone());
        self
    }

    /// Drains within `grace` on SIGINT or SIGTERM; a second one ends the server at once. Default: the signals kill.
    ///
    /// The signals are blocked from this call on, in the thread that makes it and in those it will start, so one that
    /// comes before the server has started drains it at once. Threads that run already must block them too, or the kernel may
    /// pick one of those to deliver to; see [`EventLoop::on_signals`](crate::EventLoop::on_signals). If the server does not start, they are let through
    /// again.
    #[must_use]
    pub fn shutdown_on_signals(mut self, grace: Duration) -> Self {
        if self.plan.grace_on_signal.replace(grace).is_none() {
            self.blocked.insert(0, Blocked::new(&signal::STOP_SIGNALS));
        }
        self
    }

    /// Calls `callback` on the first loop's thread when one of these signals comes, instead of what they would do to the
    /// process; see signal(7). They are blocked as [`shutdown_on_signals`](Self::shutdown_on_signals) says, which is for
    /// those that end the server.
    ///
    /// A number that is no signal is an error of [`start`](Self::start).
    ///
    /// ```
    /// use reactor::Server;
    ///
    /// let builder = Server::builder().on_signals(&[10], |server, _number| {
    ///     println!("{} connections are open", server.metrics().open);
    /// });
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn on_signals(
        mut self,
        signals: &[i32],
        callback: impl Fn(&ServerHandle<S>, i32) + Send + Sync + 'static,
    ) -> Self {
        self.blocked.insert(0, Blocked::new(signals));
        self.plan.signals.push(SignalPlan { numbers: signals.to_vec(), callback: Arc::new(callback) });
        self
    }

    /// Binds an address now, with default options; `make` makes a handler for each connection, given the peer's address.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn listen<A, H>(
        self,
        address: A,
        make: impl Fn(&SocketAddress) -> H + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
        H: Handler<S>,
    {
        self.listen_with(address, &ListenOptions::default(), Sharing::default(), make)
    }

    /// Binds an address now; see [`listen`](Self::listen).
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn listen_with<A, H>(
        self,
        address: A,
        options: &ListenOptions,
        sharing: Sharing,
        make: impl Fn(&SocketAddress) -> H + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
        H: Handler<S>,
    {
        let address = address.try_into().map_err(Into::<AddressError>::into)?;
        if sharing == Sharing::ReusePort && matches!(address, Address::Unix(_)) {
            let message = format!("{address} cannot be shared by SO_REUSEPORT, which is for TCP");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let options =
            ListenOptions { reuse_port: options.reuse_port || sharing == Sharing::ReusePort, ..options.clone() };
        let listener = Listener::bind(address, &options)?;
        Ok(self.listen_on(listener, &options, sharing, make))
    }

    /// Listens on a socket that is bound already.
    #[must_use]
    pub fn listen_on<H>(
        mut self,
        listener: Listener,
        options: &ListenOptions,
        sharing: Sharing,
        make: impl Fn(&SocketAddress) -> H + Send + Sync + 'static,
    ) -> Self
    where
        H: Handler<S>,
    {
        self.sockets.listeners.push(listener);
        self.plan.listeners.push(ListenerPlan::new(options, sharing, make));
        self
    }

    /// Binds a datagram socket now. Of UDP each loop has one of its own ([`DatagramSharing::ReusePort`]), of Unix all share
    /// one; `make` makes the handler of each loop, given its index.
    ///
    /// # Errors
    /// As [`DatagramSocket::bind`].
    ///
    /// ```
    /// use reactor::{DatagramContext, DatagramHandler, DatagramOptions, Result, Server, SocketAddress};
    ///
    /// struct Echo;
    ///
    /// impl DatagramHandler for Echo {
    ///     fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _from: &SocketAddress, bytes: &[u8]) -> Result {
    ///         cx.reply(bytes)
    ///     }
    /// }
    ///
    /// let options = DatagramOptions::default();
    /// let server = Server::builder().threads(2).bind_datagram("udp://127.0.0.1:0", &options, |_| Echo)?.start()?;
    /// assert!(server.datagram_addresses()[0].as_inet().is_some());
    /// # Result::Ok(())
    /// ```
    pub fn bind_datagram<A, H>(
        self,
        address: A,
        options: &DatagramOptions,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
        H: DatagramHandler<S>,
    {
        let socket = DatagramSocket::bind(address, options)?;
        let sharing = if socket.is_unix() { DatagramSharing::Shared } else { DatagramSharing::ReusePort };
        Ok(self.add_datagram(socket, options, sharing, make))
    }

    /// Serves a datagram socket that is made already, bound with these options. A Unix socket is shared whatever is said.
    #[must_use]
    pub fn add_datagram<H>(
        mut self,
        socket: DatagramSocket,
        options: &DatagramOptions,
        sharing: DatagramSharing,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Self
    where
        H: DatagramHandler<S>,
    {
        let sharing = if socket.is_unix() { DatagramSharing::Shared } else { sharing };
        self.sockets.datagrams.push(socket);
        self.plan.datagrams.push(DatagramPlan::new(options, sharing, make));
        self
    }

    /// The addresses of the datagram sockets bound so far, with the ports the kernel picked.
    #[must_use]
    pub fn datagram_addresses(&self) -> Vec<SocketAddress> {
        self.sockets.datagrams.iter().map(|socket| socket.local_address().clone()).collect()
    }

    /// The addresses bound so far for streams, with the ports the kernel picked.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddress> {
        self.sockets.listeners.iter().map(|socket| socket.local_address().clone()).collect()
    }

    /// Starts the server and waits for its end.
    ///
    /// # Errors
    /// A loop could not be made, or failed; the others are stopped then.
    pub fn run(self) -> io::Result<DrainReport> {
        self.start()?.wait()
    }

    /// Starts the server on threads of its own.
    ///
    /// # Errors
    /// A thread or a loop could not be made. Nothing is left running.
    pub fn start(self) -> io::Result<Server<S>> {
        let count = self.plan.count()?;
        let blocked = self.blocked.into_iter().collect::<io::Result<Vec<_>>>()?;
        let server = start_loops(&Arc::new(self.plan), count, &self.sockets)?;
        blocked.into_iter().for_each(Blocked::keep);
        Ok(server)
    }
}
