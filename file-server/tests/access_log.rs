//! The access log tells what happened: each request has one line, with the bytes that really left, however it ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod log_support;

use std::fs::{self, File};
use std::io::Write;
use std::net::{Shutdown, TcpStream};

use common::{DEADLINE, Server, eventually, expect_end, read_all, read_answer, read_some};
use log_support::{Logged, outcome};
use rustix::net::sockopt;
use rustix::process::Signal;
use serde_json::Value;

impl Logged<Server> {
    fn start(format: &str, arguments: &[&str]) -> Self {
        Self::with(format, arguments, Server::start)
    }

    /// Puts a file of so many bytes into the served directory.
    fn write_zeros(&self, name: &str, size: u64) {
        File::create(self.server.path(name)).unwrap().set_len(size).unwrap();
    }
}

#[test]
fn requests_are_logged_in_the_known_forms() {
    for format in ["common", "combined", "json"] {
        let logged = Logged::start(format, &[]);
        logged.server.write("a", "hello");
        logged.server.get("/a?b");
        logged.server.ask("GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: cu\"rl\r\nReferer: http://b\r\n\r\n");
        logged.server.ask("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
        if format == "json" {
            let lines = logged.objects(3);
            assert_eq!(outcome(&lines[1]), (200, 5, true));
            assert_eq!((&lines[1]["user_agent"], &lines[1]["client"]), (&"cu\"rl".into(), &"127.0.0.1".into()));
            assert_eq!((&lines[1]["method"], &lines[1]["target"]), (&"GET".into(), &"/a".into()));
            assert_eq!(outcome(&lines[2]), (200, 0, true));
            continue;
        }
        let lines = logged.lines(3);
        assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
        assert!(lines[0].contains("\"GET /a?b HTTP/1.1\" 200 5"), "{}", lines[0]);
        assert_eq!(lines[1].ends_with(" \"http://b\" \"cu\\\"rl\""), format == "combined", "{}", lines[1]);
        assert!(lines[2].contains("\"HEAD /a HTTP/1.1\" 200 -"), "{}", lines[2]);
    }
}

#[test]
fn what_is_refused_is_logged_too() {
    let logged = Logged::start("json", &["--header-timeout", "200ms"]);
    let refused = logged.server.ask("non\"sense\x1b\r\n\r\n");
    let long = logged.server.ask(format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000)));
    let many = logged.server.ask(format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(200)));
    let mut slow = logged.server.connect();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: ").unwrap();
    let late = read_answer(&mut slow, false);
    let lines = logged.objects(4);
    for (line, (answer, status)) in lines.iter().zip([(refused, 400), (long, 414), (many, 431), (late, 408)]) {
        assert_eq!((answer.status, outcome(line)), (status, (u64::from(status), answer.body.len() as u64, true)));
        assert_eq!((&line["method"], &line["client"]), (&Value::Null, &"127.0.0.1".into()));
    }
    assert_eq!(lines[0]["target"], "non\"sense\u{1b}");
    assert_eq!(lines[1]["target"].as_str().unwrap().len(), 512);
    assert_eq!(lines[3]["target"], "GET /slow HTTP/1.1");
}

#[test]
fn nothing_that_clients_send_makes_a_line() {
    let request = b"GET /%0a\" HTTP/1.1\r\nHost: a\r\nReferer: a\tb\" 200 5 \"\\\r\nUser-Agent: \xff\xfe\r\n\r\n";
    let logged = Logged::start("combined", &[]);
    logged.server.ask(request);
    let line = logged.lines(1).remove(0);
    assert!(line.is_ascii() && line.contains(r#" "GET /%0a\" HTTP/1.1" "#), "{line}");
    assert!(line.ends_with(r#" "a\tb\" 200 5 \"\\" "\xff\xfe""#), "{line}");
    let logged = Logged::start("json", &[]);
    logged.server.ask(request);
    logged.server.ask(b"GET /\xff\"}\x1b[2J\nx\r\n\r\n");
    let lines = logged.objects(2);
    assert_eq!((&lines[0]["user_agent"], &lines[0]["target"]), (&"\u{fffd}\u{fffd}".into(), &"/%0a\"".into()));
    assert_eq!(lines[1]["target"], "GET /\u{fffd}\"}\u{1b}[2J");
}

#[test]
fn an_answer_that_breaks_off_tells_what_left_of_it() {
    for size in [64 << 20, 200 << 10] {
        let mut logged = Logged::start("json", &[]);
        logged.write_zeros("large", size);
        let mut stream = logged.server.connect();
        // No buffer takes a large one.
        sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40).as_slice()).unwrap();
        let mut piece = [0; 1000];
        let mut read = 0;
        while read < 2000 {
            read += read_some(&mut stream, &mut piece).unwrap() as u64;
        }
        // What was not read makes the close a reset.
        drop(stream);
        logged.server.signal(Signal::TERM);
        assert!(logged.server.wait().success());
        let text = fs::read_to_string(logged.path()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sent: u64 = lines.iter().map(|line| outcome(line).1).sum();
        assert!(sent > 1000, "{text}");
        for line in &lines {
            let (status, bytes, complete) = outcome(line);
            assert!(status == 200 && complete == (bytes == size), "{line}");
        }
        // Of the small ones the last may have left just before the end was known.
        assert!(size < 1 << 20 || lines.iter().any(|line| line["complete"] == false), "{text}");
    }
}

#[test]
fn the_marks_of_the_known_forms_are_a_status() {
    let logged = Logged::start("combined", &[]);
    logged.write_zeros("large", 64 << 20);
    let mut stream = logged.server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_some(&mut stream, &mut [0]).unwrap(), 1);
    drop(stream);
    let line = logged.lines(1).remove(0);
    let words: Vec<_> = line.split(' ').collect();
    let bytes: u64 = words[9].parse().unwrap();
    assert!(words[8] == "499" && bytes > 0 && bytes < 64 << 20, "{line}");
}

#[test]
fn a_slow_client_that_gets_it_all_is_logged_at_the_end() {
    let logged = Logged::start("json", &[]);
    logged.write_zeros("large", 32 << 20);
    logged.server.write("a", "hello");
    let mut stream = logged.server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_some(&mut stream, &mut [0]).unwrap(), 1);
    // Another one is served, and logged, while the first is under way.
    logged.server.get("/a");
    assert_eq!(logged.objects(1)[0]["target"], "/a");
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_all(&mut stream).len() > 32 << 20);
    let line = logged.objects(2).remove(1);
    assert_eq!(outcome(&line), (200, 32 << 20, true));
    assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
}

#[test]
fn an_upload_that_breaks_off_is_logged() {
    let logged = Logged::start("json", &["--allow-upload"]);
    let mut stream = logged.server.connect();
    stream.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 100);
    stream.write_all(&[0; 5000]).unwrap();
    drop(stream);
    let line = logged.objects(1).remove(0);
    assert_eq!(outcome(&line), (499, 0, false));
    assert_eq!((&line["method"], &line["target"]), (&"PUT".into(), &"/a".into()));
    assert!(!logged.server.path("a").exists());
    // One that is whole has its answer, and one line.
    assert_eq!(logged.server.ask("PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb").status, 201);
    assert_eq!(outcome(&logged.objects(2)[1]).0, 201);
}

#[test]
fn a_request_that_breaks_off_is_logged() {
    let logged = Logged::start("common", &[]);
    let mut stream = logged.server.connect();
    stream.write_all(b"GET /half HTTP/1.1\r\nHo").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut stream);
    let line = logged.lines(1).remove(0);
    assert!(line.ends_with("\"GET /half HTTP/1.1\" 499 -"), "{line}");
    // One that says nothing has asked for nothing.
    drop(logged.server.connect());
    logged.server.get("/");
    assert!(logged.lines(2)[1].contains("\"GET / HTTP/1.1\" 200 "));
}

/// `secret` by SHA-crypt, as `openssl passwd -5` makes it.
const ANN: &str = "ann:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.";

#[test]
fn only_who_has_shown_the_password_is_named() {
    let logged = Logged::start("json", &["--auth", ANN, "--allow-upload"]);
    let ask = |method: &str, credentials: &str| {
        let fields = format!("Host: a\r\nAuthorization: Basic {credentials}\r\nContent-Length: 0");
        logged.server.ask(format!("{method} /a HTTP/1.1\r\n{fields}\r\n\r\n")).status
    };
    // ann:wrong and ann:secret
    let asked = [
        (ask("GET", "YW5uOndyb25n"), 401, Value::Null),
        (ask("PUT", "YW5uOnNlY3JldA=="), 201, "ann".into()),
        (ask("GET", "YW5uOnNlY3JldA=="), 200, "ann".into()),
    ];
    for (line, (answered, status, user)) in logged.objects(3).iter().zip(asked) {
        assert_eq!((answered, outcome(line).0, &line["user"]), (status, u64::from(status), &user));
    }
}

#[test]
fn what_is_under_way_at_the_end_of_the_server_is_logged() {
    let mut logged = Logged::start("json", &["--shutdown-timeout", "0s"]);
    logged.write_zeros("large", 64 << 20);
    let mut stream: TcpStream = logged.server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(read_some(&mut stream, &mut [0]).unwrap(), 1);
    logged.server.signal(Signal::TERM);
    assert!(logged.server.wait().success());
    let (status, bytes, complete) = outcome(&logged.objects(1)[0]);
    assert!(status == 200 && !complete && bytes < 64 << 20);
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew_on_sighup() {
    let logged = Logged::start("combined", &[]);
    let moved = logged.path().with_extension("1");
    logged.server.get("/1");
    logged.lines(1);
    fs::rename(logged.path(), &moved).unwrap();
    logged.server.signal(Signal::HUP);
    eventually("there is a new log", || {
        logged.server.get("/2");
        logged.path().exists()
    });
    eventually("it is written to", || fs::read_to_string(logged.path()).is_ok_and(|text| text.contains("/2")));
    assert!(fs::read_to_string(moved).unwrap().lines().next().unwrap().contains("/1"));
}
