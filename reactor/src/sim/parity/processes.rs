//! Child processes on both kernels.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{CLIENT, SERVER, Stage, same_at};
use crate::sim::process::SimChild;
use crate::sim::spawning;
use crate::sys::fd::Fd;
use crate::sys::process::{self, Started};
use crate::sys::{bytes, epoll};

/// Runs a script on both kernels.
fn same(name: &str, script: fn(&mut Stage)) {
    same_at(name, |_| SocketAddr::from(([127, 0, 0, 1], 0)).into(), script);
}

/// Starts a shell, or in the simulation what does the same.
fn start(stage: &mut Stage, shell: &str, script: SimChild) -> Started {
    spawning::set_program(script);
    let mut command = Command::new("sh");
    command.args(["-c", shell]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = process::spawn(&mut command).unwrap();
    let result = epoll::add(
        stage.epoll.as_fd(),
        started.process.as_fd(),
        (libc::EPOLLIN | libc::EPOLLET).cast_unsigned(),
        SERVER,
    );
    stage.saw_result("watch", result);
    started
}

/// Waits until something is told of the child, for it may take its time, and then for its end.
fn ended(stage: &mut Stage, started: &Started) {
    let waits = epoll::create().unwrap();
    epoll::add(waits.as_fd(), started.process.as_fd(), libc::EPOLLIN.cast_unsigned(), 0).unwrap();
    let count = epoll::wait(waits.as_fd(), &mut epoll::EventBuffer::new(1), 5000);
    stage.saw_result("ended", count);
    stage.events("the end");
    let result = process::wait(started.process.as_fd());
    stage.saw_result("status", result);
    let result = process::wait(started.process.as_fd());
    stage.saw_result("nothing is left", result);
    let result = process::send_signal(started.process.as_fd(), libc::SIGTERM);
    stage.saw_result("nobody is left", result);
}

fn read_all(stage: &mut Stage, what: &str, fd: &Fd) {
    // The stage's own instance is to tell of the child alone.
    let waits = epoll::create().unwrap();
    epoll::add(waits.as_fd(), fd.as_fd(), libc::EPOLLIN.cast_unsigned(), 0).unwrap();
    let (mut all, mut into) = (Vec::new(), [0; 100]);
    loop {
        match bytes::read(fd.as_fd(), &mut into) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&into[..count]),
            Err(_) => drop(epoll::wait(waits.as_fd(), &mut epoll::EventBuffer::new(1), 5000)),
        }
    }
    stage.saw(what, String::from_utf8(all).unwrap());
}

#[test]
fn its_end_is_told_and_its_status_had_once() {
    same("exit", |stage| {
        let started = start(stage, "exit 3", SimChild::exits(3));
        ended(stage, &started);
    });
}

#[test]
fn a_signal_ends_it() {
    same("signal", |stage| {
        let started = start(stage, "exec sleep 1000", SimChild::exits(0).after(Duration::from_secs(1000)));
        let lives = process::wait(started.process.as_fd());
        stage.saw_result("lives", lives);
        stage.events("lives");
        for number in [0, libc::SIGURG, 9999, -1, libc::SIGTERM] {
            let sent = process::send_signal(started.process.as_fd(), number);
            stage.saw_result("sent", sent);
        }
        ended(stage, &started);
    });
}

#[test]
fn it_speaks_and_hears_through_pipes() {
    same("streams", |stage| {
        let script = SimChild::exits(0).reading().output("to be read").errors("oh");
        let mut started = start(stage, "printf oh >&2; printf 'to be read'; cat >/dev/null", script);
        let stdin = started.stdin.take().unwrap();
        let written = bytes::write(stdin.as_fd(), b"hello");
        stage.saw_result("written", written);
        drop(stdin);
        read_all(stage, "said", started.stdout.as_ref().unwrap());
        ended(stage, &started);
    });
}

#[test]
fn writing_to_nobody_kills_it() {
    same("broken pipe", |stage| {
        let script = SimChild::exits(0).output(vec![b'x'; 200_000]);
        let mut started = start(stage, "exec head -c 200000 /dev/zero", script);
        let stdout = started.stdout.take().unwrap();
        stage.watch(&stdout, CLIENT);
        drop(stdout);
        ended(stage, &started);
    });
}
