//! What a request is and where the next one begins is read in one way only: nothing is smuggled past a proxy.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::Write;

use common::{Server, expect_end, read_all, read_answer};

/// What stands in for an answer that never came.
const CLOSED: u16 = 0;

/// Asks for a file behind what is tested: it is answered if the connection goes on, and ends it.
const NEXT: &str = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn server() -> Server {
    let server = Server::start(&["--allow-upload", "--max-upload-size", "1000"]);
    server.write("a", "x");
    server
}

/// The statuses of all answers on one connection to a request and the next one.
fn statuses(server: &Server, request: &[u8]) -> Vec<u16> {
    let mut stream = server.connect();
    stream.write_all(&[request, NEXT.as_bytes()].concat()).unwrap();
    let all = read_all(&mut stream);
    let mut rest = &all[..];
    let mut statuses = Vec::new();
    while !rest.is_empty() {
        statuses.push(read_answer(&mut rest, false).status);
    }
    statuses
}

/// The status of a request, and whether the next one was answered; [`CLOSED`] if not.
#[track_caller]
fn expect(server: &Server, request: impl AsRef<[u8]>, status: u16, next: u16) {
    let request = request.as_ref();
    let wanted: Vec<u16> = [status, next].into_iter().filter(|&status| status != CLOSED).collect();
    assert_eq!(statuses(server, request), wanted, "{:?}", request.escape_ascii().to_string());
}

/// Each of them is malformed, and the end of its connection.
#[track_caller]
fn expect_refused(server: &Server, requests: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    requests.into_iter().for_each(|request| expect(server, request, 400, CLOSED));
}

fn put(fields: &str, body: &str) -> String {
    format!("PUT /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

fn get(fields: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

#[test]
fn a_body_has_one_framing() {
    let server = server();
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    expect_refused(
        &server,
        [
            put("Content-Length: 3\r\nTransfer-Encoding: chunked", chunks),
            put("Transfer-Encoding: chunked\r\nContent-Length: 3", "abc"),
            put("Transfer-Encoding: chunked, chunked", chunks),
            put("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks),
            put("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", chunks),
            put("Transfer-Encoding:\r\nTransfer-Encoding: chunked", chunks),
            put("Transfer-Encoding: chunked\r\nTransfer-Encoding:", chunks),
            put("Transfer-Encoding: ,chunked", chunks),
            put("Transfer-Encoding: chunked,", chunks),
            put("Transfer-Encoding:", chunks),
            put("Transfer-Encoding: \u{b}chunked", chunks),
            put("Transfer-Encoding : chunked", chunks),
            put("X: y\r\n Transfer-Encoding: chunked", chunks),
            put("X: y\nTransfer-Encoding: chunked", chunks),
            put("X: y\rTransfer-Encoding: chunked", chunks),
            put("Transfer-Encoding\0: chunked", chunks),
            put("Transfer-Encoding: chunked\0", chunks),
        ],
    );
    for coding in ["identity", "gzip", "gzip, chunked", "xchunked", "chunked;a=b", "\"chunked\"", "cow"] {
        expect(&server, put(&format!("Transfer-Encoding: {coding}"), chunks), 501, CLOSED);
    }
    for coding in ["chunked", "CHUNKED", "\tchunked "] {
        let status = statuses(&server, put(&format!("transfer-encoding:{coding}"), chunks).as_bytes());
        assert!(matches!(status[..], [201 | 204, 200]), "{coding:?}: {status:?}");
    }
}

#[test]
fn a_length_is_a_number() {
    let server = server();
    let length = |value: &str| put(&format!("Content-Length: {value}"), "abc");
    let malformed = ["+3", "-3", "3;", "3.0", "0x3", "3a", "\"3\"", "3 3", "", "3,", ",3", "3, 4", "3\0", "\u{661}"];
    expect_refused(&server, malformed.map(length));
    expect_refused(&server, [put("Content-Length: 3\r\nContent-Length: 4", "abc"), put("Content-Length : 3", "abc")]);
    for value in ["18446744073709551615", "18446744073709551616", "99999999999999999999999"] {
        expect(&server, length(value), 413, CLOSED);
    }
    // The same one twice is as good as one (RFC 9112, section 6.3).
    assert_eq!(statuses(&server, length("3").as_bytes()), [201, 200]);
    for value in ["3 ", "\t3", "003", "3, 3", "3\r\nContent-Length: 3"] {
        expect(&server, length(value), 204, 200);
    }
    // What only looks like a length is none.
    expect(&server, put("Content_Length: 3", ""), 411, 200);
}

#[test]
fn chunks_are_read_to_the_letter() {
    let server = server();
    let chunked = |body: &str| put("Transfer-Encoding: chunked", body);
    let long = |length: usize| "e".repeat(length);
    let bodies = [
        "3\nabc\n0\n\n".to_owned(),
        "3\r\nabc\n0\r\n\r\n".to_owned(),
        "3 \r\nabc\r\n0\r\n\r\n".to_owned(),
        " 3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3\r\nab0\r\n\r\n".to_owned(),
        "3\r\nabcd\r\n0\r\n\r\n".to_owned(),
        "0x3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "+3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "-0\r\n\r\n".to_owned(),
        "g\r\n".to_owned(),
        ";a\r\n\r\n".to_owned(),
        "10000000000000003\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3;a\0\r\nabc\r\n0\r\n\r\n".to_owned(),
        format!("3;{}\r\nabc\r\n0\r\n\r\n", long(1100)),
        "3\r\nabc\r\n0\r\nX y\r\n\r\n".to_owned(),
        "3\r\nabc\r\n0\r\n X: y\r\n\r\n".to_owned(),
        "3\r\nabc\r\n0\r\nX: y\n\r\n".to_owned(),
        format!("3\r\nabc\r\n0\r\nX: {}\r\n\r\n", long(9000)),
    ];
    expect_refused(&server, bodies.map(|body| chunked(&body)));
    assert_eq!(statuses(&server, chunked("0\r\n\r\n").as_bytes()), [201, 200]);
    for body in [
        "3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "0003\r\nabc\r\n00\r\n\r\n".to_owned(),
        "3;a=\"b;c\";d\r\nabc\r\n0;e\r\n\r\n".to_owned(),
        format!("3 ;{}\r\nabc\r\n0\r\n\r\n", long(1000)),
        // Trailers say nothing of the framing, whatever their names are.
        "3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
    ] {
        expect(&server, chunked(&body), 204, 200);
    }
    assert_eq!(server.get("/p").text(), "abc");
}

#[test]
fn a_size_is_refused_as_soon_as_it_is_known() {
    let server = server();
    let chunked = "PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    // Of the last chunk nothing but its size is sent.
    for body in ["ffff\r\n".to_owned(), "ffffffffffffffff\r\n".to_owned(), format!("{}1\r\n", chunk(1000))] {
        let mut stream = server.connect();
        stream.write_all(format!("{chunked}{body}").as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 413, "{body:.30}");
        expect_end(&mut stream);
    }
    assert!(!server.path("b").exists());
    expect(&server, format!("{chunked}{}0\r\n\r\n", chunk(1000)), 201, 200);
}

#[test]
fn lines_and_fields_are_read_to_the_letter() {
    let server = server();
    expect_refused(
        &server,
        [
            "GET /a HTTP/1.1\nHost: a\n\n",
            "\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
            "\rGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
            " GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/a\tHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\n\tHost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET /a HTTP/1\r\nHost: a\r\n\r\n",
            "GET /a HTTP/1.01\r\nHost: a\r\n\r\n",
            "GET /a HTTP/1.1 x\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "G\"T /a HTTP/1.1\r\nHost: a\r\n\r\n",
            "/a HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    let fields = ["X: a\0b", "X: a\u{7f}b", "\0: a", "X\tY: a", "(X): a", "X Y: a", "X\u{e4}: a", ": a", "X"];
    expect_refused(&server, fields.map(get));
    // Bytes above ASCII are text in a value, and nothing else.
    expect(&server, get("X: \u{e4}\t\u{e4}"), 200, 200);
    expect(&server, format!("{}{}", "\r\n".repeat(20), get("X: y")), 200, 200);
}

#[test]
fn a_host_is_a_host() {
    let server = server();
    let with = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let malformed =
        ["u@a", "u:p@a", "a:b", "a/b", "a b", "a, b", "[::1", "::1", "[]", "[::1]x", "\u{e4}", "a?b", "a#b"];
    expect_refused(&server, malformed.map(with));
    expect_refused(&server, ["a\r\nHost: a", "a\r\nhOST: b", "\r\nHost: a"].map(with));
    for host in ["", "a.example", "a:80", "a:", "[::1]:80", "[::1]", "1.2.3.4", "a_b", "%61"] {
        expect(&server, with(host), 200, 200);
    }
    // It is looked at though the target names another one.
    expect_refused(&server, ["GET http://b/a HTTP/1.1\r\n\r\n", "GET http://b/a HTTP/1.1\r\nHost: u@a\r\n\r\n"]);
}

#[test]
fn targets_have_four_forms() {
    let server = server();
    let with = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
    let malformed = [
        "GET http:///a",
        "GET http:/a",
        "GET http://u:p@b/a",
        "GET http://b:c/a",
        "GET gopher://b/a",
        "GET b:80",
        "GET a",
        "GET *",
        "OPTIONS **",
        "GET /a#b",
        "GET http://b#/a",
    ];
    expect_refused(&server, malformed.map(with));
    for line in ["GET http://b/a", "GET HTTPS://[::1]:443/a?x", "GET //a", "GET /a?//b/../c"] {
        expect(&server, with(line), 200, 200);
    }
    for line in ["OPTIONS *", "OPTIONS http://b", "OPTIONS /none"] {
        expect(&server, with(line), 204, 200);
    }
    // What follows may be meant for the other end of the tunnel.
    expect(&server, with("CONNECT b:80"), 405, CLOSED);
}

#[test]
fn an_expectation_is_met_or_refused() {
    let server = server();
    for value in ["", ",", "100-continue", "100-CONTINUE, 100-continue"] {
        expect(&server, get(&format!("Expect: {value}")), 200, 200);
    }
    for value in ["200-ok", "100-continue, x", "100-continue;a=b", "x=y"] {
        expect(&server, get(&format!("Expect: {value}")), 417, CLOSED);
        expect(&server, put(&format!("Content-Length: 1\r\nExpect: {value}"), "x"), 417, CLOSED);
    }
    // HTTP/1.0 has none of it.
    expect(&server, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\nExpect: x\r\n\r\n", 200, 200);
    expect(&server, "PUT /e HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx", 201, CLOSED);
}

/// A body that would be a request if it were not a body.
const LURE: &str = "GET /lure HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_small_body_that_nobody_wants_is_passed_over() {
    let server = server();
    let lure = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{LURE}", LURE.len());
    for (line, status) in [
        ("GET /a", 200),
        ("GET /none", 404),
        ("GET /%zz", 400),
        ("GET /", 200),
        ("OPTIONS /a", 204),
        ("POST /a", 405),
        ("DELETE /a", 405),
        ("BREW /a", 501),
        ("PUT /", 409),
        ("PUT /.hidden", 403),
        ("PUT /a/b", 409),
        ("PUT /a/../b", 400),
    ] {
        expect(&server, lure(line), status, 200);
        // However it comes.
        let mut stream = server.connect();
        for byte in [lure(line).as_bytes(), NEXT.as_bytes()].concat() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(read_answer(&mut stream, false).status, status, "{line}");
        assert_eq!(read_answer(&mut stream, false).text(), "x", "{line}");
        expect_end(&mut stream);
    }
    // A head that is known by now is read as it was the first time.
    let thrice = lure("GET /a").repeat(3);
    assert_eq!(statuses(&server, thrice.as_bytes()), [200; 4]);
    let conditional = "PUT /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\nContent-Length: 3\r\n\r\nabc";
    expect(&server, conditional, 412, 200);
    assert_eq!(server.get("/a").text(), "x");
}

#[test]
fn another_body_that_nobody_wants_ends_the_connection() {
    let server = server();
    let most = 64 << 10;
    expect(&server, post("", most), 405, 200);
    expect(&server, post("", most + 1), 405, CLOSED);
    // Nobody knows whether it will come.
    expect(&server, post("Expect: 100-continue\r\n", 3), 405, CLOSED);
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    for method in ["GET", "OPTIONS", "POST", "DELETE", "BREW"] {
        let chunked = format!("{method} /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let found = statuses(&server, chunked.as_bytes());
        assert_eq!(found.len(), 1, "{method}: {found:?}");
    }
    // Of what was begun to be taken it is not known how much is left.
    let large = "PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nffff\r\n";
    expect(&server, large, 413, CLOSED);
}

fn post(fields: &str, length: usize) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n{}", "b".repeat(length))
}

#[test]
fn a_body_that_nobody_wants_may_take_as_long_as_a_head() {
    let server = Server::start(&["--header-timeout", "2s"]);
    let mut stream = server.connect();
    stream.write_all(&post("", 10).as_bytes()[..post("", 10).len() - 5]).unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 405);
    assert_eq!(read_answer(&mut stream, false).status, 408);
    expect_end(&mut stream);
}
