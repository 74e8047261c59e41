//! The address a person writes, such as `tcp://localhost:80`: read, checked and shown again.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;

use crate::address::{SocketAddress, UnixName};
use crate::net::address_error::{AddressError, Flaw, flaw};
use crate::net::host::{Host, parse_host};

/// Where to listen or to connect, as written by a person: a protocol and a name to resolve.
///
/// | written                            | is                                                        |
/// |------------------------------------|-----------------------------------------------------------|
/// | `tcp://HOST:PORT`, `HOST:PORT`     | TCP; the host is a name, an IPv4 address or `[IPv6]`      |
/// | `udp://HOST:PORT`                  | UDP, likewise                                             |
/// | `unix:/run/app.sock`, `unix:a/b`   | a Unix domain socket at a path, absolute or relative      |
/// | `unix:@name`                       | a Unix domain socket with an abstract name                |
/// | `unix-dgram:/run/app.sock`, ...    | a Unix domain socket for datagrams, likewise              |
///
/// Port 0 lets the kernel choose. A zone follows a link-local address: `[fe80::1%eth0]:80`. In Unix
/// names `\xHH` is one byte and `\\` a backslash; `unix:///run/app.sock` is read as
/// `unix:/run/app.sock`. A missing host (`:80`, `*:80`) is an error, because it leaves open which of
/// `0.0.0.0` and `[::]` is meant.
///
/// What was parsed displays as something that parses to the same address.
///
/// ```
/// use reactor::net::Address;
///
/// let address: Address = "localhost:7777".parse()?;
/// assert_eq!(address.to_string(), "tcp://localhost:7777");
///
/// let error = Address::try_from(":7777").unwrap_err();
/// assert!(error.to_string().contains(r#"write "0.0.0.0:7777""#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP host and port.
    Tcp(Host),
    /// A UDP host and port.
    Udp(Host),
    /// A Unix domain socket, of streams where both are possible.
    Unix(UnixName),
    /// A Unix domain socket for datagrams.
    UnixDatagram(UnixName),
}

impl Address {
    /// The host and port, unless this is a Unix domain socket.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Tcp(host) | Self::Udp(host) => Some(host),
            Self::Unix(_) | Self::UnixDatagram(_) => None,
        }
    }

    /// Whether the address is for datagrams alone.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::UnixDatagram(_))
    }

    /// Every socket address this one stands for, in the order to try them; at least one.
    ///
    /// A host that is a name is looked up by `getaddrinfo(3)`, which blocks the thread for as long
    /// as DNS takes: call it before the loop runs, or on a thread that may wait. IP addresses
    /// and Unix names cost nothing.
    ///
    /// # Errors
    ///
    /// When the host has no address or the lookup fails; the error names the host.
    ///
    /// ```
    /// use reactor::net::Address;
    ///
    /// let resolved = Address::try_from("udp://[::1]:53")?.resolve()?;
    /// assert_eq!(resolved[0].to_string(), "[::1]:53");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve(&self) -> io::Result<Vec<SocketAddress>> {
        match self {
            Self::Tcp(host) | Self::Udp(host) => host.resolve(),
            Self::Unix(name) | Self::UnixDatagram(name) => Ok(vec![SocketAddress::Unix(name.clone())]),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse_address(text).map_err(|flaw| AddressError::new(text, flaw))
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

/// TCP; write `Address::Udp(address.into())` for UDP.
impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Udp(host) => write!(f, "udp://{host}"),
            Self::Unix(name) => name.fmt(f),
            // The name displays with the scheme that it has for streams.
            Self::UnixDatagram(name) => write!(f, "unix-dgram{}", &name.to_string()["unix".len()..]),
        }
    }
}

fn parse_address(text: &str) -> Result<Address, Flaw> {
    if let Some(rest) = text.strip_prefix("unix:") {
        return parse_unix("unix:", rest).map(Address::Unix);
    }
    if let Some(rest) = text.strip_prefix("unix-dgram:") {
        return parse_unix("unix-dgram:", rest).map(Address::UnixDatagram);
    }
    if let Some(rest) = text.strip_prefix("tcp://") {
        return parse_host(rest).map(Address::Tcp);
    }
    if let Some(rest) = text.strip_prefix("udp://") {
        return parse_host(rest).map(Address::Udp);
    }
    if text.is_empty() {
        return flaw("it is empty", "write HOST:PORT or unix:/path");
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return flaw(format!("{scheme:?} is no known scheme"), "write tcp://, udp:// or unix:");
    }
    for scheme in ["tcp", "udp"] {
        if text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')) {
            let problem = format!("two slashes follow {scheme:?}");
            return flaw(problem, format!("write {scheme}://HOST:PORT"));
        }
    }
    if text.starts_with(['/', '.', '@']) || (text.contains('/') && !text.contains(':')) {
        return flaw("a Unix socket needs its scheme", format!("write {:?}", format!("unix:{text}")));
    }
    parse_host(text).map(Address::Tcp)
}

fn parse_unix(scheme: &str, text: &str) -> Result<UnixName, Flaw> {
    if let Some(name) = text.strip_prefix('@') {
        let name = unescape(name)?;
        check_length("an abstract name", &name)?;
        return Ok(UnixName::Abstract(name));
    }
    let mut path = unescape(text)?;
    check_length("a path", &path)?;
    if path.contains(&0) {
        return flaw("a path has no NUL in it", "write one without, or an abstract unix:@name");
    }
    match path.iter().take_while(|byte| **byte == b'/').count() {
        0 | 1 => {}
        2 => {
            let rest = text.trim_start_matches('/');
            let [absolute, other] = [format!("{scheme}/{rest}"), format!("{scheme}{rest}")];
            return flaw(format!("no host follows {scheme:?}"), format!("write {absolute:?} or {other:?}"));
        }
        slashes => drop(path.drain(1..slashes)),
    }
    Ok(UnixName::Path(OsString::from_vec(path).into()))
}

fn check_length(what: &str, name: &[u8]) -> Result<(), Flaw> {
    match name.len() {
        0 => flaw("the name is empty", "write unix:/path or unix:@name"),
        1..=UnixName::MAX_LEN => Ok(()),
        length => {
            let problem = format!("{what} of {length} bytes does not fit a socket address");
            flaw(problem, format!("write at most {} bytes", UnixName::MAX_LEN))
        }
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, Flaw> {
    match UnixName::unescape(text) {
        Some(bytes) => Ok(bytes),
        None => flaw("a backslash stands alone", r"write \\ for a backslash, \xHH for a byte"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Address>().unwrap().to_string()
    }

    fn error(text: &str) -> String {
        text.parse::<Address>().unwrap_err().to_string()
    }

    #[test]
    fn reads_every_form_in_the_table() {
        for (written, told) in [
            ("tcp://localhost:80", "tcp://localhost:80"),
            ("127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("tcp://tcp:80", "tcp://tcp:80"),
            ("udp://example.org.:53", "udp://example.org.:53"),
            ("[0:0::0:1]:080", "tcp://[::1]:80"),
            ("[fe80::1%eth0]:80", "tcp://[fe80::1%eth0]:80"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:dir/sock", "unix:dir/sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
            ("unix:@name", "unix:@name"),
            ("unix:@@", "unix:@@"),
            (r"unix:\x40a\\b\xff", r"unix:\x40a\\b\xff"),
            (r"unix:@\x00", r"unix:@\x00"),
            ("unix-dgram:/run/app.sock", "unix-dgram:/run/app.sock"),
            (r"unix-dgram:@a\x00", r"unix-dgram:@a\x00"),
        ] {
            assert_eq!(shown(written), told, "{written}");
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        for (written, advice) in [
            ("", "write HOST:PORT or unix:/path"),
            ("::1", r#"write "[::1]:PORT""#),
            ("tcp://", r#"write "HOST:PORT""#),
            ("tcp://*:7777", r#"write "0.0.0.0:7777" or "[::]:7777""#),
            ("http://localhost:80", "write tcp://, udp:// or unix:"),
            ("udp:localhost:80", "write udp://HOST:PORT"),
            ("/run/app.sock", r#"write "unix:/run/app.sock""#),
            ("dir/sock", r#"write "unix:dir/sock""#),
            ("@name", r#"write "unix:@name""#),
            ("unix:", "write unix:/path or unix:@name"),
            ("unix:@", "write unix:/path or unix:@name"),
            ("unix-dgram://run/sock", r#"write "unix-dgram:/run/sock" or "unix-dgram:run/sock""#),
            ("unix://run/sock", r#"write "unix:/run/sock" or "unix:run/sock""#),
            (r"unix:/a\n", r"write \\ for a backslash"),
            (r"unix:/a\", r"write \\ for a backslash"),
        ] {
            let told = error(written);
            assert!(told.starts_with(&format!("bad address {written:?}: ")), "{told}");
            assert!(told.contains(advice), "{told}");
        }
    }

    #[test]
    fn names_the_limit_of_a_unix_name() {
        let limit = UnixName::MAX_LEN;
        for prefix in ["", "@"] {
            let fits = format!("unix:{prefix}{}", "a".repeat(limit));
            assert_eq!(shown(&fits), fits);
            let told = error(&format!("{fits}a"));
            assert!(told.contains(&format!("write at most {limit} bytes")), "{told}");
        }
        assert!(error("unix:/a\0b").contains("no NUL"));
        assert!(error(r"unix:/a\x00").contains("no NUL"));
    }

    #[test]
    fn a_socket_address_becomes_tcp() {
        for text in ["127.0.0.1:80", "[::1]:80", "[fe80::1%7]:80", "[::ffff:1.2.3.4]:0"] {
            let address = Address::from(text.parse::<SocketAddr>().unwrap());
            assert_eq!(address.to_string(), format!("tcp://{text}"));
            assert_eq!(Address::try_from(address.to_string()), Ok(address));
        }
    }

    #[test]
    fn only_inet_addresses_have_a_host() {
        let host = |text| Address::try_from(text).unwrap().host().map(|host| (host.name().to_owned(), host.port()));
        assert_eq!(host("a:80"), Some(("a".to_owned(), 80)));
        assert_eq!(host("udp://[::1]:53"), Some(("::1".to_owned(), 53)));
        assert_eq!(host("unix:@n"), None);
    }

    #[test]
    fn resolves_without_asking_anybody_when_nothing_is_open() {
        for (written, told) in [("udp://127.0.0.1:53", "127.0.0.1:53"), ("unix:@n", "unix:@n")] {
            let resolved = Address::try_from(written).unwrap().resolve().unwrap();
            assert_eq!(resolved.iter().map(ToString::to_string).collect::<Vec<_>>(), [told]);
        }
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn what_was_parsed_displays_as_the_same_address(
            text in prop_oneof![
                r"(tcp://|udp://|)[a-zA-Z0-9_.-]{1,12}:[0-9]{1,5}",
                r"(tcp://|udp://|)\[[0-9a-f:]{2,12}(%[a-z0-9]{1,4})?\]:[0-9]{1,5}",
                r"unix(-dgram)?:[@/]{0,4}(\\x[0-9a-fA-F]{2}|\\\\|[@/a-z]|\PC|\p{Cc}){0,40}",
                any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]:1")),
            ],
        ) {
            if let Ok(address) = Address::try_from(text) {
                let told = address.to_string();
                prop_assert!(!told.contains(char::is_control));
                prop_assert_eq!(Address::try_from(told), Ok(address));
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn every_unix_name_can_be_written(
            bytes in prop::collection::vec(1_u8.., 1..=UnixName::MAX_LEN),
            is_abstract: bool,
        ) {
            prop_assume!(is_abstract || !bytes.starts_with(b"//"));
            let name = if is_abstract {
                UnixName::Abstract(bytes)
            } else {
                UnixName::Path(OsString::from_vec(bytes).into())
            };
            let address = Address::Unix(name);
            prop_assert_eq!(Address::try_from(address.to_string()), Ok(address));
        }

        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn no_text_makes_it_panic(
            scheme in "(tcp://|udp://|unix:@?|\\[|)",
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            text: String,
        ) {
            for rest in [String::from_utf8_lossy(&bytes).into_owned(), text] {
                if let Err(error) = format!("{scheme}{rest}").parse::<Address>() {
                    prop_assert!(!error.to_string().contains('\n'));
                }
            }
        }
    }
}
