//! Child processes: started, their end told, signalled, and never left as zombies.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::thread;

use crate::Result;
use crate::close_reason::CloseReason;
use crate::engine::Engine;
use crate::event::Readiness;
use crate::interest::Interest;
use crate::loop_context::LoopContext;
use crate::sources::source::{Progress, Source};
use crate::sources::source_context::SourceContext;
use crate::sys::fd::Fd;
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
    /// Its standard input, if that was [piped](process::Stdio::piped): for
    /// [`add_writer`](LoopContext::add_writer).
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that was piped: for [`add_reader`](LoopContext::add_reader).
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that was piped: for [`add_reader`](LoopContext::add_reader).
    pub stderr: Option<ChildStderr>,
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
    /// Linux before 5.4. Or the loop is draining or in a simulation.
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
        kernel::unblock_signals(command)?;
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        match self.watch_child(&child, options, on_exit) {
            Ok(id) => Ok(Spawned { id, pid: child.id(), stdin, stdout, stderr }),
            Err(error) => {
                // It was not to be, and has hardly begun. Both can fail only if it is gone already.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn watch_child(
        &mut self,
        child: &process::Child,
        options: &ChildOptions,
        on_exit: impl FnOnce(&mut LoopContext<'_, S>, io::Result<ExitStatus>) + 'static,
    ) -> io::Result<SourceId> {
        let process = kernel::open(child.id())?;
        let source = Awaited { on_exit: Some(Box::new(on_exit)), at_end: options.at_end };
        let state = Process { pid: child.id() };
        let id = self.insert_source(process, Interest::READ, source, Some(Box::new(state)))?;
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
        if let Some(status) = kernel::wait(cx.raw(), false).transpose() {
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
        if self.at_end == AtEnd::Kill
            && let Err(error) = kernel::send_signal(cx.raw(), libc::SIGKILL)
        {
            log::warn!("a child process could not be killed: {error}");
        }
        match cx.fd().try_clone_to_owned() {
            Ok(process) => wait_elsewhere(process.into()),
            Err(error) => log::warn!("a child process may become a zombie: {error}"),
        }
    }
}

/// Waits for the end of a child, so that it does not become a zombie, on a thread of its own unless it has come already.
fn wait_elsewhere(process: Fd) {
    if !matches!(kernel::wait(process.as_fd(), false), Ok(None)) {
        return;
    }
    let waiting = thread::Builder::new().name("reactor-child".to_owned()).stack_size(STACK);
    let spawned = waiting.spawn(move || kernel::wait(process.as_fd(), true).is_ok());
    if let Err(error) = spawned {
        log::warn!("a child process may become a zombie: {error}");
    }
}

/// The thread makes one system call.
const STACK: usize = 64 << 10;
