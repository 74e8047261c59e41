//! What an application implements: one value a connection, called when something happens to it.

use std::any::Any;
use std::time::Instant;

use crate::Result;
use crate::close_reason::CloseReason;
use crate::context::Context;
use crate::input::Input;
use crate::timer::TimerId;

/// What happens on one connection. The value *is* the state of the connection: one is made for each.
///
/// All callbacks of a loop run on the loop's thread, one at a time, so a handler is neither `Send` nor `Sync` and needs no
/// lock. A callback must not block: every other connection of the loop waits meanwhile. Nothing re-enters: what a callback
/// sends leaves when it returns, what it closes is closed later, and no other callback runs before that, but for the peer
/// that it calls itself by [`with`](crate::LoopContext::with).
///
/// A callback that returns an error, or panics, closes its connection with that as the reason; the loop goes on.
///
/// `S` is the state of the loop, shared by its connections: [`Context::state`](crate::LoopContext::state).
///
/// ```
/// use reactor::{Context, Handler, Input, Result};
///
/// /// Answers every line with its length.
/// #[derive(Default)]
/// struct Lengths {
///     lines: u64,
/// }
///
/// impl Handler for Lengths {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
///         while let Some(line) = input.take_until(b'\n') {
///             self.lines += 1;
///             cx.send(format!("line {} has {} bytes\n", self.lines, line.len()))?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Handler<S = ()>: Any {
    /// The connection is up: accepted, or connected.
    ///
    /// # Errors
    /// An error closes the connection, as from every callback.
    fn on_open(&mut self, cx: &mut Context<'_, S>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// Bytes have arrived. What is not taken out of `input` stays and is shown again, in front of what arrives next.
    ///
    /// At most [`Limits::max_input`](crate::Limits::max_input) may stay; a handler that wants no more for now calls
    /// [`Context::pause`].
    ///
    /// # Errors
    /// An error closes the connection, as from every callback.
    fn on_data(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result;

    /// The peer has ended its direction; it may still read. Nothing more will arrive. By default the connection is closed
    /// when what waits is sent.
    ///
    /// Bytes that `on_data` left are had by [`Context::take_unread`].
    ///
    /// # Errors
    /// An error closes the connection, as from every callback.
    fn on_eof(&mut self, cx: &mut Context<'_, S>) -> Result {
        cx.close_after_flush()
    }

    /// Output that the kernel did not take at once, or that stood above [`Limits::low_mark`](crate::Limits::low_mark), has left,
    /// down to that mark; or [`Context::want_drained`] was called and not more than that waits.
    ///
    /// # Errors
    /// An error closes the connection, as from every callback.
    fn on_drained(&mut self, cx: &mut Context<'_, S>) -> Result {
        let _ = cx;
        Ok(())
    }

    /// A timer set with [`Context::set_timer`] is due.
    ///
    /// # Errors
    /// An error closes the connection, as from every callback.
    fn on_timer(&mut self, cx: &mut Context<'_, S>, timer: TimerId) -> Result {
        let _ = (cx, timer);
        Ok(())
    }

    /// The loop drains, and closes by force what is open at `deadline`. By default what has arrived is still served and
    /// then the connection closes: [`Context::finish`]. A handler in the middle of something may stay until then; one that has
    /// paused stays paused, and is cut at the deadline unless it resumes.
    ///
    /// # Errors
    /// An error closes the connection, as from every callback.
    fn on_shutdown(&mut self, cx: &mut Context<'_, S>, deadline: Instant) -> Result {
        let _ = deadline;
        cx.finish()
    }

    /// The connection has ended: called exactly once, after everything else, for whatever reason. It is the only callback
    /// of a connection that could not be made.
    fn on_close(&mut self, cx: &mut Context<'_, S>, reason: &CloseReason) {
        let _ = (cx, reason);
    }
}
