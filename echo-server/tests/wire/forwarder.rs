//! The thread that carries packets from one end of the wire to the other.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::SyncDevice;

use super::fate::Rates;
use super::link::{Link, Tally};

/// What the thread and the test share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) ends: AtomicBool,
    pub(crate) cut: AtomicBool,
    pub(crate) tally: Mutex<Tally>,
}

/// Carries packets until the wire ends.
pub(crate) fn carry(ends: &[SyncDevice; 2], rates: Rates, seed: u64, shared: &Shared) {
    let mut links = [Link::new(rates, seed), Link::new(rates, !seed)];
    while !shared.ends.load(Ordering::Relaxed) {
        wait(ends, links.iter().filter_map(Link::next_arrival).min());
        let now = Instant::now();
        for (index, link) in links.iter_mut().enumerate() {
            let (from, to) = (&ends[index], &ends[1 - index]);
            take_in(from, link, now, shared);
            while let Some(packet) = link.arrived(now) {
                if !shared.cut.load(Ordering::Relaxed) {
                    // What has no sense any more is refused, as a network card would do.
                    let _ = to.send(&packet);
                }
            }
        }
    }
}

/// Takes in what an end has sent.
fn take_in(from: &SyncDevice, link: &mut Link, now: Instant, shared: &Shared) {
    let mut packet = [0; LARGEST];
    for _ in 0..AT_ONCE {
        match from.recv(&mut packet) {
            Ok(length) => link.offer(packet[..length].to_vec(), now, &mut shared.tally.lock().expect("nobody panics")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the wire is broken: {error}"),
        }
    }
}

/// Sleeps until a packet enters, or one arrives, or for a moment.
fn wait(ends: &[SyncDevice; 2], arrival: Option<Instant>) {
    let arrival = arrival.map(|arrival| arrival.saturating_duration_since(Instant::now()));
    let patience = Timespec::try_from(arrival.unwrap_or(PATIENCE).min(PATIENCE)).expect("it is short");
    let mut wanted = ends.each_ref().map(|end| PollFd::new(end, PollFlags::IN));
    poll(&mut wanted, Some(&patience)).expect("the ends are open");
}

/// More than an interface with an MTU of 1500 sends.
const LARGEST: usize = 2048;

/// Packets taken from one end before the other has its turn.
const AT_ONCE: usize = 64;

/// After so long the thread looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(50);
