//! Waiting for processes, for what they say, and for what nobody tells of; each with a deadline.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Far more than anything here takes; a test that waits for so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The lines that come out of a pipe or a terminal, as they come.
pub fn lines_of(source: impl Read + Send + 'static) -> Receiver<String> {
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

/// Waits for a process to end.
#[track_caller]
pub fn wait_for(child: &mut Child) -> ExitStatus {
    wait_at_most(child, DEADLINE)
}

/// Waits for a process that may take longer, or must not take so long.
#[track_caller]
pub fn wait_at_most(child: &mut Child, patience: Duration) -> ExitStatus {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    assert!(is_readable(&pidfd, patience), "the process did not end");
    child.wait().unwrap()
}

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads once. The kernel does not go on with an interrupted read that has a timeout.
///
/// # Errors
/// As the read, but for an interruption.
pub fn read_some(stream: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Wants the end of the stream and nothing before.
#[track_caller]
pub fn expect_end(stream: &mut impl Read) {
    assert_eq!(read_some(stream, &mut [0]).unwrap(), 0, "bytes come where the end should be");
}

/// Whether there is something to read now or within `patience`.
pub fn is_readable(source: impl AsFd, patience: Duration) -> bool {
    is_ready(source, PollFlags::IN, patience)
}

/// Whether poll(2) tells of this now or within `patience`.
pub fn is_ready(source: impl AsFd, what: PollFlags, patience: Duration) -> bool {
    let mut wanted = [PollFd::from_borrowed_fd(source.as_fd(), what)];
    let patience = Timespec::try_from(patience).unwrap();
    retry_on_intr(|| poll(&mut wanted, Some(&patience))).unwrap() == 1
}

/// Whether a tool is here; says so if not.
#[must_use]
pub fn has_tool(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().status.success();
    if !found {
        println!("skipped: {name} is not installed");
    }
    found
}
