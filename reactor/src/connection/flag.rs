//! The bits of a connection.

/// One bit; they fill a word of 16.
#[derive(Clone, Copy)]
pub(crate) struct Flag(pub(super) u16);

impl Flag {
    /// The kernel may have input: no `EAGAIN` (or short read) has come since it last said so.
    pub(crate) const READABLE: Self = Self(1);
    /// The kernel may take output: no `EAGAIN` has come since it last said so.
    pub(crate) const WRITABLE: Self = Self(1 << 1);
    /// A short read proves nothing: something else than bytes was announced. Cleared by `EAGAIN`.
    pub(crate) const TO_EAGAIN: Self = Self(1 << 2);
    /// The handler paused reading.
    pub(crate) const PAUSED: Self = Self(1 << 3);
    /// Output stands above the high mark, so reading rests.
    pub(crate) const BLOCKED: Self = Self(1 << 4);
    /// Has an entry in the loop's pending queue.
    pub(crate) const PENDING: Self = Self(1 << 5);
    /// Has an entry in the list of connections to flush at the end of the turn.
    pub(crate) const DIRTY: Self = Self(1 << 6);
    /// The peer's end of stream was read.
    pub(crate) const EOF: Self = Self(1 << 7);
    /// Our end of stream was sent, or is to be sent once the output is flushed.
    pub(crate) const WRITE_ENDED: Self = Self(1 << 8);
    /// Our end of stream is still to be sent.
    pub(crate) const END_QUEUED: Self = Self(1 << 9);
    /// Output had to wait, or the handler asked: `on_drained` is due when little is left.
    pub(crate) const TELL_DRAINED: Self = Self(1 << 10);
    /// Input the handler left is to be shown to it again.
    pub(crate) const REVISIT: Self = Self(1 << 11);
    /// The socket itself failed, or the kernel has told of an error that nobody has asked for yet: there is no use in lingering.
    pub(crate) const BROKEN: Self = Self(1 << 12);
    /// What comes goes to another connection, and no callback is shown it.
    pub(crate) const RELAYED: Self = Self(1 << 13);
    /// Descriptors may come with the bytes, and are kept.
    pub(crate) const RECEIVES_FDS: Self = Self(1 << 14);
    /// Its governor counts what passes, or says how much may.
    pub(crate) const METERED: Self = Self(1 << 15);
}
