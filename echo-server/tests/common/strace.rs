//! The real `echo-server` under strace(1), which makes some of its system calls fail.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use program_testing::strace::Log;

pub(crate) use program_testing::strace::{Faults, can_trace};

use crate::common::{PROGRAM, Server};

/// A server that runs under strace, and what strace writes down.
pub(crate) struct Faulty {
    pub(crate) server: Server,
    pub(crate) log: Log,
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
        let log = Log::new();
        let mut command = faults.command(&log.path(), PROGRAM);
        command.args(["--listen", "tcp://127.0.0.1:0", "--threads", "1"]).args(arguments);
        Some(Self { server: Server::start_command(&mut command, 1), log })
    }

    /// Drains by SIGTERM, which must end the process with 0, with each of these calls having been made to fail. What is left is
    /// what was said and what was traced: strace had a copy of stderr, so it has ended too.
    pub(crate) fn stop(self, calls: &[&str]) -> (Vec<String>, Log) {
        let Self { server, log } = self;
        let (code, stderr) = server.stop();
        assert_eq!(code, Some(0), "{stderr:#?}");
        assert!(!stderr.iter().any(|line| line.contains("panicked")), "{stderr:#?}");
        log.assert_injected(calls);
        (stderr, log)
    }
}
