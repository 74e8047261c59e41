//! One datagram socket: what is known of its readiness, what waits on it, and how far its life has come.

use std::collections::VecDeque;

use crate::connection::Phase;
use crate::datagram_error::DatagramError;
use crate::datagram_queue::{DatagramQueue, Policy};
use crate::event::Readiness;
use crate::net::datagram_socket::DatagramSocket;
use crate::sys::datagram_option;
use crate::timer::TimerId;

/// A datagram socket in one loop.
pub(crate) struct Datagram {
    pub(crate) socket: DatagramSocket,
    /// The place of its handler among those of the loop.
    pub(crate) handler: usize,
    /// Its handler has been told that it is in its loop.
    pub(crate) opened: bool,
    /// Other loops watch the socket too.
    pub(crate) shared: bool,
    /// The kernel may have datagrams: it has not met the end of the queue since it last said so.
    pub(crate) readable: bool,
    /// The kernel may have errors to tell.
    pub(crate) erroneous: bool,
    /// Has an entry in the loop's pending queue.
    pub(crate) pending: bool,
    /// Has an entry in the list of what is to be flushed at the end of the turn.
    pub(crate) dirty: bool,
    /// Something waits in the queue that the kernel has not been offered yet.
    pub(crate) untried: bool,
    /// The kernel may be asked to cut one long datagram into many.
    pub(crate) cuts: bool,
    /// The poller is asked to tell when there is room to send.
    pub(crate) awaits_room: bool,
    /// Datagrams had to wait: `on_drained` is due when none does.
    pub(crate) tell_drained: bool,
    pub(crate) phase: Phase,
    /// How many more datagrams are served once it is [`Phase::Finishing`].
    pub(crate) still_served: usize,
    pub(crate) queue: DatagramQueue,
    /// The timer that tries to send again, and after how many milliseconds the next one will.
    pub(crate) retry: Option<TimerId>,
    pub(crate) retry_ms: u64,
    /// Errors that the handler has not been told yet.
    errors: VecDeque<DatagramError>,
    /// The handler's timers, which die with the socket.
    pub(crate) timers: Vec<TimerId>,
}

impl Datagram {
    pub(crate) fn new(socket: DatagramSocket, handler: usize, shared: bool) -> Self {
        Self {
            cuts: !socket.is_unix() && datagram_option::can_cut(socket.as_fd()),
            socket,
            handler,
            opened: false,
            shared,
            readable: false,
            erroneous: false,
            pending: false,
            dirty: false,
            untried: false,
            awaits_room: false,
            tell_drained: false,
            phase: Phase::Open,
            still_served: 0,
            queue: DatagramQueue::default(),
            retry: None,
            retry_ms: FIRST_RETRY_MS,
            errors: VecDeque::new(),
            timers: Vec::new(),
        }
    }

    /// Keeps what the kernel has told.
    pub(crate) fn note(&mut self, readiness: Readiness) {
        self.readable |= readiness.is_readable();
        self.erroneous |= readiness.is_error();
    }

    /// Whether datagrams are to be received now.
    pub(crate) fn may_read(&self) -> bool {
        self.readable && (self.phase == Phase::Open || self.phase == Phase::Finishing && self.still_served > 0)
    }

    /// Whether the handler may still send.
    pub(crate) fn may_send(&self) -> bool {
        self.phase <= Phase::Finishing
    }

    /// Whether a peer whose own queue is full holds up nobody else: on a Unix socket that is not connected. On others it is
    /// the socket that is full.
    pub(crate) fn sends_apart(&self) -> bool {
        self.socket.is_unix() && !self.socket.is_connected()
    }

    /// How its queue is flushed, where `max` may wait.
    pub(crate) fn policy(&self, max: usize) -> Policy {
        Policy { apart: self.sends_apart(), max }
    }

    /// Forgets a timer; `false` if it was not the handler's.
    pub(crate) fn remove_timer(&mut self, timer: TimerId) -> bool {
        let Some(place) = self.timers.iter().position(|&other| other == timer) else { return false };
        self.timers.swap_remove(place);
        true
    }

    /// Keeps an error for the handler. In a flood of them the later ones are only counted.
    pub(crate) fn keep_error(&mut self, error: DatagramError) {
        if self.errors.len() < ERRORS_KEPT {
            self.errors.push_back(error);
        }
    }

    pub(crate) fn take_error(&mut self) -> Option<DatagramError> {
        self.errors.pop_front()
    }

    /// How many errors wait for the handler.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }
}

/// After so many milliseconds sending is tried again first; then after twice as many, and so on.
pub(crate) const FIRST_RETRY_MS: u64 = 1;

/// Errors that wait for the handler; they come in bursts as large as those of datagrams.
const ERRORS_KEPT: usize = 256;
