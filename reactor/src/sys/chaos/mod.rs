//! Faults on purpose, on real sockets: before a call is made it may fail, move less, or take longer.
//!
//! What the callers rely on still holds. After an `EAGAIN` or a short read the kernel owes an edge when there is more, so
//! chaos that denies what is there owes it too, and pays by arming the descriptor anew: epoll_ctl(2) with `EPOLL_CTL_MOD`
//! tells again what is ready.

mod plan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::env::{self, VarError};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use libc::c_int;

use self::plan::{Plan, Rate};
use super::fd::FdRef;
use super::option;

/// The environment variable that turns it on.
const VARIABLE: &str = "REACTOR_CHAOS";

thread_local! {
    /// The chaos of the loops that were made on this thread.
    static CHAOS: RefCell<Option<Chaos>> = const { RefCell::new(None) };
}

/// The chaos of one thread.
struct Chaos {
    plan: Plan,
    random: Random,
    /// How each descriptor is watched. An entry may outlive its descriptor, until another one has its number.
    watched: HashMap<RawFd, Watch>,
    /// Whether the log says that there is chaos.
    told: bool,
}

/// How a descriptor is watched.
#[derive(Clone, Copy)]
struct Watch {
    epoll: RawFd,
    events: u32,
    word: u64,
}

/// A call that moves bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Recv,
    Send,
}

/// A loop is made on this thread: reads the plan from the environment, unless that was done.
///
/// # Errors
/// `InvalidInput`: the plan cannot be read.
pub(super) fn begin() -> io::Result<()> {
    let plan = match env::var(VARIABLE) {
        Err(VarError::NotPresent) => return Ok(()),
        Ok(text) if text.is_empty() => return Ok(()),
        Ok(text) => text.parse(),
        Err(VarError::NotUnicode(text)) => Err(format!("{} is no plan", text.display())),
    };
    match plan {
        Ok(plan) => {
            begin_with(plan);
            Ok(())
        }
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{VARIABLE}: {error}"))),
    }
}

fn begin_with(plan: Plan) {
    /// Each thread has its own sequence.
    static THREADS: AtomicU64 = AtomicU64::new(0);
    CHAOS.with_borrow_mut(|chaos| {
        if chaos.is_none() {
            let random = Random(plan.seed ^ Random(THREADS.fetch_add(1, Ordering::Relaxed)).next());
            *chaos = Some(Chaos { plan, random, watched: HashMap::new(), told: false });
        }
    });
}

/// Asks the chaos of this thread, if there is any; else answers `calm`. A thread that ends has none, and a logger that uses a
/// loop finds none.
fn ask<T>(calm: T, question: impl FnOnce(&mut Chaos) -> T) -> T {
    let answer = CHAOS.try_with(|chaos| chaos.try_borrow_mut().ok()?.as_mut().map(question));
    answer.ok().flatten().unwrap_or(calm)
}

/// Before a call that could move `length` bytes: how many it may move, or the `errno` that it is to answer.
pub(super) fn before_moving(direction: Direction, fd: FdRef<'_>, length: usize) -> Result<usize, c_int> {
    ask(Ok(length), |chaos| chaos.before_moving(direction, fd, length))
}

/// Before a connection is accepted.
pub(super) fn before_accept(listener: FdRef<'_>) -> io::Result<()> {
    ask(Ok(()), |chaos| chaos.before_accept(listener)).map_err(io::Error::from_raw_os_error)
}

/// Before a descriptor is watched.
pub(super) fn before_watching(epoll: FdRef<'_>, fd: FdRef<'_>, events: u32, word: u64) -> io::Result<()> {
    let watch = Watch { epoll: epoll.as_raw_fd(), events, word };
    ask(Ok(()), |chaos| chaos.before_watching(fd, watch)).map_err(io::Error::from_raw_os_error)
}

/// Before a wait for events.
pub(super) fn before_wait() -> io::Result<()> {
    ask(Ok(()), Chaos::before_wait).map_err(io::Error::from_raw_os_error)
}

/// These events have come.
pub(super) fn after_wait(events: &mut [libc::epoll_event]) {
    ask((), |chaos| chaos.after_wait(events));
}

impl Chaos {
    /// Whether a fault of this rate is due.
    fn happens(&mut self, rate: Rate) -> bool {
        rate.hits((self.random.next() >> 32) as u32)
    }

    /// Says once that there is chaos. At the first connection: by then the program has set up its log.
    fn tell(&mut self) {
        if !mem::replace(&mut self.told, true) {
            log::warn!("calls fail on purpose, as {VARIABLE}={} says", env::var(VARIABLE).unwrap_or_default());
        }
    }

    fn before_moving(&mut self, direction: Direction, fd: FdRef<'_>, length: usize) -> Result<usize, c_int> {
        let Plan { reset, eintr, eagain, short, .. } = self.plan;
        if self.happens(reset) {
            // So the peer gets one too. A Unix socket knows no reset, and just closes.
            let _ = option::set_reset_on_close(fd);
            return fail(direction, fd, libc::ECONNRESET);
        }
        if self.happens(eintr) {
            return fail(direction, fd, libc::EINTR);
        }
        if self.happens(eagain) {
            self.owe_an_edge(fd);
            return fail(direction, fd, libc::EAGAIN);
        }
        if length > 1 && self.happens(short) {
            // Who sends goes on to EAGAIN, but who has received less than asked for takes it for all there is.
            if matches!(direction, Direction::Recv) {
                self.owe_an_edge(fd);
            }
            let cut = self.random.any_size().min(length - 1);
            log::trace!("{direction:?} on {fd:?}: {cut} bytes instead of {length}");
            return Ok(cut);
        }
        Ok(length)
    }

    fn before_accept(&mut self, listener: FdRef<'_>) -> Result<(), c_int> {
        let Plan { emfile, abort, eintr, eagain, .. } = self.plan;
        if self.happens(emfile) {
            return fail(
                "accept",
                listener,
                self.random.one_of([libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM]),
            );
        }
        if self.happens(abort) {
            return fail("accept", listener, libc::ECONNABORTED);
        }
        if self.happens(eintr) {
            return fail("accept", listener, libc::EINTR);
        }
        if self.happens(eagain) {
            self.owe_an_edge(listener);
            return fail("accept", listener, libc::EAGAIN);
        }
        Ok(())
    }

    fn before_watching(&mut self, fd: FdRef<'_>, watch: Watch) -> Result<(), c_int> {
        // Connections are watched for output. Without the others there would be no loop.
        let is_connection = watch.events & libc::EPOLLOUT.cast_unsigned() != 0;
        if is_connection {
            self.tell();
        }
        if is_connection && self.happens(self.plan.enospc) {
            return fail("epoll_ctl", fd, self.random.one_of([libc::ENOSPC, libc::ENOMEM]));
        }
        self.watched.insert(fd.as_raw_fd(), watch);
        Ok(())
    }

    fn before_wait(&mut self) -> Result<(), c_int> {
        let Plan { eintr, delay, .. } = self.plan;
        if self.happens(delay) {
            thread::sleep(Duration::from_micros(self.random.below(LONGEST_DELAY_US)));
        }
        if self.happens(eintr) {
            log::trace!("epoll_wait: errno {}", libc::EINTR);
            return Err(libc::EINTR);
        }
        Ok(())
    }

    fn after_wait(&mut self, events: &mut [libc::epoll_event]) {
        if events.len() > 1 && self.happens(self.plan.shuffle) {
            log::trace!("epoll_wait: {} events in another order", events.len());
            for last in (1..events.len()).rev() {
                events.swap(last, self.random.below(last as u64 + 1) as usize);
            }
        }
    }

    /// Has the kernel tell once more what is ready.
    fn owe_an_edge(&mut self, fd: FdRef<'_>) {
        let Some(&Watch { epoll, events, word }) = self.watched.get(&fd.as_raw_fd()) else { return };
        let mut event = libc::epoll_event { events, u64: word };
        let raw = fd.as_raw_fd();
        // A listener that is shared cannot be changed, but taken out and put in again.
        let is_shared = events & libc::EPOLLEXCLUSIVE.cast_unsigned() != 0;
        let ways: &[c_int] =
            if is_shared { &[libc::EPOLL_CTL_DEL, libc::EPOLL_CTL_ADD] } else { &[libc::EPOLL_CTL_MOD] };
        for &way in ways {
            // SAFETY: the kernel only reads `event`, during the call, and refuses numbers that name no such descriptors.
            if unsafe { libc::epoll_ctl(epoll, way, raw, &raw mut event) } < 0 {
                // It is watched no longer, so nothing is owed.
                return;
            }
        }
    }
}

fn fail<T>(call: impl std::fmt::Debug, fd: FdRef<'_>, errno: c_int) -> Result<T, c_int> {
    log::trace!("{call:?} on {fd:?}: errno {errno}");
    Err(errno)
}

/// The SplitMix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number from 1 to 4096; small ones are as likely as large ones, for most messages are small.
    fn any_size(&mut self) -> usize {
        let most = 1 << self.below(13);
        1 + self.below(most) as usize
    }

    fn one_of<const N: usize>(&mut self, of: [c_int; N]) -> c_int {
        of[self.below(N as u64) as usize]
    }
}

const LONGEST_DELAY_US: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::epoll::{self, EventBuffer};
    use crate::sys::{fd::Fd, stream};
    use std::io::{ErrorKind, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    const EVENTS: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET).cast_unsigned();

    fn begin_with_plan(plan: &str) {
        begin_with(plan.parse().unwrap());
    }

    /// A watched socket, its peer, and what watches it.
    fn watched() -> (Fd, UnixStream, Fd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (ours, epoll) = (Fd::from(OwnedFd::from(ours)), epoll::create().unwrap());
        epoll::add(epoll.as_fd(), ours.as_fd(), EVENTS, 1).unwrap();
        (ours, theirs, epoll)
    }

    /// Reads once for each edge, as if that had been all there is.
    fn read_by_edges(plan: &str) {
        begin_with_plan(plan);
        let (ours, mut theirs, epoll) = watched();
        let sent: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        theirs.write_all(&sent).unwrap();
        let (mut received, mut buffer) = (Vec::new(), EventBuffer::new(4));
        while received.len() < sent.len() {
            let events = epoll::wait(epoll.as_fd(), &mut buffer, 10_000);
            if events.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted) {
                continue;
            }
            assert_eq!(events.unwrap(), 1, "the edge is missing after {} bytes", received.len());
            let mut into = [0; 30_000];
            match stream::recv(ours.as_fd(), &mut into) {
                Ok(count) => received.extend_from_slice(&into[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn a_short_read_owes_an_edge() {
        read_by_edges("1:short=0.9");
    }

    #[test]
    fn a_denied_read_owes_an_edge() {
        read_by_edges("2:eagain=0.9");
    }

    #[test]
    fn all_at_once_lose_nothing() {
        read_by_edges("3:short=0.5,eagain=0.3,eintr=0.3,shuffle=0.5");
    }

    #[test]
    fn a_denied_send_owes_an_edge() {
        begin_with_plan("4:eagain=0.9");
        let (ours, _theirs, epoll) = watched();
        let mut buffer = EventBuffer::new(4);
        let mut denied = 0;
        for _ in 0..100 {
            assert_eq!(epoll::wait(epoll.as_fd(), &mut buffer, 10_000).unwrap(), 1);
            while let Ok(count) = stream::send(ours.as_fd(), b"x") {
                assert_eq!(count, 1);
            }
            denied += 1;
        }
        assert_eq!(denied, 100);
    }

    #[test]
    fn a_seed_decides() {
        let faults = |seed: &str| {
            let plan: Plan = seed.parse().unwrap();
            let mut chaos = Chaos { plan, random: Random(plan.seed), watched: HashMap::new(), told: false };
            let (ours, _theirs, _epoll) = watched();
            (0..100).map(|_| chaos.before_moving(Direction::Send, ours.as_fd(), 1000)).collect::<Vec<_>>()
        };
        let plan = "short=0.3,eagain=0.2,eintr=0.1,reset=0.1";
        let once = faults(&format!("7:{plan}"));
        assert_eq!(once, faults(&format!("7:{plan}")));
        assert_ne!(once, faults(&format!("8:{plan}")));
        for errno in [libc::EAGAIN, libc::EINTR, libc::ECONNRESET] {
            assert!(once.contains(&Err(errno)), "{once:?}");
        }
    }
}
