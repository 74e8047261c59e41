//! The examples as a test sees them: programs that are started, say lines, and end.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Far more than anything here takes; a test that waits for so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The binary of an example, which cargo has built beside this test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there: run `cargo build -p examples --examples` first", path.display());
    path
}

/// An example that runs. Dropping it kills it.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Program {
    /// Starts an example, with a stdin that stays empty until something is written there.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_command(Command::new(binary(name)).args(arguments).stdin(Stdio::piped()))
    }

    /// Starts a command, its stdin as the command has it.
    pub(crate) fn start_command(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Starts a server and waits until it says where it listens.
    pub(crate) fn serve(name: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        let mut program = Self::start(name, arguments);
        let address = program.ready_address();
        (program, address)
    }

    /// The address of the next ready line.
    pub(crate) fn ready_address(&mut self) -> SocketAddr {
        let line = self.stderr.wait_for("listening on ");
        line.rsplit('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(&mut self.child)
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub(crate) fn succeed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}: {:#?} {:#?}", self.stdout.rest(), self.stderr.rest());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that come out of a pipe, as they come.
pub(crate) struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { return };
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new() }
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn next(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.seen.push(line.clone());
                line
            }
            Err(error) => panic!("{error}; what was said is {:#?}", self.seen),
        }
    }

    /// The next line that has this text in it; those before are left behind.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < end, "no line has {text:?} in it: {:#?}", self.seen);
            let line = self.next();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The lines up to the end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            rest.push(line);
        }
        rest
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Its output is small enough for a pipe's buffer.
    wait_for(&mut child);
    child.wait_with_output().unwrap()
}

/// Waits for a process to end; kills it and panics when it does not.
pub(crate) fn wait_for(child: &mut Child) -> ExitStatus {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    if !is_readable(&pidfd, DEADLINE) {
        let _ = child.kill();
        panic!("the process did not end");
    }
    child.wait().unwrap()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Takes the next connection.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    assert!(is_readable(listener, DEADLINE), "nobody connects");
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A client that speaks in lines.
pub(crate) struct LineClient {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl LineClient {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = connect(address);
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line, without what ends it; `None` at the end of the stream.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.reader.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear().as_deref(), Some(line));
    }
}

/// Sends a message and wants it back.
#[track_caller]
pub(crate) fn assert_echoes(stream: &mut (impl Read + Write), message: &[u8]) {
    stream.write_all(message).unwrap();
    expect_bytes(stream, message);
}

/// Wants these bytes next.
#[track_caller]
pub(crate) fn expect_bytes(stream: &mut impl Read, bytes: &[u8]) {
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(bytes));
}

/// Asserts that an echo server answers one client while another sends and does not read, and that nothing of that one is lost.
#[track_caller]
pub(crate) fn assert_serves_beside_one_that_does_not_read(address: SocketAddr) {
    let (mut slow, mut quick) = (connect(address), connect(address));
    slow.set_nonblocking(true).unwrap();
    let mut written = 0;
    // Until nothing moves any more: what the slow one sends comes back and fills every buffer on the way.
    loop {
        let before = written;
        while let Ok(count) = slow.write(&[b'x'; 64 << 10]) {
            written += count;
        }
        for _ in 0..20 {
            assert_echoes(&mut quick, b"still there?\n");
        }
        if written == before {
            break;
        }
    }
    slow.set_nonblocking(false).unwrap();
    slow.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    slow.read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), written);
}

/// Wants the end of the stream and nothing before.
#[track_caller]
pub(crate) fn expect_end(stream: &mut impl Read) {
    assert_eq!(read_some(stream, &mut [0]).unwrap(), 0, "bytes come where the end should be");
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

/// Whether there is something to read now or within `patience`.
pub(crate) fn is_readable(source: impl AsFd, patience: Duration) -> bool {
    let mut wanted = [PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN)];
    let patience = Timespec::try_from(patience).unwrap();
    retry_on_intr(|| poll(&mut wanted, Some(&patience))).unwrap() == 1
}

/// Waits until something holds that nobody tells of.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "it does not come to pass that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a tool is here; says so if not.
pub(crate) fn has_tool(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap().status.success();
    if !found {
        println!("skipped: {name} is not installed");
    }
    found
}
