//! Each form of a file has a tag, fields and parts of its own, and all answers about it tell the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use common::{Answer, Server, eventually, pattern, read_answer, read_some};

fn ask(server: &Server, method: &str, target: &str, fields: &str) -> Answer {
    server.ask(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

/// Sets when a file was modified, counted from the present.
fn set_modified(server: &Server, name: &str, time: SystemTime) {
    File::options().write(true).open(server.path(name)).unwrap().set_modified(time).unwrap();
}

/// The names of the fields of an answer, in order.
fn names(answer: &Answer) -> Vec<String> {
    let lines = answer.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut names: Vec<String> = lines.map(|(name, _)| name.to_lowercase()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_head_is_the_head_of_the_whole_answer() {
    let server = Server::start(&["--cache-control", "max-age=5", "--cors=*"]);
    server.write("a.txt", "hello");
    server.write("z.js", "plain");
    server.write("z.js.gz", "zipped");
    server.write("medium", pattern(60_000));
    server.write("large", pattern(300_000));
    server.write("site/index.html", "index");
    server.write("d/x", "");
    for target in ["/a.txt", "/z.js", "/medium", "/large", "/site", "/site/", "/d/", "/d/?format=json", "/none", "/%zz"]
    {
        for fields in
            ["", "Accept-Encoding: gzip\r\n", "If-None-Match: *\r\n", "If-Match: \"x\"\r\n", "Connection: close\r\n"]
        {
            let get = ask(&server, "GET", target, fields).undated();
            let head = ask(&server, "HEAD", target, fields).undated();
            assert_eq!(head.head, get.head, "{target} {fields}");
        }
    }
}

#[test]
fn what_is_not_modified_is_told_by_the_fields_that_caches_need() {
    let server = Server::start(&["--cache-control", "max-age=5"]);
    server.write("z.js", "plain");
    server.write("z.js.gz", "zipped");
    let fields = "Accept-Encoding: gzip\r\n";
    let whole = ask(&server, "GET", "/z.js", fields);
    let unmodified = ask(&server, "GET", "/z.js", &format!("{fields}If-None-Match: *\r\n"));
    assert_eq!(unmodified.status, 304);
    assert_eq!(names(&unmodified), ["cache-control", "date", "etag", "last-modified", "vary"]);
    for name in ["ETag", "Vary", "Cache-Control", "Last-Modified"] {
        assert_eq!(unmodified.field(name), whole.field(name), "{name}");
    }
    assert_eq!(server.get("/none").field("Cache-Control"), None);
}

#[test]
fn whatever_depends_on_the_codings_says_so() {
    let server = Server::start(&["--cache-control", "max-age=5"]);
    server.write("z.js", "plain");
    server.write("z.js.gz", "zipped");
    server.write("alone", "x");
    let cases = [
        ("", 200),
        ("Accept-Encoding: gzip\r\n", 200),
        ("Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n", 206),
        ("Range: bytes=0-0,2-2\r\n", 206),
        ("If-None-Match: *\r\n", 304),
        ("Accept-Encoding: identity;q=0, br\r\n", 406),
        ("Accept-Encoding: *;q=0\r\n", 406),
        ("Accept-Encoding: gzip\r\nIf-Match: \"x\"\r\n", 412),
        ("Accept-Encoding: gzip\r\nRange: bytes=99-\r\n", 416),
    ];
    for (fields, status) in cases {
        let answer = ask(&server, "GET", "/z.js", fields);
        assert_eq!((answer.status, answer.field("Vary")), (status, Some("Accept-Encoding")), "{fields}");
        // A refusal is for this request alone, and must not be kept.
        assert_eq!(answer.field("Cache-Control").is_some(), status < 400, "{fields}");
        assert_eq!(ask(&server, "GET", "/alone", fields).field("Vary"), None, "{fields}");
    }
}

#[test]
fn forms_that_are_one_file_have_tags_of_their_own() {
    let server = Server::start(&[]);
    server.write("a.js", "plain");
    server.write("a.js.gz", "coded");
    symlink("a.js.gz", server.path("a.js.br")).unwrap();
    fs::hard_link(server.path("a.js.gz"), server.path("a.js.zst")).unwrap();
    let tag = |coding: &str| {
        let answer = ask(&server, "GET", "/a.js", &format!("Accept-Encoding: {coding}\r\n"));
        assert_eq!(answer.field("Content-Encoding"), Some(coding));
        answer.field("ETag").unwrap().to_owned()
    };
    let tags = [tag("gzip"), tag("br"), tag("zstd")];
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
    let other = format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", tags[1]);
    assert_eq!(ask(&server, "GET", "/a.js", &other).status, 200);
}

#[test]
fn parts_of_a_form_are_parts_of_its_own_bytes() {
    let server = Server::start(&[]);
    server.write("z.js", "plain content");
    server.write("z.js.gz", "0123456789");
    let part = ask(&server, "GET", "/z.js", "Accept-Encoding: gzip\r\nRange: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!((part.field("Content-Range"), part.field("Content-Encoding")), (Some("bytes 2-4/10"), Some("gzip")));
    // The tag of another form is no reason to send a part of this one.
    let plain = server.get("/z.js").field("ETag").unwrap().to_owned();
    let fields = format!("Accept-Encoding: gzip\r\nRange: bytes=2-4\r\nIf-Range: {plain}\r\n");
    assert_eq!(ask(&server, "GET", "/z.js", &fields).text(), "0123456789");
    // Several parts cannot say that each of them is coded, so all is sent.
    let several = ask(&server, "GET", "/z.js", "Accept-Encoding: gzip\r\nRange: bytes=0-1,4-5\r\n");
    assert_eq!((several.status, several.text().as_str()), (200, "0123456789"));
    assert_eq!((several.field("Content-Encoding"), several.field("Content-Range")), (Some("gzip"), None));
    assert_eq!(ask(&server, "GET", "/z.js", "Range: bytes=0-1,4-5\r\n").status, 206);
}

#[test]
fn a_form_that_is_older_is_not_sent_and_directories_are_none() {
    let server = Server::start(&[]);
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let coding = |name: &str, form: Duration, plain: Duration| {
        server.write(name, "new");
        server.write(&format!("{name}.gz"), "zip");
        set_modified(&server, name, second + plain);
        set_modified(&server, &format!("{name}.gz"), second + form);
        let answer = ask(&server, "GET", &format!("/{name}"), "Accept-Encoding: gzip\r\n");
        answer.field("Content-Encoding").map(str::to_owned)
    };
    let (half, most) = (Duration::from_millis(500), Duration::from_millis(900));
    assert_eq!(coding("newer", most, half).as_deref(), Some("gzip"));
    assert_eq!(coding("same", half, half).as_deref(), Some("gzip"));
    assert_eq!(coding("older", half, most), None);
    assert_eq!(coding("old", Duration::ZERO, Duration::from_secs(1)), None);
    // A program that gives it the file's time may know only the seconds.
    assert_eq!(coding("whole", Duration::ZERO, half).as_deref(), Some("gzip"));

    server.write("f", "plain");
    fs::create_dir(server.path("f.gz")).unwrap();
    symlink("/etc/hostname", server.path("f.br")).unwrap();
    let answer = ask(&server, "GET", "/f", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((answer.text().as_str(), answer.field("Vary")), ("plain", None));
    fs::create_dir_all(server.path("d/index.html")).unwrap();
    let listing = server.get("/d/");
    assert!(listing.status == 200 && listing.text().contains("index.html/"), "{}", listing.text());
}

#[test]
fn a_time_that_is_yet_to_come_is_not_told() {
    let server = Server::start(&[]);
    server.write("a", "x");
    set_modified(&server, "a", SystemTime::now() + Duration::from_secs(86_400));
    let answer = server.get("/a");
    assert_eq!((answer.status, answer.field("Last-Modified")), (200, None));
    assert!(answer.field("ETag").is_some());
    let since = answer.field("Date").unwrap();
    assert_eq!(ask(&server, "GET", "/a", &format!("If-Modified-Since: {since}\r\n")).status, 200);
}

/// A request for two parts of a file that are nearly all of it.
const TWO_PARTS: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,2-\r\n\r\n";

#[test]
fn several_parts_of_a_large_file_are_what_they_say() {
    let server = Server::start(&[]);
    let content = pattern(3 << 20);
    server.write("a", &content);
    let ranges = [(0, 9), (100, 20_000), (30_000, (2 << 20) + 5), ((3 << 20) - 7, (3 << 20) - 1)];
    let value = ranges.map(|(first, last)| format!("{first}-{last}")).join(",");
    let answer = ask(&server, "GET", "/a", &format!("Range: bytes={value}\r\n"));
    let boundary = answer.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (first, last) in ranges {
        let kind = "Content-Type: application/octet-stream";
        let head = format!("\r\n--{boundary}\r\n{kind}\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n", 3 << 20);
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content[first..=last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(answer.status, 206);
    assert!(answer.body == expected, "{} bytes and not {}", answer.body.len(), expected.len());
}

#[test]
fn several_parts_are_of_one_version_or_end_short() {
    for check in ["watch", "stat"] {
        let server = Server::start(&["--cache-check", check]);
        server.write("a", pattern(40 << 20));
        let mut stream = server.connect();
        stream.write_all(TWO_PARTS).unwrap();
        let head = read_answer(&mut stream, true);
        let promised: usize = head.field("Content-Length").unwrap().parse().unwrap();
        // In its place, so that the open file is another one from here on.
        File::options().write(true).open(server.path("a")).unwrap().write_all(&vec![0; 40 << 20]).unwrap();
        let mut got = 0;
        let mut room = vec![0; 1 << 20];
        while let Ok(count @ 1..) = read_some(&mut stream, &mut room) {
            got += count;
        }
        assert!(got < promised, "{check}: a mixture of {got} bytes is told to be whole");
    }
}

#[test]
fn several_parts_come_no_faster_than_is_allowed() {
    let server = Server::start(&["--bandwidth", "100KB"]);
    for size in [60_000, 300_000] {
        server.write("a", pattern(size));
        let mut stream = server.connect();
        let began = std::time::Instant::now();
        stream.write_all(TWO_PARTS).unwrap();
        let answer = read_answer(&mut stream, false);
        assert_eq!(answer.status, 206);
        // The last piece of a quarter of a second is there as soon as it is sent.
        let least = Duration::from_secs_f64(size as f64 / 100_000.0 - 0.3);
        assert!(began.elapsed() >= least, "{size} bytes came within {:?}", began.elapsed());
        // Behind it the connection goes on.
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 206);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_parts_is_forgotten() {
    let server = Server::start(&["--cache-check", "stat"]);
    server.write("a", pattern(40 << 20));
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    let before = descriptors();
    for _ in 0..5 {
        let mut stream = server.connect();
        stream.write_all(TWO_PARTS).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
    }
    eventually("all is closed", || descriptors() <= before + 1);
}
