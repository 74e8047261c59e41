//! What RFC 9110, 9111 and 9112 ask of an answer, as a table of requests as bytes and what has to come back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use common::{Answer, Server, expect_end, read_answer};

/// What an answer has to be.
struct Case {
    request: &'static str,
    status: u16,
    /// Fields and their values; an empty value is for a field that must not be there.
    fields: &'static [(&'static str, &'static str)],
    body: Option<&'static str>,
    content_range: Option<&'static str>,
    /// Whether the connection goes on.
    goes_on: bool,
}

const fn case(request: &'static str, status: u16) -> Case {
    Case { request, status, fields: &[], body: None, content_range: None, goes_on: true }
}

impl Case {
    const fn with(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    const fn body(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn closes(self) -> Self {
        Self { goes_on: false, ..self }
    }

    fn check(&self, server: &Server) {
        let mut stream = server.connect();
        stream.write_all(self.request.as_bytes()).unwrap();
        let answer = read_answer(&mut stream, self.request.starts_with("HEAD"));
        let told = format!("{:?} is answered by {answer:#?}", self.request);
        assert_eq!(answer.status, self.status, "{told}");
        for (name, value) in self.fields {
            assert_eq!(answer.field(name).unwrap_or_default(), *value, "{name}: {told}");
        }
        if let Some(body) = self.body {
            assert_eq!(answer.text(), body, "{told}");
        }
        assert_eq!(answer.field("Content-Range"), self.content_range, "{told}");
        self.check_common(&answer, &told);
        if self.goes_on {
            stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert_eq!(read_answer(&mut stream, false).text(), "hello world", "the next one after {told}");
        } else {
            expect_end(&mut stream);
        }
    }

    /// What holds for all answers.
    fn check_common(&self, answer: &Answer, told: &str) {
        assert!(answer.field("Date").is_some_and(|date| date.ends_with(" GMT")), "{told}");
        let says_close = answer.field("Connection") == Some("close");
        assert_eq!(says_close, !self.goes_on, "Connection: {told}");
        if matches!(answer.status, 204 | 304) {
            assert!(answer.field("Content-Length").is_none() && answer.body.is_empty(), "{told}");
        }
    }
}

fn server() -> Server {
    let server = Server::start(&[]);
    server.write("a.txt", "hello world");
    server.write("empty", "");
    server.write("page.html", "<p>");
    server.write("b c/ü.css", "x{}");
    server.write("site/index.html", "index");
    server.write("z.js", "plain");
    server.write("z.js.gz", "zipped");
    server.write("z.js.br", "brotli");
    // A date that can be asked for, well in the past.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    fs::File::options().write(true).open(server.path("a.txt")).unwrap().set_modified(then).unwrap();
    server
}

fn check_all(cases: &[Case]) {
    let server = server();
    cases.iter().for_each(|case| case.check(&server));
}

#[test]
fn methods() {
    check_all(&[
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world").with(&[
            ("Content-Length", "11"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Accept-Ranges", "bytes"),
            ("X-Content-Type-Options", "nosniff"),
            ("Transfer-Encoding", ""),
        ]),
        case("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).with(&[("Content-Length", "11")]),
        case("HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        case("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("").with(&[("Content-Length", "0")]),
        case("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 204).with(&[("Allow", "GET, HEAD, OPTIONS")]),
        case("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204).with(&[("Allow", "GET, HEAD, OPTIONS")]),
        case("POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405)
            .with(&[("Allow", "GET, HEAD, OPTIONS")]),
        case("PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 405),
        case("DELETE /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        case("PATCH /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        case("TRACE /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        case("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405).closes(),
        case("BREW /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        case("get /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ]);
}

#[test]
fn connections_go_on_or_close() {
    check_all(&[
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200).body("hello world").closes(),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: foo, CLOSE\r\n\r\n", 200).closes(),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 200).with(&[("Connection", "")]),
        case("GET /a.txt HTTP/1.0\r\n\r\n", 200).body("hello world").closes(),
        case("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200).with(&[("Connection", "keep-alive")]),
        case("GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 404).with(&[("Connection", "keep-alive")]),
        case("GET /a.txt HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n", 200).closes(),
        case("GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404).closes(),
        // A minor version that does not exist yet is that of a client that understands the latest one.
        case("GET /a.txt HTTP/1.2\r\nHost: a\r\n\r\n", 200).body("hello world").with(&[("Connection", "")]),
        case("GET /a.txt HTTP/1.9\r\nHost: a\r\nConnection: close\r\n\r\n", 200).closes(),
        // A body that nobody wants is passed over, or the connection ends: nothing of it can be taken for a request.
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200).closes(),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200),
        case("\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ]);
}

#[test]
fn what_is_malformed_is_refused_and_the_connection_closes() {
    let cases = [
        "GET /a.txt HTTP/1.1\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
        "GET /a.txt HTTP/1.1\nHost: a\n\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET  /a.txt HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a.txt HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a.txt#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a.txt\r\n\r\n",
        "GET /a.txt HTTP/1.1x\r\nHost: a\r\n\r\n",
        "GET /a.txt HTTP/1.20\r\nHost: a\r\n\r\n",
        "GET /a.txt HTTP/1.2\r\n\r\n",
        "GET /a.txt HTTP/1.x\r\nHost: a\r\n\r\n",
        "GET /a.txt HTTPS/1.1\r\nHost: a\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
        "PUT /a.txt HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PUT /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0",
        "\0\0\0\0",
    ];
    check_all(&cases.map(|request| case(request, 400).closes()));
    check_all(&[
        case("PUT /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501).closes(),
        case("GET /a.txt HTTP/2.0\r\nHost: a\r\n\r\n", 505).closes(),
        case("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505).closes(),
        case("GET /a.txt HTTP/3\r\nHost: a\r\n\r\n", 505).closes(),
        case("PUT /a.txt HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417).closes(),
    ]);
}

#[test]
fn targets() {
    check_all(&[
        case("GET /a.txt?x=1&y HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world"),
        case("GET http://b.example/a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world"),
        case("GET HTTP://b:80/a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world"),
        case("GET /%61.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world"),
        case("GET //a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world"),
        case("GET /./a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("hello world"),
        case("GET /b%20c/%C3%BC.css HTTP/1.1\r\nHost: a\r\n\r\n", 200)
            .body("x{}")
            .with(&[("Content-Type", "text/css; charset=utf-8")]),
        case("GET /b+c/%C3%BC.css HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        case("GET /%2561.txt HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        case("GET /a.txt/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        case("GET /a.txt/b HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        case("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404).with(&[("Content-Type", "text/html; charset=utf-8")]),
        case("GET /site HTTP/1.1\r\nHost: a\r\n\r\n", 301).with(&[("Location", "/site/")]),
        case("GET /site?x=y HTTP/1.1\r\nHost: a\r\n\r\n", 301).with(&[("Location", "/site/?x=y")]),
        case("GET /b%20c HTTP/1.1\r\nHost: a\r\n\r\n", 301).with(&[("Location", "/b%20c/")]),
        case("GET //site HTTP/1.1\r\nHost: a\r\n\r\n", 301).with(&[("Location", "/site/")]),
        case("GET /site/ HTTP/1.1\r\nHost: a\r\n\r\n", 200)
            .body("index")
            .with(&[("Content-Type", "text/html; charset=utf-8")]),
        case("GET /site/. HTTP/1.1\r\nHost: a\r\n\r\n", 200).body("index"),
        case("GET /../a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /site/../a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /%2e%2E/a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /..%2fa.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /a%00.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /a%5c.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        case("GET /a% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn conditions() {
    let date = |name, date| (name, date);
    let (then, before, after) =
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
    let server = server();
    let etag = server.get("/a.txt").field("ETag").unwrap().to_owned();
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {weak} , \"y\"");
    let other = "\"x\"";
    let cases: [(&[(&str, &str)], u16); 24] = [
        (&[("If-None-Match", &etag)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", &list)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", other)], 200),
        (&[("If-None-Match", "x")], 200),
        (&[("If-Match", &etag)], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", &weak)], 412),
        (&[("If-Match", other)], 412),
        (&[date("If-Modified-Since", then)], 304),
        (&[date("If-Modified-Since", after)], 304),
        (&[date("If-Modified-Since", before)], 200),
        (&[date("If-Modified-Since", "yesterday")], 200),
        (&[date("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")], 304),
        (&[date("If-Modified-Since", "Sun Nov  6 08:49:37 1994")], 304),
        (&[date("If-Unmodified-Since", then)], 200),
        (&[date("If-Unmodified-Since", before)], 412),
        (&[date("If-Unmodified-Since", "yesterday")], 200),
        // The precedence of RFC 9110, section 13.2.2.
        (&[("If-None-Match", other), ("If-Modified-Since", then)], 200),
        (&[("If-None-Match", &etag), ("If-Modified-Since", before)], 304),
        (&[("If-Match", &etag), ("If-Unmodified-Since", before)], 200),
        (&[("If-Match", other), ("If-None-Match", &etag)], 412),
        (&[("If-Match", &etag), ("If-None-Match", &etag)], 304),
    ];
    for (fields, status) in cases {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        for method in ["GET", "HEAD"] {
            let answer = server.ask(format!("{method} /a.txt HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
            assert_eq!(answer.status, status, "{method} {fields:?}");
            if status == 304 {
                assert_eq!(answer.field("ETag"), Some(etag.as_str()), "{fields:?}");
                assert_eq!(answer.field("Content-Length"), None, "{fields:?}");
            }
        }
    }
    // What is not there is not there, whatever the conditions.
    assert_eq!(server.ask("GET /none HTTP/1.1\r\nHost: a\r\nIf-Match: *\r\n\r\n").status, 404);
}

#[test]
fn ranges() {
    check_all(&[
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4\r\n\r\n", "bytes 0-4/11", "hello"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=6-\r\n\r\n", "bytes 6-10/11", "world"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-5\r\n\r\n", "bytes 6-10/11", "world"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-99\r\n\r\n", "bytes 0-10/11", "hello world"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=10-99\r\n\r\n", "bytes 10-10/11", "d"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: BYTES=0-0\r\n\r\n", "bytes 0-0/11", "h"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-3,2-4\r\n\r\n", "bytes 0-4/11", "hello"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1, 2-4\r\n\r\n", "bytes 0-4/11", "hello"),
        ranged("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=99-,0-0\r\n\r\n", "bytes 0-0/11", "h"),
        unsatisfied("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=11-\r\n\r\n", "bytes */11"),
        unsatisfied("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-0\r\n\r\n", "bytes */11"),
        unsatisfied("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=99999999999999999999-\r\n\r\n", "bytes */11"),
        unsatisfied("GET /empty HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\n\r\n", "bytes */0"),
        // What is no range, or not of bytes, is passed over.
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=4-0\r\n\r\n", 200).body("hello world"),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: lines=0-4\r\n\r\n", 200).body("hello world"),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=\r\n\r\n", 200).body("hello world"),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=a-b\r\n\r\n", 200).body("hello world"),
        case("HEAD /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4\r\n\r\n", 200).with(&[("Content-Length", "11")]),
        // If-Range: of this version, or the whole.
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4\r\nIf-Range: \"x\"\r\n\r\n", 200).body("hello world"),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4\r\nIf-Range: W/\"x\"\r\n\r\n", 200)
            .body("hello world"),
        ranged(
            "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
            "bytes 0-4/11",
            "hello",
        ),
        case(
            "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n\r\n",
            200,
        ),
    ]);
}

const fn ranged(request: &'static str, content_range: &'static str, body: &'static str) -> Case {
    Case { content_range: Some(content_range), ..case(request, 206).body(body) }
}

const fn unsatisfied(request: &'static str, content_range: &'static str) -> Case {
    Case { content_range: Some(content_range), ..case(request, 416) }
}

#[test]
fn the_ranges_of_answers_are_told() {
    let server = server();
    let ask = |range: &str| server.ask(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n"));
    assert_eq!(ask("2-4").field("Content-Range"), Some("bytes 2-4/11"));
    assert_eq!(ask("2-4").field("Content-Length"), Some("3"));
    assert_eq!(ask("-1").field("Content-Range"), Some("bytes 10-10/11"));
    assert_eq!(ask("20-").field("Content-Range"), Some("bytes */11"));
    let etag = ask("0-0").field("ETag").unwrap().to_owned();
    let same = server.ask(format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\nIf-Range: {etag}\r\n\r\n"));
    assert_eq!((same.status, same.text().as_str()), (206, "h"));
    let several = ask("0-1,4-4,9-");
    let boundary = several.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, bytes: &str| {
        let kind = "Content-Type: text/plain; charset=utf-8";
        format!("\r\n--{boundary}\r\n{kind}\r\nContent-Range: bytes {range}/11\r\n\r\n{bytes}")
    };
    let whole = [part("0-1", "he"), part("4-4", "o"), part("9-10", "ld"), format!("\r\n--{boundary}--\r\n")].concat();
    assert_eq!((several.status, several.text()), (206, whole));
    // More ranges than anybody needs are answered by the whole file.
    let many = (0..40).map(|at| format!("{}-{}", at * 2, at * 2)).collect::<Vec<_>>().join(",");
    assert_eq!(ask(&many).status, 200);
}

#[test]
fn precompressed_files_are_sent_to_who_takes_them() {
    check_all(&[
        case("GET /z.js HTTP/1.1\r\nHost: a\r\n\r\n", 200)
            .body("plain")
            .with(&[("Content-Encoding", ""), ("Vary", "Accept-Encoding")]),
        case("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n", 200)
            .body("zipped")
            .with(&[("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]),
        case("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n", 200)
            .body("brotli")
            .with(&[("Content-Encoding", "br"), ("Content-Type", "text/javascript; charset=utf-8")]),
        case("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br;q=0.5\r\n\r\n", 200).body("zipped"),
        case("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n", 200).body("plain"),
        case("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: *;q=0.1\r\n\r\n", 200).body("brotli"),
        case("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: identity;q=0, deflate\r\n\r\n", 406),
        case("GET /a.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n", 200)
            .body("hello world")
            .with(&[("Content-Encoding", ""), ("Vary", "")]),
    ]);
    let server = server();
    let tag = |coding: &str| {
        let answer = server.ask(format!("GET /z.js HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
        answer.field("ETag").unwrap().to_owned()
    };
    assert_ne!(tag("gzip"), tag("br"), "two forms have two tags");
}

#[test]
fn a_head_has_bounds() {
    let server = server();
    let long = |length: usize| format!("/{}", "x".repeat(length));
    let ask = |target: &str, more: &str| server.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
    assert_eq!(ask(&long(8000), "").status, 404);
    assert_eq!(ask(&long(9000), "").status, 414);
    assert_eq!(ask(&long(100_000), "").status, 414);
    assert_eq!(ask("/a.txt", &format!("X: {}\r\n", "y".repeat(8000))).status, 200);
    assert_eq!(ask("/a.txt", &format!("X: {}\r\n", "y".repeat(40_000))).status, 431);
    assert_eq!(ask("/a.txt", &"X: y\r\n".repeat(90)).status, 200);
    assert_eq!(ask("/a.txt", &"X: y\r\n".repeat(120)).status, 431);
}

#[test]
fn options_of_the_operator_are_in_the_answers() {
    let server = Server::start(&["--cors", "--cache-control", "max-age=60", "--index", "start.htm", "--spa"]);
    server.write("start.htm", "app");
    server.write("a.js", "1");
    let answer = server.get("/a.js");
    assert_eq!(answer.field("Cache-Control"), Some("max-age=60"));
    assert_eq!(answer.field("Access-Control-Allow-Origin"), Some("*"));
    let preflight = server.ask(
        "OPTIONS /a.js HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nAccess-Control-Request-Method: GET\r\n\
         Access-Control-Request-Headers: X-Y\r\n\r\n",
    );
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.field("Access-Control-Allow-Methods"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(preflight.field("Access-Control-Allow-Headers"), Some("X-Y"));
    // Names without a dot may be routes of the application; files that are missed are not.
    for (target, status, body) in [("/", 200, "app"), ("/users/7", 200, "app"), ("/none.js", 404, "")] {
        let answer = server.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert!(status != 200 || answer.text() == body, "{target}");
    }
}
