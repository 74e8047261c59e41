//! The loop itself: one turn after another of wait, dispatch, pending, mail, timers, flush and reap.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::acceptor::Acceptor;
use crate::address::SocketAddress;
use crate::application::{Application, Factory};
use crate::budget::MemoryBudget;
use crate::datagram_handler::DatagramHandler;
use crate::drain_report::{Drain, DrainReport};
use crate::engine::Engine;
use crate::handle::{Errand, LoopHandle, Mail};
use crate::handler::Handler;
use crate::interest::Interest;
use crate::limits::Limits;
use crate::loop_context::LoopContext;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::net::address::Address;
use crate::net::address_error::AddressError;
use crate::net::connect::ConnectOptions;
use crate::net::datagram_options::DatagramOptions;
use crate::net::listener::{ListenOptions, Listener};
use crate::net::target::Target;
use crate::per_address::PerAddress;
use crate::placement::{Placement, VacancyBell};
use crate::rate::TokenBucket;
use crate::registered::Registered;
use crate::resolver::{Names, Resolver, ResolverOptions};
use crate::scratch::Scratch;
use crate::sources::source as sources;
use crate::sys::datagram::ReceiveBatch;
use crate::sys::signal::{self, SignalSet};
use crate::token::{ConnId, DatagramId, ListenerId, MAX_LOOPS, SourceId, Token};
use crate::worker_pool::{WORKERS, WorkerOptions, WorkerPool};

/// One loop: it watches sockets, calls handlers, and runs on the thread that calls [`run`](Self::run).
///
/// A [`Server`](crate::Server) makes and runs as many as wanted; use a loop by itself for clients, for tests, or to have the
/// thread to yourself.
///
/// ```
/// use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Result};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
///         cx.send(input.take())
///     }
/// }
///
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.listen("127.0.0.1:0", &ListenOptions::default(), |_peer| Echo)?;
/// # event_loop.handle().stop().unwrap();
/// event_loop.run()?;
/// # Result::Ok(())
/// ```
///
/// A child that fork(2) makes shares the epoll instance with its parent: unless it goes on to another program, it must leave
/// the loop alone, without dropping it; see epoll(7).
///
/// A loop stays on the thread that made it, and nothing that runs on it reaches the loop itself: there is no second run within
/// a first, and no watching of one thing from two threads.
///
/// ```compile_fail
/// let mut event_loop = reactor::EventLoop::new(()).unwrap();
/// std::thread::spawn(move || event_loop.run());
/// ```
///
/// ```compile_fail
/// let mut event_loop = reactor::EventLoop::new(()).unwrap();
/// event_loop.context().run_after(std::time::Duration::ZERO, |_| drop(event_loop.run())).unwrap();
/// ```
pub struct EventLoop<S: 'static = ()> {
    pub(crate) engine: Engine,
    pub(crate) app: Application<S>,
    pub(crate) scratch: Scratch,
    /// Room for datagrams, made when the first ones arrive.
    pub(crate) inbox: ReceiveBatch,
    pub(crate) drain: Option<Drain>,
    /// By the factory of the listener: where this loop accepts for others too.
    pub(crate) placements: BTreeMap<usize, Placement<S>>,
    /// One for each listener on which another loop accepts for this one.
    pub(crate) vacancy_bells: Vec<VacancyBell<S>>,
    pub(crate) mailbox: Mailbox<Mail<S>>,
    pub(crate) listeners: Vec<Token>,
    /// The pending queue of the turn, and its allocation between turns.
    pub(crate) working: Vec<Token>,
    /// When callbacks were last timed, in nanoseconds of the loop's clock.
    pub(crate) timed_at_ns: u64,
    /// When the turn began.
    pub(crate) turn_began_ns: u64,
}

impl<S: 'static> EventLoop<S> {
    /// A loop with the default limits. Its state may be anything: it stays on this thread.
    ///
    /// # Errors
    /// No descriptor or memory is left for the epoll instance or the waker.
    pub fn new(state: S) -> io::Result<Self> {
        Self::with_limits(Limits::default(), state)
    }

    /// A loop with limits of one's own.
    ///
    /// # Errors
    /// The limits contradict each other ([`Limits::check`]), or as [`new`](Self::new).
    pub fn with_limits(limits: Limits, state: S) -> io::Result<Self> {
        Self::with_index(0, limits, state)
    }

    pub(crate) fn with_index(index: usize, limits: Limits, state: S) -> io::Result<Self> {
        let loop_index = u16::try_from(index).ok().filter(|_| index < MAX_LOOPS);
        let loop_index = loop_index.ok_or_else(|| io::Error::other("there are more loops than names for them"))?;
        // No read may bring more than one turn allows, or more than a handler may leave.
        let cap = limits.read_per_turn.min(limits.max_input);
        let scratch = Scratch::new(limits.scratch_min.min(cap), limits.scratch_max.min(cap));
        let mut engine = Engine::new(loop_index, limits)?;
        engine.set_loop_rates(engine.limits.rates)?;
        let (postbox, mailbox) = Mailbox::new(engine.limits.mailbox)?;
        let waker = engine.insert(Registered::Waker)?;
        engine.poller.register(mailbox.waker(), Interest::READ, waker)?;
        let handle = LoopHandle::new(postbox, engine.counters.clone());
        engine.names = Some(names(Resolver::new(&ResolverOptions::default(), None)?, &handle));
        let workers = WorkerPool::new(WORKERS, WorkerOptions::default(), None)?;
        Ok(Self {
            timed_at_ns: 0,
            turn_began_ns: 0,
            app: Application::new(state, handle, workers),
            engine,
            scratch,
            inbox: ReceiveBatch::default(),
            mailbox,
            drain: None,
            placements: BTreeMap::new(),
            vacancy_bells: Vec::new(),
            listeners: Vec::new(),
            working: Vec::new(),
        })
    }

    /// Listens on an address; `make` makes a handler for each connection, given the peer's address.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn listen<A, H>(
        &mut self,
        address: A,
        options: &ListenOptions,
        make: impl FnMut(&SocketAddress) -> H + 'static,
    ) -> io::Result<ListenerId>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
        H: Handler<S>,
    {
        self.listen_on(Listener::bind(address, options)?, options, make)
    }

    /// Listens on a socket that is bound already; see [`listen`](Self::listen).
    ///
    /// # Errors
    /// The kernel does not let the socket be watched.
    pub fn listen_on<H>(
        &mut self,
        listener: Listener,
        options: &ListenOptions,
        mut make: impl FnMut(&SocketAddress) -> H + 'static,
    ) -> io::Result<ListenerId>
    where
        H: Handler<S>,
    {
        let make = Box::new(move |peer: &SocketAddress| Box::new(make(peer)) as Box<dyn Handler<S>>);
        let per_address = options.max_per_address.map(PerAddress::new);
        let factory = self.add_factory(Factory::new(make, options, per_address));
        let pace = options.accept_rate.map(|limit| TokenBucket::new(limit, self.engine.clock.now_ns()));
        self.watch_listener(listener, factory, options.shared, pace)
    }

    /// Binds a datagram socket; see [`LoopContext::bind_datagram`]. Others are made by the loop's
    /// [`context`](Self::context).
    ///
    /// # Errors
    /// As [`DatagramSocket::bind`](crate::DatagramSocket::bind).
    pub fn bind_datagram<A>(
        &mut self,
        address: A,
        options: &DatagramOptions,
        handler: impl DatagramHandler<S>,
    ) -> io::Result<DatagramId>
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        self.context().bind_datagram(address, options, handler)
    }

    /// Watches a descriptor of any kind; see [`LoopContext::add_source`].
    ///
    /// # Errors
    /// As there.
    pub fn add_source(
        &mut self,
        fd: impl Into<OwnedFd>,
        interest: Interest,
        source: impl sources::Source<S>,
    ) -> io::Result<SourceId> {
        self.context().add_source(fd, interest, source)
    }

    /// The local addresses of the listeners, in the order in which they were added.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddress> {
        let address = |token: &Token| match self.engine.sources.get(token.key()) {
            Some(Registered::Listener(acceptor)) => Some(acceptor.local_address().clone()),
            _ => None,
        };
        self.listeners.iter().filter_map(address).collect()
    }

    /// Calls `callback` when one of these signals comes, instead of what they would do to the process; see signal(7).
    ///
    /// The signals are blocked for the calling thread; threads started before must block them too, or the kernel may pick
    /// one of those to deliver to.
    ///
    /// # Errors
    /// A number is no signal, or no descriptor is free.
    pub fn on_signals(
        &mut self,
        signals: &[i32],
        callback: impl FnMut(&mut LoopContext<'_, S>, i32) + 'static,
    ) -> io::Result<()> {
        let set = SignalSet::of(signals)?;
        signal::block(&set)?;
        let fd = signal::create(&set)?;
        let token = self.engine.insert(Registered::Waker)?;
        if let Err(error) = self.engine.poller.register(fd.as_fd(), Interest::READ, token) {
            self.engine.sources.remove(token.key());
            return Err(error);
        }
        if let Some(source) = self.engine.sources.get_mut(token.key()) {
            *source = Registered::Signals(fd);
        }
        self.app.signals.insert(token, Box::new(callback));
        Ok(())
    }

    /// The loop as other threads see it.
    #[must_use]
    pub fn handle(&self) -> LoopHandle<S> {
        self.app.handle.clone()
    }

    /// The loop as code that runs on it sees it: to connect or to set tasks before it runs.
    pub fn context(&mut self) -> LoopContext<'_, S> {
        LoopContext::new(&mut self.engine, &mut self.app)
    }

    /// Sets the bounds of the threads that run what blocks ([`LoopContext::spawn_blocking`]). To be called before the
    /// first job: jobs given before that wait for a thread are dropped, and it waits for those that run.
    ///
    /// # Errors
    /// [`WorkerOptions::check`].
    pub fn set_workers(&mut self, options: &WorkerOptions) -> io::Result<()> {
        self.app.workers = WorkerPool::new(WORKERS, options.clone(), None)?;
        Ok(())
    }

    /// Sets how host names are looked up, and the bounds of the threads that do it. To be called before the first
    /// [`connect`](Self::connect) to a name.
    ///
    /// # Errors
    /// `InvalidInput`: there is no thread that would look a name up.
    pub fn set_resolver(&mut self, options: &ResolverOptions) -> io::Result<()> {
        self.use_resolver(Resolver::new(options, None)?);
        Ok(())
    }

    pub(crate) fn use_resolver(&mut self, resolver: Arc<Resolver>) {
        self.engine.names = Some(names(resolver, &self.app.handle));
    }

    /// Takes part in a budget of memory that loops share. To be called once, before the loop runs.
    pub fn set_memory_budget(&mut self, budget: &MemoryBudget) {
        let handle = self.handle();
        let bell = move || {
            // A loop that has ended waits for nothing.
            let _ = handle.post_urgent(Errand::AcceptAgain);
        };
        self.engine.budget.join(budget, bell);
    }

    /// Connects to an address or a host; see [`LoopContext::connect`].
    ///
    /// # Errors
    /// As there.
    pub fn connect<A>(&mut self, target: A, options: &ConnectOptions, handler: impl Handler<S>) -> io::Result<ConnId>
    where
        A: TryInto<Target>,
        A::Error: Into<AddressError>,
    {
        self.context().connect(target, options, handler)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.app.state
    }

    /// The state, to change.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.app.state
    }

    /// What the loop has counted.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.engine.counters.snapshot()
    }

    /// Runs until [`shutdown`](LoopHandle::shutdown) or [`stop`](LoopHandle::stop) is called, and says how it ended.
    ///
    /// A shutdown drains: clients that wait in the backlog are still accepted and then the listeners close; handlers are
    /// told ([`Handler::on_shutdown`]); what has arrived is served, output is flushed, connections close. What is still
    /// open at the deadline is cut.
    ///
    /// # Errors
    /// Only the loop's own failure: the kernel refuses to wait. What happens to one connection stays with it.
    pub fn run(&mut self) -> io::Result<DrainReport> {
        loop {
            self.turn(None)?;
            if let Some(report) = self.drain_report() {
                self.mailbox.close();
                return Ok(report);
            }
        }
    }

    pub(crate) fn add_factory(&mut self, factory: Factory<S>) -> usize {
        self.app.factories.push(factory);
        self.app.factories.len() - 1
    }

    pub(crate) fn watch_listener(
        &mut self,
        listener: Listener,
        factory: usize,
        shared: bool,
        pace: Option<TokenBucket>,
    ) -> io::Result<ListenerId> {
        let mut acceptor = Acceptor::new(listener, factory, shared);
        acceptor.pace = pace;
        let token = self.engine.insert(Registered::Listener(Box::new(acceptor)))?;
        if let Err(error) = self.engine.register_listener(token) {
            self.engine.remove_listener(token);
            return Err(error);
        }
        self.listeners.push(token);
        Ok(ListenerId(token))
    }

    pub(crate) fn listeners(&self) -> &[Token] {
        &self.listeners
    }

    /// Closes the listeners. Loops that connections were handed to hear that no more will come.
    pub(crate) fn drop_listeners(&mut self) {
        for token in std::mem::take(&mut self.listeners) {
            self.engine.remove_listener(token);
        }
        self.placements.values().for_each(Placement::end);
    }
}

/// How a loop has names looked up.
fn names<S: 'static>(resolver: Arc<Resolver>, handle: &LoopHandle<S>) -> Names {
    let handle = handle.clone();
    let answer = move |token, round, found| {
        // A loop that has ended asks for no address.
        let _ = handle.post_urgent(Errand::LookedUp(token, round, found));
    };
    Names { resolver, answer: Arc::new(answer) }
}

impl<S: 'static> Drop for EventLoop<S> {
    /// Connections that are open are cut, each told once; so are sources.
    fn drop(&mut self) {
        // A handler that connects anew as it is told would outlive its loop.
        self.engine.draining = true;
        self.drop_listeners();
        self.cut_all();
        self.end_sources();
    }
}
