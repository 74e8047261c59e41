//! What a client of the struct protocol sends is stored byte by byte, under its name, and only then confirmed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod upload_support;

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use upload_support::{Server, assert_same, connect, eventually, expect_end, expect_ok, header, pattern, send_struct};

#[test]
fn files_of_every_size_arrive_whole() {
    let server = Server::start(&[]);
    for size in [0, 1, 4095, 4096, 4097, 65_536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 3] {
        let content = pattern(size as u64, size);
        let name = format!("file of {size}");
        send_struct(server.struct_address(), &name, &content);
        // It was confirmed, so it is there.
        assert_same(&fs::read(server.path(&name)).unwrap(), &content);
    }
    assert_eq!(server.names().len(), 10);
}

#[test]
fn the_header_may_come_byte_by_byte() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    for byte in header(b"slow", 5) {
        stream.write_all(&[byte]).unwrap();
    }
    expect_ok(&mut stream);
    for byte in b"hello" {
        stream.write_all(&[*byte]).unwrap();
    }
    expect_ok(&mut stream);
    assert_eq!(fs::read(server.path("slow")).unwrap(), b"hello");
}

#[test]
fn header_and_content_may_come_in_one_segment() {
    let server = Server::start(&[]);
    for size in [0, 5, 3 << 20] {
        let content = pattern(1, size);
        let mut stream = server.connect();
        stream.write_all(&[header(b"eager", i32::try_from(size).unwrap()), content.clone()].concat()).unwrap();
        // It may say no more, and still listens.
        stream.shutdown(Shutdown::Write).unwrap();
        expect_ok(&mut stream);
        expect_ok(&mut stream);
        expect_end(&mut stream);
        assert_same(&fs::read(server.path("eager")).unwrap(), &content);
    }
}

#[test]
fn names_are_in_utf8() {
    let server = Server::start(&[]);
    let longest = "ä".repeat(127);
    for name in ["größe.txt", "日本語", "a b\tc", "a..", "a\\b", "🦀", "-rf", &longest, &"x".repeat(255)] {
        send_struct(server.struct_address(), name, name.as_bytes());
        assert_eq!(fs::read(server.path(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn what_follows_the_name_in_its_field_is_ignored() {
    let server = Server::start(&[]);
    let mut header = header(b"name\0garbage/..", 0);
    header[200..256].fill(0xff);
    let mut stream = server.connect();
    stream.write_all(&header).unwrap();
    expect_ok(&mut stream);
    expect_ok(&mut stream);
    assert_eq!(server.names(), ["name"]);
}

#[test]
fn what_is_wrong_is_closed_without_ok_and_told() {
    let mut server = Server::start(&["--max-upload-size", "1000"]);
    fs::create_dir(server.path("directory")).unwrap();
    let mut endless = header(b"", 0);
    endless[..256].fill(b'x');
    let cases: [(Vec<u8>, &str); 13] = [
        (header(b"", 1), "\"\" is not the name of a file"),
        (header(b".", 1), "\".\" is not the name of a file"),
        (header(b"..", 1), "\"..\" is not the name of a file"),
        (header(b"/etc/passwd", 1), "is not the name of a file"),
        (header(b"../escape", 1), "is not the name of a file"),
        (header(b"directory/a", 1), "is not the name of a file"),
        (header(b"\xff\xfe", 1), "is not UTF-8"),
        (endless, "the name has no end"),
        (header(b".profile", 1), "\".profile\" is hidden"),
        (header(b"negative", -1), "\"negative\" has a size of -1"),
        (header(b"negative", i32::MIN), "has a size of -2147483648"),
        (header(b"large", 1001), "\"large\" has 1001 bytes, and 1000 are allowed"),
        (header(b"directory", 1), "directory"),
    ];
    for (header, why) in &cases {
        let mut stream = server.connect();
        stream.write_all(header).unwrap();
        expect_end(&mut stream);
        server.wait_for_words(&["refused", why]);
    }
    assert_eq!(server.names(), ["directory"]);
}

#[test]
fn a_small_file_is_not_held_up_by_delayed_acknowledgements() {
    let server = Server::start(&[]);
    let content = pattern(1, 10_000);
    // Without a quick acknowledgement each takes 40 ms, however fast the machine is; with it one of them takes a few.
    eventually("one is quick", || {
        let began = Instant::now();
        let mut stream = server.connect();
        // The clients that there are write so, with Nagle's algorithm on.
        stream.set_nodelay(false).unwrap();
        stream.write_all(&header(b"a", 10_000)).unwrap();
        expect_ok(&mut stream);
        content.chunks(4096).for_each(|piece| stream.write_all(piece).unwrap());
        expect_ok(&mut stream);
        began.elapsed() < Duration::from_millis(35)
    });
    assert_same(&fs::read(server.path("a")).unwrap(), &content);
}

#[test]
fn hidden_names_are_for_those_who_allow_them() {
    let mut server = Server::start(&["--hidden"]);
    send_struct(server.struct_address(), ".profile", b"x");
    assert_eq!(server.names(), [".profile"]);
    // Those of files that are not whole yet are the server's own.
    let mut stream = server.connect();
    stream.write_all(&header(b".file-server-1-1-1.part", 1)).unwrap();
    expect_end(&mut stream);
    server.wait_for_words(&["refused", ".part\" is hidden"]);
}

#[test]
fn a_client_that_leaves_early_leaves_nothing() {
    let mut server = Server::start(&[]);
    for length in [0, 1000, 3 << 20] {
        let mut stream = server.connect();
        stream.write_all(&header(b"half", 1 << 22)).unwrap();
        expect_ok(&mut stream);
        stream.write_all(&pattern(1, length)).unwrap();
        drop(stream);
        server.wait_for_words(&["\"half\"", &format!("after {length} of 4194304 bytes")]);
    }
    let mut stream = server.connect();
    stream.write_all(&header(b"half", 10)[..100]).unwrap();
    drop(stream);
    server.wait_for_words(&["after 100 of 260 bytes of the header"]);
    assert!(server.names().is_empty());
}

#[test]
fn the_old_file_stays_until_the_new_one_is_whole() {
    let server = Server::start(&[]);
    fs::write(server.path("a"), "old").unwrap();
    let mut stream = server.connect();
    stream.write_all(&header(b"a", 3)).unwrap();
    expect_ok(&mut stream);
    stream.write_all(b"ne").unwrap();
    assert_eq!(fs::read(server.path("a")).unwrap(), b"old");
    stream.write_all(b"w").unwrap();
    expect_ok(&mut stream);
    assert_eq!(fs::read(server.path("a")).unwrap(), b"new");
    assert_eq!(server.names(), ["a"]);
}

#[test]
fn of_uploads_to_one_name_the_last_whole_one_wins() {
    let server = Server::start(&["--threads", "2"]);
    let contents = [pattern(1, 3 << 20), pattern(2, (2 << 20) + 7)];
    let mut streams = [server.connect(), server.connect()];
    for (stream, content) in streams.iter_mut().zip(&contents) {
        stream.write_all(&header(b"one", i32::try_from(content.len()).unwrap())).unwrap();
        expect_ok(stream);
        stream.write_all(&content[1..]).unwrap();
    }
    for (stream, content) in streams.iter_mut().zip(&contents) {
        // They come in turn: the content of each ends with a byte of its own.
        stream.write_all(&content[..1]).unwrap();
        expect_ok(stream);
        let rotated = [&content[1..], &content[..1]].concat();
        assert_same(&fs::read(server.path("one")).unwrap(), &rotated);
    }
    assert_eq!(server.names(), ["one"]);
}

#[test]
fn of_many_uploads_to_one_name_each_is_whole() {
    let server = Server::start(&["--threads", "2"]);
    let address = server.struct_address();
    let contents: Vec<_> = (1..=8_usize).map(|seed| pattern(seed as u64, seed * 100_000)).collect();
    thread::scope(|scope| {
        for content in &contents {
            scope.spawn(move || (0..5).for_each(|_| send_struct(address, "one", content)));
        }
    });
    let stored = fs::read(server.path("one")).unwrap();
    assert!(contents.contains(&stored), "it is a mixture of {} bytes", stored.len());
    assert_eq!(server.names(), ["one"]);
}

#[test]
fn a_symlink_is_replaced_and_not_followed() {
    let server = Server::start(&[]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "kept").unwrap();
    symlink(outside.path().join("secret"), server.path("link")).unwrap();
    send_struct(server.struct_address(), "link", b"new");
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"kept");
    assert!(!server.path("link").is_symlink());
}

#[test]
fn what_comes_behind_the_content_is_ignored() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.write_all(&[header(b"a", 3), b"abcdef".to_vec(), header(b"b", 0)].concat()).unwrap();
    expect_ok(&mut stream);
    expect_ok(&mut stream);
    expect_end(&mut stream);
    assert_eq!(fs::read(server.path("a")).unwrap(), b"abc");
    assert_eq!(server.names(), ["a"]);
}

#[test]
fn who_is_silent_is_given_up() {
    let mut server = Server::start(&["--header-timeout", "100ms", "--body-timeout", "100ms"]);
    let mut stream = server.connect();
    stream.write_all(&header(b"a", 3)[..259]).unwrap();
    expect_end(&mut stream);
    server.wait_for_words(&["the header did not come in time"]);
    let mut stream = server.connect();
    stream.write_all(&header(b"a", 3)).unwrap();
    expect_ok(&mut stream);
    stream.write_all(b"ab").unwrap();
    expect_end(&mut stream);
    server.wait_for_words(&["\"a\"", "given up after 2 of 3 bytes", "nothing came for 100ms"]);
    assert!(server.names().is_empty());
}

#[test]
fn an_upload_outlasts_the_signal_to_end() {
    let mut server = Server::start(&["--shutdown-timeout", "1h"]);
    let content = pattern(1, 3 << 20);
    let mut stream = server.connect();
    stream.write_all(&header(b"a", 3 << 20)).unwrap();
    expect_ok(&mut stream);
    stream.write_all(&content[..100]).unwrap();
    server.signal(Signal::TERM);
    server.wait_for_words(&["draining"]);
    stream.write_all(&content[100..]).unwrap();
    expect_ok(&mut stream);
    drop(stream);
    assert_eq!(server.wait().code(), Some(0));
    assert_same(&fs::read(server.path("a")).unwrap(), &content);
}

#[test]
fn the_drains_deadline_cuts_an_upload_and_leaves_nothing() {
    let mut server = Server::start(&["--shutdown-timeout", "100ms"]);
    let mut stream = server.connect();
    stream.write_all(&header(b"a", 10)).unwrap();
    expect_ok(&mut stream);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    expect_end(&mut stream);
    assert!(server.names().is_empty());
}

#[test]
fn many_at_once_share_little_memory_and_few_threads() {
    let server = Server::start(&["--upload-memory", "1KiB", "--workers", "1", "--threads", "1"]);
    let address = server.struct_address();
    thread::scope(|scope| {
        for seed in 0..40 {
            scope.spawn(move || {
                let content = pattern(seed, 300_000);
                let mut stream = connect(address);
                stream.write_all(&header(format!("{seed}").as_bytes(), 300_000)).unwrap();
                expect_ok(&mut stream);
                stream.write_all(&content).unwrap();
                expect_ok(&mut stream);
            });
        }
    });
    for seed in 0..40 {
        assert_same(&fs::read(server.path(&format!("{seed}"))).unwrap(), &pattern(seed, 300_000));
    }
}

#[test]
fn every_policy_of_fsync_stores() {
    for policy in ["never", "file", "always"] {
        let server = Server::start(&["--fsync", policy, "--preallocate"]);
        for content in [&b"one"[..], b"two"] {
            send_struct(server.struct_address(), "a", content);
            assert_eq!(fs::read(server.path("a")).unwrap(), content);
        }
    }
}
