//! The messages of SOCKS5, as pure functions over bytes. Each reader answers what it read and how long that was, or `None` while it is
//! not whole.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reactor::Result;

pub(crate) const VERSION: u8 = 5;
pub(crate) const CONNECT: u8 = 1;

/// Answers to a request; see RFC 1928, section 6.
pub(crate) const SUCCEEDED: u8 = 0;
pub(crate) const COMMAND_UNSUPPORTED: u8 = 7;
pub(crate) const ADDRESS_UNSUPPORTED: u8 = 8;

/// The methods that a client offers: version, count, that many methods.
pub(crate) fn read_greeting(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((version, rest)) = bytes.split_first() else { return Ok(None) };
    check(*version, VERSION)?;
    Ok(split_counted(rest).map(|(methods, rest)| (methods, bytes.len() - rest.len())))
}

/// Name and password with a colon between: version 1, and each behind its length.
pub(crate) fn read_login(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let Some((version, rest)) = bytes.split_first() else { return Ok(None) };
    check(*version, 1)?;
    let Some((name, rest)) = split_counted(rest) else { return Ok(None) };
    let Some((password, rest)) = split_counted(rest) else { return Ok(None) };
    Ok(Some(([name, b":", password].concat(), bytes.len() - rest.len())))
}

pub(crate) struct Request {
    pub(crate) command: u8,
    /// `HOST:PORT`; `None` if the address is of an unknown kind, of which the length is not known either.
    pub(crate) target: Option<String>,
}

/// Version, command, zero, kind of address, address, port.
pub(crate) fn read_request(bytes: &[u8]) -> Result<Option<(Request, usize)>> {
    let [version, command, _, kind, rest @ ..] = bytes else { return Ok(None) };
    check(*version, VERSION)?;
    let command = *command;
    let host = match kind {
        1 => rest.split_first_chunk().map(|(ip, rest)| (Ipv4Addr::from(*ip).to_string(), rest)),
        3 => split_counted(rest).map(|(name, rest)| (String::from_utf8_lossy(name).into_owned(), rest)),
        4 => rest.split_first_chunk().map(|(ip, rest): (&[u8; 16], _)| (format!("[{}]", Ipv6Addr::from(*ip)), rest)),
        _ => return Ok(Some((Request { command, target: None }, bytes.len()))),
    };
    let Some((host, rest)) = host else { return Ok(None) };
    let Some((port, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let target = Some(format!("{host}:{}", u16::from_be_bytes(*port)));
    Ok(Some((Request { command, target }, bytes.len() - rest.len())))
}

/// Version, code, zero, and the address from which the target is connected to.
pub(crate) fn reply(code: u8, local: Option<SocketAddr>) -> Vec<u8> {
    let local = local.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
    let (kind, ip) = match local.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (4, ip.octets().to_vec()),
    };
    [&[VERSION, code, 0, kind], &ip[..], &local.port().to_be_bytes()].concat()
}

/// The answer to a request that failed so.
pub(crate) fn code_of(error: &io::Error) -> u8 {
    match error.kind() {
        ErrorKind::NetworkUnreachable => 3,
        ErrorKind::HostUnreachable | ErrorKind::TimedOut | ErrorKind::NotFound => 4,
        ErrorKind::ConnectionRefused => 5,
        _ => 1,
    }
}

/// A byte that counts, that many bytes, and the rest.
fn split_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*count))
}

fn check(version: u8, wanted: u8) -> Result {
    if version == wanted { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidData, "it does not speak SOCKS5")) }
}
