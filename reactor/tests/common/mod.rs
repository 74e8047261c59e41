//! What the tests share: a loop on a thread of its own, byte-exact clients, a log of callbacks, and a pattern of bytes.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]

mod client;
mod events;
mod pattern;
mod places;
mod test_loop;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use client::Client;
pub(crate) use events::{Event, Events, Log, Logged, Record};
pub(crate) use pattern::{assert_pattern, fill_pattern, pattern};
pub(crate) use places::{Full, Vacant, any_port, loopback};
pub(crate) use test_loop::{Echo, Silent, TestLoop, Transport};

/// How long a test waits for anything before it fails: far longer than anything takes, on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until the condition holds; fails with `what` at the deadline.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Descriptors that the process has open now.
pub(crate) fn descriptors() -> usize {
    // Looking takes one.
    fs::read_dir("/proc/self/fd").expect("proc is mounted").count() - 1
}

/// Lets the process have as many descriptors as it may, and says how many.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("the hard limit may be used");
    limit.maximum.unwrap_or(u64::MAX)
}
