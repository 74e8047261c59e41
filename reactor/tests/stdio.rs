//! Standard input and output are read and written whatever they are, and are left to others as they were.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::env;
use std::fs::File;
use std::io::{PipeReader, Read, Seek, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use common::pattern;
use reactor::sources::{ByteReader, ByteStream, ReaderContext};
use reactor::{EventLoop, Input, Result, SourceId};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const ROLE: &str = "REACTOR_STDIO_TEST";

/// Copies standard input to standard error, for to standard output the test harness writes too.
struct Copies {
    output: SourceId,
}

impl ByteReader for Copies {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_>, input: &mut Input<'_>) -> Result {
        let output = self.output;
        cx.writer(output).unwrap().send(input.take())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_>) -> Result {
        cx.shutdown(common::DEADLINE);
        Ok(())
    }
}

/// What the process that the other tests start does; it is no test by itself.
#[test]
fn copies() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    let output = cx.add_writer(ByteStream::stderr().unwrap(), ()).unwrap();
    cx.add_reader(ByteStream::stdin().unwrap(), Copies { output }).unwrap();
    event_loop.run().unwrap();
}

fn start(stdin: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "copies", "--test-threads=1"])
        .env(ROLE, "yes")
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap()
}

fn is_blocking(fd: impl AsFd) -> bool {
    !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

fn read_all(mut reader: PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn pipes_pass_every_byte_and_stay_blocking() {
    let (input, mut feed) = pipe().unwrap();
    let (reader, output) = pipe().unwrap();
    let (input_twin, output_twin) = (input.try_clone().unwrap(), output.try_clone().unwrap());
    let mut child = start(input, output);
    let bytes = pattern(0, 1 << 20);
    let expected = bytes.clone();
    let feeder = std::thread::spawn(move || {
        feed.write_all(&bytes[..1000]).unwrap();
        feed.write_all(&bytes[1000..]).unwrap();
    });
    let mut received = vec![0; 1000];
    (&reader).read_exact(&mut received).unwrap();
    // It is at work now.
    assert!(is_blocking(&input_twin) && is_blocking(&output_twin));
    drop(output_twin);
    received.extend(read_all(reader));
    assert!(received == expected);
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(is_blocking(&input_twin));
}

#[test]
fn files_are_read_from_where_they_stand_and_written_behind_what_is_there() {
    let (mut input, mut output) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let bytes = pattern(0, 200_000);
    input.write_all(b"skipped").unwrap();
    input.write_all(&bytes).unwrap();
    input.seek(std::io::SeekFrom::Start(7)).unwrap();
    output.write_all(b"before ").unwrap();
    let mut child = start(input.try_clone().unwrap(), output.try_clone().unwrap());
    assert!(child.wait().unwrap().success());
    assert_eq!(input.stream_position().unwrap(), 200_007);
    output.rewind().unwrap();
    let mut written = Vec::new();
    output.read_to_end(&mut written).unwrap();
    assert!(written.strip_prefix(b"before ").unwrap() == bytes);
}

#[test]
fn sockets_stay_blocking_too() {
    let (mut feed, input) = UnixStream::pair().unwrap();
    let (reader, output) = pipe().unwrap();
    let twin = input.try_clone().unwrap();
    let mut child = start(OwnedFd::from(input), output);
    feed.write_all(b"through a socket").unwrap();
    let mut received = [0; 16];
    (&reader).read_exact(&mut received).unwrap();
    assert_eq!(&received, b"through a socket");
    assert!(is_blocking(&twin));
    feed.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_all(reader).is_empty());
    assert!(child.wait().unwrap().success());
}

#[test]
fn nothing_at_all_ends_at_once() {
    let (reader, output) = pipe().unwrap();
    let mut child = start(Stdio::null(), output);
    assert!(read_all(reader).is_empty());
    assert!(child.wait().unwrap().success());
}

fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    (master, terminal)
}

#[test]
fn what_cannot_be_opened_anew_is_made_blocking_again() {
    let (master, terminal) = terminal();
    assert!(is_blocking(&master));
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    // To open the master of a terminal is to make another one.
    let output = cx.add_writer(ByteStream::shared(master.as_fd()).unwrap(), ()).unwrap();
    assert!(!is_blocking(&master));
    cx.writer(output).unwrap().send("typed\n").unwrap();
    cx.writer(output).unwrap().finish();
    while event_loop.metrics().sources > 0 {
        event_loop.turn(Some(common::DEADLINE)).unwrap();
    }
    assert!(is_blocking(&master));
    let mut line = [0; 6];
    File::from(terminal).read_exact(&mut line).unwrap();
    assert_eq!(&line, b"typed\n");
}

/// Stops its loop at the end.
struct Ends;

impl ByteReader<Vec<u8>> for Ends {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Vec<u8>>, input: &mut Input<'_>) -> Result {
        cx.state().extend_from_slice(input.take());
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_, Vec<u8>>) -> Result {
        cx.stop();
        Ok(())
    }
}

#[test]
fn a_terminal_that_hangs_up_is_an_end_and_no_error() {
    let (master, terminal) = terminal();
    let mut event_loop = EventLoop::new(Vec::new()).unwrap();
    event_loop.context().add_reader(master, Ends).unwrap();
    File::from(terminal).write_all(b"last words").unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state(), b"last words");
}

#[test]
fn a_terminal_is_read_line_by_line_and_stays_blocking() {
    let (master, terminal) = terminal();
    let twin = terminal.try_clone().unwrap();
    let (reader, output) = pipe().unwrap();
    let mut child = start(terminal, output);
    let mut master = File::from(master);
    for line in ["first\n", "second\n"] {
        master.write_all(line.as_bytes()).unwrap();
        let mut received = vec![0; line.len()];
        (&reader).read_exact(&mut received).unwrap();
        assert_eq!(received, line.as_bytes());
        assert!(is_blocking(&twin));
    }
    // Ctrl-D at the beginning of a line.
    master.write_all(&[4]).unwrap();
    assert!(read_all(reader).is_empty());
    assert!(child.wait().unwrap().success());
    assert!(is_blocking(&twin));
}
