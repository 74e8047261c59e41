//! The real `echo-server` as a test sees it: its ready lines, its stderr, its end.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Far more than anything here takes; a test that waits for so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_echo-server");

/// A server that runs. Dropping it kills it.
pub(crate) struct Server {
    pub(crate) child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Server {
    /// Starts the program and waits for as many ready lines as there are `--listen` among the arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let count = arguments.iter().filter(|argument| **argument == "--listen").count();
        Self::start_command(Command::new(PROGRAM).args(arguments), count)
    }

    /// Starts on one TCP port, one thread, with these arguments besides.
    pub(crate) fn on_tcp(arguments: &[&str]) -> Self {
        Self::start(&[&["--listen", "tcp://127.0.0.1:0", "--threads", "1"], arguments].concat())
    }

    /// Starts a command that runs the program, and waits for its ready lines.
    pub(crate) fn start_command(command: &mut Command, listeners: usize) -> Self {
        let mut child = command.env_remove("RUST_LOG").stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let lines = lines_of(stderr);
        let mut server = Self { child, lines, seen: Vec::new() };
        for index in 0..listeners {
            server.wait_for_line(|line| line.starts_with("listening on "));
            assert_eq!(server.addresses().len(), index + 1);
        }
        server
    }

    /// The addresses of the ready lines.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.seen.iter().filter_map(|line| line.strip_prefix("listening on ")).map(str::to_owned).collect()
    }

    /// The first TCP address.
    pub(crate) fn tcp_address(&self) -> SocketAddr {
        let addresses = self.addresses();
        addresses.iter().find_map(|address| address.strip_prefix("tcp://")).unwrap().parse().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.tcp_address())
    }

    /// Waits for a line on stderr.
    pub(crate) fn wait_for_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
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

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child, DEADLINE)
    }

    /// Drains by SIGTERM and answers the exit code and all of stderr.
    pub(crate) fn stop(mut self) -> (Option<i32>, Vec<String>) {
        self.signal(Signal::TERM);
        let code = self.wait().code();
        (code, self.rest_of_stderr())
    }

    /// All that was said, once the process has ended.
    pub(crate) fn rest_of_stderr(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        self.seen.clone()
    }

    /// Closes our end of its stderr.
    pub(crate) fn stop_reading(&mut self) {
        let (_, nothing) = mpsc::channel();
        // The reading thread ends, and its pipe with it, at the next line that nobody takes.
        self.lines = nothing;
    }

    /// A value in kB of `/proc/PID/status`.
    pub(crate) fn status_kb(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many descriptors the process has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that come out of a pipe or a terminal, as they come.
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
pub(crate) fn wait_for(child: &mut Child, deadline: Duration) -> ExitStatus {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    assert!(is_readable(&pidfd, deadline), "the process did not end");
    child.wait().unwrap()
}

/// Runs the program to its end, as one does who has got the arguments wrong.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A failing start must not go on serving for ever. Its output is small enough for a pipe's buffer.
    wait_for(&mut child, DEADLINE);
    child.wait_with_output().unwrap()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a message and wants it back.
pub(crate) fn assert_echoes(stream: &mut (impl Read + Write), message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message);
}

/// Reads once. The kernel does not go on with an interrupted read that has a timeout.
pub(crate) fn read_some(stream: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Wants the end of the stream and nothing before.
#[track_caller]
pub(crate) fn expect_end(stream: &mut impl Read) {
    assert_eq!(read_some(stream, &mut [0]).unwrap(), 0, "bytes come where the end should be");
}

/// Whether there is something to read now or within `patience`.
pub(crate) fn is_readable(source: impl AsFd, patience: Duration) -> bool {
    is_ready(source, PollFlags::IN, patience)
}

/// Whether poll(2) tells of this now or within `patience`.
pub(crate) fn is_ready(source: impl AsFd, what: PollFlags, patience: Duration) -> bool {
    let mut wanted = [PollFd::from_borrowed_fd(source.as_fd(), what)];
    let patience = Timespec::try_from(patience).unwrap();
    retry_on_intr(|| poll(&mut wanted, Some(&patience))).unwrap() == 1
}

/// `unix:` and the path.
pub(crate) fn unix_url(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Whether a tool is here; says so if not.
pub(crate) fn has_tool(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().status.success();
    if !found {
        println!("skipped: {name} is not installed");
    }
    found
}
