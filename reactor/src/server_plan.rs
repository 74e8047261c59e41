//! What the loops of a server are made from: their bounds, the sockets and signals they serve, the threads they share.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::address::SocketAddress;
use crate::application::Factory;
use crate::budget::MemoryBudget;
use crate::datagram_plan::DatagramPlan;
use crate::drain_report::DrainReport;
use crate::event_loop::EventLoop;
use crate::handle::LoopHandle;
use crate::limits::{Limits, MAX_CONNECTIONS};
use crate::listener_plan::{ListenerPlan, Sharing};
use crate::net::datagram_socket::DatagramSocket;
use crate::net::listener::Listener;
use crate::placement::{Placement, VacancyBell};
use crate::resolver::{Resolver, ResolverOptions};
use crate::server::ServerHandle;
use crate::sys::affinity::{self, Processors};
use crate::sys::signal;
use crate::sys::thread;
use crate::token::MAX_LOOPS;
use crate::worker_pool::{WORKERS, WorkerOptions, WorkerPool};

/// The sockets of one loop, in the order of the plans.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) datagrams: Vec<DatagramSocket>,
}

/// What is the same for all loops of a server.
pub(crate) struct ServerPlan<S: 'static> {
    pub(crate) threads: usize,
    pub(crate) pin: bool,
    pub(crate) limits: Limits,
    pub(crate) workers: WorkerOptions,
    pub(crate) resolver: ResolverOptions,
    pub(crate) max_connections: usize,
    pub(crate) memory: Option<MemoryBudget>,
    pub(crate) grace_on_signal: Option<Duration>,
    /// What is called when signals come.
    pub(crate) signals: Vec<SignalPlan<S>>,
    pub(crate) state: Arc<MakeState<S>>,
    /// How each bound socket is used, and each bound datagram socket.
    pub(crate) listeners: Vec<ListenerPlan<S>>,
    pub(crate) datagrams: Vec<DatagramPlan<S>>,
    /// The server, once all loops are made.
    pub(crate) server: Arc<OnceLock<ServerHandle<S>>>,
}

/// Makes the state of one loop, given its index.
pub(crate) type MakeState<S> = dyn Fn(usize) -> S + Send + Sync;

impl<S: 'static> ServerPlan<S> {
    pub(crate) fn new(state: Arc<MakeState<S>>) -> Self {
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
            state,
            listeners: Vec::new(),
            datagrams: Vec::new(),
            server: Arc::default(),
        }
    }

    /// How many loops are asked for.
    pub(crate) fn count(&self) -> io::Result<usize> {
        let count = match self.threads {
            0 => thread::available_parallelism()?,
            count => count,
        };
        if count > MAX_LOOPS {
            let message = format!("a server has at most {MAX_LOOPS} loops, not {count}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(count)
    }

    /// The threads that all loops give work to. They are started by loops, but do not share a pinned one's processor.
    pub(crate) fn make_pools(&self) -> io::Result<Pools> {
        let processors = self.pin.then(Processors::current).transpose()?;
        let workers = WorkerPool::new(WORKERS, self.workers.clone(), processors)?;
        Ok(Pools { workers, resolver: Resolver::new(&self.resolver, processors)? })
    }

    /// For each loop, the socket of each plan.
    pub(crate) fn sockets_by_loop(&self, count: usize, sockets: &Sockets) -> io::Result<Vec<Sockets>> {
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
    pub(crate) fn make_loop(
        &self,
        index: usize,
        count: usize,
        (sockets, pools): (Sockets, Pools),
    ) -> io::Result<EventLoop<S>> {
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
                let shared = plan.options.shared || count > 1 && plan.sharing == Sharing::Exclusive;
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
            stop_on_signals(event_loop, Arc::clone(&self.server), grace)?;
        }
        for plan in &self.signals {
            let (server, callback) = (Arc::clone(&self.server), Arc::clone(&plan.callback));
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
    pub(crate) fn run_loop(
        &self,
        mut event_loop: EventLoop<S>,
        index: usize,
        loops: &[LoopHandle<S>],
    ) -> io::Result<DrainReport> {
        self.join_up(&mut event_loop, index, loops);
        event_loop.run()
    }
}

/// What is called when one of these signals comes.
pub(crate) struct SignalPlan<S: 'static> {
    pub(crate) numbers: Vec<i32>,
    pub(crate) callback: Arc<SignalCallback<S>>,
}

type SignalCallback<S> = dyn Fn(&ServerHandle<S>, i32) + Send + Sync;

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
pub(crate) struct Pools {
    workers: Arc<WorkerPool>,
    resolver: Arc<Resolver>,
}
