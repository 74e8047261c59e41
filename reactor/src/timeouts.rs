//! Deadlines of a connection besides its idle timeout.

use std::time::Duration;

/// How long a connection may be slow, and how long it may live. None of them by default.
///
/// Each has its own [`CloseReason::Timeout`](crate::CloseReason::Timeout). None is early, and none later than the loop's turn. As
/// with the idle timeout, what has arrived wins over a deadline that has passed meanwhile: the connection is served once more, and
/// then judged. Each costs a constant: bytes move a number, no timer, and there is one timer for all deadlines of a connection.
/// Milliseconds; a deadline beyond what the clock can tell never comes.
///
/// ```
/// use std::time::Duration;
/// use reactor::{ListenOptions, ReadProgress, Timeouts};
///
/// let timeouts = Timeouts::default()
///     .read(ReadProgress::at_least(1024, Duration::from_secs(10)))
///     .write(Duration::from_secs(30))
///     .lifetime(Duration::from_secs(3600));
/// let options = ListenOptions::default().idle_timeout(Duration::from_secs(60)).timeouts(timeouts);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// What the peer has to deliver in time. It defends against clients that send a byte now and then, which no idle timeout
    /// sees. Where clients may be silent, between two requests say, leave it to
    /// [`Context::expect_input`](crate::Context::expect_input) to say when input is expected.
    pub read: Option<ReadProgress>,
    /// How long output may wait of which the kernel takes nothing, because the peer does not read. It holds during
    /// [`close_after_flush`](crate::Context::close_after_flush) too. Bytes that the kernel has taken and the peer has not
    /// acknowledged are the kernel's business: see `TCP_USER_TIMEOUT` in tcp(7).
    pub write: Option<Duration>,
    /// How long the connection may live, whatever it does. At the end it is closed at once: output that waits is dropped, what
    /// the kernel has still reaches the peer. A handler that wants to say goodbye sets a timer shortly before.
    pub lifetime: Option<Duration>,
}

impl Timeouts {
    /// Sets [`read`](Self::read).
    #[must_use]
    pub fn read(mut self, progress: impl Into<Option<ReadProgress>>) -> Self {
        self.read = progress.into();
        self
    }

    /// Sets [`write`](Self::write).
    #[must_use]
    pub fn write(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write = timeout.into();
        self
    }

    /// Sets [`lifetime`](Self::lifetime).
    #[must_use]
    pub fn lifetime(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.lifetime = timeout.into();
        self
    }
}

/// What a peer has to deliver: so many bytes within each period, or all that the handler waits for within one.
///
/// Time in which the loop itself does not read is not held against the peer: a period begins anew when reading goes on after a
/// [pause](crate::Context::pause), after back-pressure, or when a rate limit lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadProgress {
    pub(crate) bytes: u64,
    pub(crate) period: Duration,
}

impl ReadProgress {
    /// At least `bytes` (1 or more) within each `period`; the first begins when this is set, the next when one has ended.
    #[must_use]
    pub fn at_least(bytes: u64, period: Duration) -> Self {
        Self { bytes: bytes.max(1), period }
    }

    /// All that the handler waits for within `deadline`, however it trickles in: whether that has come, only the handler
    /// knows, who then calls [`Context::expect_input`](crate::Context::expect_input) with `None`, or with what it expects next.
    #[must_use]
    pub fn all_within(deadline: Duration) -> Self {
        Self { bytes: u64::MAX, period: deadline }
    }

    /// Whether bytes have to be counted.
    pub(crate) fn counts(self) -> bool {
        self.bytes != u64::MAX
    }
}
