//! What became of a datagram that was not delivered.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::address::SocketAddress;
use crate::sys::ancillary::ExtendedError;

/// What became of a datagram that was sent and not delivered, as [`DatagramHandler::on_error`](crate::DatagramHandler::on_error)
/// is told; see `IP_RECVERR` in ip(7).
///
/// Anybody on the network can make some of these up, so none is proof of anything.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatagramError {
    /// What is wrong: `ConnectionRefused` if nobody has that port, `HostUnreachable`, an `EMSGSIZE` for a datagram larger
    /// than the path takes, and so on.
    pub error: io::Error,
    /// Where the datagram was going, if that is known.
    pub destination: Option<SocketAddress>,
    /// Who says so: the peer's machine, or a router on the way; `None` if it is this machine.
    pub reporter: Option<IpAddr>,
    /// The type and the code of the ICMP or ICMPv6 message, if it was one.
    pub icmp: Option<(u8, u8)>,
    /// The largest packet that the path takes, in bytes, where that is what is wrong.
    pub mtu: Option<u32>,
}

impl DatagramError {
    /// An error of the kernel's own, of a datagram that was going there.
    pub(crate) fn local(error: io::Error, destination: Option<SocketAddress>) -> Self {
        Self { error, destination, reporter: None, icmp: None, mtu: None }
    }

    /// An error that the kernel has kept for us.
    pub(crate) fn told(told: ExtendedError, destination: Option<SocketAddress>, reporter: Option<IpAddr>) -> Self {
        let is_icmp = matches!(told.origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
        Self {
            error: io::Error::from_raw_os_error(told.errno),
            destination,
            reporter: reporter.filter(|_| is_icmp),
            icmp: is_icmp.then_some((told.kind, told.code)),
            mtu: (told.errno == libc::EMSGSIZE).then_some(told.info),
        }
    }
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            Some(destination) => write!(f, "a datagram to {destination} was not delivered: {}", self.error),
            None => write!(f, "a datagram was not delivered: {}", self.error),
        }
    }
}

impl Error for DatagramError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_where_the_datagram_was_going_if_that_is_known() {
        let refused = || io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let to: SocketAddress = std::net::SocketAddr::from(([127, 0, 0, 1], 7)).into();
        let known = DatagramError::local(refused(), Some(to));
        let unknown = DatagramError::local(refused(), None);
        assert!(known.to_string().starts_with("a datagram to 127.0.0.1:7 was not delivered: "), "{known}");
        assert!(unknown.to_string().starts_with("a datagram was not delivered: "), "{unknown}");
        assert_eq!(known.source().map(ToString::to_string), Some(refused().to_string()));
    }
}
