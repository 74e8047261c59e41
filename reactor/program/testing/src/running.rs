//! A program that runs, and what it says.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::process::{DEADLINE, eventually, is_readable, lines_of, wait_for};

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts a command and waits for so many ready lines of a server.
    pub fn start(command: &mut Command, listeners: usize) -> Self {
        let mut child = command.env_remove("RUST_LOG").stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        let mut running = Self { child, lines, seen: Vec::new() };
        for index in 0..listeners {
            running.wait_for_line(|line| line.starts_with(READY));
            assert_eq!(running.addresses().len(), index + 1);
        }
        running
    }

    /// The addresses of the ready lines.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.seen.iter().filter_map(|line| line.strip_prefix(READY)).map(str::to_owned).collect()
    }

    /// What follows `prefix` in the first of the addresses that begin so.
    #[must_use]
    #[track_caller]
    pub fn address_after(&self, prefix: &str) -> String {
        let addresses = self.addresses();
        addresses.iter().find_map(|address| address.strip_prefix(prefix)).unwrap().to_owned()
    }

    /// Waits for a line on stderr.
    #[track_caller]
    pub fn wait_for_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("{error}; stderr was {:#?}", self.seen));
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child)
    }

    /// Drains by SIGTERM and answers the exit code and all of stderr.
    #[track_caller]
    pub fn stop(&mut self) -> (Option<i32>, Vec<String>) {
        self.signal(Signal::TERM);
        let code = self.wait().code();
        (code, self.rest_of_stderr())
    }

    /// All that was said, once the process has ended.
    pub fn rest_of_stderr(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        self.seen.clone()
    }

    /// Closes our end of its stderr: the reading thread ends, and its pipe with it, at the next line, which nobody takes.
    pub fn stop_reading(&mut self) {
        self.lines = mpsc::channel().1;
    }

    /// A value in kB of `/proc/PID/status`.
    #[must_use]
    pub fn status_kb(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many descriptors the process has.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Waits until all threads of a process stand still that was sent SIGSTOP; see proc_pid_stat(5).
    #[track_caller]
    pub fn wait_until_stopped(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands_still = |entry: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(entry.unwrap().path().join("stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        };
        eventually("it stands still", || fs::read_dir(&tasks).unwrap().all(stands_still));
    }
}

impl Running {
    /// Ends it as an operator would, for who is killed leaves no counts of the lines that it ran. A second signal cuts a drain
    /// short; the two may not come so close together that they are one.
    fn end_in_order(&self) {
        let Ok(pidfd) = pidfd_open(self.pid(), PidfdFlags::empty()) else { return };
        for _ in 0..MOST_SIGNALS {
            let _ = kill_process(self.pid(), Signal::TERM);
            if is_readable(&pidfd, Duration::from_millis(50)) {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
        if !has_ended && env::var_os("LLVM_PROFILE_FILE").is_some() {
            self.end_in_order();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, which has to come, and takes all that it says.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = taken(child.stdout.take().unwrap());
    let stderr = taken(child.stderr.take().unwrap());
    let status = wait_for(&mut child);
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Reads a pipe to its end, so that nobody waits for room in it.
fn taken(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).unwrap();
        all
    })
}

/// How often a program is asked to end when lines are counted, before it is killed after all.
const MOST_SIGNALS: usize = 40;

/// What a ready line begins with.
const READY: &str = "listening on ";
