//! The other end of a pipe of the loop, as the test plays it.

use std::fmt;
use std::sync::Arc;

use crate::sim::kernel::Kernel;
use crate::sim::pipe::{Direction, Holder, Outside, Pipe};
use crate::sim::words::Id;
use crate::sim::world::World;

/// A program that writes into a pipe which the loop reads.
///
/// Every call returns at once. The program writes when virtual time passes and there is room. Dropping it closes its end, and what
/// it has not written by then is lost.
///
/// ```
/// use reactor::sim::Sim;
/// use reactor::sources::{ByteReader, ReaderContext};
/// use reactor::{EventLoop, Input, Result};
///
/// struct Count;
///
/// impl ByteReader<usize> for Count {
///     fn on_bytes(&mut self, cx: &mut ReaderContext<'_, usize>, input: &mut Input<'_>) -> Result {
///         *cx.state() += input.take().len();
///         Ok(())
///     }
///
///     fn on_end(&mut self, cx: &mut ReaderContext<'_, usize>) -> Result {
///         cx.stop();
///         Ok(())
///     }
/// }
///
/// let sim = Sim::new(1);
/// let mut event_loop = EventLoop::new(0)?;
/// let (pipe, mut sender) = sim.pipe_to_read()?;
/// event_loop.context().add_reader(pipe, Count)?;
/// // More than the pipe holds.
/// sender.send(&[7; 100_000]);
/// sender.finish();
/// event_loop.run()?;
/// assert_eq!(*event_loop.state(), 100_000);
/// # Result::Ok(())
/// ```
pub struct PipeSender(Far);

/// A program that reads from a pipe into which the loop writes. It reads all at once unless told otherwise.
///
/// Every call returns at once. Dropping it closes its end, and who writes hears of it (`EPIPE`).
pub struct PipeReceiver(Far);

/// The far end of a pipe.
struct Far {
    world: Arc<World>,
    pipe: Id,
    direction: Direction,
}

impl PipeSender {
    pub(super) fn new(world: Arc<World>, pipe: Id) -> Self {
        Self(Far::new(world, pipe, Direction::Write))
    }

    /// Writes bytes, behind what is to be written already. There is no bound: what the pipe has no room for waits.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.change("sender writes", bytes.len(), |outside| {
            if !outside.finishing && !outside.broken {
                outside.unsent.extend(bytes);
            }
        });
    }

    /// Closes the end when all is written.
    pub fn finish(&mut self) {
        self.0.change("sender finishes", 0, |outside| outside.finishing = true);
    }

    /// Bytes that are not in the pipe yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.0.look(|pipe| pipe.outside.unsent.len()).unwrap_or(0)
    }

    /// Bytes that the loop has not read, wherever they are.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.0.look(|pipe| pipe.len() + pipe.outside.unsent.len()).unwrap_or(0)
    }

    /// Whether it has written to a pipe that nobody reads any more: `EPIPE`.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.look(|pipe| pipe.outside.broken).unwrap_or(false)
    }
}

impl PipeReceiver {
    pub(super) fn new(world: Arc<World>, pipe: Id) -> Self {
        Self(Far::new(world, pipe, Direction::Read))
    }

    /// How many bytes have been read and not [taken](Self::take).
    #[must_use]
    pub fn received_len(&self) -> usize {
        self.0.look(|pipe| pipe.outside.taken.len()).unwrap_or(0)
    }

    /// Takes what has been read.
    pub fn take(&mut self) -> Vec<u8> {
        self.0.change("receiver takes", 0, |outside| std::mem::take(&mut outside.taken)).unwrap_or_default()
    }

    /// Reads no more: the pipe fills up.
    pub fn stop_reading(&mut self) {
        self.0.change("receiver stops", 0, |outside| outside.reads = false);
    }

    /// Reads again.
    pub fn resume_reading(&mut self) {
        self.0.change("receiver resumes", 0, |outside| outside.reads = true);
    }

    /// Whether it has come to the end: nobody writes any more, and all was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.look(|pipe| pipe.outside.ended).unwrap_or(false)
    }
}

impl Far {
    fn new(world: Arc<World>, pipe: Id, direction: Direction) -> Self {
        if let Some(pipe) = world.lock().kernel.pipes.get_mut(&pipe) {
            pipe.outside.held = true;
        }
        Self { world, pipe, direction }
    }

    /// Changes what the program is to do, and lets it begin.
    fn change<T>(&self, what: &'static str, count: usize, change: impl FnOnce(&mut Outside) -> T) -> Option<T> {
        self.world.call_as_current(|kernel| {
            kernel.note(what, self.pipe.cast_signed(), count);
            let changed = kernel.pipes.get_mut(&self.pipe).map(|pipe| change(&mut pipe.outside));
            kernel.stir(self.pipe);
            changed
        })
    }

    fn look<T>(&self, look: impl FnOnce(&Pipe) -> T) -> Option<T> {
        self.world.lock().kernel.pipes.get(&self.pipe).map(look)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let (pipe, direction) = (self.pipe, self.direction);
        self.world.call_as_current(|kernel: &mut Kernel| {
            kernel.note("the far end is dropped", pipe.cast_signed(), ());
            let Some(state) = kernel.pipes.get_mut(&pipe) else { return };
            state.outside.held = false;
            if *state.holder(direction) == Holder::Outside {
                return kernel.close_pipe_end(pipe, direction);
            }
            kernel.forget_pipe_if_gone(pipe);
        });
    }
}

impl fmt::Debug for PipeSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeSender").field("unread", &self.unread()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PipeReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReceiver").field("received_len", &self.received_len()).finish_non_exhaustive()
    }
}
