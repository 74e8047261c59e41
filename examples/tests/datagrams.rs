//! Datagrams come back, are lost, or are told of; what is said to a group all its members hear.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;

use common::{DEADLINE, Program};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

fn udp_socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn each_datagram_comes_back_whether_or_not_the_socket_is_connected() {
    let (mut server, address) = Program::serve("udp_echo_server", &["udp://127.0.0.1:0"]);
    for more in [&["--count", "2"][..], &["--count", "2", "--connected"]] {
        let mut client = Program::start("udp_echo_client", &[&[&address.to_string()[..]], more].concat());
        for number in 1..=2 {
            assert_eq!(client.stdout.next(), format!("datagram {number} of 2: 15 bytes came back"));
            assert!(server.stdout.next().ends_with(" sent 15 bytes"));
        }
        client.succeed();
    }
}

#[test]
fn a_datagram_that_was_cut_is_told() {
    let (mut server, address) = Program::serve("udp_echo_server", &["udp://127.0.0.1:0"]);
    let (client, local) = udp_socket();
    client.send_to(&[0; 4000], address).unwrap();
    assert_eq!(server.stdout.next(), format!("{local} sent 4000 bytes, and was cut"));
    assert_eq!(client.recv(&mut [0; 5000]).unwrap(), 1472);
}

#[test]
fn nobody_there_is_told_by_the_network() {
    // A connected socket takes datagrams from its peer alone, so that the port is taken and nobody has it.
    let (taken, address) = udp_socket();
    taken.connect("127.0.0.1:9").unwrap();
    for more in [&[][..], &["--connected"]] {
        let mut client = Program::start("udp_echo_client", &[&[&address.to_string()[..]], more].concat());
        client.stderr.wait_for(&format!("a datagram to {address} was not delivered: Connection refused"));
        assert_eq!(client.wait().code(), Some(1));
    }
}

#[test]
fn what_does_not_come_back_is_lost_and_what_a_stranger_sends_is_no_answer() {
    let (server, address) = udp_socket();
    let (stranger, stranger_address) = udp_socket();
    let mut lost = Program::start("udp_echo_client", &[&address.to_string(), "--count", "1", "--timeout", "50ms"]);
    assert_eq!(lost.stdout.next(), "datagram 1 of 1: lost");
    assert_eq!(lost.wait().code(), Some(1));
    server.recv(&mut [0; 100]).unwrap();

    let mut client = Program::start("udp_echo_client", &[&address.to_string(), "--count", "1", "--timeout", "30s"]);
    let mut bytes = [0; 100];
    let (length, from) = server.recv_from(&mut bytes).unwrap();
    let client_address = SocketAddr::from((Ipv4Addr::LOCALHOST, from.port()));
    stranger.send_to(&bytes[..length], client_address).unwrap();
    assert_eq!(client.stdout.next(), format!("{stranger_address} sent something that is no answer"));
    server.send_to(&bytes[..length], client_address).unwrap();
    client.succeed();
}

/// A port for a group, kept from everybody who does not share it.
fn group_port() -> (OwnedFd, u16) {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    set_socket_reuseaddr(&socket, true).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = SocketAddrV4::try_from(getsockname(&socket).unwrap()).unwrap().port();
    (socket, port)
}

#[test]
fn all_members_of_a_group_hear_what_one_says() {
    let lo = reactor::net::interface_index("lo").unwrap();
    let options = reactor::DatagramOptions::default().join(Ipv4Addr::new(239, 255, 77, 77), lo);
    if let Err(error) = reactor::DatagramSocket::bind("udp://0.0.0.0:0", &options) {
        return println!("skipped: no group can be joined on the loopback interface: {error}");
    }
    let (_kept, port) = group_port();
    let group = format!("239.255.77.77:{port}");
    let mut members: Vec<_> =
        ["ana", "bob"].map(|name| Program::start("multicast_chat", &[&group, "--name", name])).into();
    for member in &mut members {
        member.stdout.wait_for(" has joined ");
    }
    members[0].stdin().write_all(b"hello\n").unwrap();
    members.iter_mut().for_each(|member| assert_eq!(member.stdout.next(), "ana: hello"));
    // A line, not what a terminal would obey.
    members[1].stdin().write_all("\x1b[2Jwörld\n".as_bytes()).unwrap();
    members.iter_mut().for_each(|member| assert_eq!(member.stdout.next(), "bob: \u{fffd}[2Jwörld"));
    for member in &mut members {
        drop(member.child.stdin.take());
        member.succeed();
    }
}
