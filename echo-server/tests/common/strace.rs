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
        let (mut command, log) = faults.prepare(PROGRAM)?;
        command.args(["--listen", "tcp://127.0.0.1:0", "--threads", "1"]).args(arguments);
        Some(Self { server: Server::start_command(&mut command, 1), log })
    }

    /// Ends it in order, with each of these calls having been made to fail. What is left is what was said and what was traced.
    pub(crate) fn stop(self, calls: &[&str]) -> (Vec<String>, Log) {
        let Self { mut server, log } = self;
        (log.stop(&mut server, calls), log)
    }
}
