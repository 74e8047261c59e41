//! A child process is started, fed, heard, signalled and waited for; it never becomes a zombie, and gets nothing of ours.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Write, pipe};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use common::{DEADLINE, TestLoop, eventually, pattern};
use reactor::sources::{AtEnd, ByteReader, ChildOptions, Descriptor, ReaderContext, Spawned};
use reactor::{CloseReason, EventLoop, Input, Limits, Result, SourceId};

type Exit = (std::result::Result<ExitStatus, ErrorKind>, bool);

/// Collects all, and tells it at the end.
struct Collects(Vec<u8>, Sender<Vec<u8>>);

impl ByteReader for Collects {
    fn on_bytes(&mut self, _cx: &mut ReaderContext<'_>, input: &mut Input<'_>) -> Result {
        self.0.extend_from_slice(input.take());
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut ReaderContext<'_>, reason: &CloseReason) {
        if reason.name() == "eof" {
            self.1.send(std::mem::take(&mut self.0)).unwrap();
        }
    }
}

fn quiet_loop() -> TestLoop {
    TestLoop::start(Limits::default(), |_| ())
}

fn process(pid: u32) -> PathBuf {
    format!("/proc/{pid}").into()
}

/// What was piped, to use without a loop.
fn file(piped: Option<Descriptor>) -> File {
    piped.unwrap().into_owned().unwrap().into()
}

/// Starts a child; when it has ended, its status comes, and whether anything is left of it in the system.
fn spawn(server: &TestLoop, options: ChildOptions, mut command: Command) -> (Spawned, Receiver<Exit>) {
    let (told, is_told) = mpsc::channel();
    let spawned = server.on_loop(move |cx| {
        let (pid, pid_known) = mpsc::channel::<u32>();
        let spawned = cx
            .spawn(&mut command, &options, move |_, status| {
                let pid = pid_known.recv().unwrap();
                told.send((status.map_err(|error| error.kind()), process(pid).exists())).unwrap();
            })
            .unwrap();
        pid.send(spawned.pid).unwrap();
        spawned
    });
    (spawned, is_told)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[track_caller]
fn status(told: &Receiver<Exit>) -> ExitStatus {
    let (status, is_left) = told.recv_timeout(DEADLINE).expect("the child ends");
    assert!(!is_left, "the child is a zombie");
    status.unwrap()
}

#[test]
fn how_it_ended_is_told() {
    let server = quiet_loop();
    let (spawned, told) = spawn(&server, ChildOptions::default(), shell("exit 7"));
    assert_eq!(status(&told).code(), Some(7));
    server.eventually("its source is closed", |metrics| metrics.sources == 0);
    assert!(server.on_loop(move |cx| cx.child(spawned.id).is_none()));
    let (_, told) = spawn(&server, ChildOptions::default(), shell("kill -USR1 $$"));
    assert_eq!(status(&told).signal(), Some(libc_signal("USR1")));
    assert_eq!(server.metrics().sources_failed, 0);
}

fn libc_signal(name: &str) -> i32 {
    match name {
        "USR1" => rustix::process::Signal::USR1.as_raw(),
        "TERM" => rustix::process::Signal::TERM.as_raw(),
        _ => rustix::process::Signal::KILL.as_raw(),
    }
}

fn signal(server: &TestLoop, id: SourceId, number: i32) {
    server.on_loop(move |cx| cx.child(id).unwrap().signal(number).unwrap());
}

#[test]
fn it_can_be_signalled_and_killed() {
    let server = quiet_loop();
    let (spawned, told) = spawn(&server, ChildOptions::default(), shell("exec sleep 1000"));
    let (id, pid) = (spawned.id, spawned.pid);
    assert_eq!(server.on_loop(move |cx| cx.child(id).unwrap().pid()), pid);
    assert!(server.on_loop(move |cx| cx.child(id).unwrap().signal(999).is_err()));
    signal(&server, id, libc_signal("TERM"));
    assert_eq!(status(&told).signal(), Some(libc_signal("TERM")));
    let (spawned, told) = spawn(&server, ChildOptions::default(), shell("exec sleep 1000"));
    server.on_loop(move |cx| cx.child(spawned.id).unwrap().kill().unwrap());
    assert_eq!(status(&told).signal(), Some(libc_signal("KILL")));
}

#[test]
fn signals_that_the_loop_has_blocked_are_not_blocked_for_it() {
    let server = TestLoop::start(Limits::default(), |event_loop: &mut EventLoop| {
        event_loop.on_signals(&[libc_signal("TERM")], |_, _| panic!("it is not sent to us")).unwrap();
    });
    let (spawned, told) = spawn(&server, ChildOptions::default(), shell("exec sleep 1000"));
    signal(&server, spawned.id, libc_signal("TERM"));
    assert_eq!(status(&told).signal(), Some(libc_signal("TERM")));
}

#[test]
fn its_input_and_output_are_streams() {
    let server = quiet_loop();
    let mut command = shell("cat; echo all read >&2");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut spawned, told) = spawn(&server, ChildOptions::default(), command);
    let (stdin, stdout, stderr) =
        (spawned.stdin.take().unwrap(), spawned.stdout.take().unwrap(), spawned.stderr.take().unwrap());
    let bytes = pattern(0, 1 << 20);
    let expected = bytes.clone();
    let ((output, all), (errors, complaints)) = (mpsc::channel(), mpsc::channel());
    server.on_loop(move |cx| {
        cx.add_reader(stdout, Collects(Vec::new(), output)).unwrap();
        cx.add_reader(stderr, Collects(Vec::new(), errors)).unwrap();
        let id = cx.add_writer(stdin, ()).unwrap();
        let mut writer = cx.writer(id).unwrap();
        writer.send(bytes).unwrap();
        writer.finish();
    });
    assert!(all.recv_timeout(DEADLINE).unwrap() == expected);
    assert_eq!(complaints.recv_timeout(DEADLINE).unwrap(), b"all read\n");
    assert!(status(&told).success());
}

#[test]
fn it_gets_no_descriptor_of_ours() {
    let lists = || {
        let mut command = Command::new("ls");
        command.arg("/proc/self/fd").stdin(Stdio::null()).stdout(Stdio::piped());
        command
    };
    // Whoever started this program may have left it descriptors that it passes on.
    let inherited = lists().output().unwrap().stdout;
    let server = quiet_loop();
    // Beside the sockets of the loop, a pipe and another child.
    let (reader, _writer) = pipe().unwrap();
    server.on_loop(move |cx| cx.add_reader(reader, Collects(Vec::new(), mpsc::channel().0)).map(drop).unwrap());
    let (sleeper, _told) = spawn(&server, ChildOptions::default(), shell("exec sleep 1000"));
    let (mut spawned, told) = spawn(&server, ChildOptions::default(), lists());
    let mut list = Vec::new();
    file(spawned.stdout.take()).read_to_end(&mut list).unwrap();
    assert_eq!(String::from_utf8(list), String::from_utf8(inherited));
    assert!(status(&told).success());
    server.on_loop(move |cx| cx.child(sleeper.id).unwrap().kill().unwrap());
}

#[test]
fn many_at_once_are_each_told_once() {
    let server = quiet_loop();
    let all: Vec<_> =
        (0..40).map(|code| spawn(&server, ChildOptions::default(), shell(&format!("exit {code}"))).1).collect();
    for (code, told) in all.iter().enumerate() {
        assert_eq!(status(told).code(), Some(code as i32));
        assert!(told.recv_timeout(DEADLINE).is_err(), "once only");
    }
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let server = quiet_loop();
    let kind = server.on_loop(|cx| {
        let options = ChildOptions::default();
        cx.spawn(&mut Command::new("/no/such/program"), &options, |_, _| panic!("there is none")).unwrap_err().kind()
    });
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(server.metrics().sources, 0);
}

#[test]
fn the_end_of_the_loop_kills_it_and_leaves_no_zombie() {
    let server = quiet_loop();
    let (spawned, told) = spawn(&server, ChildOptions::default(), shell("exec sleep 1000"));
    let (other, _told) = spawn(&server, ChildOptions::default(), shell("exec sleep 1000"));
    assert!(server.on_loop(move |cx| cx.close_source(other.id)));
    eventually("it is gone", || !process(other.pid).exists());
    assert!(process(spawned.pid).exists());
    server.shut_down(Duration::from_secs(3600));
    eventually("it is gone", || !process(spawned.pid).exists());
    assert!(told.recv_timeout(DEADLINE).is_err(), "nobody is there to be told");
}

#[test]
fn one_that_is_left_lives_on_and_becomes_no_zombie() {
    let server = quiet_loop();
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut spawned, _told) = spawn(&server, ChildOptions::default().at_end(AtEnd::Leave), command);
    drop(server);
    let (mut stdin, mut stdout) = (file(spawned.stdin.take()), file(spawned.stdout.take()));
    stdin.write_all(b"still here").unwrap();
    let mut answer = [0; 10];
    stdout.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
    assert!(process(spawned.pid).exists());
    drop(stdin);
    eventually("it is gone", || !process(spawned.pid).exists());
}

#[test]
fn a_drain_waits_for_it_if_asked_to() {
    let server = quiet_loop();
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let (mut spawned, told) = spawn(&server, ChildOptions::default().hold_drain(true), command);
    server.handle.shutdown(Duration::from_secs(3600)).unwrap();
    assert!(told.try_recv().is_err());
    drop(spawned.stdin.take());
    assert!(status(&told).success());
    server.wait();
}

#[test]
fn a_loop_that_drains_starts_none() {
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.context().stop();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let mut command = Command::new("true");
    let error = event_loop.context().spawn(&mut command, &ChildOptions::default(), |_, _| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_panic_of_on_exit_is_counted() {
    let server = quiet_loop();
    server.on_loop(|cx| {
        cx.spawn(&mut Command::new("true"), &ChildOptions::default(), |_, _| panic!("on purpose")).map(drop).unwrap();
    });
    server.eventually("it is counted", |metrics| metrics.panics == 1 && metrics.sources == 0);
}
