//! The host and port an address names: read, checked, looked up and shown again.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::address::SocketAddress;
use crate::net::address_error::{AddressError, Flaw, flaw};

/// A host, by name or IP address, and a port; displays as `name:80` or `[::1]:80`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: String,
    port: u16,
}

impl Host {
    /// A host from its two halves; an IPv6 address comes without brackets here.
    ///
    /// # Errors
    ///
    /// When `name` is empty or can be neither a host's name nor an IP address.
    pub fn new(name: &str, port: u16) -> Result<Self, AddressError> {
        match parse_name(name) {
            Ok(name) => Ok(Self { name, port }),
            Err(flaw) => Err(AddressError::new(name, flaw)),
        }
    }

    /// The name or IP address, an IPv6 address without brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port; 0 lets the kernel choose one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every socket address of the host, in the order to try them; at least one.
    ///
    /// A name is looked up by `getaddrinfo(3)`, which blocks the thread for as long as DNS takes.
    ///
    /// # Errors
    ///
    /// `NotFound`: the host has no address, or the look-up failed; the error names the host and the cause.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddress>> {
        let name = &self.name;
        let found = (name.as_str(), self.port).to_socket_addrs().map_err(|error| {
            // What is not an error of the system is an answer that has no kind of its own.
            let kind = if error.raw_os_error().is_some() { error.kind() } else { io::ErrorKind::NotFound };
            io::Error::new(kind, format!("cannot resolve the host {name:?}: {error}"))
        })?;
        let found: Vec<_> = found.map(SocketAddress::from).collect();
        if found.is_empty() {
            let message = format!("the host {name:?} has no address");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(found)
    }
}

impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Self {
        let name = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self { name, port: address.port() }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// Reads `HOST:PORT`.
pub(super) fn parse_host(text: &str) -> Result<Host, Flaw> {
    if let Some(rest) = text.strip_prefix('[') {
        return parse_bracketed(rest);
    }
    if let Some(bracketed) = bracket(text) {
        return flaw("an IPv6 address needs brackets", format!("write {bracketed:?}"));
    }
    let Some((name, port)) = text.rsplit_once(':') else {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return missing_host(text);
        }
        return missing_port(text);
    };
    if matches!(name, "" | "*") {
        return missing_host(port);
    }
    Ok(Host { port: parse_port(name, port)?, name: parse_name(name)? })
}

/// Reads what follows the opening bracket of `[::1]:80`.
fn parse_bracketed(rest: &str) -> Result<Host, Flaw> {
    let Some((name, rest)) = rest.split_once(']') else {
        return flaw("a bracket stays open", "write [IPV6]:PORT");
    };
    if !name.contains(':') {
        return flaw("only an IPv6 address takes brackets", "write HOST:PORT");
    }
    let name = parse_name(name)?;
    let Some(port) = rest.strip_prefix(':') else {
        return missing_port(&format!("[{name}]"));
    };
    Ok(Host { port: parse_port(&format!("[{name}]"), port)?, name })
}

/// A bare IPv6 address with or without a port, the way it should have been written.
fn bracket(text: &str) -> Option<String> {
    let is_ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    match text.rsplit_once(':') {
        Some((name, port)) if is_ipv6(name) => Some(format!("[{name}]:{port}")),
        _ if is_ipv6(text) => Some(format!("[{text}]:PORT")),
        _ => None,
    }
}

/// Checks a name, bare of brackets, and writes an IP address the one canonical way.
fn parse_name(name: &str) -> Result<String, Flaw> {
    if name.contains(':') {
        return parse_ipv6(name);
    }
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    if name.is_empty() {
        return flaw("the host is missing", r#"write a name or an address, such as "0.0.0.0""#);
    }
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if let Some(char) = name.chars().find(|char| !legal(*char)) {
        let instead = "write letters, digits, '-', '_' and '.' (an international name as xn--)";
        return flaw(format!("a host has no {char:?} in its name"), instead);
    }
    if name.len() > LONGEST_HOST {
        let problem = format!("the host has {} bytes", name.len());
        return flaw(problem, format!("write at most {LONGEST_HOST}"));
    }
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.split('.').any(str::is_empty) {
        return flaw("a dot in the host has nothing beside it", "write names between the dots");
    }
    // getaddrinfo(3) would read "127.1" and "0x7f000001" as addresses, and few expect that.
    if labels.rsplit('.').next().is_some_and(is_number) {
        return flaw("the host is a number but no IPv4 address", "write it like 127.0.0.1");
    }
    Ok(name.to_owned())
}

fn parse_ipv6(name: &str) -> Result<String, Flaw> {
    let (address, zone) = match name.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (name, None),
    };
    let Ok(address) = address.parse::<Ipv6Addr>() else {
        let instead = "write one like [::1]:80, or HOST:PORT with a single colon";
        return flaw(format!("{address:?} is no IPv6 address"), instead);
    };
    let Some(zone) = zone else {
        return Ok(address.to_string());
    };
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'/' | b'[' | b']');
    if !(1..libc::IFNAMSIZ).contains(&zone.len()) || !zone.bytes().all(legal) {
        let instead = "write an interface after the '%', such as [fe80::1%eth0]:80";
        return flaw(format!("{zone:?} is no zone"), instead);
    }
    Ok(format!("{address}%{zone}"))
}

fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn parse_port(host: &str, port: &str) -> Result<u16, Flaw> {
    if port.is_empty() {
        return missing_port(host);
    }
    // `u16::from_str` would take "+80".
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits => Ok(number),
        _ => flaw(format!("{port:?} is no port"), "write a number from 0 to 65535"),
    }
}

fn missing_host<T>(port: &str) -> Result<T, Flaw> {
    let port = if port.is_empty() { "PORT" } else { port };
    let [v4, v6] = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    flaw("the host is missing", format!("write {v4:?} or {v6:?} for every interface"))
}

fn missing_port<T>(host: &str) -> Result<T, Flaw> {
    let host = if host.is_empty() { "HOST" } else { host };
    flaw("the port is missing", format!("write {:?}", format!("{host}:PORT")))
}

/// The longest host name DNS can carry, in its text form.
const LONGEST_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Host, AddressError> {
        parse_host(text).map_err(|flaw| AddressError::new(text, flaw))
    }

    #[test]
    fn writes_a_host_the_one_canonical_way() {
        for (written, told) in [
            ("LocalHost:080", "LocalHost:80"),
            ("example.org.:53", "example.org.:53"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[0:0::0:1]:080", "[::1]:80"),
            ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
        ] {
            assert_eq!(read(written).unwrap().to_string(), told, "{written}");
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        for (written, advice) in [
            (":7777", r#"write "0.0.0.0:7777" or "[::]:7777""#),
            ("*:7777", r#"write "0.0.0.0:7777" or "[::]:7777""#),
            ("7777", r#"write "0.0.0.0:7777" or "[::]:7777""#),
            (":", r#"write "0.0.0.0:PORT""#),
            ("", r#"write "HOST:PORT""#),
            ("localhost", r#"write "localhost:PORT""#),
            ("localhost:", r#"write "localhost:PORT""#),
            ("[::1]", r#"write "[::1]:PORT""#),
            ("[::1]:", r#"write "[::1]:PORT""#),
            ("::1", r#"write "[::1]:PORT""#),
            ("fe80::1:x:80", "with a single colon"),
            ("[::1:80", "write [IPV6]:PORT"),
            ("[127.0.0.1]:80", "write HOST:PORT"),
            ("localhost:http", "write a number from 0 to 65535"),
            ("localhost:65536", "write a number from 0 to 65535"),
            ("localhost:+80", "write a number from 0 to 65535"),
            ("[fe80::1%]:80", "write an interface"),
            ("my host:80", "write letters, digits"),
            ("user@host:80", "write letters, digits"),
            ("a..b:80", "write names between the dots"),
            (&format!("{}:80", "a".repeat(254)), "write at most 253"),
            ("127.1:80", "write it like 127.0.0.1"),
            ("256.0.0.1:80", "write it like 127.0.0.1"),
            ("0x7f000001:80", "write it like 127.0.0.1"),
        ] {
            let told = read(written).unwrap_err().to_string();
            assert!(told.starts_with(&format!("bad address {written:?}: ")), "{told}");
            assert!(told.contains(advice), "{told}");
        }
    }

    #[test]
    fn a_host_is_checked_from_its_halves_too() {
        let host = Host::new("::1", 80).unwrap();
        assert_eq!((host.name(), host.port()), ("::1", 80));
        for bad in ["", "[::1]", "a b", "localhost:80"] {
            assert!(Host::new(bad, 80).is_err(), "{bad}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls getaddrinfo")]
    fn a_zone_becomes_the_scope() {
        let resolved = read("[fe80::1%7]:80").unwrap().resolve().unwrap();
        assert_eq!(resolved[0].to_string(), "[fe80::1%7]:80");
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls getaddrinfo")]
    fn a_failed_lookup_names_the_host() {
        let error = read("[::1%nowhere]:80").unwrap().resolve().unwrap_err();
        assert!(error.to_string().contains(r#"resolve the host "::1%nowhere": "#), "{error}");
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn what_was_read_displays_as_the_same_host(
            text in prop_oneof![
                r"[a-zA-Z0-9_.-]{1,12}:[0-9]{1,5}",
                r"\[[0-9a-f:]{2,12}(%[a-z0-9]{1,4})?\]:[0-9]{1,5}",
                any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]:1")),
            ],
        ) {
            if let Ok(host) = read(&text) {
                prop_assert_eq!(read(&host.to_string()), Ok(host));
            }
        }
    }
}
