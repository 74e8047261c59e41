//! The real `echo-server` under strace(1), which makes some of its system calls fail.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{DEADLINE, PROGRAM, Server, has_tool};

/// A server that runs under strace. Strace is its child, not its parent, so that signals and the exit code are its own.
pub(crate) struct Faulty {
    pub(crate) server: Server,
    directory: TempDir,
}

/// What is left of a server that ran under strace.
pub(crate) struct Trace {
    lines: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

/// What strace(1) is to do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults<'a> {
    /// Each as strace's `inject=` takes it, such as `recvfrom:error=EINTR:when=2+3`; `when` counts the calls of one thread.
    pub(crate) inject: &'a [&'a str],
    /// The only file whose calls are meant; empty for all.
    pub(crate) path: &'a str,
    /// Calls to be written down besides, with commas between.
    pub(crate) trace: &'a str,
}

impl Faulty {
    /// Starts on one TCP port, one thread, with these arguments besides. `None`: strace is not here, or may not trace.
    pub(crate) fn start(inject: &[&str], arguments: &[&str]) -> Option<Self> {
        Self::start_with(Faults { inject, ..Faults::default() }, arguments)
    }

    pub(crate) fn start_with(faults: Faults<'_>, arguments: &[&str]) -> Option<Self> {
        if !can_trace() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = faults.command(&log_in(&directory));
        command.args(["--listen", "tcp://127.0.0.1:0", "--threads", "1"]).args(arguments);
        Some(Self { server: Server::start_command(&mut command, 1), directory })
    }

    /// How many of these calls were made to fail so far. A call is written down before the server goes on.
    pub(crate) fn injected(&self, call: &str) -> usize {
        injected(&lines_of(&self.directory), call)
    }

    /// How many of these calls were made so far, the injected ones included.
    pub(crate) fn made(&self, call: &str) -> usize {
        lines_of(&self.directory).iter().filter(|line| is_of(line, call)).count()
    }

    /// Waits until one of these calls has answered this error by itself.
    pub(crate) fn wait_for_error(&self, call: &str, error: &str) {
        let end = Instant::now() + DEADLINE;
        while !lines_of(&self.directory).iter().any(|line| is_of(line, call) && line.contains(error)) {
            assert!(Instant::now() < end, "no {call} has answered {error}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Drains by SIGTERM, which must end the process with 0, with each of these calls having been made to fail.
    pub(crate) fn stop(self, calls: &[&str]) -> Trace {
        let Self { server, directory } = self;
        let (code, stderr) = server.stop();
        assert_eq!(code, Some(0), "{stderr:#?}");
        assert!(!stderr.iter().any(|line| line.contains("panicked")), "{stderr:#?}");
        // Strace had a copy of stderr, so it has ended too.
        let lines = lines_of(&directory);
        for call in calls {
            assert!(injected(&lines, call) > 0, "no {call} was made to fail");
        }
        Trace { lines, stderr }
    }
}

impl Trace {
    /// The traced lines of a call.
    pub(crate) fn of(&self, call: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str).filter(move |line| is_of(line, call))
    }
}

impl Faults<'_> {
    /// The program under strace, but for its arguments.
    pub(crate) fn command(&self, log: &Path) -> Command {
        let injected = self.inject.iter().filter_map(|fault| fault.split(':').next());
        let traced: Vec<_> = injected.chain(self.trace.split(',')).filter(|call| !call.is_empty()).collect();
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-e", &format!("trace={}", traced.join(",")), "-e", "signal=none", "-o"]);
        command.arg(log);
        if !self.path.is_empty() {
            command.args(["-P", self.path]);
        }
        for fault in self.inject {
            command.args(["-e", &format!("inject={fault}")]);
        }
        command.arg(PROGRAM);
        command
    }
}

/// Whether strace is here and may trace, which containers may forbid; says so if not.
pub(crate) fn can_trace() -> bool {
    if !has_tool("strace") {
        return false;
    }
    let traces = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    let traces = traces.unwrap().status.success();
    if !traces {
        println!("skipped: strace may not trace here");
    }
    traces
}

fn log_in(directory: &TempDir) -> PathBuf {
    directory.path().join("trace")
}

fn lines_of(directory: &TempDir) -> Vec<String> {
    let log = fs::read(log_in(directory)).unwrap_or_default();
    String::from_utf8_lossy(&log).lines().map(str::to_owned).collect()
}

pub(crate) fn injected(lines: &[String], call: &str) -> usize {
    lines.iter().filter(|line| is_of(line, call) && line.ends_with("(INJECTED)")).count()
}

/// Whether the line shows the result of this call: `13906 recvfrom(8, ...) = 64`, or `<... recvfrom resumed>`.
fn is_of(line: &str, call: &str) -> bool {
    let line = line.trim_start_matches(|char: char| char.is_ascii_digit()).trim_start();
    let name = line.strip_prefix("<... ").map_or_else(|| line.split_once('('), |rest| rest.split_once(' '));
    name.is_some_and(|(name, _)| name == call) && !line.ends_with("<unfinished ...>")
}
