//! A child process of the simulated machine, as the test plays it.

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::sim::words::Id;

/// What a child process does that [`spawn`](crate::LoopContext::spawn) starts in a simulation: a script, which
/// [`Sim::on_spawn`](crate::sim::Sim::on_spawn) answers with.
///
/// It ends when its time is over, all that it has to say is written, and, if it reads, its input has ended; or before that, by a
/// signal. What it does takes the time that the seed says.
#[derive(Clone, Debug)]
pub struct SimChild {
    pub(super) lifetime: Duration,
    /// How it ends, as wait(2) says it.
    pub(super) status: i32,
    pub(super) output: Vec<u8>,
    pub(super) errors: Vec<u8>,
    pub(super) reads: bool,
    pub(super) echoes: bool,
    /// Signals that do not end it, a bit each.
    pub(super) ignored: u64,
}

impl SimChild {
    /// One that exits with this code, at once unless told otherwise.
    #[must_use]
    pub fn exits(code: u8) -> Self {
        Self {
            lifetime: Duration::ZERO,
            status: i32::from(code) << 8,
            output: Vec::new(),
            errors: Vec::new(),
            reads: false,
            echoes: false,
            ignored: 0,
        }
    }

    /// One that dies by a signal of its own making, such as `SIGSEGV` (11).
    #[must_use]
    pub fn dies(signal: i32) -> Self {
        Self { status: signal & 0x7f, ..Self::exits(0) }
    }

    /// It lives for so long at least.
    #[must_use]
    pub fn after(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// It writes this to its standard output.
    #[must_use]
    pub fn output(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.output = bytes.into();
        self
    }

    /// It writes this to its standard error.
    #[must_use]
    pub fn errors(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.errors = bytes.into();
        self
    }

    /// It reads its standard input to the end.
    #[must_use]
    pub fn reading(mut self) -> Self {
        self.reads = true;
        self
    }

    /// It [reads](Self::reading), and writes what it has read to its standard output.
    #[must_use]
    pub fn echoing(mut self) -> Self {
        (self.reads, self.echoes) = (true, true);
        self
    }

    /// A signal, such as `SIGTERM` (15), does not end it. `SIGKILL` (9) always does.
    ///
    /// # Panics
    /// There is no such signal.
    #[must_use]
    pub fn ignoring(mut self, signal: i32) -> Self {
        assert!((1..64).contains(&signal), "{signal} is no signal");
        self.ignored |= 1 << signal;
        self
    }
}

/// How a child process of the simulated machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It lives.
    Running,
    /// It has ended, and nobody has waited for it yet.
    Zombie,
    /// It has ended, and was waited for.
    Gone,
}

/// What says which child a command starts.
pub(super) type Programs = Box<dyn FnMut(&Command) -> io::Result<SimChild> + Send>;

/// A process in the simulated kernel.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) script: SimChild,
    pub(super) state: ChildState,
    /// Its time is over.
    pub(super) is_old: bool,
    /// A thread of the program waits for it.
    pub(super) awaited: bool,
    pub(super) input: Id,
    pub(super) output: Id,
    pub(super) errors: Id,
    /// Signals that were sent to it.
    pub(super) signals: Vec<i32>,
}
