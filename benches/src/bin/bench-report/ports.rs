//! Ports for servers that have to be told one.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

/// A port that nobody listens on, outside the range that the kernel takes clients' ports from.
///
/// In that range a client could be given the port before its server binds it; and a client of a server that has ended
/// could be connected to itself, which echoes perfectly.
pub(crate) fn free() -> anyhow::Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let ports = usable(&range).context("/proc/sys/net/ipv4/ip_local_port_range cannot be understood")?;
    let count = ports.len() as u32;
    for _ in 0..count {
        // Runs side by side begin in different places, and no run comes back to a port until it has used all.
        let place = process::id().wrapping_mul(APART).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = ports[place as usize];
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port outside {} is free", range.trim())
}

/// The ports that neither need a privilege nor are given to clients; all, if that leaves too few.
fn usable(range: &str) -> Option<Vec<u16>> {
    let mut bounds = range.split_ascii_whitespace().map(str::parse);
    let (low, high): (u16, u16) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    let outside: Vec<u16> = (FIRST..=u16::MAX).filter(|port| !(low..=high).contains(port)).collect();
    Some(if outside.len() >= ENOUGH { outside } else { (FIRST..=u16::MAX).collect() })
}

/// Whether anything listens on a port: the kernel's table tells, without a connection that the server would see.
pub(crate) fn is_listening(port: u16) -> io::Result<bool> {
    let listens = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit_once(':'));
        local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port)) && fields.nth(1) == Some(LISTEN)
    };
    let ip4 = fs::read_to_string("/proc/net/tcp")?;
    // A kernel may be without IPv6.
    let ip6 = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Ok(ip4.lines().chain(ip6.lines()).any(listens))
}

/// Below are the ports of well-known services.
const FIRST: u16 = 10_000;

/// More than the servers of a run.
const ENOUGH: usize = 1000;

/// How far apart two runs begin whose process numbers are neighbours: more than the servers that one starts meanwhile.
const APART: u32 = 101;

/// `TCP_LISTEN`, as /proc/net/tcp writes it.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_seen() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listening(port).unwrap());
        // Port 0 means any; none listens on it.
        assert!(!is_listening(0).unwrap());
    }

    #[test]
    fn no_client_is_given_a_servers_port() {
        let ports = usable("32768\t60999\n").unwrap();
        assert_eq!((ports[0], ports[ports.len() - 1]), (10_000, 65_535));
        assert!(ports.iter().all(|port| !(32_768..=60_999).contains(port)));
        // Where clients may get any port there is no other left.
        assert_eq!(usable("1024 65535").unwrap().len(), 55_536);
        assert!(usable("many").is_none());
    }

    #[test]
    fn a_port_is_not_given_twice() {
        assert_ne!(free().unwrap(), free().unwrap());
    }
}
