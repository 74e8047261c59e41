//! Behind a load balancer that tells its clients' addresses, a client is whom it says, and who says nothing gets nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::{DEADLINE, Server, connect, eventually, expect_end, read_answer};
use program_testing::haproxy::{Haproxy, OWN_ADDRESS};
use program_testing::process::{has_tool, is_readable};
use program_testing::proxy_header::{binary, block, local, text};
use rustix::process::Signal;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

const BALANCER: &str = "198.51.100.1:80";
const CLIENT: &str = "192.0.2.7:40000";
const CLIENT_V6: &str = "[2001:db8::7]:40000";

fn told(client: &str) -> String {
    text(client.parse().unwrap(), BALANCER.parse().unwrap())
}

fn told_v6() -> [Vec<u8>; 2] {
    let (client, balancer): (SocketAddr, SocketAddr) =
        (CLIENT_V6.parse().unwrap(), "[2001:db8::1]:80".parse().unwrap());
    [text(client, balancer).into_bytes(), binary(client, balancer, b"\x04\x00\x01x")]
}

/// Headers of every kind, and the client that each tells.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let (client, balancer) = (CLIENT.parse().unwrap(), BALANCER.parse().unwrap());
    let [text_v6, binary_v6] = told_v6();
    vec![
        (told(CLIENT).into_bytes(), "192.0.2.7"),
        (binary(client, balancer, b""), "192.0.2.7"),
        (binary(client, balancer, &[b"\x02\x03\xe8", &[b'n'; 1000][..]].concat()), "192.0.2.7"),
        (text_v6, "2001:db8::7"),
        (binary_v6, "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 40000 80\r\n".to_vec(), "127.0.0.1"),
        (local(), "127.0.0.1"),
        (block(0x21, 0x31, &[0; 216]), "127.0.0.1"),
    ]
}

/// A server behind a balancer, with a file `a`.
fn start(arguments: &[&str]) -> Server {
    let server = Server::start(&[&["--proxy-protocol"], arguments].concat());
    server.write("a", "x");
    server
}

/// The clients of the access log, as soon as there are so many.
fn clients(server: &Server, count: usize) -> Vec<String> {
    let mut text = String::new();
    eventually("all are logged", || {
        text = fs::read_to_string(server.path(".log")).unwrap_or_default();
        text.lines().count() >= count
    });
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// A server that logs into its tree.
fn start_logged() -> Server {
    let tree = tempfile::tempdir().unwrap();
    let log = tree.path().join(".log");
    let server = Server::serving(tree, &["--proxy-protocol", "--access-log", log.to_str().unwrap()]);
    server.write("a", "x");
    server
}

/// Wants the end and no byte of an answer. Of what a client has sent in vain it may be told by a reset.
#[track_caller]
fn expect_no_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(answer, b"");
}

#[test]
fn the_client_that_is_told_is_logged() {
    let server = start_logged();
    for (index, (header, client)) in headers().into_iter().enumerate() {
        let mut stream = server.connect();
        stream.write_all(&[&header[..], GET, GET].concat()).unwrap();
        for _ in 0..2 {
            assert_eq!(read_answer(&mut stream, false).text(), "x");
        }
        assert_eq!(clients(&server, 2 * index + 2)[2 * index..], [client, client]);
    }
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let server = start_logged();
    for (index, (header, client)) in headers().into_iter().enumerate() {
        let mut stream = server.connect();
        let bytes = [&header[..], GET].concat();
        bytes.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        assert_eq!(read_answer(&mut stream, false).text(), "x");
        assert_eq!(clients(&server, index + 1)[index], client);
    }
}

#[test]
fn who_shows_no_header_gets_no_answer() {
    let server = start(&[]);
    let too_long = format!("PROXY UNKNOWN {}", "x".repeat(100));
    for bytes in [
        GET,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80 \r\n",
        too_long.as_bytes(),
        &block(0x21, 0x11, b"short"),
        &block(0x31, 0x11, &[0; 12]),
        &block(0x21, 0x21, &[0; 4096])[..16],
        b"\x16\x03\x01\x02\x00",
    ] {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        expect_no_answer(&mut stream);
    }
    // A header is told once.
    let mut stream = server.connect();
    stream.write_all(format!("{}{}", told(CLIENT), told(CLIENT)).as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 400);
}

#[test]
fn without_the_option_a_header_is_no_request() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.write_all(told(CLIENT).as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 400);
}

#[test]
fn a_header_that_is_not_whole_in_time_is_given_up() {
    let server = start(&["--header-timeout", "300ms"]);
    expect_no_answer(&mut server.connect());
    let mut begun = server.connect();
    begun.write_all(b"PROXY TCP4 ").unwrap();
    expect_no_answer(&mut begun);
    // One that has always just sent something.
    let mut trickling = server.connect();
    let end = Instant::now() + DEADLINE;
    for byte in block(0x21, 0x11, &[0; 4000]) {
        assert!(Instant::now() < end);
        let written = trickling.write_all(&[byte]);
        if written.is_err() || is_readable(&trickling, Duration::from_millis(20)) {
            return expect_no_answer(&mut trickling);
        }
    }
    panic!("it may go on for ever");
}

#[test]
fn who_ends_before_the_header_is_let_go() {
    let server = start(&[]);
    for begun in [&b""[..], b"PROXY TCP4 192.0.2.7", &local()[..15]] {
        let mut stream = server.connect();
        stream.write_all(begun).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        expect_end(&mut stream);
    }
    let mut stream = server.connect();
    stream.write_all(&[told(CLIENT).as_bytes(), GET].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut stream, false).text(), "x");
    expect_end(&mut stream);
}

#[test]
fn connections_of_an_address_are_those_of_the_told_one() {
    let server = start(&["--max-connections-per-address", "1"]);
    let open = |client: &str| {
        let mut stream = server.connect();
        stream.write_all(&[told(client).as_bytes(), GET].concat()).unwrap();
        let status = read_answer(&mut stream, false).status;
        (status, stream)
    };
    let (first, stream) = open("192.0.2.1:1");
    let (second, _stream) = open("192.0.2.2:1");
    assert_eq!((first, second), (200, 200));
    assert_eq!(open("192.0.2.1:2").0, 503);
    drop(stream);
    eventually("its place is free again", || open("192.0.2.1:3").0 == 200);
}

#[test]
fn an_ipv6_network_counts_as_one_address() {
    let server = start(&["--max-connections-per-address", "1"]);
    let open = |client: &str| {
        let mut stream = server.connect();
        let header = text(client.parse().unwrap(), "[2001:db8::1]:80".parse().unwrap());
        stream.write_all(&[header.as_bytes(), GET].concat()).unwrap();
        (read_answer(&mut stream, false).status, stream)
    };
    let (first, stream) = open("[2001:db8:0:1::1]:1");
    let (other, _stream) = open("[2001:db8:0:2::1]:1");
    assert_eq!((first, other), (200, 200));
    assert_eq!(open("[2001:db8:0:1:ffff::2]:1").0, 503);
    drop(stream);
    eventually("its place is free again", || open("[2001:db8:0:1:ffff::2]:1").0 == 200);
}

#[test]
fn struct_uploads_are_told_too_and_metrics_are_not() {
    let zero = "127.0.0.1:0";
    let mut server = start(&["--struct-listen", zero, "--metrics-listen", zero, "--log-level", "info"]);
    let metrics = server.wait_for_line(|line| line.starts_with("metrics on "));
    let uploads = server.address_after("struct://").parse().unwrap();
    let mut stream = connect(uploads);
    let mut name = [0; 256];
    name[0] = b'b';
    stream.write_all(&[told(CLIENT).as_bytes(), &name, &5_i32.to_le_bytes()].concat()).unwrap();
    let mut ok = [0; 2];
    stream.read_exact(&mut ok).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut ok).unwrap();
    assert_eq!(&ok, b"ok");
    let line = server.wait_for_line(|line| line.contains("stored"));
    assert!(line.ends_with(&format!("from {CLIENT}")), "{line}");
    assert_eq!(fs::read(server.path("b")).unwrap(), b"hello");
    let mut stream = connect(metrics.strip_prefix("metrics on http://").unwrap().parse().unwrap());
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 200);
}

#[test]
fn connections_without_a_header_are_counted() {
    let mut server = start(&["--metrics-listen", "127.0.0.1:0"]);
    let line = server.wait_for_line(|line| line.starts_with("metrics on "));
    for bytes in [GET, GET, b"PROXY TCP4\r\n"] {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        expect_no_answer(&mut stream);
    }
    let mut stream = connect(line.strip_prefix("metrics on http://").unwrap().parse().unwrap());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let figures = read_answer(&mut stream, false).text();
    for (reason, count) in [("missing", 2), ("malformed", 1), ("late", 0)] {
        let figure = format!("file_server_proxy_headers_refused_total{{reason=\"{reason}\"}} {count}");
        assert!(figures.lines().any(|line| line == figure), "{figure} is not in {figures}");
    }
}

#[test]
fn a_drain_answers_what_has_come_and_waits_for_no_header() {
    let mut server = start(&["--shutdown-timeout", "60s"]);
    let mut silent = server.connect();
    let mut begun = server.connect();
    begun.write_all(b"PROXY TCP4 ").unwrap();
    let mut asking: Vec<_> = (0..20).map(|_| server.connect()).collect();
    asking.iter_mut().for_each(|stream| stream.write_all(&[told(CLIENT).as_bytes(), GET].concat()).unwrap());
    server.signal(Signal::TERM);
    for stream in &mut asking {
        assert_eq!(read_answer(stream, false).text(), "x");
        expect_end(stream);
    }
    [&mut silent, &mut begun].into_iter().for_each(expect_no_answer);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn haproxy_is_understood() {
    if !has_tool("haproxy") {
        return;
    }
    let server = start_logged();
    for (index, how) in
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"].iter().enumerate()
    {
        let haproxy = Haproxy::before(server.address(), how);
        let mut stream = connect(haproxy.address);
        stream.write_all(GET).unwrap();
        assert_eq!(read_answer(&mut stream, false).text(), "x", "{how}");
        assert_eq!(clients(&server, index + 1)[index], "127.0.0.1", "{how}, and not {OWN_ADDRESS}");
    }
}
