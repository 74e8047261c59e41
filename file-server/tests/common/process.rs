//! Waiting for processes, for what they say, and for what nobody tells of; each with a deadline.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Far more than anything here takes; a test that waits for so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The lines that come out of a pipe, as they come.
pub(crate) fn lines_of(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a process to end; panics when it does not.
pub(crate) fn wait_for(child: &mut Child) -> ExitStatus {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let mut wanted = [PollFd::new(&pidfd, PollFlags::IN)];
    let patience = Timespec::try_from(DEADLINE).unwrap();
    assert_eq!(retry_on_intr(|| poll(&mut wanted, Some(&patience))), Ok(1), "the process did not end");
    child.wait().unwrap()
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
