//! Whatever happens to the server or its disk, a name never stands for a part of a file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod upload_support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use upload_support::{Server, eventually, expect_end, expect_ok, header, names, pattern, send_struct};

/// An upload that has sent a part of its content.
fn begin(server: &Server, name: &str, size: i32, part: usize) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(&header(name.as_bytes(), size)).unwrap();
    expect_ok(&mut stream);
    stream.write_all(&pattern(1, part)).unwrap();
    stream
}

#[test]
fn a_killed_server_leaves_no_part_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("old"), "old").unwrap();
    let mut server = Server::start_in(directory.path(), &[]);
    let _streams = ["old", "new", "other"].map(|name| begin(&server, name, 8 << 20, 5 << 20));
    server.kill();
    let visible = |name: &String| !name.starts_with(".file-server-");
    assert_eq!(names(directory.path()).into_iter().filter(visible).collect::<Vec<_>>(), ["old"]);
    assert_eq!(fs::read(directory.path().join("old")).unwrap(), b"old");
    // What it had given a hidden name is gone when the next one is ready.
    fs::write(directory.path().join(".file-server-1-2-3.part"), "left").unwrap();
    let server = Server::start_in(directory.path(), &[]);
    assert_eq!(names(directory.path()), ["old"]);
    send_struct(server.struct_address(), "new", b"new");
    assert_eq!(names(directory.path()), ["new", "old"]);
}

#[test]
fn a_server_that_is_killed_at_any_moment_leaves_whole_files() {
    let directory = tempfile::tempdir().unwrap();
    let contents: [Vec<u8>; 2] = [pattern(1, 200_000), pattern(2, 300_000)];
    for round in 0..10 {
        let mut server = Server::start_in(directory.path(), &[]);
        let address = server.struct_address();
        let first = begin(&server, "a", 100, 1);
        let clients = contents.clone().map(|content| {
            thread::spawn(move || {
                // It goes on until the server is dead.
                loop {
                    let Ok(mut stream) = TcpStream::connect(address) else { return };
                    let size = i32::try_from(content.len()).unwrap();
                    let sent = stream.write_all(&[header(b"a", size), content.clone()].concat());
                    let mut answer = [0; 4];
                    if sent.and_then(|()| stream.read_exact(&mut answer)).is_err() {
                        return;
                    }
                }
            })
        });
        eventually("a file is there", || directory.path().join("a").exists());
        // Some more, for it to be in the middle of something.
        (0..round).for_each(|_| thread::yield_now());
        server.kill();
        clients.into_iter().for_each(|client| client.join().unwrap());
        drop(first);
        let stored = fs::read(directory.path().join("a")).unwrap();
        assert!(contents.contains(&stored), "a part of {} bytes is there", stored.len());
        fs::remove_file(directory.path().join("a")).unwrap();
    }
}

#[test]
fn what_has_no_room_is_refused_before_it_is_sent() {
    let Some(mut server) = Server::start_on_disk_of(1 << 20, &[]) else { return };
    let mut stream = server.connect();
    stream.write_all(&header(b"large", 2 << 20)).unwrap();
    expect_end(&mut stream);
    server.wait_for_words(&["\"large\"", "refused", "No space left"]);
    send_struct(server.struct_address(), "small", b"small");
    assert_eq!(server.names(), ["small"]);
}

#[test]
fn a_disk_that_fills_up_meanwhile_leaves_what_was_there() {
    let Some(mut server) = Server::start_on_disk_of(4 << 20, &[]) else { return };
    send_struct(server.struct_address(), "a", b"old");
    // Each alone has room.
    let mut streams = ["a", "b"].map(|name| begin(&server, name, 3 << 20, 0));
    for stream in &mut streams {
        // The one that finds no room may be closed while it is still being sent.
        let _ = stream.write_all(&pattern(1, 3 << 20));
    }
    server.wait_for_words(&["cannot be stored", "No space left"]);
    let stored = server.names();
    assert!(stored == ["a"] || stored == ["a", "b"], "{stored:?}");
    drop(streams);
    stored.iter().for_each(|name| fs::remove_file(server.path(name)).unwrap());
    // What was given up has given its room back.
    let mut stream = None;
    eventually("there is room again", || {
        stream = try_begin(&server, "a", 3 << 20);
        stream.is_some()
    });
    let mut stream = stream.unwrap();
    stream.write_all(&pattern(3, 3 << 20)).unwrap();
    expect_ok(&mut stream);
    assert_eq!(fs::read(server.path("a")).unwrap(), pattern(3, 3 << 20));
}

/// An upload of which nothing is sent yet, if it is not refused.
fn try_begin(server: &Server, name: &str, size: i32) -> Option<TcpStream> {
    let mut stream = server.connect();
    stream.write_all(&header(name.as_bytes(), size)).unwrap();
    stream.read_exact(&mut [0; 2]).is_ok().then_some(stream)
}

#[test]
fn a_directory_that_may_not_be_written_to_refuses() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: to root every directory is open");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let mut server = Server::start_in(directory.path(), &[]);
    let mut stream = server.connect();
    stream.write_all(&header(b"a", 1)).unwrap();
    expect_end(&mut stream);
    server.wait_for_words(&["\"a\"", "refused", "ermission denied"]);
}
