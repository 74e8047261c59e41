//! Clients get where they want, with or without a password, and are told why not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;

use common::{Program, accept, connect, expect_bytes, expect_end, run};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

const NO_LOGIN: &[u8] = &[5, 1, 0];

fn proxy(more: &[&str]) -> (Program, SocketAddr) {
    Program::serve("socks5", &[&["127.0.0.1:0"], more].concat())
}

fn target() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn to_ip(port: u16) -> Vec<u8> {
    [&[5, 1, 0, 1, 127, 0, 0, 1], &port.to_be_bytes()[..]].concat()
}

fn to_name(name: &str, port: u16) -> Vec<u8> {
    [&[5, 1, 0, 3, u8::try_from(name.len()).unwrap()], name.as_bytes(), &port.to_be_bytes()].concat()
}

/// The code of the answer to a request, and the port from which the proxy connects.
fn answer(client: &mut TcpStream) -> (u8, u16) {
    let mut reply = [0; 10];
    client.read_exact(&mut reply).unwrap();
    assert_eq!((reply[0], reply[2], reply[3]), (5, 0, 1), "{reply:?}");
    (reply[1], u16::from_be_bytes([reply[8], reply[9]]))
}

#[test]
fn both_directions_are_joined_and_end_one_by_one() {
    let (_proxy, address) = proxy(&[]);
    let (listener, target) = target();
    for request in [to_ip(target.port()), to_name("127.0.0.1", target.port())] {
        let mut client = connect(address);
        client.write_all(NO_LOGIN).unwrap();
        expect_bytes(&mut client, &[5, 0]);
        client.write_all(&request).unwrap();
        let mut far = accept(&listener);
        assert_eq!(answer(&mut client), (0, far.peer_addr().unwrap().port()));
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        expect_bytes(&mut far, b"question");
        expect_end(&mut far);
        far.write_all(b"answer").unwrap();
        drop(far);
        expect_bytes(&mut client, b"answer");
        expect_end(&mut client);
    }
}

#[test]
fn how_the_handshake_is_cut_does_not_matter_and_early_words_arrive() {
    let (_proxy, address) = proxy(&[]);
    let (listener, target) = target();
    let all = [NO_LOGIN, &to_ip(target.port()), b"early words"].concat();
    for piece in [all.len(), 1] {
        let mut client = connect(address);
        client.set_nodelay(true).unwrap();
        all.chunks(piece).for_each(|piece| client.write_all(piece).unwrap());
        let mut far = accept(&listener);
        expect_bytes(&mut client, &[5, 0]);
        assert_eq!(answer(&mut client).0, 0);
        expect_bytes(&mut far, b"early words");
    }
}

#[test]
fn only_those_who_know_the_password_get_through() {
    let (_proxy, address) = proxy(&["--user", "ana:secret"]);
    let (listener, target) = target();
    let login =
        |password: &str| [&[1, 3], &b"ana"[..], &[u8::try_from(password.len()).unwrap()], password.as_bytes()].concat();

    let mut client = connect(address);
    client.write_all(&[5, 2, 0, 2]).unwrap();
    expect_bytes(&mut client, &[5, 2]);
    client.write_all(&login("secret")).unwrap();
    expect_bytes(&mut client, &[1, 0]);
    client.write_all(&to_ip(target.port())).unwrap();
    accept(&listener);
    assert_eq!(answer(&mut client).0, 0);

    // What comes behind a refusal is not obeyed.
    let mut liar = connect(address);
    liar.write_all(&[&[5, 1, 2], &login("guess")[..], &to_ip(target.port())].concat()).unwrap();
    expect_bytes(&mut liar, &[5, 2, 1, 1]);
    expect_end(&mut liar);

    let mut nameless = connect(address);
    nameless.write_all(&[NO_LOGIN, &to_ip(target.port())].concat()).unwrap();
    expect_bytes(&mut nameless, &[5, 0xff]);
    expect_end(&mut nameless);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody else got through");
}

#[test]
fn why_not_is_told() {
    let (mut proxy, address) = proxy(&[]);
    // A port that is taken and on which nobody listens.
    let nobody = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&nobody, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = SocketAddrV4::try_from(getsockname(&nobody).unwrap()).unwrap().port();
    let requests = [
        (to_ip(closed), 5),
        // The broadcast address of the loopback interface, to which TCP has no way.
        (vec![5, 1, 0, 1, 127, 255, 255, 255, 0, 80], 3),
        (to_name("unix:/run/secret", 80), 1),
        ([&[5, 2], &to_ip(closed)[2..]].concat(), 7),
        (vec![5, 1, 0, 9, 1, 2, 3], 8),
    ];
    for (request, code) in requests {
        let mut client = connect(address);
        client.write_all(&[NO_LOGIN, &request].concat()).unwrap();
        expect_bytes(&mut client, &[5, 0]);
        assert_eq!(answer(&mut client).0, code, "{request:?}");
        expect_end(&mut client);
    }
    proxy.stdout.wait_for(&format!(" to 127.0.0.1:{closed}: Connection refused"));
    let mut stranger = connect(address);
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    expect_end(&mut stranger);
}

#[test]
fn curl_fetches_through_it() {
    if !common::has_tool("curl") {
        return;
    }
    let (mut proxy, address) = proxy(&["--user", "ana:secret"]);
    let (_web, web) = Program::serve("http_hello", &["127.0.0.1:0"]);
    let url = format!("http://localhost:{}/", web.port());
    let through = format!("socks5h://ana:secret@{address}");
    let output = run(Command::new("curl").args(["-s", "--noproxy", "", "--proxy", &through, &url]));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hello\n");
    proxy.stdout.wait_for(&format!(" to localhost:{}: connected", web.port()));
}
