//! Pipes on both kernels.

use std::net::SocketAddr;

use super::{CLIENT, SERVER, Stage, same_at};
use crate::sys::fd::Fd;
use crate::sys::{bytes, epoll, option, pipe};

const READER: u64 = SERVER;
const WRITER: u64 = CLIENT;

/// Runs a script on both kernels.
fn same(name: &str, script: fn(&mut Stage)) {
    same_at(name, |_| SocketAddr::from(([127, 0, 0, 1], 0)).into(), script);
}

/// A pipe of two pages, both ends of which are watched.
fn watched_pipe(stage: &mut Stage) -> (Fd, Fd) {
    let (reader, writer) = pipe::create().unwrap();
    let capacity = pipe::set_capacity(writer.as_fd(), 2 * 4096);
    stage.saw_result("capacity", capacity);
    stage.watch(&reader, READER);
    stage.watch(&writer, WRITER);
    stage.events("at first");
    (reader, writer)
}

fn read(stage: &mut Stage, what: &str, fd: &Fd, most: usize) {
    let result = bytes::read(fd.as_fd(), &mut vec![0; most]);
    stage.saw_result(what, result);
}

fn write(stage: &mut Stage, what: &str, fd: &Fd, count: usize) {
    let result = bytes::write(fd.as_fd(), &vec![7; count]);
    stage.saw_result(what, result);
}

#[test]
fn each_write_makes_an_edge() {
    same("edges of writes", |stage| {
        let (reader, writer) = watched_pipe(stage);
        read(stage, "nothing", &reader, 10);
        write(stage, "none", &writer, 0);
        stage.events("none");
        write(stage, "some", &writer, 3);
        stage.events("some");
        stage.events("no more edges though they are there");
        write(stage, "more", &writer, 3);
        stage.events("more");
        stage.saw_result("unread", option::unread(reader.as_fd()));
        read(stage, "some of them", &reader, 4);
        stage.events("reading makes none");
        read(stage, "the rest", &reader, 10);
        read(stage, "nothing", &reader, 10);
        stage.events("nor does emptying");
    });
}

#[test]
fn a_full_pipe_makes_an_edge_when_a_page_is_free() {
    same("full", |stage| {
        let (reader, writer) = watched_pipe(stage);
        write(stage, "more than there is room for", &writer, 10_000);
        stage.events("full");
        write(stage, "when full", &writer, 1);
        read(stage, "a part of a page", &reader, 4000);
        stage.events("no page is free");
        write(stage, "still full", &writer, 1);
        read(stage, "the rest of the page", &reader, 96);
        stage.events("a page is free");
        read(stage, "another page", &reader, 4096);
        stage.events("it was not full");
        write(stage, "again", &writer, 5000);
        stage.events("written");
        write(stage, "into the last page", &writer, 1000);
        stage.events("merged");
        write(stage, "what does not fit there", &writer, 4000);
    });
}

#[test]
fn small_writes_share_pages() {
    same("pages", |stage| {
        let (reader, writer) = watched_pipe(stage);
        write(stage, "most of a page", &writer, 4000);
        write(stage, "what does not fit behind it", &writer, 200);
        write(stage, "full, but for small ones", &writer, 4096);
        write(stage, "a small one", &writer, 3000);
        write(stage, "a small one", &writer, 3000);
        read(stage, "in one", &reader, 20_000);
        stage.events("room");
        write(stage, "odd bytes first", &writer, 4100);
        write(stage, "odd bytes behind them", &writer, 4100);
        read(stage, "all", &reader, 20_000);
    });
}

#[test]
fn the_end_comes_after_the_bytes() {
    same("end", |stage| {
        let (reader, writer) = watched_pipe(stage);
        write(stage, "last words", &writer, 5);
        stage.events("some");
        drop(writer);
        stage.events("closed");
        read(stage, "last words", &reader, 10);
        stage.events("no more edges");
        read(stage, "end", &reader, 10);
        read(stage, "end again", &reader, 10);
    });
}

#[test]
fn a_pipe_that_nobody_reads_is_broken() {
    same("broken", |stage| {
        let (reader, writer) = watched_pipe(stage);
        write(stage, "into the void", &writer, 5);
        stage.events("some");
        drop(reader);
        stage.events("closed");
        write(stage, "nobody reads", &writer, 5);
        stage.events("no more edges");
        write(stage, "nothing", &writer, 0);
    });
}

#[test]
fn a_full_pipe_breaks_too() {
    same("broken and full", |stage| {
        let (reader, writer) = watched_pipe(stage);
        write(stage, "full", &writer, 10_000);
        stage.events("full");
        drop(reader);
        stage.events("closed");
        write(stage, "nobody reads", &writer, 5);
    });
}

#[test]
fn each_end_has_one_direction() {
    same("directions", |stage| {
        let (reader, writer) = watched_pipe(stage);
        write(stage, "to where it is read", &reader, 5);
        read(stage, "from where it is written", &writer, 5);
        let smaller = pipe::set_capacity(writer.as_fd(), 4096);
        stage.saw_result("smaller", smaller);
        write(stage, "a page", &writer, 5000);
        let larger = pipe::set_capacity(writer.as_fd(), 20_000);
        stage.saw_result("larger", larger);
        write(stage, "more", &writer, 50_000);
        stage.events("full");
        let too_small = pipe::set_capacity(writer.as_fd(), 4096);
        stage.saw_result("too small for what is in it", too_small);
    });
}

#[test]
fn another_descriptor_keeps_the_end_open() {
    same("duplicates", |stage| {
        let (reader, writer) = watched_pipe(stage);
        let other = writer.as_fd().duplicate().unwrap();
        stage.watch(&other, 3);
        stage.events("watched by both");
        drop(writer);
        stage.events("one of two is closed");
        write(stage, "by the other", &other, 5);
        stage.events("some");
        drop(other);
        stage.events("both are closed");
        let result = epoll::delete(stage.epoll.as_fd(), reader.as_fd());
        stage.saw_result("deleted", result);
        read(stage, "what was written", &reader, 10);
        read(stage, "end", &reader, 10);
    });
}
