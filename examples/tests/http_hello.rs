//! Requests are answered one by one and in order, however they come, and what is no request is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use common::{Program, connect, expect_bytes, run};

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\n\r\nhello\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

fn server() -> (Program, SocketAddr) {
    Program::serve("http_hello", &["127.0.0.1:0"])
}

/// All that is answered to this, up to the end.
fn answer_to(address: SocketAddr, request: &[u8]) -> String {
    let mut client = connect(address);
    client.write_all(request).unwrap();
    whole(&mut client)
}

fn whole(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn one_connection_serves_many_requests_however_they_are_cut() {
    let (_server, address) = server();
    let mut client = connect(address);
    client.set_nodelay(true).unwrap();
    client.write_all(GET).unwrap();
    expect_bytes(&mut client, OK.as_bytes());
    // Three in one piece, and half of the fourth.
    client.write_all(&[GET, GET, GET, &GET[..10]].concat()).unwrap();
    expect_bytes(&mut client, OK.repeat(3).as_bytes());
    for byte in &GET[10..] {
        client.write_all(&[*byte]).unwrap();
    }
    expect_bytes(&mut client, OK.as_bytes());
    // HEAD is answered without a body, so that the next answer begins right behind the head.
    client.write_all(&[b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n", GET].concat()).unwrap();
    expect_bytes(&mut client, (OK.replace("hello\n", "") + OK).as_bytes());
}

#[test]
fn who_wants_the_end_gets_it() {
    let (_server, address) = server();
    let close = OK.replace("keep-alive", "close");
    assert_eq!(answer_to(address, b"GET / HTTP/1.1\r\nHost: here\r\nConnection: foo, Close\r\n\r\nGET / HT"), close);
    assert_eq!(answer_to(address, b"GET / HTTP/1.0\r\n\r\n"), close);
}

#[test]
fn what_is_no_request_is_refused() {
    let (_server, address) = server();
    let long = [b"GET / HTTP/1.1\r\nHost: here\r\nX: ", &[b'x'; 9000][..]].concat();
    let refused: [(&[u8], &str); 6] = [
        (b"\0\0\0\0\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\nGET ", "501 Not Implemented"),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented"),
        (b"DELETE / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", "501 Not Implemented"),
        (&long, "431 Request Header Fields Too Large"),
    ];
    for (request, status) in refused {
        let answer = answer_to(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n")), "{answer}");
    }
}

#[test]
fn curl_uses_its_connection_again() {
    if !common::has_tool("curl") {
        return;
    }
    let (_server, address) = server();
    let urls = [format!("http://{address}/"), format!("http://{address}/again")];
    let output = run(Command::new("curl").args(["-sv", "--noproxy", "*"]).args(urls));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hello\nhello\n");
    let told = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(told.contains("re-using existing") || told.contains("reusing existing"), "{told}");
}
