//! What an application implements for a descriptor of any kind: one value a descriptor, called when it is ready.

use std::any::Any;
use std::time::Instant;

use crate::Result;
use crate::close_reason::CloseReason;
use crate::event::Readiness;
use crate::sources::source_context::SourceContext;
use crate::timer::TimerId;

/// What happens on one descriptor that epoll(7) can watch: a pipe, a device, a timer of the kernel, a socket that another
/// library owns.
///
/// Callbacks run as those of a [`Handler`](crate::Handler) do: on the loop's thread, one at a time. One that returns an
/// error, or panics, ends its source alone, which is counted
/// ([`Metrics::sources_failed`](crate::Metrics::sources_failed)).
///
/// The descriptor is watched edge-triggered: it is told of once when it becomes ready, and again only when something new
/// happens. So a source reads (or writes) until `WouldBlock` and then says [`Progress::Drained`]. One that stops earlier, to give
/// others their turn, says [`Progress::More`], and is called again in the next turn of the loop: no edge is lost.
///
/// A source does not hold up a drain of its loop, unless it [says so](SourceContext::hold_drain). It is closed when the loop
/// ends.
///
/// ```
/// use std::io::{ErrorKind, Write};
/// use reactor::{EventLoop, Interest, Progress, Readiness, Result, Source, SourceContext};
///
/// /// Counts the bytes that come through a pipe.
/// struct Count;
///
/// impl Source<u64> for Count {
///     fn on_ready(&mut self, cx: &mut SourceContext<'_, u64>, _readiness: Readiness) -> Result<Progress> {
///         let mut bytes = [0; 4096];
///         match cx.read(&mut bytes) {
///             Ok(0) => cx.stop(),
///             Ok(count) => {
///                 *cx.state() += count as u64;
///                 return Ok(Progress::More);
///             }
///             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///             Err(error) => return Err(error),
///         }
///         Ok(Progress::Drained)
///     }
/// }
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let mut event_loop = EventLoop::new(0)?;
/// event_loop.add_source(reader, Interest::READ, Count)?;
/// writer.write_all(b"hello")?;
/// drop(writer);
/// event_loop.run()?;
/// assert_eq!(*event_loop.state(), 5);
/// # Result::Ok(())
/// ```
pub trait Source<S = ()>: Any {
    /// The descriptor is ready, or was at the last call, which said [`Progress::More`], or
    /// [`wake_source`](crate::LoopContext::wake_source) was called. `readiness` is all that the kernel has told since
    /// the source was last drained; after a wake-up it may be nothing.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_ready(&mut self, cx: &mut SourceContext<'_, S>, readiness: Readiness) -> Result<Progress>;

    /// A timer set with [`SourceContext::set_timer`] is due.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_timer(&mut self, cx: &mut SourceContext<'_, S>, timer: TimerId) -> Result {
        let _ = (cx, timer);
        Ok(())
    }

    /// The loop drains, and ends at `deadline` at the latest. By default the source goes on until then.
    ///
    /// # Errors
    /// An error closes the source, as from every callback.
    fn on_shutdown(&mut self, cx: &mut SourceContext<'_, S>, deadline: Instant) -> Result {
        let _ = (cx, deadline);
        Ok(())
    }

    /// The source has ended: called exactly once, after everything else, for whatever reason. The descriptor is closed
    /// after it.
    ///
    /// The reasons are `Closed`, if it was asked for; `Error` and `Panic`; `Shutdown` at the end of the loop, and `Cut` there if the source
    /// held the drain up until its deadline.
    fn on_close(&mut self, cx: &mut SourceContext<'_, S>, reason: &CloseReason) {
        let _ = (cx, reason);
    }
}

/// How far a source has come with its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To the end: the kernel said `WouldBlock`, and will tell when there is more. Or nothing more is wanted for now.
    Drained,
    /// Not to the end: the source is called again next turn, after others have had theirs.
    More,
}
