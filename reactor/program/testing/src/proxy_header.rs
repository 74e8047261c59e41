//! Headers of the PROXY protocol, as a load balancer writes them.

use std::net::{IpAddr, SocketAddr};

/// A header of version 1.
#[must_use]
pub fn text(source: SocketAddr, destination: SocketAddr) -> String {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

/// A header of version 2 with additions (TLVs).
#[must_use]
pub fn binary(source: SocketAddr, destination: SocketAddr, additions: &[u8]) -> Vec<u8> {
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let [from, to] = [source, destination].map(|address| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    });
    let [from_port, to_port] = [source, destination].map(|address| address.port().to_be_bytes());
    block(0x21, family, &[&from[..], &to, &from_port, &to_port, additions].concat())
}

/// A header of version 2 by which the balancer speaks for itself.
#[must_use]
pub fn local() -> Vec<u8> {
    block(0x20, 0, &[])
}

/// A header of version 2 with any values.
#[must_use]
pub fn block(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, block].concat()
}
