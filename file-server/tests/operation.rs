//! What operators see: ready lines, exit codes, listings, users, metrics, completions and the man page.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;

use common::{Answer, PROGRAM, Server, connect, read_all, read_answer, run};

#[test]
fn all_addresses_are_told_http_first() {
    let tree = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    let zero = "127.0.0.1:0";
    let socket = tree.path().join("s");
    command.args(["--struct-listen", zero, "-l", zero, "-l", &format!("unix:{}", socket.display()), "-l", "[::1]:0"]);
    let served = tempfile::tempdir().unwrap();
    command.arg(served.path());
    let server = Server::start_command(served, &mut command, 4);
    let told = server.addresses();
    assert!(told[0].starts_with("http://127.0.0.1:"), "{told:?}");
    assert_eq!(told[1], format!("http+unix://{}", socket.to_str().unwrap().replace('/', "%2F")));
    assert!(told[2].starts_with("http://[::1]:"), "{told:?}");
    assert!(told[3].starts_with("struct://127.0.0.1:"), "{told:?}");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 404);
}

#[test]
fn a_socket_passed_in_is_served_instead_of_the_default() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), "x").unwrap();
    let mut command = Command::new("sh");
    // A shell that passes its stdin on as descriptor 3, as a service manager does.
    command.args(["-c", r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@" 3<&0 </dev/null"#, PROGRAM]);
    command.arg(tree.path()).stdin(OwnedFd::from(socket));
    let server = Server::start_command(tree, &mut command, 1);
    assert_eq!(server.addresses(), [format!("http://{address}")]);
    assert_eq!(server.get("/a").text(), "x");
}

#[test]
fn what_cannot_be_done_is_one_line_and_a_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, code, told) in [
        (&["-l", &address, "."][..], 1, address.as_str()),
        (&["/no/such/directory"][..], 1, "/no/such/directory"),
        (&["--access-log", "/no/such/log", "-l", "127.0.0.1:0", "."][..], 1, "/no/such/log"),
        (&["--auth", "ann:secret", "."][..], 1, "--auth"),
        (&["--no-such-option"][..], 2, "--no-such-option"),
        (&["--header-timeout", "0s", "."][..], 2, "header-timeout"),
        (&["-l", "udp://127.0.0.1:1", "."][..], 2, "udp://"),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(told), "{arguments:?}: {stderr}");
    }
}

#[test]
fn help_completions_and_the_man_page_are_printed() {
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = text(&["--help"]);
    for heading in ["Listening:", "Answers:", "Access:", "Caching:", "Limits:", "Threads:", "Output:"] {
        assert!(help.contains(heading), "{heading}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&["--completions", shell]).contains("struct-listen"), "{shell}");
    }
    assert!(text(&["--man"]).contains(".TH file-server 1"));
}

#[test]
fn directories_are_listed_as_a_page_and_as_json() {
    let server = Server::start(&[]);
    server.write("d/b <i>.txt", "12345");
    server.write("d/a.txt", "");
    server.write("d/sub/x", "");
    let page = server.get("/d/");
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("Vary"), Some("Accept"));
    assert!(page.field("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    let text = page.text();
    assert!(text.contains("b &lt;i&gt;.txt") && text.contains("href=\"b%20%3Ci%3E.txt\""), "{text}");
    assert!(text.find("sub").unwrap() < text.find("a.txt").unwrap(), "directories come first");
    for answer in
        [server.get("/d/?format=json"), server.ask("GET /d/ HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n")]
    {
        assert_eq!(answer.field("Content-Type"), Some("application/json"));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(json.to_string().contains("b <i>.txt"), "{json}");
    }
    let head = server.ask("HEAD /d/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.field("Content-Length").unwrap(), page.body.len().to_string());
    let server = Server::start(&["--no-listing"]);
    assert_eq!(server.get("/").status, 403);
}

/// `secret` by SHA-crypt, as `openssl passwd -5` makes it.
const ANN: &str = "ann:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.";

#[test]
fn users_show_their_passwords() {
    let server = Server::start(&["--auth", ANN]);
    server.write("a", "x");
    let ask = |credentials: &str| {
        server.ask(format!("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n")).status
    };
    let unknown = server.get("/a");
    assert_eq!(unknown.status, 401);
    assert!(unknown.field("WWW-Authenticate").unwrap().starts_with("Basic realm="));
    // ann:secret, ann:wrong, eve:secret
    assert_eq!(ask("Basic YW5uOnNlY3JldA=="), 200);
    assert_eq!(ask("Basic YW5uOnNlY3JldA=="), 200);
    assert_eq!(ask("Basic YW5uOndyb25n"), 401);
    assert_eq!(ask("Basic ZXZlOnNlY3JldA=="), 401);
    assert_eq!(ask("Basic !"), 401);
    assert_eq!(ask("Bearer YW5uOnNlY3JldA=="), 401);
}

#[test]
fn users_may_be_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("users");
    fs::write(&file, format!("# users\n{ANN}\n")).unwrap();
    let server = Server::start(&["--auth-file", file.to_str().unwrap()]);
    server.write("a", "x");
    assert_eq!(server.get("/a").status, 401);
    let shown = server.ask("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n");
    assert_eq!(shown.text(), "x");
}

fn ask_metrics(address: SocketAddr, target: &str) -> Answer {
    let mut stream: TcpStream = connect(address);
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let answer = read_answer(&mut stream, false);
    assert!(read_all(&mut stream).is_empty());
    answer
}

/// What `promtool check metrics` looks at: each family is described before its samples, once, counters end in `_total`, and
/// units are those of the base.
fn check_exposition(text: &str) {
    let mut kinds = HashMap::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} is described twice");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(!["milli", "nano", "micro", "kilo"].iter().any(|unit| name.contains(unit)), "{name}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            let of_histogram =
                |suffix| name.strip_suffix(suffix).is_some_and(|name| kinds.get(name) == Some(&"histogram"));
            let is_known = kinds.contains_key(name) || ["_bucket", "_sum", "_count"].into_iter().any(of_histogram);
            assert!(is_known && value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn the_time_is_told_though_nobody_asked_before() {
    let mut server = Server::start(&["--metrics-listen", "127.0.0.1:0"]);
    let line = server.wait_for_line(|line| line.starts_with("metrics on "));
    let address = line.strip_prefix("metrics on http://").unwrap().parse().unwrap();
    assert!(!ask_metrics(address, "/health").field("Date").unwrap().contains(" 1970 "));
}

#[test]
fn figures_and_health_are_told_on_their_own_listener() {
    let mut server = Server::start(&["--metrics-listen", "127.0.0.1:0"]);
    let line = server.wait_for_line(|line| line.starts_with("metrics on "));
    let address = line.strip_prefix("metrics on http://").unwrap().parse().unwrap();
    server.write("a", "hello");
    (0..3).for_each(|_| assert_eq!(server.get("/a").status, 200));
    let none = server.get("/none");
    let text = ask_metrics(address, "/metrics").text();
    let sent = format!("file_server_http_body_bytes_total {}", 15 + none.body.len());
    for figure in [
        sent.as_str(),
        "file_server_http_requests_total{status=\"2xx\"} 3",
        "file_server_http_requests_total{status=\"4xx\"} 1",
        "file_server_cache_lookups_total{result=\"hit\"} 2",
        "file_server_cache_files 1",
        "file_server_struct_uploads_total{result=\"stored\"} 0",
        "file_server_accepted_total{loop=\"0\"} 5",
    ] {
        assert!(text.lines().any(|line| line == figure), "{figure} is not in {text}");
    }
    check_exposition(&text);
    assert_eq!(ask_metrics(address, "/health").text(), "ok\n");
    assert_eq!(ask_metrics(address, "/other").status, 404);
    // What is told there is not told to everybody.
    assert_eq!(server.get("/metrics").status, 404);
}

#[test]
fn several_threads_serve_the_same() {
    let tree = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--threads", "3"]).arg(tree.path());
    let server = Server::start_command(tree, &mut command, 1);
    for version in 0..50 {
        server.write("a", format!("version {version}"));
        // Whichever loop takes the connection has its own cache.
        for _ in 0..4 {
            assert_eq!(server.get("/a").text(), format!("version {version}"));
        }
    }
}
