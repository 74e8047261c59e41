//! Moving bytes between sockets and pipes on both kernels.

use super::{CLIENT, Pair, SERVER, Stage, same};
use crate::sys::fd::Fd;
use crate::sys::{pipe, socket};

const WRITER: u64 = 4;

/// A pipe, the end of which that is written is watched.
fn watched_pipe(stage: &mut Stage) -> (Fd, Fd) {
    let (reader, writer) = pipe::create().unwrap();
    stage.watch(&writer, WRITER);
    (reader, writer)
}

fn fill(stage: &mut Stage, what: &str, from: &Fd, to: &Fd, count: usize) {
    let result = pipe::from_socket(from.as_fd(), to.as_fd(), count);
    stage.saw_result(what, result);
}

fn drain(stage: &mut Stage, what: &str, from: &Fd, to: &Fd, count: usize) {
    let result = pipe::to_socket(from.as_fd(), to.as_fd(), count, false);
    stage.saw_result(what, result);
}

#[test]
fn bytes_pass_from_socket_to_socket() {
    same("splice", |stage| {
        let Pair { client, server, .. } = stage.pair();
        let (reader, writer) = watched_pipe(stage);
        stage.watch(&server, SERVER);
        stage.events("at first");
        fill(stage, "nothing has come", &server, &writer, 100);
        drain(stage, "nothing to pass on", &reader, &server, 100);
        stage.send("some", &client, b"abcdef");
        stage.events("some");
        fill(stage, "some of it", &server, &writer, 4);
        drain(stage, "less of it", &reader, &server, 3);
        drain(stage, "the rest", &reader, &server, 100);
        fill(stage, "the rest", &server, &writer, 100);
        stage.watch(&client, CLIENT);
        stage.events("what came back");
        stage.recv("what came back", &client);
    });
}

#[test]
fn an_end_of_stream_is_no_bytes() {
    same("splice the end", |stage| {
        let Pair { client, server, .. } = stage.pair();
        let (reader, writer) = watched_pipe(stage);
        stage.send("last words", &client, b"abc");
        drop(client);
        stage.watch(&server, SERVER);
        stage.events("closed");
        fill(stage, "last words", &server, &writer, 100);
        fill(stage, "end", &server, &writer, 100);
        drop(writer);
        stage.saw_result("shutdown", socket::shutdown_write(server.as_fd()));
        drain(stage, "after our own end", &reader, &server, 100);
    });
}

#[test]
fn a_reset_is_told_once() {
    same("splice a reset", |stage| {
        let Pair { client, server, .. } = stage.pair();
        let (reader, writer) = watched_pipe(stage);
        stage.watch(&client, CLIENT);
        stage.send("unread", &client, b"abc");
        stage.events("before");
        drop(server);
        stage.events("reset");
        fill(stage, "the reset", &client, &writer, 100);
        fill(stage, "then", &client, &writer, 100);
        drain(stage, "an empty pipe", &reader, &client, 100);
    });
}
