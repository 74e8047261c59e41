//! A file of any name is listed, linked to and served, and no name is more than a name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use common::Server;

/// Names that mean something to somebody: to shells, browsers, parsers of HTML and of URLs.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"a\nb"[..],
        b"a\r\nX: y",
        b"\"quoted\"",
        b"it's",
        b"<b>&amp;",
        b"a?b=c",
        b"a#b",
        b"100%",
        b"%41",
        b"%2e%2e",
        b"a b",
        b" ",
        b"a+b",
        b"javascript:alert(1)",
        b"http:",
        b"a;b",
        b"a..;",
        b"a..",
        b"-rf",
        b"\xff\xfe",
        b"\xc0\xae",
        "\u{fc}\u{1f600}".as_bytes(),
        "\u{202e}txt.exe".as_bytes(),
        b"\x01\x7f",
    ]
    .map(<[u8]>::to_vec)
    .into();
    names.push(vec![b'n'; 255]);
    names
}

#[test]
fn links_lead_to_what_they_name() {
    let server = Server::start(&[]);
    fs::create_dir(server.path("d")).unwrap();
    for name in names() {
        fs::write(server.path("d").join(OsStr::from_bytes(&name)), &name).unwrap();
    }
    let listing = server.get("/d/?format=json");
    let listing: serde_json::Value = serde_json::from_slice(&listing.body).unwrap();
    let page = server.get("/d/").text();
    let mut served = Vec::new();
    for entry in listing["entries"].as_array().unwrap() {
        let href = entry["href"].as_str().unwrap();
        assert!(page.contains(&format!("<a href=\"{href}\">")), "{href}");
        served.push(server.get(&format!("/d/{href}")).body);
    }
    served.sort_unstable();
    let mut expected = names();
    expected.sort_unstable();
    assert!(served == expected, "{served:?}");
    assert!(!page.contains("<b>") && !page.contains("X: y\r"), "{page}");
}

#[test]
fn a_redirect_stays_on_this_host_and_keeps_the_query() {
    let server = Server::start(&[]);
    for name in ["evil.example", "a b", "\u{fc}", "a\nX: y", "%2f", "http:"] {
        fs::create_dir(server.path(name)).unwrap();
    }
    for (target, location) in [
        ("/evil.example", "/evil.example/"),
        ("//evil.example", "/evil.example/"),
        ("///evil.example?//b", "/evil.example/?//b"),
        ("http://b/evil.example", "/evil.example/"),
        ("/./evil.example?a=b&c=%0d%0a", "/evil.example/?a=b&c=%0d%0a"),
        ("/evil.example?", "/evil.example/?"),
        ("/a%20b", "/a%20b/"),
        ("/%C3%BC", "/%C3%BC/"),
        ("/a%0AX:%20y", "/a%0AX%3A%20y/"),
        ("/%252f", "/%252f/"),
        ("/http:", "/http%3A/"),
    ] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.field("Location")), (301, Some(location)), "{target}");
    }
    for target in ["//evil.example/..", "/%5cevil.example", "/%2fevil.example", "/\\evil.example"] {
        assert_eq!(server.get(target).status, 400, "{target}");
    }
}

#[test]
fn what_is_too_long_or_leads_nowhere_is_not_there() {
    let server = Server::start(&[]);
    symlink("none", server.path("dangling")).unwrap();
    for target in
        ["/dangling".to_owned(), format!("/{}", "n".repeat(256)), format!("/{}", "d/".repeat(3900)), "/%c0%ae".into()]
    {
        assert_eq!(server.get(&target).status, 404, "{target:.20}");
    }
    assert!(!server.get("/").text().contains("dangling"));
}

#[test]
fn names_of_any_bytes_are_stored_and_removed() {
    let server = Server::start(&["--allow-upload", "--allow-delete"]);
    for name in names() {
        let target: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
        let put = server.ask(format!("PUT /{target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(put.status, 201, "{target}");
        assert!(server.path("").join(OsStr::from_bytes(&name)).exists(), "{target}");
        assert_eq!(server.ask(format!("DELETE /{target} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 204, "{target}");
    }
    assert_eq!(fs::read_dir(server.path("")).unwrap().count(), 0);
}
