//! `file-client` against servers that break, lie or are of another make: it tries again, goes on where it was, and never leaves
//! a wrong file under a name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod upload_support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use upload_support::{DEADLINE, names, wait_for};

/// A server that gives these answers, one a connection, and then has the requests that it got.
struct Script {
    address: SocketAddr,
    thread: JoinHandle<Vec<String>>,
}

impl Script {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move |answer: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let request = read_head(&mut stream);
            // Who has seen enough may have left.
            let _ = stream.write_all(&answer);
            request
        };
        Self { address, thread: thread::spawn(move || answers.into_iter().map(serve).collect()) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes()
}

fn client(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_file-client"));
    command.args(arguments).args(["--retry-delay", "1ms"]).current_dir(directory).env_remove("RUST_LOG");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {stdout}\nstderr: {stderr}");
    (stdout, stderr)
}

/// Gets `/a` from a server that gives these answers.
fn get(answers: Vec<Vec<u8>>, more: &[&str]) -> (tempfile::TempDir, Output, Vec<String>) {
    let here = tempfile::tempdir().unwrap();
    let script = Script::start(answers);
    let output = client(here.path(), &[&["get", &script.url("/a")], more].concat());
    (here, output, script.requests())
}

#[test]
fn a_download_that_breaks_is_gone_on_with() {
    let tag = "ETag: \"1\"";
    let (here, output, requests) = get(
        vec![
            answer(&format!("200 OK\r\n{tag}\r\nContent-Length: 10"), "hello"),
            answer("503 Service Unavailable\r\nContent-Length: 0", ""),
            answer(
                &format!("206 Partial Content\r\n{tag}\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5"),
                "world",
            ),
        ],
        &[],
    );
    let (_, stderr) = expect(&output, 0);
    assert_eq!(stderr.matches("trying again").count(), 2, "{stderr}");
    assert!(requests[2].contains("Range: bytes=5-\r\nIf-Range: \"1\"\r\n"), "{}", requests[2]);
    assert_eq!(fs::read(here.path().join("a")).unwrap(), b"helloworld");
    assert_eq!(names(here.path()), ["a"]);
}

#[test]
fn a_part_of_another_version_is_thrown_away() {
    let (here, output, _) = get(
        vec![
            answer("200 OK\r\nETag: \"1\"\r\nContent-Length: 10", "hello"),
            answer("200 OK\r\nETag: \"2\"\r\nContent-Length: 3", "new"),
        ],
        &[],
    );
    expect(&output, 0);
    assert_eq!(fs::read(here.path().join("a")).unwrap(), b"new");
}

#[test]
fn a_part_without_a_version_is_not_gone_on_with() {
    let broken = answer("200 OK\r\nETag: W/\"1\"\r\nContent-Length: 10", "hello");
    let (here, output, requests) = get(vec![broken.clone(), broken], &["--retries", "1"]);
    expect(&output, 1);
    assert!(!requests[1].contains("Range"), "{}", requests[1]);
    assert!(names(here.path()).is_empty());
}

#[test]
fn what_is_left_of_a_failure_serves_the_next_run() {
    let (here, output, _) =
        get(vec![answer("200 OK\r\nETag: \"1\"\r\nContent-Length: 10", "hello")], &["--retries", "0"]);
    expect(&output, 1);
    assert_eq!(names(here.path()), ["a.part", "a.part.from"]);
    assert_eq!(fs::read(here.path().join("a.part")).unwrap(), b"hello");
}

#[test]
fn a_range_that_cannot_be_is_asked_for_no_more() {
    let (here, output, requests) = get(
        vec![
            answer("200 OK\r\nETag: \"1\"\r\nContent-Length: 10", "hello"),
            answer("416 Range Not Satisfiable\r\nContent-Range: bytes */3\r\nContent-Length: 0", ""),
            answer("200 OK\r\nContent-Length: 3", "new"),
        ],
        &[],
    );
    expect(&output, 0);
    assert!(!requests[2].contains("Range"), "{}", requests[2]);
    assert_eq!(fs::read(here.path().join("a")).unwrap(), b"new");
}

#[test]
fn a_server_that_sends_another_part_is_not_believed() {
    let (here, output, _) = get(
        vec![
            answer("200 OK\r\nETag: \"1\"\r\nContent-Length: 10", "hello"),
            answer("206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6", "oworld"),
        ],
        &[],
    );
    let (_, stderr) = expect(&output, 1);
    assert!(stderr.contains("another part"), "{stderr}");
    assert!(!here.path().join("a").exists());
}

#[test]
fn bodies_end_as_their_framing_says() {
    for (head, body) in [
        ("200 OK\r\nTransfer-Encoding: chunked", "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"),
        ("200 OK", "hello"),
        ("200 OK\r\nContent-Length: 5", "hello and what nobody asked for"),
    ] {
        let (here, output, _) = get(vec![answer(head, body)], &["--retries", "0"]);
        expect(&output, 0);
        assert_eq!(fs::read(here.path().join("a")).unwrap(), b"hello", "{head}");
    }
    for (head, body) in [
        ("200 OK\r\nTransfer-Encoding: chunked", "3\r\nhel\r\n"),
        ("200 OK\r\nTransfer-Encoding: chunked", "x\r\n"),
        ("200 OK\r\nContent-Length: 5", "hell"),
        ("no HTTP", ""),
    ] {
        let (here, output, _) = get(vec![answer(head, body)], &["--retries", "0"]);
        expect(&output, 1);
        assert!(!here.path().join("a").exists(), "{head}");
    }
}

#[test]
fn digests_of_the_server_are_checked() {
    let right = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    for field in ["Content-Digest", "Repr-Digest"] {
        let respond = |body| answer(&format!("200 OK\r\nContent-Length: 5\r\n{field}: {right}"), body);
        let (here, output, _) = get(vec![respond("hallo"), respond("hello")], &["--retries", "1"]);
        expect(&output, 0);
        assert_eq!(fs::read(here.path().join("a")).unwrap(), b"hello");
    }
}

#[test]
fn redirects_are_followed_within_reason() {
    let (here, output, requests) = get(
        vec![
            answer("301 Moved Permanently\r\nLocation: /b?c\r\nContent-Length: 0", ""),
            answer("200 OK\r\nContent-Length: 5", "hello"),
        ],
        &[],
    );
    expect(&output, 0);
    assert!(requests[1].starts_with("GET /b?c HTTP/1.1\r\n"), "{}", requests[1]);
    assert_eq!(fs::read(here.path().join("a")).unwrap(), b"hello");
    let round = answer("302 Found\r\nLocation: /a\r\nContent-Length: 0", "");
    let (_, output, _) = get(vec![round; 11], &[]);
    let (_, stderr) = expect(&output, 1);
    assert!(stderr.contains("too many redirects"), "{stderr}");
}

#[test]
fn a_user_in_a_url_is_told_to_the_server_and_nobody_else() {
    let here = tempfile::tempdir().unwrap();
    let script = Script::start(vec![answer("401 Unauthorized\r\nContent-Length: 0", "")]);
    let url = script.url("/a").replace("http://", "http://user:se%20cret@");
    let (_, stderr) = expect(&client(here.path(), &["get", &url]), 1);
    assert!(stderr.contains("401") && !stderr.contains("cret"), "{stderr}");
    assert!(script.requests()[0].contains("Authorization: Basic dXNlcjpzZSBjcmV0\r\n"));
}

fn listing(entries: &str) -> Vec<u8> {
    let json = format!("{{\"path\":\"/\",\"truncated\":false,\"entries\":[{entries}]}}");
    answer(&format!("200 OK\r\nContent-Length: {}", json.len()), &json)
}

fn entry(name: &str, kind: &str, href: &str) -> String {
    format!(
        "{{\"name\":\"{name}\",\"type\":\"{kind}\",\"href\":\"{href}\",\"modified\":\"2024-01-02T03:04:05Z\",\"size\":5}}"
    )
}

#[test]
fn a_directory_is_got_with_all_that_is_in_it() {
    let here = tempfile::tempdir().unwrap();
    let hello = answer("200 OK\r\nContent-Length: 5", "hello");
    let top = [entry("sub", "directory", "sub/"), entry("a b", "file", "a%20b")].join(",");
    let script = Script::start(vec![listing(&top), listing(&entry("c", "file", "c")), hello.clone(), hello]);
    expect(&client(here.path(), &["get", &script.url("/tree/"), "--jobs", "1"]), 0);
    assert_eq!(fs::read(here.path().join("tree/a b")).unwrap(), b"hello");
    assert_eq!(fs::read(here.path().join("tree/sub/c")).unwrap(), b"hello");
    let asked: Vec<_> = script.requests().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(asked, ["/tree/?format=json", "/tree/sub/?format=json", "/tree/a%20b", "/tree/sub/c"]);
}

#[test]
fn a_listing_that_leads_elsewhere_is_refused() {
    for href in ["../escape", "/etc/passwd", "%2e%2e", "a%2fb"] {
        let here = tempfile::tempdir().unwrap();
        let script = Script::start(vec![listing(&entry("a", "file", href))]);
        let (_, stderr) = expect(&client(here.path(), &["get", &script.url("/tree/")]), 1);
        assert!(stderr.contains("is not the name of a file"), "{stderr}");
        assert!(names(here.path()).is_empty());
    }
}

#[test]
fn a_directory_is_listed() {
    let entries = [entry("sub", "directory", "sub/"), entry("a\\u001b[31m", "file", "a")].join(",");
    let script = Script::start(vec![listing(&entries), listing(&entries)]);
    let here = tempfile::tempdir().unwrap();
    let (stdout, _) = expect(&client(here.path(), &["ls", &script.url("/")]), 0);
    assert!(stdout.contains("2024-01-02T03:04:05Z  sub/\n"), "{stdout}");
    assert!(!stdout.contains('\x1b'), "{stdout:?}");
    let (stdout, _) = expect(&client(here.path(), &["ls", "--json", &script.url("/")]), 0);
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["action"], &lines[0]["href"]), (&"ls".into(), &"sub/".into()));
}

#[test]
fn a_connection_serves_one_file_after_another_until_the_server_closes_it() {
    let here = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let hello = answer("200 OK\r\nContent-Length: 5", "hello");
        let accept = || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream
        };
        let mut first = accept();
        for _ in 0..2 {
            read_head(&mut first);
            first.write_all(&hello).unwrap();
        }
        // One that has waited is closed just as the next request comes.
        read_head(&mut first);
        drop(first);
        let mut second = accept();
        read_head(&mut second);
        second.write_all(&answer("200 OK\r\nConnection: close\r\nContent-Length: 5", "hello")).unwrap();
        let mut third = accept();
        let last = read_head(&mut third);
        third.write_all(&answer("404 Not Found\r\nContent-Length: 4", "page")).unwrap();
        // The page is read, for there is another one to fetch.
        let more = read_head(&mut third);
        third.write_all(&hello).unwrap();
        [last, more]
    });
    let urls = ["a", "b", "c", "none", "d"].map(|name| format!("{url}/{name}"));
    let [a, b, c, none, d] = &urls;
    let output = client(here.path(), &["get", "--json", "--jobs", "1", "--retries", "0", a, b, c, none, d]);
    let (stdout, _) = expect(&output, 1);
    let [last, more] = server.join().unwrap();
    assert!(last.starts_with("GET /none ") && more.starts_with("GET /d "), "{last} {more}");
    assert_eq!(names(here.path()), ["a", "b", "c", "d"]);
    assert!(stdout.contains("\"error\":\"404 Not Found\",\"status\":404}"), "{stdout}");
}
