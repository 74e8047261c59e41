//! The real `echo-server` as a test sees it: its ready lines, its stderr, its end.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Command, Output};

use program_testing::running::{self, Running};

pub(crate) use program_testing::process::{
    DEADLINE, expect_end, has_tool, is_readable, is_ready, lines_of, read_some, wait_at_most, wait_for,
};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_echo-server");

/// A server that runs. Dropping it kills it.
pub(crate) struct Server(Running);

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
        Self(Running::start(command, listeners))
    }

    /// The first TCP address.
    pub(crate) fn tcp_address(&self) -> SocketAddr {
        self.address_after("tcp://").parse().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.tcp_address())
    }

    /// Drains by SIGTERM and answers the exit code and all of stderr.
    pub(crate) fn stop(mut self) -> (Option<i32>, Vec<String>) {
        self.0.stop()
    }
}

impl Deref for Server {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.0
    }
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

/// Sends a message and wants it back.
pub(crate) fn assert_echoes(stream: &mut (impl Read + Write), message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, message);
}

/// `unix:` and the path.
pub(crate) fn unix_url(path: &Path) -> String {
    format!("unix:{}", path.display())
}
