//! The real `file-server` as those who send files see it, and a client of the struct protocol, byte by byte.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use program_testing::running::Running;
use rustix::process::Signal;
use tempfile::TempDir;

pub(crate) use program_testing::process::{DEADLINE, eventually, lines_of, wait_for};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_file-server");

/// A server that runs. Dropping it kills it.
pub(crate) struct Server {
    running: Running,
    root: PathBuf,
    /// Goes with the server, unless the directory is somebody else's.
    _directory: Option<TempDir>,
}

impl Server {
    /// Starts the program on an empty directory, with both listeners and these arguments besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(directory.path(), arguments);
        server._directory = Some(directory);
        server
    }

    /// Starts the program on a directory that there is.
    pub(crate) fn start_in(root: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(LISTENERS).args(arguments).arg(root);
        Self::start_command(&mut command, root)
    }

    /// Starts the program on a file system of its own that has so many bytes. `None`, and said why: this machine does not
    /// let us.
    pub(crate) fn start_on_disk_of(bytes: usize, arguments: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size={bytes} none \"$0\"");
        let unshare = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["-Urm", "--propagation", "private", "sh", "-c", script]).arg(directory.path());
            command
        };
        let possible = unshare(&mount).stderr(Stdio::null()).status();
        if !possible.is_ok_and(|status| status.success()) {
            println!("skipped: no file system can be mounted here in a namespace of our own");
            return None;
        }
        let mut command = unshare(&format!("{mount} && exec \"$@\" \"$0\""));
        command.arg(PROGRAM).args(LISTENERS).args(arguments);
        let mut server = Self::start_command(&mut command, directory.path());
        // As the server sees it, and not as we do.
        let ours = directory.path().strip_prefix("/").unwrap();
        server.root = Path::new("/proc").join(server.child.id().to_string()).join("root").join(ours);
        server._directory = Some(directory);
        Some(server)
    }

    /// Starts the program on an empty directory, with a line for each of these system calls in a file. `None`, and said why:
    /// strace(1) is not here, or may not trace.
    pub(crate) fn start_traced(calls: &str, trace: &Path, arguments: &[&str]) -> Option<Self> {
        let possible = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
        if !possible.is_ok_and(|status| status.success()) {
            println!("skipped: nothing can be traced here");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        // The child is the program itself, so that what is sent to it or kills it does not meet strace.
        command.args(["-D", "-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(trace);
        command.arg(PROGRAM).args(LISTENERS).args(arguments).arg(directory.path());
        let mut server = Self::start_command(&mut command, directory.path());
        server._directory = Some(directory);
        Some(server)
    }

    fn start_command(command: &mut Command, root: &Path) -> Self {
        Self { running: Running::start(command, 2), root: root.to_owned(), _directory: None }
    }

    /// Where files go.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// All that is in the directory, hidden or not.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.root)
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        self.address_after("http://").parse().unwrap()
    }

    pub(crate) fn struct_address(&self) -> SocketAddr {
        self.address_after("struct://").parse().unwrap()
    }

    /// A connection to the struct listener.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.struct_address())
    }

    /// Waits for a line on stderr that has all of these in it.
    #[track_caller]
    pub(crate) fn wait_for_words(&mut self, words: &[&str]) {
        self.wait_for_line(|line| words.iter().all(|word| line.contains(word)));
    }

    /// Kills it as `kill -9` does, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
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

const LISTENERS: [&str; 4] = ["--listen", "127.0.0.1:0", "--struct-listen", "127.0.0.1:0"];

/// All that is in a directory, in order.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A header of the struct protocol.
pub(crate) fn header(name: &[u8], size: i32) -> Vec<u8> {
    let mut header = vec![0; 256];
    header[..name.len()].copy_from_slice(name);
    header.extend(size.to_le_bytes());
    header
}

/// Wants the "ok" of the struct protocol.
#[track_caller]
pub(crate) fn expect_ok(stream: &mut TcpStream) {
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ok");
}

/// Wants the end of the connection, with or without a reset, and nothing before.
#[track_caller]
pub(crate) fn expect_end(stream: &mut TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(count) => assert_eq!(count, 0, "bytes come where the end should be"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// Sends a file as existing clients do: the header, the wait for "ok", then pieces of 4 KiB.
#[track_caller]
pub(crate) fn send_struct(address: SocketAddr, name: &str, content: &[u8]) {
    let mut stream = connect(address);
    stream.write_all(&header(name.as_bytes(), i32::try_from(content.len()).unwrap())).unwrap();
    expect_ok(&mut stream);
    for piece in content.chunks(4096) {
        stream.write_all(piece).unwrap();
    }
    expect_ok(&mut stream);
    expect_end(&mut stream);
}

/// Bytes of which no two places look alike.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64).flat_map(|index| mix(seed ^ mix(index)).to_le_bytes());
    let mut bytes: Vec<u8> = words.collect();
    bytes.truncate(length);
    bytes
}

/// The last step of the SplitMix64 generator.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Compares without printing megabytes when they differ.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], wanted: &[u8]) {
    if found == wanted {
        return;
    }
    let differs = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    assert_eq!((found.len(), differs), (wanted.len(), None), "length, and first byte that differs");
}

/// An answer of the HTTP listener.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Reads one answer, and no byte behind it.
#[track_caller]
pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the answer ends within its head: {head:?}");
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.field("Content-Length").map_or(0, |length| length.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

/// Sends bytes on a connection of their own and reads the answer.
#[track_caller]
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // It may be answered before all of it is sent.
    let _ = stream.write_all(request);
    read_answer(&mut stream)
}

/// A PUT of this content, with more fields.
pub(crate) fn put(path: &str, fields: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{fields}\r\n", content.len());
    [head.as_bytes(), content].concat()
}

/// The same in chunks of so many bytes.
pub(crate) fn put_chunked(path: &str, fields: &str, content: &[u8], chunk: usize) -> Vec<u8> {
    let mut bytes =
        format!("PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{fields}\r\n").into_bytes();
    for chunk in content.chunks(chunk) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// A GET, or another method without a body.
pub(crate) fn request(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}
