//! Descriptors pass through Unix sockets in their place among the bytes; one that nobody takes is closed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/more.rs"]
mod more;

use std::env;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, PipeReader, Read, Write, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};

use common::{DEADLINE, TestLoop, eventually};
use more::Script;
use reactor::{CloseReason, Context, Handler, Input, Limits, Result};
use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const ROLE: &str = "REACTOR_FD_PASSING_TEST";

/// What a handler was shown: bytes, and the descriptors that it took.
type Shown = (Vec<u8>, Vec<OwnedFd>);

/// Takes lines, and the descriptors with those that do not begin with `nothing`, if it takes any.
struct Lines {
    takes: bool,
    receives: bool,
    shown: Sender<Shown>,
    closed: Sender<String>,
}

impl Handler for Lines {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        if self.receives { cx.receive_fds() } else { Ok(()) }
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = input.take_until(b'\n') {
            // A read may bring bytes that were sent before the descriptors along with them.
            let takes = self.takes && !line.starts_with(b"nothing");
            let fds = if takes { cx.take_fds() } else { Vec::new() };
            self.shown.send((line.to_vec(), fds)).unwrap();
        }
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        let _ = self.closed.send(format!("{}: {reason}", reason.name()));
    }
}

struct Receiving {
    server: TestLoop,
    theirs: UnixStream,
    shown: Receiver<Shown>,
    closed: Receiver<String>,
}

fn receiving(limits: Limits, takes: bool, receives: bool) -> Receiving {
    let server = TestLoop::start(limits, |_| ());
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    let ((shown, is_shown), (closed, is_closed)) = (mpsc::channel(), mpsc::channel());
    server.on_loop(move |cx| cx.adopt(ours, Lines { takes, receives, shown, closed }).map(drop).unwrap());
    Receiving { server, theirs, shown: is_shown, closed: is_closed }
}

#[track_caller]
fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(DEADLINE).expect("it is told within the deadline")
}

/// Sends bytes and descriptors by hand.
fn send(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let flags = rustix::net::SendFlags::empty();
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).unwrap();
    assert_eq!(sent, bytes.len());
}

/// Receives bytes and descriptors by hand.
fn receive(socket: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; 1 << 20];
    let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
    let received = rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let fds = fds.collect();
    bytes.truncate(received.bytes);
    (bytes, fds)
}

/// Whether all writing ends of the pipe are closed.
fn expect_closed(mut reader: PipeReader) {
    // It ends, or the test does, at the time that the harness gives it.
    let (ended, has_ended) = mpsc::channel();
    std::thread::spawn(move || ended.send(reader.read(&mut [0; 1]).unwrap()));
    assert_eq!(has_ended.recv_timeout(DEADLINE), Ok(0), "a writing end is open still");
}

#[test]
fn a_descriptor_comes_with_its_bytes_and_is_close_on_exec() {
    let Receiving { theirs, shown, server: _server, .. } = receiving(Limits::default(), true, true);
    let (mut reader, writer) = pipe().unwrap();
    send(&theirs, b"nothing\n", &[]);
    send(&theirs, b"a pipe\n", &[writer.as_fd()]);
    drop(writer);
    send(&theirs, b"none after it\n", &[]);
    let (line, fds) = next(&shown);
    assert_eq!((&line[..], fds.len()), (&b"nothing"[..], 0));
    let (line, mut fds) = next(&shown);
    assert_eq!((&line[..], fds.len()), (&b"a pipe"[..], 1));
    let fd = fds.pop().unwrap();
    assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
    File::from(fd).write_all(b"through it").unwrap();
    let mut through = String::new();
    reader.read_to_string(&mut through).unwrap();
    assert_eq!(through, "through it");
    assert!(next(&shown).1.is_empty());
}

#[test]
fn descriptors_wait_with_bytes_that_are_left() {
    let Receiving { theirs, shown, server, .. } = receiving(Limits::default(), true, true);
    let (_reader, writer) = pipe().unwrap();
    send(&theirs, b"ha", &[writer.as_fd(), writer.as_fd()]);
    server.eventually("it has come", |metrics| metrics.bytes_in == 2);
    send(&theirs, b"lf\n", &[writer.as_fd()]);
    let (line, fds) = next(&shown);
    assert_eq!((&line[..], fds.len()), (&b"half"[..], 3));
}

#[test]
fn a_descriptor_that_nobody_takes_is_closed() {
    let Receiving { theirs, shown, server: _server, .. } = receiving(Limits::default(), false, true);
    let (reader, writer) = pipe().unwrap();
    send(&theirs, b"take it\n", &[writer.as_fd()]);
    drop(writer);
    assert!(next(&shown).1.is_empty());
    // While the connection lives on.
    expect_closed(reader);
    send(&theirs, b"still there\n", &[]);
    assert_eq!(next(&shown).0, b"still there");
}

#[test]
fn one_that_waits_is_closed_with_its_connection() {
    let Receiving { theirs, server, closed, .. } = receiving(Limits::default(), true, true);
    let (reader, writer) = pipe().unwrap();
    send(&theirs, b"no line", &[writer.as_fd()]);
    drop(writer);
    server.eventually("it has come", |metrics| metrics.bytes_in == 7);
    drop(theirs);
    assert!(next(&closed).starts_with("eof"));
    expect_closed(reader);
}

#[test]
fn one_that_was_not_asked_for_is_closed_by_the_kernel() {
    let Receiving { theirs, shown, server: _server, .. } = receiving(Limits::default(), true, false);
    let (reader, writer) = pipe().unwrap();
    send(&theirs, b"take it\n", &[writer.as_fd()]);
    drop(writer);
    assert!(next(&shown).1.is_empty());
    expect_closed(reader);
}

#[test]
fn too_many_that_wait_close_the_connection_and_them() {
    let mut limits = Limits::default();
    limits.fds_per_connection = 3;
    let Receiving { theirs, shown, closed, server: _server } = receiving(limits, true, true);
    let (reader, writer) = pipe().unwrap();
    send(&theirs, b"three\n", &[writer.as_fd(); 3]);
    assert_eq!(next(&shown).1.len(), 3);
    send(&theirs, b"four", &[writer.as_fd(); 4]);
    drop(writer);
    let reason = next(&closed);
    assert!(reason.starts_with("error") && reason.contains("fds_per_connection"), "{reason}");
    expect_closed(reader);
}

/// What the process does that the next test starts, for the limit of descriptors is one of the process; it is no test by itself.
#[test]
fn receives_without_room() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let Receiving { theirs, shown, closed, server } = receiving(Limits::default(), true, true);
    let (reader, writer) = pipe().unwrap();
    send(&theirs, b"taken\n", &[writer.as_fd()]);
    assert_eq!(next(&shown).1.len(), 1);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    send(&theirs, b"lost\n", &[writer.as_fd(); 4]);
    drop(writer);
    let reason = next(&closed);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(reason.starts_with("error") && reason.contains("lost"), "{reason}");
    assert!(shown.try_recv().is_err(), "bytes without their descriptors were shown");
    expect_closed(reader);
    server.eventually("the connection is gone", |metrics| metrics.open == 0);
}

#[test]
fn those_for_which_there_is_no_room_end_the_connection() {
    let mut command = Command::new(env::current_exe().unwrap());
    let actor = command.args(["--exact", "receives_without_room", "--nocapture"]).env(ROLE, "yes");
    let output = actor.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn as_many_as_the_kernel_passes_come_at_once() {
    let Receiving { theirs, shown, server: _server, .. } = receiving(Limits::default(), true, true);
    let (_reader, writer) = pipe().unwrap();
    send(&theirs, b"all\n", &[writer.as_fd(); 253]);
    assert_eq!(next(&shown).1.len(), 253);
}

#[test]
fn descriptors_are_sent_in_their_place_and_closed_here() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    let (reader, writer) = pipe().unwrap();
    let mut pipes = vec![OwnedFd::from(writer.try_clone().unwrap()), OwnedFd::from(writer)];
    server.on_loop(move |cx| {
        cx.adopt(
            ours,
            Script::new().open(move |cx| {
                cx.send("before ")?;
                cx.send_with_fds("with ", std::mem::take(&mut pipes))?;
                cx.send("after")?;
                assert_eq!(cx.queued(), 17);
                Ok(())
            }),
        )
        .map(drop)
        .unwrap();
    });
    let (mut all, mut passed) = (Vec::new(), Vec::new());
    while all.len() < 17 {
        let (bytes, fds) = receive(&theirs);
        // They come with their own bytes, which end no earlier read but may end a later one.
        if !fds.is_empty() {
            let place = all.len() + bytes.iter().position(|byte| *byte == b'w').unwrap();
            assert_eq!(place, 7);
        }
        all.extend(bytes);
        passed.extend(fds);
    }
    assert_eq!(String::from_utf8(all).unwrap(), "before with after");
    assert_eq!(passed.len(), 2);
    File::from(passed.pop().unwrap()).write_all(b"x").unwrap();
    assert_eq!((&reader).read(&mut [0; 9]).unwrap(), 1);
    drop(passed);
    // Ours were closed when they were sent.
    expect_closed(reader);
}

#[test]
fn they_wait_behind_a_full_socket() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    let (_reader, writer) = pipe().unwrap();
    let mut fds = vec![OwnedFd::from(writer)];
    server.on_loop(move |cx| {
        cx.adopt(
            ours,
            Script::new().open(move |cx| {
                cx.send(vec![b'x'; 1 << 20])?;
                cx.send_with_fds(vec![b'y'; 1 << 20], std::mem::take(&mut fds))?;
                cx.close_after_flush()
            }),
        )
        .map(drop)
        .unwrap();
    });
    let (mut count, mut passed_at) = (0, Vec::new());
    loop {
        let (bytes, fds) = receive(&theirs);
        if !fds.is_empty() {
            passed_at.push(count + bytes.iter().position(|byte| *byte == b'y').unwrap());
        }
        if bytes.is_empty() {
            break;
        }
        count += bytes.len();
    }
    assert_eq!((count, passed_at), (2 << 20, vec![1 << 20]));
}

#[test]
fn what_cannot_be_sent_is_the_callers_error() {
    let (outcome, outcomes) = mpsc::channel();
    let server = TestLoop::serve(move || {
        let outcome = outcome.clone();
        Script::new().open(move |cx| {
            let kinds = [
                cx.send_with_fds("x", Vec::new()).unwrap_err().kind(),
                cx.receive_fds().unwrap_err().kind(),
                cx.peer_credentials().unwrap_err().kind(),
            ];
            outcome.send(kinds.to_vec()).unwrap();
            Ok(())
        })
    });
    // Over TCP.
    let _client = server.client();
    assert_eq!(next(&outcomes), [ErrorKind::Unsupported; 3]);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (outcome, outcomes) = mpsc::channel();
    server.on_loop(move |cx| {
        let opened = Script::new().open(move |cx| {
            let (_reader, writer) = pipe().unwrap();
            let many = (0..254).map(|_| OwnedFd::from(writer.try_clone().unwrap())).collect();
            let kinds =
                [cx.send_with_fds("", Vec::new()).unwrap_err().kind(), cx.send_with_fds("x", many).unwrap_err().kind()];
            outcome.send(kinds).unwrap();
            Ok(())
        });
        cx.adopt(ours, opened).map(drop).unwrap();
    });
    assert_eq!(next(&outcomes), [ErrorKind::InvalidInput; 2]);
}

#[test]
fn a_connection_that_ends_with_descriptors_to_send_closes_them() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    let mut fds = vec![OwnedFd::from(writer)];
    let id = server.on_loop(move |cx| {
        let full = Script::new().open(move |cx| {
            cx.send(vec![b'x'; 1 << 20])?;
            cx.send_with_fds("y", std::mem::take(&mut fds))
        });
        cx.adopt(ours, full).unwrap()
    });
    eventually("it waits", || server.metrics().buffered > 0);
    server.on_loop(move |cx| cx.peer(id).unwrap().abort());
    expect_closed(reader);
    drop(theirs);
}
