//! Why a connection ended.

use std::fmt;
use std::io;

/// Why a connection ended, as [`Handler::on_close`](crate::Handler::on_close) is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its side, and everything queued for it was handed to the kernel.
    Eof,
    /// The handler, or another part of the program, asked for it, or the connection that it was
    /// [relayed](crate::Peer::relay_to) to has ended.
    Closed,
    /// The handler asked for a reset: [`Context::abort`](crate::Context::abort); or the connection that it was
    /// [relayed](crate::Peer::relay_to) to broke off.
    Aborted,
    /// The socket failed (the error carries the errno), or a callback returned this error.
    Error(io::Error),
    /// The connection could not be made: refused, unreachable, timed out, or connected to itself.
    ConnectFailed(io::Error),
    /// A deadline of the connection has passed.
    Timeout(Timeout),
    /// A queue of the connection passed its bound.
    Overflow(Overflow),
    /// The loop drained and ended.
    Shutdown,
    /// The loop's drain ended at its deadline, or the loop was stopped, with this connection still open.
    Cut,
    /// A callback of the connection panicked with this message.
    Panic(String),
}

/// Which deadline of a connection has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// [`ListenOptions::idle_timeout`](crate::ListenOptions::idle_timeout): nothing moved in either direction.
    Idle,
    /// [`Timeouts::read`](crate::Timeouts::read): the peer did not deliver what was expected.
    Read,
    /// [`Timeouts::write`](crate::Timeouts::write): the peer did not take what waits.
    Write,
    /// [`Timeouts::lifetime`](crate::Timeouts::lifetime): it has lived for as long as it may.
    Lifetime,
}

/// Which bound a connection passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// [`Limits::max_input`](crate::Limits::max_input): a handler left that much unconsumed.
    Input,
    /// [`Limits::max_output`](crate::Limits::max_output): that much waits for a peer that does not read.
    Output,
    /// [`Limits::memory_hard`](crate::Limits::memory_hard) or a [`MemoryBudget`](crate::MemoryBudget): too many bytes waited on all
    /// connections together, and most of them on this one.
    Memory,
}

impl CloseReason {
    /// The reason in one word, as the metrics name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Eof => "eof",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Error(_) => "error",
            Self::ConnectFailed(_) => "connect_failed",
            Self::Timeout(_) => "timeout",
            Self::Overflow(_) => "overflow",
            Self::Shutdown => "shutdown",
            Self::Cut => "cut",
            Self::Panic(_) => "panic",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("the peer closed"),
            Self::Closed => f.write_str("closed here"),
            Self::Aborted => f.write_str("reset here"),
            Self::Error(error) => write!(f, "{error}"),
            Self::ConnectFailed(error) => write!(f, "could not connect: {error}"),
            Self::Timeout(Timeout::Idle) => f.write_str("idle for too long"),
            Self::Timeout(Timeout::Read) => f.write_str("too little input for too long"),
            Self::Timeout(Timeout::Write) => f.write_str("no output taken for too long"),
            Self::Timeout(Timeout::Lifetime) => f.write_str("at the end of its lifetime"),
            Self::Overflow(Overflow::Input) => f.write_str("more input waits than the handler may leave"),
            Self::Overflow(Overflow::Output) => f.write_str("more output waits than the limit"),
            Self::Overflow(Overflow::Memory) => f.write_str("memory is short, and this connection had the most"),
            Self::Shutdown => f.write_str("shut down"),
            Self::Cut => f.write_str("cut at the end of the shutdown"),
            Self::Panic(message) => write!(f, "a callback panicked: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_reason_is_told_in_words_of_its_own() {
        let error = || io::Error::other("e");
        let reasons = [
            CloseReason::Eof,
            CloseReason::Closed,
            CloseReason::Aborted,
            CloseReason::Error(error()),
            CloseReason::ConnectFailed(error()),
            CloseReason::Timeout(Timeout::Idle),
            CloseReason::Timeout(Timeout::Read),
            CloseReason::Timeout(Timeout::Write),
            CloseReason::Timeout(Timeout::Lifetime),
            CloseReason::Overflow(Overflow::Input),
            CloseReason::Overflow(Overflow::Output),
            CloseReason::Overflow(Overflow::Memory),
            CloseReason::Shutdown,
            CloseReason::Cut,
            CloseReason::Panic("p".into()),
        ];
        let texts: BTreeSet<_> = reasons.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), reasons.len());
        assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('\n')), "{texts:#?}");
    }
}
