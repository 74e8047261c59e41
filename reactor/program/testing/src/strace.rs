//! A program under strace(1), which makes some of its system calls fail, and the log of the calls.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{eventually, has_tool};
use crate::running::Running;

/// What strace(1) is to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults<'a> {
    /// Each as strace's `inject=` takes it, such as `recvfrom:error=EINTR:when=2+3`; `when` counts the calls of one thread.
    pub inject: &'a [&'a str],
    /// The only file whose calls are meant; empty for all.
    pub path: &'a str,
    /// Calls to be written down besides, with commas between.
    pub trace: &'a str,
}

impl Faults<'_> {
    /// A program under strace, but for its arguments. Strace is its child, not its parent, so that signals and the exit code are
    /// its own.
    #[must_use]
    pub fn command(&self, log: &Path, program: &str) -> Command {
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
        command.arg(program);
        command
    }

    /// The same, and where strace writes. `None`: strace is not here, or may not trace.
    #[must_use]
    pub fn prepare(&self, program: &str) -> Option<(Command, Log)> {
        can_trace().then(|| {
            let log = Log::new();
            (self.command(&log.path(), program), log)
        })
    }
}

/// The calls that strace has written down. A call is written down before the program goes on.
#[derive(Debug)]
pub struct Log(TempDir);

impl Log {
    /// A log that is empty as yet.
    #[must_use]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where strace is to write it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("trace")
    }

    /// The results of a call so far, those of injected ones included: `13906 recvfrom(8, ...) = 64`.
    #[must_use]
    pub fn of(&self, call: &str) -> Vec<String> {
        let log = fs::read(self.path()).unwrap_or_default();
        let lines = String::from_utf8_lossy(&log);
        lines.lines().filter(|line| is_of(line, call)).map(str::to_owned).collect()
    }

    /// How many of these calls were made to fail so far.
    #[must_use]
    pub fn injected(&self, call: &str) -> usize {
        self.of(call).iter().filter(|line| line.ends_with("(INJECTED)")).count()
    }

    /// Waits until one of these calls has answered this error by itself.
    #[track_caller]
    pub fn wait_for_error(&self, call: &str, error: &str) {
        let answered = || self.of(call).iter().any(|line| line.contains(error));
        eventually(&format!("{call} answers {error}"), answered);
    }

    /// Drains the program by SIGTERM, which must end it with 0, with each of these calls having been made to fail; answers what it
    /// said. What is traced then is all: strace had a copy of stderr, so it has ended too.
    #[track_caller]
    pub fn stop(&self, running: &mut Running, calls: &[&str]) -> Vec<String> {
        let (code, stderr) = running.stop();
        assert_eq!(code, Some(0), "{stderr:#?}");
        assert!(!stderr.iter().any(|line| line.contains("panicked")), "{stderr:#?}");
        self.assert_injected(calls);
        stderr
    }

    /// Wants each of these calls to have been made to fail.
    #[track_caller]
    pub fn assert_injected(&self, calls: &[&str]) {
        for call in calls {
            assert!(self.injected(call) > 0, "no {call} was made to fail");
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether strace is here and may trace, which containers may forbid; says so if not.
#[must_use]
pub fn can_trace() -> bool {
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

/// Whether the line shows the result of this call: `13906 recvfrom(8, ...) = 64`, or `<... recvfrom resumed>`.
fn is_of(line: &str, call: &str) -> bool {
    let line = line.trim_start_matches(|char: char| char.is_ascii_digit()).trim_start();
    let name = line.strip_prefix("<... ").map_or_else(|| line.split_once('('), |rest| rest.split_once(' '));
    name.is_some_and(|(name, _)| name == call) && !line.ends_with("<unfinished ...>")
}
