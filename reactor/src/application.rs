//! What the application gave a loop: its state, the handlers of its connections, and closures that wait.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use slab::Slab;

use crate::Result;
use crate::address::SocketAddress;
use crate::close_reason::CloseReason;
use crate::context::Context;
use crate::datagram_handler::DatagramHandler;
use crate::engine::{Engine, idle_ms};
use crate::governor::Terms;
use crate::handle::LoopHandle;
use crate::handler::Handler;
use crate::loop_context::LoopContext;
use crate::net::listener::ListenOptions;
use crate::per_address::PerAddress;
use crate::sources::source::Source;
use crate::token::Token;
use crate::unwind::{drop_safely, panic_message};
use crate::worker_pool::WorkerPool;

/// The part of a loop that knows the application's types.
pub(crate) struct Application<S> {
    pub(crate) state: S,
    /// By the slot of the connection. Empty while a callback of that connection runs, so that nothing aliases it.
    handlers: Vec<Option<Box<dyn Handler<S>>>>,
    /// Those of datagram sockets, each in a place that the socket knows; likewise empty while a callback runs.
    pub(crate) datagram_handlers: Slab<Option<Box<dyn DatagramHandler<S>>>>,
    /// Those of other descriptors, likewise.
    pub(crate) sources: Slab<Option<Box<dyn Source<S>>>>,
    pub(crate) factories: Vec<Factory<S>>,
    pub(crate) tasks: HashMap<Token, LocalTask<S>>,
    pub(crate) signals: HashMap<Token, SignalCallback<S>>,
    pub(crate) handle: LoopHandle<S>,
    /// The other loops of the server.
    pub(crate) siblings: Vec<LoopHandle<S>>,
    /// What is to be done with the outcomes of jobs.
    pub(crate) jobs: Slab<Done<S>>,
    pub(crate) workers: Arc<WorkerPool>,
}

/// Makes the handlers of one listener's connections.
pub(crate) struct Factory<S> {
    pub(crate) make: MakeHandler<S>,
    /// Idle timeout of the connections in milliseconds; 0 is none.
    pub(crate) idle_ms: u32,
    pub(crate) terms: Option<Box<Terms>>,
    /// Who has how many of them, if that is limited.
    pub(crate) per_address: Option<Arc<PerAddress>>,
}

impl<S> Factory<S> {
    pub(crate) fn new(make: MakeHandler<S>, options: &ListenOptions, per_address: Option<Arc<PerAddress>>) -> Self {
        let terms = Terms { timeouts: options.timeouts, rates: options.rates };
        let terms = (!terms.is_none()).then(|| Box::new(terms));
        Self { make, idle_ms: idle_ms(options.idle_timeout), terms, per_address }
    }
}

pub(crate) type MakeHandler<S> = Box<dyn FnMut(&SocketAddress) -> Box<dyn Handler<S>>>;
pub(crate) type LocalTask<S> = Box<dyn FnOnce(&mut LoopContext<'_, S>)>;
pub(crate) type SignalCallback<S> = Box<dyn FnMut(&mut LoopContext<'_, S>, i32)>;

/// What is to be done with the outcome of a job, and in whose name.
pub(crate) enum Done<S> {
    OnLoop(DoneOnLoop<S>),
    OnConnection(Token, DoneOnConnection<S>),
}

type DoneOnLoop<S> = Box<dyn FnOnce(&mut LoopContext<'_, S>, Outcome)>;
type DoneOnConnection<S> = Box<dyn FnOnce(&mut Context<'_, S>, Outcome) -> Result>;

/// What a job answered, or what its panic said.
pub(crate) type Outcome = std::result::Result<Box<dyn Any + Send>, String>;

impl<S: 'static> Application<S> {
    pub(crate) fn new(state: S, handle: LoopHandle<S>, workers: Arc<WorkerPool>) -> Self {
        Self {
            state,
            handlers: Vec::new(),
            datagram_handlers: Slab::new(),
            sources: Slab::new(),
            factories: Vec::new(),
            tasks: HashMap::new(),
            signals: HashMap::new(),
            handle,
            siblings: Vec::new(),
            jobs: Slab::new(),
            workers,
        }
    }

    /// Makes the handler of a connection from `peer`; `None` when the factory panicked.
    pub(crate) fn make_handler(&mut self, factory: usize, peer: &SocketAddress) -> Option<Box<dyn Handler<S>>> {
        let factory = &mut self.factories[factory];
        catch_unwind(AssertUnwindSafe(|| (factory.make)(peer))).ok()
    }

    /// Gives the connection its handler; the one before, if any, is dropped.
    pub(crate) fn put(&mut self, token: Token, handler: Box<dyn Handler<S>>) {
        let index = token.key().index as usize;
        if index >= self.handlers.len() {
            self.handlers.resize_with(index + 1, || None);
        }
        if let Some(before) = self.handlers[index].replace(handler) {
            drop_safely(before);
        }
    }

    /// Takes the handler out; `None` while a callback of the connection runs.
    #[inline]
    pub(crate) fn take(&mut self, token: Token) -> Option<Box<dyn Handler<S>>> {
        self.handlers.get_mut(token.key().index as usize)?.take()
    }

    /// Puts the handler back after its callback, unless the callback has put another one in its place.
    #[inline]
    pub(crate) fn put_back(&mut self, token: Token, handler: Box<dyn Handler<S>>) {
        match self.handlers.get_mut(token.key().index as usize) {
            Some(slot @ None) => *slot = Some(handler),
            _ => drop_safely(handler),
        }
    }

    /// Puts the handler of a datagram socket back after its callback.
    pub(crate) fn put_back_datagram(&mut self, place: usize, handler: Box<dyn DatagramHandler<S>>) {
        match self.datagram_handlers.get_mut(place) {
            Some(slot) => *slot = Some(handler),
            None => drop_safely(handler),
        }
    }

    /// Puts a source back after its callback.
    pub(crate) fn put_back_source(&mut self, place: usize, source: Box<dyn Source<S>>) {
        match self.sources.get_mut(place) {
            Some(slot) => *slot = Some(source),
            None => drop_safely(source),
        }
    }
}

/// Runs a callback of a connection. What it sends leaves as it returns; an error or a panic ends the connection.
///
/// Answers whether the connection is there still and to be read on.
pub(crate) fn call<S: 'static>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    callback: impl FnOnce(&mut dyn Handler<S>, &mut Context<'_, S>) -> Result,
) -> bool {
    engine.begin_callback(token);
    call_begun(engine, app, token, callback)
}

/// [`call`] once the engine knows that the callback begins.
#[inline(always)]
pub(crate) fn call_begun<S: 'static>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    callback: impl FnOnce(&mut dyn Handler<S>, &mut Context<'_, S>) -> Result,
) -> bool {
    let Some(mut handler) = app.take(token) else { return engine.end_callback(token) };
    let mut cx = Context::new(engine, app, token);
    match catch_unwind(AssertUnwindSafe(|| callback(&mut *handler, &mut cx))) {
        Ok(Ok(())) => {
            app.put_back(token, handler);
            engine.end_callback(token)
        }
        Ok(Err(error)) => end_after_failure(engine, app, token, handler, CloseReason::Error(error)),
        Err(payload) => end_after_panic(engine, app, token, handler, payload),
    }
}

#[cold]
fn end_after_panic<S: 'static>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    handler: Box<dyn Handler<S>>,
    payload: Box<dyn Any + Send>,
) -> bool {
    let reason = panicked(engine, token, payload);
    end_after_failure(engine, app, token, handler, reason)
}

fn panicked(engine: &mut Engine, token: Token, payload: Box<dyn Any + Send>) -> CloseReason {
    let message = panic_message(payload);
    log::error!("a callback of connection {token:?} panicked: {message}");
    engine.counters.panics.add(1);
    CloseReason::Panic(message)
}

/// A callback has failed. What it sent before still leaves, and then the connection ends.
#[cold]
fn end_after_failure<S: 'static>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    handler: Box<dyn Handler<S>>,
    reason: CloseReason,
) -> bool {
    app.put_back(token, handler);
    engine.end_callback(token);
    engine.end(token, reason);
    false
}

/// Runs a closure in the name of a connection, as a callback of it, but beside its handler: that stays where it is and can
/// be visited.
pub(crate) fn call_beside<S: 'static>(
    engine: &mut Engine,
    app: &mut Application<S>,
    token: Token,
    callback: impl FnOnce(&mut Context<'_, S>) -> Result,
) {
    engine.begin_callback(token);
    let mut cx = Context::new(engine, app, token);
    let result = catch_unwind(AssertUnwindSafe(|| callback(&mut cx)));
    engine.end_callback(token);
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => engine.end(token, CloseReason::Error(error)),
        Err(payload) => {
            let reason = panicked(engine, token, payload);
            engine.end(token, reason);
        }
    }
}

/// Runs a closure that belongs to no connection; a panic in it is logged and counted.
pub(crate) fn run_task<S>(engine: &mut Engine, app: &mut Application<S>, task: impl FnOnce(&mut LoopContext<'_, S>)) {
    let mut cx = LoopContext::new(engine, app);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task(&mut cx))) {
        log::error!("a task of the loop panicked: {}", panic_message(payload));
        engine.counters.panics.add(1);
    }
}
