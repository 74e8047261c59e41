//! Descriptors of any kind in the engine: entered, asked to be served, ended, gone.

use std::io;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::engine::Engine;
use crate::interest::Interest;
use crate::registered::Registered;
use crate::sources::watched::Watched;
use crate::sys::fd::{Fd, FdRef};
use crate::sys::option;
use crate::timer::TimerId;
use crate::token::Token;

impl Engine {
    pub(crate) fn watched(&self, token: Token) -> Option<&Watched> {
        match self.sources.get(token.key()) {
            Some(Registered::Watched(watched)) => Some(watched),
            _ => None,
        }
    }

    pub(crate) fn watched_mut(&mut self, token: Token) -> Option<&mut Watched> {
        match self.sources.get_mut(token.key()) {
            Some(Registered::Watched(watched)) => Some(watched),
            _ => None,
        }
    }

    /// The source of this name, if it is of this loop and has not ended.
    pub(crate) fn live_source(&self, token: Token) -> Option<Token> {
        let token = self.ours(token)?;
        (!self.watched(token)?.ended).then_some(token)
    }

    /// Enters a descriptor, which is not watched yet. On failure it is closed and nothing is left behind.
    pub(crate) fn insert_source(&mut self, watched: Watched) -> io::Result<Token> {
        self.check_takes_sources()?;
        let token = self.insert(Registered::Watched(Box::new(watched)))?;
        self.counters.sources.add(1);
        Ok(token)
    }

    /// Whether sources may be added.
    pub(crate) fn check_takes_sources(&self) -> io::Result<()> {
        if self.draining {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the loop is shutting down"));
        }
        Ok(())
    }

    /// Watches the descriptor of a source. On failure the source stays where it is.
    pub(crate) fn register_source(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let watched = self.watched(token).ok_or_else(gone)?;
        self.poller.register(watched.fd.as_fd(), interest, token).map_err(explained)?;
        self.watched_mut(token).ok_or_else(gone)?.registered = true;
        Ok(())
    }

    /// Serves the source next turn, whether the kernel tells of it or not.
    pub(crate) fn wake_source(&mut self, token: Token) {
        if self.watched(token).is_some_and(|watched| !watched.ended) {
            self.push_pending(token);
        }
    }

    /// Lets a drain wait for the source, or no longer.
    pub(crate) fn hold_drain(&mut self, token: Token, holds: bool) {
        let Some(watched) = self.watched_mut(token) else { return };
        let held = std::mem::replace(&mut watched.holds, holds);
        self.holding = self.holding + usize::from(holds) - usize::from(held);
    }

    /// The source has ended, for the first reason that is given. It is told at the end of the turn.
    pub(crate) fn end_source(&mut self, token: Token, reason: CloseReason) {
        let Some(watched) = self.watched_mut(token).filter(|watched| !watched.ended) else { return };
        watched.ended = true;
        self.ended.push_back((token, reason));
    }

    /// Takes a source that has been told out of the loop.
    pub(crate) fn retire_source(&mut self, token: Token) {
        self.hold_drain(token, false);
        let Some(Registered::Watched(watched)) = self.sources.remove(token.key()) else { return };
        for &timer in &watched.timers {
            self.timers.cancel(timer);
        }
        if watched.registered {
            // Its open file may have another descriptor, by which the poller would go on watching it.
            let _ = self.poller.deregister(watched.fd.as_fd());
        }
        self.counters.sources.subtract(1);
    }

    /// Arms a timer of the source.
    pub(crate) fn set_source_timer(&mut self, token: Token, delay: Duration) -> io::Result<TimerId> {
        let limit = self.limits.timers_per_connection;
        if self.watched(token).ok_or_else(gone)?.timers.len() >= limit {
            let message = format!("the source has {limit} timers, as many as Limits::timers_per_connection allows");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        let timer = self.arm(delay, token)?;
        self.watched_mut(token).ok_or_else(gone)?.timers.push(timer);
        Ok(timer)
    }

    /// Disarms a timer of this source; `false` if it is none or has fired.
    pub(crate) fn cancel_source_timer(&mut self, token: Token, timer: TimerId) -> bool {
        let ours = self.watched_mut(token).is_some_and(|watched| watched.remove_timer(timer));
        ours && self.timers.cancel(timer).is_some()
    }

    /// The descriptor of a ready-made source, and what that keeps with it.
    pub(crate) fn source_state<T: 'static>(&mut self, token: Token) -> Option<(FdRef<'_>, &mut T)> {
        let watched = self.watched_mut(token)?;
        Some((watched.fd.as_fd(), watched.state.as_mut()?.downcast_mut()?))
    }
}

/// The kernel's word for "always ready" says nothing to who does not know it.
fn explained(error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(libc::EPERM) {
        return error;
    }
    let message = "epoll(7) cannot watch this descriptor, because a regular file or a directory is always ready: read or \
                   write it by LoopContext::add_reader or add_writer, which do so on another thread, or by spawn_blocking";
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the source is gone")
}

/// Makes what is given to the loop fit for it: nonblocking and close-on-exec.
pub(crate) fn fitted(fd: Fd) -> io::Result<Fd> {
    option::set_nonblocking(fd.as_fd())?;
    Ok(fd)
}
