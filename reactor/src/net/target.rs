//! Where a connection is to be made to: addresses to try in turn, or a host to look up first.

use std::fmt;
use std::net::SocketAddr;

use crate::address::{SocketAddress, UnixName};
use crate::net::address::Address;
use crate::net::address_error::{AddressError, flaw};
use crate::net::host::Host;

/// Where a connection is to be made to: one address, several to try in turn, or a host by name.
///
/// It is made of what is at hand: a text as [`Address`] reads it, an address of any kind, or a list of addresses.
///
/// ```
/// use std::net::SocketAddr;
/// use reactor::net::Target;
///
/// let named = Target::try_from("example.org:80")?;
/// assert_eq!(named.to_string(), "example.org:80");
///
/// let replicas: [SocketAddr; 2] = [([10, 0, 0, 1], 5432).into(), ([10, 0, 0, 2], 5432).into()];
/// assert_eq!(Target::from(replicas.to_vec()).to_string(), "10.0.0.1:5432 or 10.0.0.2:5432");
///
/// assert!(Target::try_from("udp://example.org:80").is_err());
/// # Ok::<(), reactor::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the order in which they are tried.
    Addresses(Vec<SocketAddress>),
    /// A name that has to be looked up.
    Host(Host),
}

impl Target {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl From<Vec<SocketAddress>> for Target {
    fn from(addresses: Vec<SocketAddress>) -> Self {
        Self { place: Place::Addresses(addresses) }
    }
}

impl From<Vec<SocketAddr>> for Target {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        addresses.into_iter().map(SocketAddress::from).collect::<Vec<_>>().into()
    }
}

impl From<SocketAddress> for Target {
    fn from(address: SocketAddress) -> Self {
        vec![address].into()
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        SocketAddress::from(address).into()
    }
}

impl From<UnixName> for Target {
    fn from(name: UnixName) -> Self {
        SocketAddress::from(name).into()
    }
}

impl From<Host> for Target {
    fn from(host: Host) -> Self {
        match host.to_string().parse::<SocketAddr>() {
            // It needs no look-up.
            Ok(address) => address.into(),
            Err(_) => Self { place: Place::Host(host) },
        }
    }
}

impl TryFrom<Address> for Target {
    type Error = AddressError;

    fn try_from(address: Address) -> Result<Self, AddressError> {
        match address {
            Address::Tcp(host) => Ok(host.into()),
            Address::Unix(name) => Ok(name.into()),
            Address::Udp(_) | Address::UnixDatagram(_) => {
                let no_stream = flaw("datagrams make no connection", "write tcp:// or unix:");
                no_stream.map_err(|flaw| AddressError::new(&address.to_string(), flaw))
            }
        }
    }
}

impl TryFrom<&str> for Target {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        Address::try_from(text)?.try_into()
    }
}

impl TryFrom<String> for Target {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.as_str().try_into()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(host) => host.fmt(f),
            Place::Addresses(addresses) if addresses.is_empty() => f.write_str("no address"),
            Place::Addresses(addresses) => {
                addresses[0].fmt(f)?;
                addresses[1..].iter().try_for_each(|address| write!(f, " or {address}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_need_no_look_up() {
        for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%7]:80"] {
            let target = Target::try_from(text).unwrap();
            assert_eq!(target, Target::from(text.parse::<SocketAddr>().unwrap()));
            assert_eq!(target.to_string(), text);
        }
        assert!(matches!(Target::try_from("localhost:80").unwrap().place(), Place::Host(_)));
    }

    #[test]
    fn datagrams_are_refused_by_name() {
        let error = Target::try_from("udp://127.0.0.1:80").unwrap_err();
        assert!(error.to_string().contains("udp://127.0.0.1:80"), "{error}");
    }
}
