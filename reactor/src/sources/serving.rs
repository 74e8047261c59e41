//! Serving sources: their readiness, their timers, their end.

use std::time::Instant;

use crate::close_reason::CloseReason;
use crate::event::Readiness;
use crate::event_loop::EventLoop;
use crate::sources::source::Progress;
use crate::sources::source_context::call;
use crate::timer::TimerId;
use crate::token::Token;
use crate::unwind::drop_safely;

impl<S: 'static> EventLoop<S> {
    /// The kernel has told something of a source.
    pub(crate) fn serve_source_event(&mut self, token: Token, readiness: Readiness) {
        let Some(watched) = self.engine.watched_mut(token) else { return };
        watched.told = watched.told.and(readiness);
        // One that waits for its turn is served in this one, with what was told now.
        if !watched.pending {
            self.serve_source(token);
        }
    }

    /// Calls the source with what has been told. What it leaves goes on next turn.
    pub(crate) fn serve_source(&mut self, token: Token) {
        let Some(watched) = self.engine.watched_mut(token).filter(|watched| !watched.ended) else { return };
        let told = std::mem::replace(&mut watched.told, Readiness::NONE);
        let progress = call(&mut self.engine, &mut self.app, token, |source, cx| source.on_ready(cx, told));
        if progress == Some(Progress::More)
            && let Some(watched) = self.engine.watched_mut(token)
        {
            watched.told = watched.told.and(told);
            self.engine.wake_source(token);
        }
    }

    /// A timer of the source is due.
    pub(crate) fn expire_source(&mut self, token: Token, timer: TimerId) {
        if self.engine.watched_mut(token).is_some_and(|watched| watched.remove_timer(timer) && !watched.ended) {
            call(&mut self.engine, &mut self.app, token, |source, cx| source.on_timer(cx, timer));
        }
    }

    pub(crate) fn tell_source_shutdown(&mut self, token: Token, deadline: Instant) {
        if self.engine.live_source(token).is_some() {
            call(&mut self.engine, &mut self.app, token, |source, cx| source.on_shutdown(cx, deadline));
        }
    }

    /// The end of the loop, at which connections have ended already.
    pub(crate) fn end_sources(&mut self) {
        for token in self.source_tokens() {
            let held = self.engine.watched(token).is_some_and(|watched| watched.holds);
            self.engine.end_source(token, if held { CloseReason::Cut } else { CloseReason::Shutdown });
        }
        self.settle();
    }

    /// The end of a source: it is told, and leaves the loop.
    pub(crate) fn reap_source(&mut self, token: Token, reason: &CloseReason) {
        call(&mut self.engine, &mut self.app, token, |source, cx| {
            source.on_close(cx, reason);
            Ok(())
        });
        if let Some(place) = self.engine.watched(token).map(|watched| watched.place)
            && let Some(source) = self.app.sources.try_remove(place)
        {
            drop_safely(source);
        }
        self.engine.retire_source(token);
    }
}
