//! Which of the addresses behind a name is loaded.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::anyhow;
use reactor::{Address, SocketAddress};

/// Looks an address up. Of several the first one is taken that answers, which costs the server a connection.
///
/// # Errors
/// The name is unknown, none of its addresses answers, or none is of the family of the local address.
pub(crate) fn choose(address: &Address, local: Option<SocketAddr>, timeout: Duration) -> anyhow::Result<SocketAddress> {
    let fits = |candidate: &SocketAddress| match (candidate.as_inet(), local) {
        (Some(candidate), Some(local)) => candidate.is_ipv4() == local.is_ipv4(),
        _ => true,
    };
    let mut candidates = address.resolve()?.into_iter().filter(fits).collect::<Vec<_>>();
    let last = candidates.pop().ok_or_else(|| {
        let family = if local.is_some_and(|local| local.is_ipv4()) { "IPv4" } else { "IPv6" };
        anyhow!("{address} has no {family} address, and --local-address is one")
    })?;
    for candidate in candidates {
        if candidate.as_inet().is_some_and(|inet| TcpStream::connect_timeout(&inet, timeout).is_ok()) {
            return Ok(candidate);
        }
    }
    Ok(last)
}
