//! Each upload by the struct protocol has a line in the access log, however it ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod log_support;
mod upload_support;

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use log_support::{Logged, outcome};
use rustix::process::Signal;
use serde_json::Value;
use upload_support::{Server, ask, expect_end, expect_ok, header, request, send_struct};

impl Logged<Server> {
    fn start(format: &str, arguments: &[&str]) -> Self {
        Self::with(format, arguments, Server::start)
    }

    /// Sends bytes that are refused.
    fn refuse(&self, bytes: &[u8]) {
        let mut stream = self.server.connect();
        stream.write_all(bytes).unwrap();
        expect_end(&mut stream);
    }

    /// An upload of ten bytes of which two have been sent.
    fn begin(&self, name: &str) -> TcpStream {
        let mut stream = self.server.connect();
        stream.write_all(&header(name.as_bytes(), 10)).unwrap();
        expect_ok(&mut stream);
        stream.write_all(b"ab").unwrap();
        stream
    }
}

#[test]
fn uploads_are_logged_in_the_known_forms() {
    for (format, end) in [("common", ""), ("combined", " \"-\" \"-\"")] {
        let logged = Logged::start(format, &[]);
        send_struct(logged.server.struct_address(), "a \"b\"", b"hello");
        logged.refuse(&header(b".hidden", 5));
        logged.refuse(&header(b"/etc", 5));
        let lines = logged.lines(3);
        assert!(lines.iter().all(|line| line.starts_with("127.0.0.1 - - [")), "{lines:?}");
        for (line, wanted) in lines.iter().zip([
            "\"PUT /a%20%22b%22 STRUCT/1\" 201 5",
            "\"PUT /.hidden STRUCT/1\" 403 -",
            "\"PUT /%2Fetc STRUCT/1\" 400 -",
        ]) {
            assert!(line.ends_with(&format!("] {wanted}{end}")), "{line}");
        }
    }
}

#[test]
fn objects_tell_how_an_upload_ended_and_by_which_protocol() {
    let logged = Logged::start("json", &["--max-upload-size", "1000"]);
    for content in [&b"hello"[..], b"hi"] {
        send_struct(logged.server.struct_address(), "a", content);
    }
    logged.refuse(&header(b"large", 1001));
    assert_eq!(ask(logged.server.http_address(), &request("GET", "/a", "")).status, 200);
    let lines = logged.objects(4);
    assert_eq!([&lines[0], &lines[1]].map(outcome), [(201, 5, true), (204, 2, true)]);
    assert_eq!(outcome(&lines[2]), (413, 0, true));
    assert_eq!(lines[2]["error"], "refused: \"large\" has 1001 bytes, and 1000 are allowed");
    for line in &lines[..3] {
        assert_eq!((&line["protocol"], &line["version"]), (&"struct".into(), &"STRUCT/1".into()), "{line}");
        assert_eq!((&line["method"], &line["client"]), (&"PUT".into(), &"127.0.0.1".into()), "{line}");
    }
    assert_eq!((&lines[0]["target"], &lines[2]["target"]), (&"/a".into(), &"/large".into()));
    assert!(lines[0].get("error").is_none() && lines[0]["seconds"].as_f64().unwrap() > 0.0, "{}", lines[0]);
    assert_eq!((&lines[3]["protocol"], &lines[3]["target"]), (&"http".into(), &"/a".into()));
}

#[test]
fn an_upload_that_breaks_off_is_logged_once() {
    let mut logged = Logged::start("json", &["--shutdown-timeout", "0s"]);
    logged.begin("left").shutdown(Shutdown::Write).unwrap();
    let line = logged.objects(1).remove(0);
    assert_eq!((outcome(&line), &line["target"]), ((499, 2, false), &"/left".into()));
    assert_eq!(line["error"], "ended after 2 of 10 bytes");
    let mut half = logged.server.connect();
    half.write_all(&header(b"half", 10)[..100]).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let line = logged.objects(2).remove(1);
    assert_eq!((outcome(&line), &line["method"], &line["target"]), ((499, 0, false), &Value::Null, &"-".into()));
    // Who says nothing has asked for nothing.
    drop(logged.server.connect());
    let _cut = logged.begin("cut");
    logged.server.signal(Signal::TERM);
    assert!(logged.server.wait().success());
    let line = logged.objects(3).remove(2);
    assert_eq!((outcome(&line).0, outcome(&line).2, &line["target"]), (499, false, &"/cut".into()));
}

#[test]
fn who_is_silent_is_logged_as_late() {
    let logged = Logged::start("common", &["--header-timeout", "100ms"]);
    logged.refuse(&header(b"a", 1)[..259]);
    let line = logged.lines(1).remove(0);
    assert!(line.ends_with("] \"-\" 408 -"), "{line}");
    let logged = Logged::start("common", &["--body-timeout", "100ms"]);
    let mut stream = logged.server.connect();
    // In one segment, so that the two bytes are not late themselves.
    stream.write_all(&[header(b"a", 10), b"ab".to_vec()].concat()).unwrap();
    expect_ok(&mut stream);
    expect_end(&mut stream);
    let line = logged.lines(1).remove(0);
    assert!(line.ends_with("] \"PUT /a STRUCT/1\" 408 2"), "{line}");
}
