//! The real `file-server` as a test sees it: its ready lines, its answers as raw bytes, its end.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program_testing::running::{self, Running};
use tempfile::TempDir;

pub(crate) use program_testing::process::{DEADLINE, eventually, expect_end, lines_of, read_some, wait_for};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_file-server");

/// A server that runs, and the directory that it serves. Dropping it kills it.
pub(crate) struct Server {
    running: Running,
    pub(crate) tree: TempDir,
}

impl Server {
    /// Serves an empty directory on one port and one thread, with these arguments besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::serving(tempfile::tempdir().unwrap(), arguments)
    }

    /// Serves a directory on one port and one thread, with these arguments besides.
    pub(crate) fn serving(tree: TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0", "--threads", "1"]).args(arguments).arg(tree.path());
        Self::start_command(tree, &mut command, 1)
    }

    /// Starts a command that runs the program, and waits for its ready lines.
    pub(crate) fn start_command(tree: TempDir, command: &mut Command, listeners: usize) -> Self {
        Self { running: Running::start(command, listeners), tree }
    }

    /// The first HTTP address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address_after("http://").parse().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// The served directory, without the server.
    pub(crate) fn into_tree(self) -> TempDir {
        self.tree
    }

    /// A place in the served directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.tree.path().join(name)
    }

    /// Puts a file into the served directory.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Asks on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    /// Sends a request on a connection of its own, and reads one answer.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        read_answer(&mut stream, request.as_ref().starts_with(b"HEAD"))
    }
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// An answer as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer without its date, which is of no matter to a comparison.
    pub(crate) fn undated(mut self) -> Self {
        self.head = self.head.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n");
        self
    }
}

/// Reads one answer, of the length that it tells.
#[track_caller]
pub(crate) fn read_answer(stream: &mut impl Read, to_head: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(read_some(stream, &mut byte).unwrap(), 1, "the answer ends in {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.field("Content-Length").map_or(0, |length| length.parse().unwrap());
    if !to_head {
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).unwrap();
    }
    answer
}

/// Reads all that comes until the end.
pub(crate) fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Runs the program to its end, as one does who has got the arguments wrong.
pub(crate) fn run(arguments: &[&str]) -> Output {
    running::run(Command::new(PROGRAM).args(arguments))
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Bytes that tell where in a file they are.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 7 + at) % 251).unwrap()).collect()
}

/// Puts a new version in the place of a file, as careful programs do.
pub(crate) fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, contents).unwrap();
    fs::rename(&beside, path).unwrap();
}
