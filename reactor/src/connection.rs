//! One stream socket: what is known of its readiness, what waits on it, and how far its life has come.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use crate::attempt::Attempt;
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::event::Readiness;
use crate::governor::Governor;
use crate::group::Membership;
use crate::limits::Limits;
use crate::output::{Output, Piece};
use crate::pipe_pool::Pipe;
use crate::rate::Direction;
use crate::relay::Relay;
use crate::sys::fd::Fd;
use crate::sys::fd_passing::{self, Received};
use crate::sys::option;
use crate::sys::stream::{self, Moved};
use crate::timer::TimerId;
use crate::wheel::Link;

/// A connection, 32 bytes while it is idle: a loop may hold a million.
pub(crate) struct Connection {
    fd: Fd,
    /// Milliseconds of the loop's clock, cut to 32 bits, at which bytes last moved.
    pub(crate) last_activity: u32,
    /// The idle timeout in milliseconds; 0 is none.
    pub(crate) idle_ms: u32,
    /// The place in the wheel of idle timeouts.
    pub(crate) link: Link,
    flags: u16,
    pub(crate) phase: Phase,
    /// What only a busy connection has.
    extra: Option<Box<Extra>>,
}

/// How far the life of a connection has come; it only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The attempt to connect is under way.
    Connecting,
    Open,
    /// The loop drains: what has arrived is still served, then it closes.
    Finishing,
    /// No more input is served; it closes when the output is flushed.
    Closing,
    /// It has ended and waits to be reaped at the end of the turn.
    Closed,
}

/// Bytes that wait and timers that run.
#[derive(Default)]
struct Extra {
    input: Buffer,
    output: Output,
    timers: Vec<TimerId>,
    rare: Option<Box<Rare>>,
}

/// What few connections have, some of the time.
#[derive(Default)]
struct Rare {
    attempt: Option<Box<Attempt>>,
    governor: Option<Box<Governor>>,
    relay: Option<Box<Relay>>,
    /// The groups it is in, each with its place there.
    memberships: Vec<Membership>,
    /// Descriptors that have come and that the handler has not taken.
    passed: Vec<OwnedFd>,
}

/// What reading once brought.
pub(crate) enum Fill {
    /// So many bytes.
    Data(usize),
    /// Nothing: the kernel has no more.
    Empty,
    /// The end of the stream.
    End,
    Failed(io::Error),
}

/// The bits of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Flag(u16);

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
    /// The socket itself failed; there is no use in lingering.
    pub(crate) const BROKEN: Self = Self(1 << 12);
    /// What comes goes to another connection, and no callback is shown it.
    pub(crate) const RELAYED: Self = Self(1 << 13);
    /// Descriptors may come with the bytes, and are kept.
    pub(crate) const RECEIVES_FDS: Self = Self(1 << 14);
    /// Its governor counts what passes, or says how much may.
    pub(crate) const METERED: Self = Self(1 << 15);
}

impl Connection {
    /// A connection that is up. A fresh socket has room for output.
    pub(crate) fn open(fd: Fd, now_ms: u32) -> Self {
        Self {
            fd,
            last_activity: now_ms,
            idle_ms: 0,
            link: Link::default(),
            flags: Flag::WRITABLE.0,
            phase: Phase::Open,
            extra: None,
        }
    }

    /// A connection whose attempt to connect is under way.
    pub(crate) fn connecting(fd: Fd, now_ms: u32) -> Self {
        Self { phase: Phase::Connecting, flags: 0, ..Self::open(fd, now_ms) }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    pub(crate) fn into_fd(self) -> Fd {
        self.fd
    }

    #[inline]
    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.flags & flag.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: Flag) {
        self.flags |= flag.0;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flag: Flag) {
        self.flags &= !flag.0;
    }

    /// Sets the flag and says whether it was not set before.
    #[inline]
    pub(crate) fn newly_set(&mut self, flag: Flag) -> bool {
        let newly = !self.has(flag);
        self.set(flag);
        newly
    }

    /// Keeps what the kernel has told.
    #[inline]
    pub(crate) fn note(&mut self, readiness: Readiness) {
        if readiness.is_readable() {
            self.set(Flag::READABLE);
        }
        if readiness.is_writable() {
            self.set(Flag::WRITABLE);
        }
        if readiness.hides_more() {
            self.set(Flag::TO_EAGAIN);
        }
    }

    /// What the kernel has not told of yet is to be looked for, before the connection is judged. Where tokens are needed to
    /// read, bytes are asked for first: who waited for tokens in vain would never be judged.
    #[cold]
    pub(crate) fn look_again(&mut self) {
        let is_empty = self.has(Flag::METERED) && matches!(option::unread(self.fd.as_fd()), Ok(0));
        if !is_empty {
            self.set(Flag::READABLE);
            self.set(Flag::TO_EAGAIN);
        }
        self.set(Flag::WRITABLE);
    }

    /// Whether input is to be read now, as far as the connection itself is concerned.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        const ASKS: u16 = Connection::STOPS | Flag::METERED.0;
        self.has(Flag::READABLE) && (self.flags & ASKS == 0 || self.may_read_metered()) && self.reads_in_phase()
    }

    const STOPS: u16 = Flag::PAUSED.0 | Flag::BLOCKED.0 | Flag::EOF.0 | Flag::REVISIT.0 | Flag::RELAYED.0;

    #[cold]
    fn may_read_metered(&self) -> bool {
        self.flags & Self::STOPS == 0 && !self.is_held(Direction::Input)
    }

    /// Whether after this was told there is input to read and nothing else to do, and what the handler then sends may be
    /// gathered: the common case.
    #[inline]
    pub(crate) fn only_reads(&self, told: Readiness) -> bool {
        const OTHERS: u16 = Flag::PAUSED.0
            | Flag::BLOCKED.0
            | Flag::EOF.0
            | Flag::TO_EAGAIN.0
            | Flag::PENDING.0
            | Flag::TELL_DRAINED.0
            | Flag::REVISIT.0
            | Flag::WRITE_ENDED.0
            | Flag::RELAYED.0
            | Flag::RECEIVES_FDS.0
            | Flag::METERED.0;
        self.phase == Phase::Open && self.flags & OTHERS == 0 && told == Readiness::PLAIN && !self.holds_bytes()
    }

    /// Whether bytes wait, of input or of output.
    #[inline]
    fn holds_bytes(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.holds_bytes())
    }

    /// Whether what a callback sends may be gathered: nothing waits, and the kernel may take it.
    #[inline]
    pub(crate) fn gathers(&self) -> bool {
        const BITS: u16 = Flag::WRITABLE.0 | Flag::WRITE_ENDED.0;
        const ASKS: u16 = BITS | Flag::METERED.0;
        let may =
            self.flags & ASKS == Flag::WRITABLE.0 || self.flags & BITS == Flag::WRITABLE.0 && !self.paces_output();
        may && self.reads_in_phase() && self.queued() == 0
    }

    /// Whether input the handler left is to be shown to it again now.
    #[inline]
    pub(crate) fn may_revisit(&self) -> bool {
        const STOPS: u16 = Flag::PAUSED.0 | Flag::BLOCKED.0 | Flag::RELAYED.0;
        self.has(Flag::REVISIT) && self.flags & STOPS == 0 && self.reads_in_phase()
    }

    /// Whether what comes on a relayed connection may be passed on, as far as the connection itself is concerned.
    pub(crate) fn may_pass_on(&self) -> bool {
        !self.has(Flag::PAUSED) && self.reads_in_phase()
    }

    /// Whether the handler may still send.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        !self.has(Flag::WRITE_ENDED) && self.phase <= Phase::Finishing
    }

    #[inline]
    fn reads_in_phase(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Finishing)
    }

    /// Reads once. A short read counts as the last, unless `strict_drain` or something else than bytes was
    /// announced.
    pub(crate) fn fill(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits) -> Fill {
        if self.has(Flag::RECEIVES_FDS) {
            return self.fill_with_fds(into, clock, limits);
        }
        let moved = self.fill_once(into, clock, limits);
        moved.any().map_or_else(|| self.fill_nothing(into, clock, limits, moved), Fill::Data)
    }

    /// [`fill`](Self::fill) in one call; if it brought no bytes, [`fill_nothing`](Self::fill_nothing) is to follow.
    #[inline(always)]
    pub(crate) fn fill_once(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits) -> Moved {
        let moved = stream::recv_once(self.fd.as_fd(), into);
        if let Some(count) = moved.any() {
            if count < into.len() && !self.has(Flag::TO_EAGAIN) && !limits.strict_drain {
                self.clear(Flag::READABLE);
            }
            self.last_activity = clock.stamp();
        }
        moved
    }

    /// A read brought no bytes: that has a meaning, or a signal interrupted it and it is made again.
    #[cold]
    pub(crate) fn fill_nothing(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits, moved: Moved) -> Fill {
        let result = moved.result();
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            return self.fill(into, clock, limits);
        }
        self.note_no_bytes(result)
    }

    /// [`fill`](Self::fill) where descriptors may come. The kernel ends a read behind bytes that came with some, so a short one
    /// proves nothing.
    #[cold]
    fn fill_with_fds(&mut self, into: &mut [u8], clock: &Clock, limits: &Limits) -> Fill {
        if self.unread() == 0 {
            // The handler has taken all the bytes, and left these.
            self.take_passed();
        }
        let waiting = self.known_rare().map_or(0, |rare| rare.passed.len());
        match fd_passing::receive(self.fd.as_fd(), into) {
            Ok(Received { lost: true, .. }) => self.note_no_bytes(Err(lost_fds())),
            Ok(Received { passed, .. }) if waiting + passed.len() > limits.fds_per_connection => {
                self.note_no_bytes(Err(too_many_fds()))
            }
            Ok(Received { count: 0, .. }) => self.note_no_bytes(Ok(0)),
            Ok(Received { count, passed, .. }) => {
                self.last_activity = clock.stamp();
                if !passed.is_empty() {
                    self.rare().passed.extend(passed);
                }
                Fill::Data(count)
            }
            Err(error) => self.note_no_bytes(Err(error)),
        }
    }

    /// Looks at what it means that no bytes came.
    fn note_no_bytes(&mut self, result: io::Result<usize>) -> Fill {
        match result {
            Ok(_) => {
                self.note_end();
                Fill::End
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.note_nothing();
                Fill::Empty
            }
            Err(error) => {
                self.clear(Flag::READABLE);
                self.set(Flag::BROKEN);
                Fill::Failed(error)
            }
        }
    }

    /// The peer's end of stream was read.
    pub(crate) fn note_end(&mut self) {
        self.clear(Flag::READABLE);
        self.set(Flag::EOF);
    }

    /// The kernel has said that there is no more for now.
    pub(crate) fn note_nothing(&mut self) {
        self.clear(Flag::READABLE);
        self.clear(Flag::TO_EAGAIN);
    }

    /// Sends bytes past an empty queue and says how many the kernel took; it stops at `EAGAIN`.
    pub(crate) fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first = self.send_once(bytes);
        if first.is(bytes.len()) { Ok(bytes.len()) } else { self.send_rest(bytes, first) }
    }

    /// Sends bytes past an empty queue in one call; if the kernel did not take all, [`send_rest`](Self::send_rest) is to
    /// follow.
    #[inline]
    pub(crate) fn send_once(&mut self, bytes: &[u8]) -> Moved {
        stream::send_once(self.fd.as_fd(), bytes)
    }

    /// The kernel took less than all. Only `EAGAIN` proves that it takes no more and will tell when it does.
    #[cold]
    pub(crate) fn send_rest(&mut self, bytes: &[u8], first: Moved) -> io::Result<usize> {
        let mut sent = self.sent(first.result())?;
        while sent < bytes.len() && self.has(Flag::WRITABLE) {
            let result = stream::send(self.fd.as_fd(), &bytes[sent..]);
            sent += self.sent(result)?;
        }
        Ok(sent)
    }

    /// Sends two slices past an empty queue in one call and says how many bytes the kernel took.
    pub(crate) fn send_both(&mut self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let result = stream::send_vectored(self.fd.as_fd(), &slices, false);
        self.sent(result)
    }

    /// Sends from the queue, at most `calls` times and, of files, `most` bytes; says how many bytes the kernel took, also
    /// before an error.
    pub(crate) fn flush(&mut self, calls: usize, most: usize) -> (usize, io::Result<()>) {
        let mut total = 0;
        for _ in 0..calls {
            let Some(extra) = &mut self.extra else { break };
            if extra.output.is_empty() || !self.has(Flag::WRITABLE) || total >= most {
                break;
            }
            let left = most - total;
            let result = self.extra.as_mut().map_or(Ok(0), |extra| extra.output.send(self.fd.as_fd(), left));
            match self.sent(result) {
                Ok(sent) => total += sent,
                Err(error) => return (total, Err(error)),
            }
        }
        self.drop_idle_extra();
        (total, Ok(()))
    }

    /// [`flush`](Self::flush) of at most `most` bytes, whether they are of files or not.
    #[cold]
    pub(crate) fn flush_some(&mut self, calls: usize, most: usize) -> (usize, io::Result<()>) {
        let mut total = 0;
        for _ in 0..calls {
            let Some(extra) = &mut self.extra else { break };
            if extra.output.is_empty() || !self.has(Flag::WRITABLE) || total >= most {
                break;
            }
            let result =
                self.extra.as_mut().map_or(Ok(0), |extra| extra.output.send_some(self.fd.as_fd(), most - total));
            match self.sent(result) {
                Ok(sent) => total += sent,
                Err(error) => return (total, Err(error)),
            }
        }
        (total, Ok(()))
    }

    /// Looks at how a send went: `EAGAIN` is zero bytes and a bit.
    #[inline]
    fn sent(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear(Flag::WRITABLE);
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => {
                self.set(Flag::BROKEN);
                Err(error)
            }
            sent => sent,
        }
    }

    /// Puts bytes behind what waits.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.extra().output.push(bytes);
        }
    }

    /// Puts a piece behind what waits.
    pub(crate) fn queue_piece(&mut self, piece: Piece) {
        self.extra().output.push_piece(piece);
        self.drop_idle_extra();
    }

    /// Bytes of output that wait in memory.
    pub(crate) fn held(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.output.held())
    }

    /// What the output that waits costs in memory; bytes of files cost nothing.
    pub(crate) fn output_cost(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.output.cost())
    }

    /// Bytes that wait to be sent.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.output.len())
    }

    /// Bytes of input that the handler left.
    #[inline]
    pub(crate) fn unread(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.input.len())
    }

    /// Takes out the input that the handler left.
    pub(crate) fn take_input(&mut self) -> Buffer {
        let input = self.extra.as_mut().map(|extra| std::mem::take(&mut extra.input)).unwrap_or_default();
        self.drop_idle_extra();
        input
    }

    /// Keeps input that the handler left.
    pub(crate) fn keep_input(&mut self, input: Buffer) {
        if !input.is_empty() {
            self.extra().input = input;
        }
    }

    /// Forgets all bytes that wait, and says how many were in memory.
    #[cold]
    pub(crate) fn drop_bytes(&mut self) -> usize {
        let bytes = self.held() + self.unread();
        if let Some(extra) = &mut self.extra {
            extra.input.consume(extra.input.len());
            extra.output.clear();
        }
        bytes
    }

    /// The timers that die with the connection.
    pub(crate) fn timers(&self) -> &[TimerId] {
        self.extra.as_ref().map_or(&[], |extra| &extra.timers)
    }

    pub(crate) fn add_timer(&mut self, timer: TimerId) {
        self.extra().timers.push(timer);
    }

    /// Forgets a timer; `false` if it was not this connection's.
    pub(crate) fn remove_timer(&mut self, timer: TimerId) -> bool {
        let Some(extra) = &mut self.extra else { return false };
        let Some(place) = extra.timers.iter().position(|&other| other == timer) else { return false };
        extra.timers.swap_remove(place);
        self.drop_idle_extra();
        true
    }

    /// What there is to an attempt to connect that is under way.
    pub(crate) fn set_attempt(&mut self, attempt: Attempt) {
        self.rare().attempt = Some(Box::new(attempt));
    }

    pub(crate) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        self.known_rare_mut()?.attempt.as_deref_mut()
    }

    /// The attempt has ended.
    pub(crate) fn take_attempt(&mut self) -> Option<Attempt> {
        let attempt = self.known_rare_mut()?.attempt.take();
        self.drop_idle_rare();
        attempt.map(|attempt| *attempt)
    }

    fn rare(&mut self) -> &mut Rare {
        self.extra().rare.get_or_insert_default()
    }

    #[cold]
    /// Whether it has more than a socket: bytes that wait, timers, and the like.
    #[inline]
    pub(crate) fn has_extra(&self) -> bool {
        self.extra.is_some()
    }

    fn known_rare(&self) -> Option<&Rare> {
        self.extra.as_ref()?.rare.as_deref()
    }

    fn known_rare_mut(&mut self) -> Option<&mut Rare> {
        self.extra.as_mut()?.rare.as_deref_mut()
    }

    fn drop_idle_rare(&mut self) {
        if let Some(extra) = &mut self.extra
            && extra.rare.as_ref().is_some_and(|rare| rare.is_idle())
        {
            extra.rare = None;
        }
        self.drop_idle_extra();
    }

    /// Takes another socket, of which the kernel has told nothing yet; the one before is closed.
    pub(crate) fn replace_fd(&mut self, fd: Fd) {
        [Flag::READABLE, Flag::WRITABLE, Flag::TO_EAGAIN, Flag::BROKEN].into_iter().for_each(|flag| self.clear(flag));
        self.fd = fd;
    }

    /// Takes out the descriptors that have come.
    pub(crate) fn take_passed(&mut self) -> Vec<OwnedFd> {
        let Some(rare) = self.known_rare_mut() else { return Vec::new() };
        let passed = std::mem::take(&mut rare.passed);
        self.drop_idle_rare();
        passed
    }

    /// The groups the connection is in.
    pub(crate) fn memberships(&self) -> &[Membership] {
        self.known_rare().map_or(&[], |rare| &rare.memberships)
    }

    /// The groups the connection is in, to change.
    pub(crate) fn change_memberships<R>(&mut self, change: impl FnOnce(&mut Vec<Membership>) -> R) -> R {
        let result = change(&mut self.rare().memberships);
        self.drop_idle_rare();
        result
    }

    /// What comes goes to another connection from now on.
    pub(crate) fn set_relay(&mut self, relay: Relay) {
        self.set(Flag::RELAYED);
        self.rare().relay = Some(Box::new(relay));
    }

    pub(crate) fn relay(&self) -> Option<&Relay> {
        self.known_rare()?.relay.as_deref()
    }

    pub(crate) fn relay_mut(&mut self) -> Option<&mut Relay> {
        self.known_rare_mut()?.relay.as_deref_mut()
    }

    /// The relay has ended.
    pub(crate) fn take_relay(&mut self) -> Option<Relay> {
        self.clear(Flag::RELAYED);
        let relay = self.known_rare_mut()?.relay.take();
        self.drop_idle_rare();
        relay.map(|relay| *relay)
    }

    /// Takes out a pipe that has become empty.
    pub(crate) fn take_empty_pipe(&mut self) -> Option<Box<Pipe>> {
        self.extra.as_mut()?.output.take_empty_pipe()
    }

    /// What the connection is held to besides its readiness.
    #[inline]
    pub(crate) fn governor(&self) -> Option<&Governor> {
        self.known_rare()?.governor.as_deref()
    }

    pub(crate) fn governor_mut(&mut self) -> Option<&mut Governor> {
        self.known_rare_mut()?.governor.as_deref_mut()
    }

    /// The governor, made if there is none.
    #[cold]
    pub(crate) fn make_governor(&mut self) -> &mut Governor {
        self.rare().governor.get_or_insert_default()
    }

    pub(crate) fn take_governor(&mut self) -> Option<Box<Governor>> {
        let governor = self.known_rare_mut()?.governor.take();
        self.drop_idle_rare();
        governor
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// An idle connection owns no memory besides its slot.
    fn drop_idle_extra(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_idle()) {
            self.extra = None;
        }
    }
}

impl Rare {
    fn is_idle(&self) -> bool {
        let Self { attempt, governor, relay, memberships, passed } = self;
        attempt.is_none() && governor.is_none() && relay.is_none() && memberships.is_empty() && passed.is_empty()
    }
}

impl Extra {
    fn is_idle(&self) -> bool {
        !self.holds_bytes() && self.timers.is_empty() && self.rare.is_none()
    }

    // Out of line: mostly there is no `Extra`, and where it is inlined it is looked at first.
    #[inline(never)]
    fn holds_bytes(&self) -> bool {
        !self.input.is_empty() || !self.output.is_empty()
    }
}

fn too_many_fds() -> io::Error {
    let message = "more descriptors have come than Limits::fds_per_connection allows to wait";
    io::Error::new(io::ErrorKind::QuotaExceeded, message)
}

fn lost_fds() -> io::Error {
    io::Error::other("descriptors that were sent here are lost, for the process has as many open as it may")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Connection::open(OwnedFd::from(ours).into(), 0), theirs)
    }

    #[test]
    fn an_idle_connection_is_32_bytes() {
        assert_eq!(size_of::<Connection>(), 32);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn a_queue_that_was_flushed_leaves_no_allocation() {
        let (mut connection, _peer) = pair();
        connection.queue(b"hello");
        assert!(connection.extra.is_some());
        assert_eq!(connection.flush(1, usize::MAX).0, 5);
        assert!(connection.extra.is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn sending_stops_at_eagain_and_clears_the_bit() {
        let (mut connection, _peer) = pair();
        let sent = connection.send_now(&vec![0; 10 << 20]).unwrap();
        assert!(sent < 10 << 20);
        assert!(!connection.has(Flag::WRITABLE));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn a_short_read_is_the_last_unless_more_was_announced() {
        use std::io::Write;
        let (mut connection, mut peer) = pair();
        let (clock, limits) = (Clock::new(), Limits::default());
        let mut into = [0; 16];
        peer.write_all(b"abc").unwrap();
        connection.set(Flag::READABLE);
        assert!(matches!(connection.fill(&mut into, &clock, &limits), Fill::Data(3)));
        assert!(!connection.has(Flag::READABLE));
        peer.write_all(b"abc").unwrap();
        connection.set(Flag::READABLE);
        connection.set(Flag::TO_EAGAIN);
        assert!(matches!(connection.fill(&mut into, &clock, &limits), Fill::Data(3)));
        assert!(connection.has(Flag::READABLE));
        assert!(matches!(connection.fill(&mut into, &clock, &limits), Fill::Empty));
        assert!(!connection.has(Flag::TO_EAGAIN));
    }
}
