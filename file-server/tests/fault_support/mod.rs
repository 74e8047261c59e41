//! The real `file-server` under strace(1), which makes some of its system calls fail; and clients that check every byte.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};

use program_testing::strace::Log;
use tempfile::TempDir;

pub(crate) use program_testing::strace::{Faults, can_trace};

use crate::common::{Answer, PROGRAM, Server, connect, pattern, read_answer};

/// A server that runs under strace, and what strace writes down.
pub(crate) struct Faulty {
    pub(crate) server: Server,
    pub(crate) log: Log,
}

impl Faulty {
    /// Serves [`tree`] and stores files in it, with these arguments besides. `None`: strace is not here, or may not trace.
    pub(crate) fn start(inject: &[&str], arguments: &[&str]) -> Option<Self> {
        Self::start_with(Faults { inject, ..Faults::default() }, tree(), arguments)
    }

    pub(crate) fn start_with(faults: Faults<'_>, tree: TempDir, arguments: &[&str]) -> Option<Self> {
        let (mut command, log) = faults.prepare(PROGRAM)?;
        command.args(LISTENING).args(arguments).arg(tree.path());
        Some(Self { server: Server::start_command(tree, &mut command, 1), log })
    }

    /// Ends it in order, with each of these calls having been made to fail. What is left is what was said, and the tree.
    pub(crate) fn stop(self, calls: &[&str]) -> (Vec<String>, TempDir) {
        let Self { mut server, log } = self;
        (log.stop(&mut server, calls), server.into_tree())
    }
}

/// One port, one thread, uploads welcome.
pub(crate) const LISTENING: [&str; 5] = ["--listen", "127.0.0.1:0", "--threads", "1", "--allow-upload"];

/// A directory with a file that is kept in memory and one that is sent from the disk.
pub(crate) fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("small"), &*SMALL).unwrap();
    fs::write(tree.path().join("large"), &*LARGE).unwrap();
    tree
}

/// The content of the file that is kept in memory.
pub(crate) static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(1000));

/// The content of the file that is sent from the disk: more than the kernel takes at once.
pub(crate) static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(8 << 20));

/// All that there is to do, as often as that: small and large files, a part of one, an upload and its way back.
pub(crate) fn visit(server: SocketAddr, name: &str, rounds: usize) {
    let mut stream = connect(server);
    let content: Vec<u8> = pattern(3 << 20).into_iter().rev().collect();
    for _ in 0..rounds {
        assert_content(&ask(&mut stream, "GET /small", ""), 200, &SMALL);
        assert_content(&ask(&mut stream, "GET /large", ""), 200, &LARGE);
        let part = &LARGE[5_000_000..5_900_000];
        assert_content(&ask(&mut stream, "GET /large", "Range: bytes=5000000-5899999\r\n"), 206, part);
        assert!(put(&mut stream, name, &content).status < 300);
        assert_content(&ask(&mut stream, &format!("GET /{name}"), ""), 200, &content);
    }
}

/// Starts visitors, each with a name of its own.
pub(crate) fn start_visits(server: SocketAddr, visitors: usize, rounds: usize) -> Vec<JoinHandle<()>> {
    (0..visitors).map(|index| thread::spawn(move || visit(server, &format!("put-{index}"), rounds))).collect()
}

pub(crate) fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Sends a request without a body, and reads the answer.
#[track_caller]
pub(crate) fn ask(stream: &mut TcpStream, request: &str, fields: &str) -> Answer {
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap();
    read_answer(stream, false)
}

/// Stores a file and reads the answer, which may come before all is sent.
#[track_caller]
pub(crate) fn put(stream: &mut TcpStream, name: &str, content: &[u8]) -> Answer {
    let head = format!("PUT /{name} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(content);
    read_answer(stream, false)
}

/// Wants this status and these bytes, and does not print megabytes.
#[track_caller]
pub(crate) fn assert_content(answer: &Answer, status: u16, content: &[u8]) {
    assert_eq!((answer.status, answer.body.len()), (status, content.len()), "{}", answer.head);
    if answer.body == content {
        return;
    }
    let differs = answer.body.iter().zip(content).position(|(found, wanted)| found != wanted);
    assert_eq!(differs, None, "the first byte that is wrong");
}
