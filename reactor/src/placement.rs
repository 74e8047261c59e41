//! One loop accepts for all: which loop a new connection goes to.

use std::sync::Arc;

use crate::address::SocketAddress;
use crate::handle::{Errand, LoopHandle, Mail};
use crate::mailbox::Mailbox;
use crate::sync::{AtomicBool, Ordering, fence};
use crate::sys::fd::Fd;

/// How an accepting loop picks the loop for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each loop in turn.
    RoundRobin,
    /// The loop with the fewest connections.
    FewestConnections,
}

/// The loops that connections are handed to, as the accepting loop sees them.
pub(crate) struct Placement<S> {
    balance: Balance,
    targets: Vec<Target<S>>,
    next: usize,
    handover: Arc<Handover>,
}

/// What the loops tell each other where one accepts for all.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// The accepting loop found no room anywhere and rests.
    resting: AtomicBool,
    /// The accepting loop has closed its listener: all it hands over is handed over.
    ended: AtomicBool,
}

/// A loop that takes connections.
pub(crate) struct Target<S> {
    handle: LoopHandle<S>,
    limit: u64,
    /// The soft mark of its memory.
    memory_soft: u64,
}

/// How the other loops tell the accepting one that a place is free.
pub(crate) struct VacancyBell<S> {
    acceptor: LoopHandle<S>,
    handover: Arc<Handover>,
}

impl<S> Placement<S> {
    /// Hands connections to these loops, each with the number of connections it may have and the soft mark of its memory. The
    /// first is the accepting one.
    pub(crate) fn new(
        balance: Balance,
        loops: impl IntoIterator<Item = (LoopHandle<S>, (usize, usize))>,
        handover: Arc<Handover>,
    ) -> Self {
        let target =
            |(handle, (limit, memory_soft))| Target { handle, limit: limit as u64, memory_soft: memory_soft as u64 };
        Self { balance, targets: loops.into_iter().map(target).collect(), next: 0, handover }
    }

    /// Hands a connection over. It comes back if it is to live on this loop.
    pub(crate) fn place(&mut self, fd: Fd, peer: &SocketAddress, factory: usize) -> Option<Fd> {
        let Some(index) = self.pick() else { return Some(fd) };
        self.next = (index + 1) % self.targets.len();
        if index == 0 {
            return Some(fd);
        }
        let target = &self.targets[index];
        match target.handle.try_post(Errand::Adopt { fd, peer: peer.clone(), factory }) {
            Ok(()) => {
                target.handle.counters().handed.add(1);
                None
            }
            // That loop is swamped or gone.
            Err((_, Mail::Errand(errand))) => match *errand {
                Errand::Adopt { fd, .. } => Some(fd),
                _ => None,
            },
            Err((_, Mail::Execute(_))) => None,
        }
    }

    /// The listener is closed: who waits for connections need not wait any longer.
    pub(crate) fn end(&self) {
        self.handover.ended.store(true, Ordering::Release);
        for target in &self.targets {
            // A loop that has ended waits for nothing.
            let _ = target.handle.post_urgent(Errand::AcceptAgain);
        }
    }

    /// Whether a loop has room. If none has, the first one to have it rings.
    pub(crate) fn has_room(&self) -> bool {
        if self.any_room() {
            return true;
        }
        self.handover.resting.store(true, Ordering::Relaxed);
        // Either this look finds the place that became free meanwhile, or who freed it finds the flag.
        fence(Ordering::SeqCst);
        self.any_room()
    }

    fn any_room(&self) -> bool {
        self.targets.iter().any(Target::has_room)
    }

    fn pick(&self) -> Option<usize> {
        let count = self.targets.len();
        let mut candidates =
            (0..count).map(|step| (self.next + step) % count).filter(|&index| self.targets[index].has_room());
        match self.balance {
            Balance::RoundRobin => candidates.next(),
            Balance::FewestConnections => candidates.min_by_key(|&index| self.targets[index].connections()),
        }
    }
}

impl<S> Target<S> {
    /// Connections there, those that are on their way included.
    fn connections(&self) -> u64 {
        let counters = self.handle.counters();
        // All that this thread has handed to it, through whichever listener.
        let on_their_way = counters.handed.get().saturating_sub(counters.handed_over.get_acquired());
        // Open before lingering: one that changes over meanwhile is counted twice rather than not at all.
        counters.open.get_acquired() + counters.lingering.get() + on_their_way
    }

    fn has_room(&self) -> bool {
        self.connections() < self.limit && self.handle.counters().buffered.get() < self.memory_soft
    }
}

/// Whether sockets may still come from other loops.
pub(crate) fn awaits_sockets<S, M>(bells: &[VacancyBell<S>], mailbox: &Mailbox<M>) -> bool {
    // In this order: what was handed over before the end that is seen here is seen in the mailbox then.
    !bells.iter().all(VacancyBell::has_ended) || mailbox.has_mail()
}

impl<S> VacancyBell<S> {
    pub(crate) fn new(acceptor: LoopHandle<S>, handover: Arc<Handover>) -> Self {
        Self { acceptor, handover }
    }

    /// Whether no more connections will be handed over. What was handed over before is in the mailbox then.
    fn has_ended(&self) -> bool {
        self.handover.ended.load(Ordering::Acquire)
    }

    /// A place has become free here.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.handover.resting.load(Ordering::Relaxed) && self.handover.resting.swap(false, Ordering::Relaxed) {
            // A full mailbox means that the accepting loop is awake; it looks again at its next close.
            let _ = self.acceptor.post_urgent(Errand::AcceptAgain);
        }
    }
}
