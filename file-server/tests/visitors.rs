//! Who may ask, and which pages may read the answers: users with passwords, and origins.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Answer, Server};

/// `secret` by SHA-crypt, as `openssl passwd -5` makes it.
const ANN: &str = "ann:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.";

/// ann:secret
const SHOWN: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";

const PREFLIGHT: &str = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: if-match, x\r\n";

fn ask(server: &Server, line: &str, fields: &str) -> Answer {
    server.ask(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn nobody_learns_or_does_anything_without_a_password() {
    let server = Server::start(&["--auth", ANN, "--allow-upload", "--allow-delete"]);
    server.write("a", "x");
    server.write("d/index.html", "x");
    for line in [
        "GET /a",
        "HEAD /a",
        "GET /none",
        "GET /d",
        "GET /",
        "GET /%zz",
        "OPTIONS *",
        "POST /a",
        "BREW /a",
        "DELETE /a",
    ] {
        let answer = ask(&server, line, "");
        assert_eq!(answer.status, 401, "{line}");
        assert!(answer.field("WWW-Authenticate").is_some() && answer.field("ETag").is_none(), "{line}");
    }
    let put = "Content-Length: 1\r\nExpect: 100-continue\r\n";
    assert_eq!(ask(&server, "PUT /b", put).status, 401, "and not 100");
    assert!(server.path("a").exists() && !server.path("b").exists());
    for (line, status) in [("GET /a", 200), ("GET /none", 404), ("GET /%zz", 400), ("BREW /a", 501), ("DELETE /a", 204)]
    {
        assert_eq!(ask(&server, line, SHOWN).status, status, "{line}");
    }
}

#[test]
fn malformed_credentials_are_none() {
    let server = Server::start(&["--auth", ANN]);
    server.write("a", "x");
    let ask = |value: &str| ask(&server, "GET /a", &format!("Authorization: {value}\r\n")).status;
    for value in ["Basic YW5uOnNlY3JldA==", "basic  YW5uOnNlY3JldA==", "BASIC YW5uOnNlY3JldA"] {
        assert_eq!(ask(value), 200, "{value}");
    }
    for value in [
        "",
        "Basic",
        "Basic ",
        "BasicYW5uOnNlY3JldA==",
        "Basic\tYW5uOnNlY3JldA==",
        "Basic YW5u",
        "Basic YW5uOg==",
        "Basic OnNlY3JldA==",
        "Basic YW5uOnNlY3JldAA=",
        "Basic YW5uOnNlY3JldA==, Basic YW5uOnNlY3JldA==",
        "Basic YW5uOnNlY3JldA==\r\nAuthorization: Basic YW5uOnNlY3JldA==",
        "Basic !!",
        "Digest YW5uOnNlY3JldA==",
        &format!("Basic {}", "QUFB".repeat(1900)),
    ] {
        assert_eq!(ask(value), 401, "{value:.60}");
    }
}

#[test]
fn one_password_is_for_one_request() {
    let server = Server::start(&["--auth", ANN]);
    server.write("a", "x");
    let mut stream = server.connect();
    let request = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let all = [request(SHOWN), request(""), request(SHOWN), request("")].concat();
    std::io::Write::write_all(&mut stream, all.as_bytes()).unwrap();
    let statuses = [0; 4].map(|_| common::read_answer(&mut stream, false).status);
    assert_eq!(statuses, [200, 401, 200, 401]);
}

#[test]
fn a_preflight_needs_no_password_and_tells_no_more_than_methods() {
    let server = Server::start(&["--auth", ANN, "--cors", "https://b.example", "--allow-upload"]);
    server.write("a", "x");
    let origin = "Origin: https://b.example\r\n";
    let answer = ask(&server, "OPTIONS /a", &format!("{origin}{PREFLIGHT}"));
    assert_eq!((answer.status, answer.field("Access-Control-Allow-Methods")), (204, Some("GET, HEAD, OPTIONS, PUT")));
    assert!(answer.field("ETag").is_none());
    // What is no preflight is nobody's.
    assert_eq!(ask(&server, "OPTIONS /a", origin).status, 401);
    assert_eq!(ask(&server, "GET /a", &format!("{origin}{PREFLIGHT}")).status, 401);
    // The page has to be told of the refusal, too.
    assert_eq!(ask(&server, "GET /a", origin).field("Access-Control-Allow-Origin"), Some("https://b.example"));
}

#[test]
fn only_listed_origins_may_read() {
    let server = Server::start(&["--cors", "https://b.example", "--cors", "http://c:8080", "--allow-upload"]);
    server.write("a", "x");
    for target in ["GET /a", "HEAD /a", "GET /none", "GET /", "PUT /a/b"] {
        for (origin, allowed) in [
            ("https://b.example", true),
            ("http://c:8080", true),
            ("http://b.example", false),
            ("https://b.example.evil", false),
            ("https://B.example", false),
            ("null", false),
            ("*", false),
        ] {
            let answer = ask(&server, target, &format!("Origin: {origin}\r\n"));
            let told = answer.field("Access-Control-Allow-Origin");
            assert_eq!(told, allowed.then_some(origin), "{target} {origin}");
            // Whoever keeps it has to know that it was for this one.
            assert!(answer.head.lines().any(|line| line == "Vary: Origin"), "{target} {origin}");
        }
        assert!(ask(&server, target, "").head.lines().any(|line| line == "Vary: Origin"), "{target}");
    }
}

#[test]
fn a_preflight_is_answered_for_listed_origins_only() {
    let server = Server::start(&["--cors", "https://b.example", "--allow-upload", "--allow-delete"]);
    let allowed = ask(&server, "OPTIONS /a", &format!("Origin: https://b.example\r\n{PREFLIGHT}"));
    assert_eq!(allowed.field("Access-Control-Allow-Methods"), Some("GET, HEAD, OPTIONS, PUT, DELETE"));
    assert_eq!(allowed.field("Access-Control-Allow-Headers"), Some("if-match, x"));
    assert_eq!(allowed.field("Access-Control-Max-Age"), Some("86400"));
    let other = ask(&server, "OPTIONS /a", &format!("Origin: https://c.example\r\n{PREFLIGHT}"));
    assert!(!other.head.contains("Access-Control-Allow"), "{}", other.head);
    let without = Server::start(&[]);
    let answer = ask(&without, "OPTIONS /a", &format!("Origin: https://b.example\r\n{PREFLIGHT}"));
    assert!(!answer.head.contains("Access-Control") && answer.field("Vary").is_none(), "{}", answer.head);
}
