//! Child processes: started, their end told, signalled, and never left as zombies.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use crate::Result;
use crate::close_reason::CloseReason;
use crate::engine::Engine;
use crate::event::Readiness;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::descriptor::Descriptor;
use crate::sources::source::{Progress, Source};
use crate::sources::source_context::SourceContext;
use crate::sys::fd::{Fd, FdRef};
use crate::sys::process as kernel;
use crate::token::{SourceId, Token};

/// What becomes of a child with its loop.
///
/// ```
/// use reactor::sources::{AtEnd, ChildOptions};
///
/// let options = ChildOptions::default().at_end(AtEnd::Leave).hold_drain(true);
/// assert!(options.hold_drain);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ChildOptions {
    /// What becomes of a child that lives when its loop ends or its source is closed. By default it is killed.
    pub at_end: AtEnd,
    /// Whether a drain of the loop waits for the child, until its deadline. By default it does not.
    pub hold_drain: bool,
}

impl ChildOptions {
    /// Sets [`at_end`](Self::at_end).
    #[must_use]
    pub fn at_end(mut self, at_end: AtEnd) -> Self {
        self.at_end = at_end;
        self
    }

    /// Sets [`hold_drain`](Self::hold_drain).
    #[must_use]
    pub fn hold_drain(mut self, holds: bool) -> Self {
        self.hold_drain = holds;
        self
    }
}

/// What becomes of a child that lives when its loop ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// It is killed (SIGKILL), so that nothing is left of what the loop had started.
    #[default]
    Kill,
    /// It lives on. A thread waits for its end, for as long as this process lives.
    Leave,
}

/// A child that was started.
#[derive(Debug)]
#[non_exhaustive]
pub struct Spawned {
    /// Its name in the loop.
    pub id: SourceId,
    /// Its number in the system.
    pub pid: u32,
    /// Its standard input, if that was [piped](std::process::Stdio::piped): for
    /// [`add_writer`](LoopContext::add_writer).
    pub stdin: Option<Descriptor>,
    /// Its standard output, if that was piped: for [`add_reader`](LoopContext::add_reader).
    pub stdout: Option<Descriptor>,
    /// Its standard error, if that was piped: for [`add_reader`](LoopContext::add_reader).
    pub stderr: Option<Descriptor>,
}

impl<S: 'static> LoopContext<'_, S> {
    /// Starts a child process. `on_exit` is called once, when it has ended, with its status; by then nothing is left of it in the
    /// system. What it wrote may still wait in its pipes.
    ///
    /// The child gets no descriptor of this process but those that `command` gives it, and no signal is blocked for it, though
    /// it may be for the loop ([`EventLoop::on_signals`](crate::EventLoop::on_signals)). The call waits until the program has been
    /// found and begun, which mostly takes less than a millisecond.
    ///
    /// `on_exit` is told an error only if this process has somebody else wait for its children, or ignores SIGCHLD, so that the
    /// status is lost.
    ///
    /// # When the loop ends
    /// Children that live are killed, or left alone, as the options say; their `on_exit` is dropped. They do not become zombies.
    ///
    /// # Errors
    /// As [`Command::spawn`]: the program is not found or may not be run; no descriptor or process is free. `Unsupported` on
    /// Linux before 5.4. Or the loop is draining.
    ///
    /// ```
    /// use std::process::{Command, Stdio};
    /// use reactor::sources::{ByteReader, ChildOptions, ReaderContext};
    /// use reactor::{EventLoop, Input, Result};
    ///
    /// struct Output;
    ///
    /// impl ByteReader<Vec<u8>> for Output {
    ///     fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Vec<u8>>, input: &mut Input<'_>) -> Result {
    ///         cx.state().extend_from_slice(input.take());
    ///         Ok(())
    ///     }
    ///
    ///     fn on_end(&mut self, cx: &mut ReaderContext<'_, Vec<u8>>) -> Result {
    ///         cx.stop();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// let mut cx = event_loop.context();
    /// let mut command = Command::new("echo");
    /// command.arg("hello").stdout(Stdio::piped());
    /// let child = cx.spawn(&mut command, &ChildOptions::default(), |_cx, status| {
    ///     assert!(status.unwrap().success());
    /// })?;
    /// cx.add_reader(child.stdout.unwrap(), Output)?;
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state(), b"hello\n");
    /// # Result::Ok(())
    /// ```
    pub fn spawn(
        &mut self,
        command: &mut Command,
        options: &ChildOptions,
        on_exit: impl FnOnce(&mut LoopContext<'_, S>, io::Result<ExitStatus>) + 'static,
    ) -> io::Result<Spawned> {
        self.engine.check_takes_sources()?;
        let started = kernel::spawn(command)?;
        // Should it not be watched, it was not to be, and has hardly begun.
        let spare = started.process.as_fd().duplicate().inspect_err(|_| kernel::end(started.process.as_fd()))?;
        let id = self.watch_child(started.process, started.pid, options, on_exit);
        let id = id.inspect_err(|_| kernel::end(spare.as_fd()))?;
        let [stdin, stdout, stderr] = [started.stdin, started.stdout, started.stderr].map(|fd| fd.map(Descriptor::of));
        Ok(Spawned { id, pid: started.pid, stdin, stdout, stderr })
    }

    fn watch_child(
        &mut self,
        process: Fd,
        pid: u32,
        options: &ChildOptions,
        on_exit: impl FnOnce(&mut LoopContext<'_, S>, io::Result<ExitStatus>) + 'static,
    ) -> io::Result<SourceId> {
        let source = Awaited { on_exit: Some(Box::new(on_exit)), at_end: options.at_end };
        let id = self.insert_source(process, Interest::READ, source, Some(Box::new(Process { pid })))?;
        self.engine.hold_drain(id.0, options.hold_drain);
        Ok(id)
    }
}

impl<S> LoopContext<'_, S> {
    /// A child of this loop that has not ended, as far as the loop knows; `None` if it is gone, or the name is that of another
    /// source.
    #[must_use]
    pub fn child(&mut self, id: SourceId) -> Option<Child<'_>> {
        let token = self.engine.live_source(id.0)?;
        self.engine.source_state::<Process>(token)?;
        Some(Child { engine: self.engine, token })
    }
}

/// A child process of this loop.
pub struct Child<'a> {
    engine: &'a mut Engine,
    token: Token,
}

impl Child<'_> {
    /// Its number in the system.
    #[must_use]
    pub fn pid(&mut self) -> u32 {
        self.engine.source_state::<Process>(self.token).map_or(0, |(_, process)| process.pid)
    }

    /// Sends it a signal, such as `SIGTERM` (15). It is this child that gets it, and never another process that has the same
    /// number; see pidfd_send_signal(2).
    ///
    /// # Errors
    /// `InvalidInput`: there is no such signal. `PermissionDenied`: it runs as another user now.
    pub fn signal(&mut self, number: i32) -> io::Result<()> {
        let (process, _) = self.engine.source_state::<Process>(self.token).ok_or(io::ErrorKind::NotConnected)?;
        kernel::send_signal(process, number)
    }

    /// Kills it (SIGKILL). That it has ended is told to its `on_exit`.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }
}

/// What is known of a child while its `on_exit` runs; its mark, too.
struct Process {
    pid: u32,
}

type OnExit<S> = Box<dyn FnOnce(&mut LoopContext<'_, S>, io::Result<ExitStatus>)>;

/// The source that waits for a child.
struct Awaited<S> {
    /// Until the child has ended.
    on_exit: Option<OnExit<S>>,
    at_end: AtEnd,
}

impl<S: 'static> Source<S> for Awaited<S> {
    fn on_ready(&mut self, cx: &mut SourceContext<'_, S>, _readiness: Readiness) -> Result<Progress> {
        if let Some(status) = kernel::wait(cx.raw()).transpose() {
            cx.end(CloseReason::Closed);
            if let Some(on_exit) = self.on_exit.take() {
                on_exit(cx, status.map(ExitStatus::from_raw));
            }
        }
        Ok(Progress::Drained)
    }

    fn on_close(&mut self, cx: &mut SourceContext<'_, S>, _reason: &CloseReason) {
        if self.on_exit.is_none() {
            return;
        }
        abandon(cx.raw(), self.at_end);
    }
}

/// Leaves a child that may live, so that it does not become a zombie.
fn abandon(process: FdRef<'_>, at_end: AtEnd) {
    if at_end == AtEnd::Kill
        && let Err(error) = kernel::send_signal(process, libc::SIGKILL)
    {
        log::warn!("a child process could not be killed: {error}");
    }
    // It may have ended already.
    if matches!(kernel::wait(process), Ok(None))
        && let Err(error) = kernel::wait_elsewhere(process)
    {
        log::warn!("a child process may become a zombie: {error}");
    }
}
