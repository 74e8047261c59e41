//! How connections begin and end: many attempts with one deadline, a window that is full, the ways in which a peer goes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;

use common::{Program, binary, run};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

/// A port that is taken and on which nobody listens.
fn bound() -> (OwnedFd, SocketAddr) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    // So that others who set this too may bind it.
    set_socket_reuseaddr(&socket, true).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(getsockname(&socket).unwrap()).unwrap().into();
    (socket, address)
}

fn scan(arguments: &[&str]) -> Vec<String> {
    let output = run(Command::new(binary("connect_timeout")).args(arguments));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn attempts_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = listener.local_addr().unwrap();
    let (_nobody, refused) = bound();
    // A backlog of none has room for one, and answers no other.
    let (full, late) = bound();
    listen(&full, 0).unwrap();
    let _first = TcpStream::connect(late).unwrap();
    // The broadcast address of the loopback interface, to which TCP has no way.
    let unreachable = "127.255.255.255:7";
    let targets = [&connected.to_string(), &refused.to_string(), &late.to_string(), unreachable];
    let mut lines = scan(&[&targets[..], &["--deadline", "3s", "--verbose"]].concat());
    let summary = "1 connected, 1 refused, 1 timed out, 1 unreachable";
    assert_eq!(lines.pop().unwrap(), summary);
    lines.sort();
    let mut wanted = [
        format!("{connected}: connected"),
        format!("{refused}: refused"),
        format!("{late}: timed out"),
        format!("{unreachable}: unreachable"),
    ];
    wanted.sort();
    assert_eq!(lines, wanted);
}

#[test]
fn a_socket_that_meets_itself_is_told() {
    let (_nobody, address) = bound();
    let lines = scan(&[&address.to_string(), "--local", &address.to_string(), "--verbose"]);
    assert_eq!(lines[0], format!("{address}: met itself"));
}

#[test]
fn a_range_is_scanned_a_few_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let range = format!("127.0.0.1:{}-{}", port - 50, port);
    let lines = scan(&[&range, "--at-once", "3", "--deadline", "20s"]);
    assert!(lines.contains(&format!("127.0.0.1:{port}: connected")), "{lines:?}");
    let counts = lines.last().unwrap().split(", ").map(|part| part.split(' ').next().unwrap().parse::<u32>().unwrap());
    assert_eq!(counts.sum::<u32>(), 51);
}

#[test]
fn the_bytes_are_where_the_text_says() {
    let mut program = Program::start("fill_window", &["127.0.0.1:0", "--stay"]);
    program.ready_address();
    let numbers = |line: &str| -> Vec<usize> {
        line.split(|char: char| !char.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
    };
    let line = program.stdout.wait_for("EAGAIN after");
    let [given, send_buffer, receive_buffer, queue] = numbers(&line)[..] else { panic!("{line}") };
    assert!(send_buffer > 0 && receive_buffer > 0 && queue > 0, "{line}");
    assert!(send_buffer + receive_buffer + queue >= given, "all bytes are somewhere: {line}");
    program.stdout.wait_for("above the high mark of 262144 nothing is read: the 14 bytes");
    assert_eq!(program.stdout.next(), "press Enter to have the peer read");
    program.stdin().write_all(b"\n").unwrap();
    assert_eq!(program.stdout.next(), "the peer reads:");
    let line = program.stdout.next();
    assert!(line.starts_with("on_drained") && numbers(&line)[0] <= 64 << 10, "{line}");
    program.stdout.wait_for(r#"on_data: "are you there?""#);
    let line = program.stdout.wait_for("the peer has read all");
    assert!(numbers(&line)[0] >= given + (256 << 10), "{line}");
    program.succeed();
}

#[test]
fn each_way_to_go_has_its_reason() {
    let output = run(&mut Command::new(binary("peer_close")));
    let wanted = "\
close: the peer has closed its socket
  on_eof: the peer sends no more; it is told goodbye
  on_close: eof (the peer closed)
half-close: the peer has shut down its sending direction
  on_eof: the peer sends no more; it is told goodbye
  on_close: eof (the peer closed)
  the peer reads \"goodbye\"
reset: the peer has closed its socket with SO_LINGER of 0
  on_close: error (Connection reset by peer (os error 104))
vanish: the peer says nothing for 200 ms, the idle timeout
  on_close: timeout (idle for too long)
";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
    assert!(output.status.success());
}

#[test]
fn a_network_that_is_gone_is_found_out_by_keepalive() {
    let own_network = |command: &mut Command| run(command).status.success();
    if !common::has_tool("ip") || !common::has_tool("unshare") {
        return;
    }
    if !own_network(Command::new("unshare").args(["-rn", "ip", "link", "set", "lo", "up"])) {
        return println!("skipped: this machine does not let us have a network of our own");
    }
    let output = run(Command::new("unshare").arg("-rn").arg(binary("peer_close")).arg("keepalive"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("  on_close: error (Connection timed out (os error 110))\n"), "{text}");
}
