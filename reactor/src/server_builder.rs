//! What a server is made of, and how its loops come up together or not at all.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::address::SocketAddress;
use crate::application::Factory;
use crate::budget::MemoryBudget;
use crate::datagram_handler::DatagramHandler;
use crate::datagram_plan::{DatagramPlan, DatagramSharing};
use crate::drain_report::DrainReport;
use crate::event_loop::EventLoop;
use crate::handle::LoopHandle;
use crate::handler::Handler;
use crate::limits::{Limits, MAX_CONNECTIONS};
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::net::datagram_options::DatagramOptions;
use crate::net::datagram_socket::DatagramSocket;
use crate::net::listener::{ListenOptions, Listener};
use crate::per_address::PerAddress;
use crate::placement::{Balance, Handover, Placement, VacancyBell};
use crate::rate::TokenBucket;
use crate::resolver::{Resolver, ResolverOptions};
use crate::server::{Outcome, Server, ServerHandle};
use crate::sys::affinity::{self, Processors};
use crate::sys::signal::{self, Blocked};
use crate::sys::thread::{self, Sender, Thread};
use crate::token::MAX_LOOPS;
use crate::worker_pool::{WORKERS, WorkerOptions, WorkerPool};

/// How the loops of a server share a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Every loop watches the one socket, and a new connection wakes one of those that sleep (`EPOLLEXCLUSIVE`). A second
    /// server on the port fails. The default.
    #[default]
    Exclusive,
    /// The first loop accepts, and hands connections over to all, itself included. The spread is even, at the price of
    /// a hop between threads for each connection.
    Handover(Balance),
    /// Every loop has a socket of its own on the port, and the kernel spreads connections by a hash of the addresses
    /// (`SO_REUSEPORT`). Other servers of the same user can join the port. TCP only.
    ReusePort,
}

/// What a [`Server`] is made of. See [`Server::builder`].
pub struct ServerBuilder<S: 'static = ()> {
    threads: usize,
    pin: bool,
    limits: Limits,
    workers: WorkerOptions,
    resolver: ResolverOptions,
    max_connections: usize,
    memory: Option<MemoryBudget>,
    grace_on_signal: Option<Duration>,
    /// What is called when signals come.
    signals: Vec<SignalPlan<S>>,
    /// Held until the loops run, which read the signals. The latest stands first and is let go first, for each puts back the
    /// mask that it met.
    blocked: Vec<io::Result<Blocked>>,
    state: Arc<dyn Fn(usize) -> S + Send + Sync>,
    /// The bound sockets. They leave for the loops, for a listener closes when the last who has it lets go.
    sockets: Vec<Listener>,
    /// How each socket is used.
    listeners: Vec<ListenerPlan<S>>,
    /// The server, once all loops are made.
    handle: Arc<OnceLock<ServerHandle<S>>>,
    /// The bound datagram sockets, and how each is used.
    datagram_sockets: Vec<DatagramSocket>,
    datagrams: Vec<DatagramPlan<S>>,
}

/// The sockets of one loop, in the order of the plans.
struct Sockets {
    listeners: Vec<Listener>,
    datagrams: Vec<DatagramSocket>,
}

/// A handler factory that every loop may call.
type SharedMakeHandler<S> = dyn Fn(&SocketAddress) -> Box<dyn Handler<S>> + Send + Sync;

/// How each loop is to use a listener.
struct ListenerPlan<S> {
    options: ListenOptions,
    sharing: Sharing,
    make: Arc<SharedMakeHandler<S>>,
    /// What the loops tell each other where one accepts for all.
    handover: Arc<Handover>,
    per_address: Option<Arc<PerAddress>>,
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
        ServerBuilder::new(Arc::new(make))
    }
}

impl<S: 'static> ServerBuilder<S> {
    pub(crate) fn new(state: Arc<dyn Fn(usize) -> S + Send + Sync>) -> Self {
        Self {
            threads: 1,
            pin: false,
            limits: Limits::default(),
            workers: WorkerOptions::default(),
            resolver: ResolverOptions::default(),
            max_connections: usize::MAX,
            memory: None,
            grace_on_signal: None,
            signals: Vec::new(),
            blocked: Vec::new(),
            state,
            sockets: Vec::new(),
            listeners: Vec::new(),
            handle: Arc::default(),
            datagram_sockets: Vec::new(),
            datagrams: Vec::new(),
        }
    }

    /// How many loops run, each on its own thread: 1 to 1024. Default 1. 0 is one for each processor that this process
    /// may use.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count;
        self
    }

    /// Whether each loop's thread stays on one processor, the first loop on the first. Default off. See
    /// sched_setaffinity(2).
    #[must_use]
    pub fn pin_threads(mut self, on: bool) -> Self {
        self.pin = on;
        self
    }

    /// The bounds of each loop.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The bounds of the threads that run what blocks; all loops share them. See
    /// [`spawn_blocking`](crate::LoopContext::spawn_blocking).
    #[must_use]
    pub fn workers(mut self, options: WorkerOptions) -> Self {
        self.workers = options;
        self
    }

    /// How host names are looked up; all loops share the threads that do it. See
    /// [`connect`](crate::LoopContext::connect).
    #[must_use]
    pub fn resolver(mut self, options: ResolverOptions) -> Self {
        self.resolver = options;
        self
    }

    /// How many connections the server has at once, all loops together; each loop gets an equal share. The next clients
    /// wait in the backlog. Default: no other bound than [`Limits::connections`] for each loop.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// What may wait in the buffers of all loops together; several servers may share one. Default: no other bound than
    /// [`Limits::memory_hard`] for each loop.
    #[must_use]
    pub fn memory(mut self, budget: &MemoryBudget) -> Self {
        self.memory = Some(budget.clone());
        self
    }

    /// Drains within `grace` on SIGINT or SIGTERM; a second one ends the server at once. Default: the signals kill.
    ///
    /// The signals are blocked from this call on, in the thread that makes it and in those it will start, so one that
    /// comes before the server has started drains it at once. Threads that run already must block them too, or the kernel may
    /// pick one of those to deliver to; see [`EventLoop::on_signals`]. If the server does not start, they are let through
    /// again.
    #[must_use]
    pub fn shutdown_on_signals(mut self, grace: Duration) -> Self {
        if self.grace_on_signal.replace(grace).is_none() {
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
        self.signals.push(SignalPlan { numbers: signals.to_vec(), callback: Arc::new(callback) });
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
        let make = Arc::new(move |peer: &SocketAddress| Box::new(make(peer)) as Box<dyn Handler<S>>);
        self.sockets.push(listener);
        let per_address = options.max_per_address.map(PerAddress::new);
        let options = options.clone();
        self.listeners.push(ListenerPlan { options, sharing, make, handover: Arc::default(), per_address });
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
        self.datagram_sockets.push(socket);
        self.datagrams.push(DatagramPlan::new(options, sharing, make));
        self
    }

    /// The addresses of the datagram sockets bound so far, with the ports the kernel picked.
    #[must_use]
    pub fn datagram_addresses(&self) -> Vec<SocketAddress> {
        self.datagram_sockets.iter().map(|socket| socket.local_address().clone()).collect()
    }

    /// The addresses bound so far for streams, with the ports the kernel picked.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddress> {
        self.sockets.iter().map(|socket| socket.local_address().clone()).collect()
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
    pub fn start(mut self) -> io::Result<Server<S>> {
        let count = match self.threads {
            0 => thread::available_parallelism()?,
            count => count,
        };
        if count > MAX_LOOPS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a server has at most {MAX_LOOPS} loops, not {count}"),
            ));
        }
        let blocked = std::mem::take(&mut self.blocked).into_iter().collect::<io::Result<Vec<_>>>()?;
        let listeners = std::mem::take(&mut self.sockets);
        let sockets = Sockets { listeners, datagrams: std::mem::take(&mut self.datagram_sockets) };
        let server = Arc::new(self).start_loops(count, &sockets)?;
        blocked.into_iter().for_each(Blocked::keep);
        Ok(server)
    }

    fn start_loops(self: Arc<Self>, count: usize, sockets: &Sockets) -> io::Result<Server<S>> {
        let outcome = Arc::new(Outcome::new(count));
        let local = sockets.listeners.iter().map(|socket| socket.local_address().clone()).collect();
        let datagram = sockets.datagrams.iter().map(|socket| socket.local_address().clone()).collect();
        let sockets = self.sockets_by_loop(count, sockets)?;
        let pools = self.make_pools()?;
        let mut starting = Vec::new();
        for (index, sockets) in sockets.into_iter().enumerate() {
            match Starting::spawn(&self, index, count, (sockets, &pools), &outcome) {
                Ok(another) => starting.push(another),
                Err(error) => {
                    starting.into_iter().for_each(Starting::abandon);
                    return Err(error);
                }
            }
        }
        let loops: Arc<[LoopHandle<S>]> = starting.iter().map(|starting| starting.handle.clone()).collect();
        let handle = ServerHandle::new(Arc::clone(&loops), outcome);
        // It is the first and only time, for a builder starts once.
        let _ = self.handle.set(handle.clone());
        let threads = starting.into_iter().map(|starting| starting.go(&loops)).collect();
        Ok(Server::new(handle, threads, local, datagram))
    }

    /// The threads that all loops give work to. They are started by loops, but do not share a pinned one's processor.
    fn make_pools(&self) -> io::Result<Pools> {
        let processors = self.pin.then(Processors::current).transpose()?;
        let workers = WorkerPool::new(WORKERS, self.workers.clone(), processors)?;
        Ok(Pools { workers, resolver: Resolver::new(&self.resolver, processors)? })
    }

    /// For each loop, the socket of each plan.
    fn sockets_by_loop(&self, count: usize, sockets: &Sockets) -> io::Result<Vec<Sockets>> {
        let listeners = || self.listeners.iter().zip(&sockets.listeners);
        let datagrams = || self.datagrams.iter().zip(&sockets.datagrams);
        let of_loop = |index: usize| {
            let listeners =
                listeners().map(|(plan, socket)| plan.socket_for(index, socket)).collect::<io::Result<_>>()?;
            let datagrams =
                datagrams().map(|(plan, socket)| plan.socket_for(index, socket)).collect::<io::Result<_>>()?;
            Ok(Sockets { listeners, datagrams })
        };
        (0..count).map(of_loop).collect()
    }

    /// The bounds of one loop: its share of the server's.
    fn limits_of(&self, index: usize, count: usize) -> Limits {
        let share = self.max_connections / count + usize::from(index < self.max_connections % count);
        let connections = self.limits.connections.min(share).min(MAX_CONNECTIONS);
        Limits { connections, ..self.limits.clone() }
    }

    /// Makes one loop, on the thread it will run on.
    fn make_loop(&self, index: usize, count: usize, (sockets, pools): (Sockets, Pools)) -> io::Result<EventLoop<S>> {
        if self.pin {
            affinity::pin_to_nth(index)?;
        }
        let mut event_loop = EventLoop::with_index(index, self.limits_of(index, count), (self.state)(index))?;
        event_loop.app.workers = pools.workers;
        event_loop.use_resolver(pools.resolver);
        if let Some(budget) = &self.memory {
            event_loop.set_memory_budget(budget);
        }
        for (plan, socket) in self.listeners.iter().zip(sockets.listeners) {
            let make = Arc::clone(&plan.make);
            let make = Box::new(move |peer: &SocketAddress| make(peer));
            let factory = event_loop.add_factory(Factory::new(make, &plan.options, plan.per_address.clone()));
            if index == 0 || !matches!(plan.sharing, Sharing::Handover(_)) {
                let shared = count > 1 && plan.sharing == Sharing::Exclusive;
                let pace = plan.accept_pace(count, event_loop.engine.clock.now_ns());
                event_loop.watch_listener(socket, factory, shared, pace)?;
            }
        }
        for (plan, socket) in self.datagrams.iter().zip(sockets.datagrams) {
            plan.enter(event_loop.context(), index, count, socket)?;
        }
        if index == 0 {
            self.read_signals(&mut event_loop)?;
        }
        Ok(event_loop)
    }

    /// Signals are one loop's business.
    fn read_signals(&self, event_loop: &mut EventLoop<S>) -> io::Result<()> {
        if let Some(grace) = self.grace_on_signal {
            stop_on_signals(event_loop, Arc::clone(&self.handle), grace)?;
        }
        for plan in &self.signals {
            let (server, callback) = (Arc::clone(&self.handle), Arc::clone(&plan.callback));
            event_loop.on_signals(&plan.numbers, move |_, number| {
                // It is known, for a loop runs only when all are made.
                if let Some(server) = server.get() {
                    callback(server, number);
                }
            })?;
        }
        Ok(())
    }

    /// Lets one loop know of the others, once all are made.
    fn join_up(&self, event_loop: &mut EventLoop<S>, index: usize, loops: &[LoopHandle<S>]) {
        let others = loops.iter().enumerate().filter(|(other, _)| *other != index);
        event_loop.app.siblings = others.map(|(_, handle)| handle.clone()).collect();
        for (factory, plan) in self.listeners.iter().enumerate() {
            let Sharing::Handover(balance) = plan.sharing else { continue };
            if index == 0 {
                let limits = (0..loops.len()).map(|index| self.limits_of(index, loops.len()));
                let limits = limits.map(|limits| (limits.connections, limits.memory_soft));
                let placement = Placement::new(balance, loops.iter().cloned().zip(limits), Arc::clone(&plan.handover));
                event_loop.placements.insert(factory, placement);
            } else {
                let bell = VacancyBell::new(loops[0].clone(), Arc::clone(&plan.handover));
                event_loop.vacancy_bells.push(bell);
            }
        }
    }

    /// The life of a loop's thread.
    fn run_loop(&self, mut event_loop: EventLoop<S>, index: usize, loops: &[LoopHandle<S>]) -> io::Result<DrainReport> {
        self.join_up(&mut event_loop, index, loops);
        event_loop.run()
    }
}

/// What is called when one of these signals comes.
struct SignalPlan<S: 'static> {
    numbers: Vec<i32>,
    callback: Arc<SignalCallback<S>>,
}

type SignalCallback<S> = dyn Fn(&ServerHandle<S>, i32) + Send + Sync;

impl<S> ListenerPlan<S> {
    /// A loop's share of the rate at which connections are accepted.
    fn accept_pace(&self, count: usize, now_ns: u64) -> Option<TokenBucket> {
        let parts = if matches!(self.sharing, Sharing::Handover(_)) { 1 } else { count as u64 };
        self.options.accept_rate.map(|limit| TokenBucket::share(limit, parts, now_ns))
    }

    /// The socket that the loop with this index watches.
    fn socket_for(&self, index: usize, bound: &Listener) -> io::Result<Listener> {
        match self.sharing {
            Sharing::ReusePort if index > 0 => Listener::bind_to(bound.local_address(), &self.options),
            _ => Ok(bound.clone()),
        }
    }
}

/// The first signal drains all loops, the second ends them.
fn stop_on_signals<S: 'static>(
    event_loop: &mut EventLoop<S>,
    server: Arc<OnceLock<ServerHandle<S>>>,
    grace: Duration,
) -> io::Result<()> {
    let mut seen = false;
    event_loop.on_signals(&signal::STOP_SIGNALS, move |_, number| {
        let forced = std::mem::replace(&mut seen, true);
        log::info!("signal {number}: {}", if forced { "stopping at once" } else { "draining" });
        // It is known, for a loop runs only when all are made.
        let Some(server) = server.get() else { return };
        if forced { server.stop() } else { server.begin_shutdown(grace) }
    })
}

/// The threads that all loops share.
#[derive(Clone)]
struct Pools {
    workers: Arc<WorkerPool>,
    resolver: Arc<Resolver>,
}

/// A loop that is made and waits for the others.
struct Starting<S: 'static> {
    handle: LoopHandle<S>,
    go: Sender<Arc<[LoopHandle<S>]>>,
    thread: Thread,
}

impl<S: 'static> Starting<S> {
    fn spawn(
        plan: &Arc<ServerBuilder<S>>,
        index: usize,
        count: usize,
        (sockets, pools): (Sockets, &Pools),
        outcome: &Arc<Outcome>,
    ) -> io::Result<Self> {
        let (made, is_made) = thread::channel();
        let (go, may_go) = thread::channel::<Arc<[LoopHandle<S>]>>();
        let (plan, outcome) = (Arc::clone(plan), Arc::clone(outcome));
        let parts = (sockets, pools.clone());
        let thread = thread::spawn(format!("reactor-{index}"), move || {
            let event_loop = match plan.make_loop(index, count, parts) {
                Ok(event_loop) => event_loop,
                Err(error) => return made.send(Err(error)),
            };
            made.send(Ok(event_loop.handle()));
            let Some(loops) = may_go.recv() else { return };
            outcome.record(&loops, || plan.run_loop(event_loop, index, &loops));
        })?;
        let gone = || io::Error::other("the state of a loop could not be made: its closure panicked");
        match is_made.recv().unwrap_or_else(|| Err(gone())) {
            Ok(handle) => Ok(Self { handle, go, thread }),
            Err(error) => {
                // When it is gone, so are its sockets. That it panicked has been told.
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// Another loop could not be made: this one finds its starter gone, and ends.
    fn abandon(self) {
        drop(self.go);
        // It has nothing to tell.
        let _ = self.thread.join();
    }

    fn go(self, loops: &Arc<[LoopHandle<S>]>) -> Thread {
        // The thread waits for this; if it has died, its join will tell.
        self.go.send(Arc::clone(loops));
        self.thread
    }
}
