//! The PROXY protocol, versions 1 and 2: what a load balancer says of its client before the client's own bytes.
//!
//! This is the reading of its header, as a pure function. The specification is HAProxy's, [proxy-protocol.txt].
//!
//! [proxy-protocol.txt]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A header that has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that it takes. What stands behind them is the client's.
    pub length: usize,
    /// Whom the balancer speaks for. `None` when it speaks for itself, as in a health check, or does not say, or names
    /// what is no TCP client: then the peer is who has connected.
    pub source: Option<SocketAddr>,
}

/// What is wrong with the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They do not begin a header.
    Missing,
    /// They begin one that is longer than [`LONGEST_TEXT`] or [`LONGEST_BINARY`].
    TooLong,
    /// They begin one that says what no header says.
    Malformed,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it does not begin with a PROXY header",
            Self::TooLong => "its PROXY header is too long",
            Self::Malformed => "its PROXY header is malformed",
        })
    }
}

impl Error for Flaw {}

/// Reads the header at the start of `bytes`. `Ok(None)`: it may become one when more has come. The answer is the same however
/// the bytes are cut.
///
/// Checksums and other additions (TLVs) of version 2 are passed over.
///
/// # Errors
/// The bytes are no header, whatever follows.
///
/// ```
/// use program::proxy_protocol::parse;
///
/// let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\nGET /";
/// let header = parse(bytes).unwrap().unwrap();
/// assert_eq!(header.source, Some("192.0.2.7:40000".parse().unwrap()));
/// assert_eq!(&bytes[header.length..], b"GET /");
/// assert_eq!(parse(&bytes[..20]), Ok(None));
/// ```
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Flaw> {
    if begins(bytes, TEXT) {
        return parse_text(bytes);
    }
    if begins(bytes, BINARY) {
        return parse_binary(bytes);
    }
    Err(Flaw::Missing)
}

/// Whether `bytes` begin with `start`, as far as they have come.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

/// Version 1 is a line.
fn parse_text(bytes: &[u8]) -> Result<Option<Header>, Flaw> {
    let bytes = &bytes[..bytes.len().min(LONGEST_TEXT)];
    match bytes.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some(Header { length: end + 2, source: text_source(&bytes[TEXT.len()..end])? })),
        None if bytes.len() == LONGEST_TEXT => Err(Flaw::TooLong),
        None => Ok(None),
    }
}

/// The source in a line behind its first word: `TCP4 192.0.2.7 198.51.100.1 40000 80`.
fn text_source(line: &[u8]) -> Result<Option<SocketAddr>, Flaw> {
    // What follows this word is to be ignored, and need not be text.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let mut words = std::str::from_utf8(line).map_err(|_| Flaw::Malformed)?.split(' ');
    let [Some(family), Some(source), Some(destination), Some(port), Some(other_port), None] =
        std::array::from_fn(|_| words.next())
    else {
        return Err(Flaw::Malformed);
    };
    let address: IpAddr = match family {
        "TCP4" => both::<Ipv4Addr>(source, destination)?.into(),
        "TCP6" => both::<Ipv6Addr>(source, destination)?.into(),
        _ => return Err(Flaw::Malformed),
    };
    decimal_port(other_port)?;
    Ok(Some(SocketAddr::new(address, decimal_port(port)?)))
}

/// The source, if both addresses are of this family.
fn both<A: FromStr>(source: &str, destination: &str) -> Result<A, Flaw> {
    destination.parse::<A>().and_then(|_| source.parse()).map_err(|_| Flaw::Malformed)
}

/// A port without a sign or zeros before it.
fn decimal_port(text: &str) -> Result<u16, Flaw> {
    let is_plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_plain).ok_or(Flaw::Malformed)
}

/// Version 2 tells its length:
///
/// ```text
/// 12 bytes signature | version 2, command | family, transport | length, 2 bytes | addresses, additions: so many bytes
/// ```
fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, Flaw> {
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    if !matches!(command, LOCAL | PROXY) {
        return Err(Flaw::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > LONGEST_BINARY {
        return Err(Flaw::TooLong);
    }
    let Some(block) = rest.get(..length) else { return Ok(None) };
    // A balancer that speaks for itself may leave anything in the block.
    let source = if command == PROXY { binary_source(family, block)? } else { None };
    Ok(Some(Header { length: FIXED + length, source }))
}

/// The source in a block: both addresses, then both ports.
fn binary_source(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Flaw> {
    match family {
        TCP_OVER_IPV4 => source_at::<4>(block).map(Some),
        TCP_OVER_IPV6 => source_at::<16>(block).map(Some),
        UNSPECIFIED | UDP_OVER_IPV4 | UDP_OVER_IPV6 | UNIX_STREAM | UNIX_DATAGRAM => Ok(None),
        _ => Err(Flaw::Malformed),
    }
}

fn source_at<const N: usize>(block: &[u8]) -> Result<SocketAddr, Flaw>
where
    IpAddr: From<[u8; N]>,
{
    let address = *block.first_chunk::<N>().ok_or(Flaw::Malformed)?;
    let ports = block.get(2 * N..).and_then(|ports| ports.first_chunk::<4>()).ok_or(Flaw::Malformed)?;
    Ok(SocketAddr::new(IpAddr::from(address), u16::from_be_bytes([ports[0], ports[1]])))
}

/// Bytes of a header of version 1 at most, its end of line included: as the specification has it.
pub const LONGEST_TEXT: usize = 107;

/// Bytes of a header of version 2 at most. Addresses take 52, the rest is for additions, which may tell of a client's
/// certificate. It is as much as nginx takes, and what a connection that has shown nothing yet may cost.
pub const LONGEST_BINARY: usize = 4096;

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the block.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const UDP_OVER_IPV4: u8 = 0x12;
const TCP_OVER_IPV6: u8 = 0x21;
const UDP_OVER_IPV6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    /// A header of version 2.
    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, block].concat()
    }

    fn source(bytes: &[u8]) -> Result<Option<String>, Flaw> {
        let header = parse(bytes)?.expect("it is whole");
        assert_eq!(header.length, bytes.len());
        Ok(header.source.map(|source| source.to_string()))
    }

    const V4: &[u8] = b"\xc0\x00\x02\x07\xc6\x33\x64\x01\x9c\x40\x00\x50";

    #[test]
    fn a_line_tells_the_source() {
        for (line, told) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 40000 80\r\n", "192.0.2.7:40000"),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"),
            ("PROXY TCP6 2001:db8::1 ::1 40000 80\r\n", "[2001:db8::1]:40000"),
            (
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ] {
            assert_eq!(source(line.as_bytes()), Ok(Some(told.to_owned())), "{line}");
        }
    }

    #[test]
    fn what_follows_unknown_is_ignored() {
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN ffff:: and \r more \n of it\r\n"] {
            assert_eq!(source(line.as_bytes()), Ok(None), "{line}");
        }
        assert_eq!(source(b"PROXY UNKNOWN \xff\xfe\r\n"), Ok(None));
    }

    #[test]
    fn a_line_is_to_the_letter() {
        for line in [
            "TCP4 192.0.2.7 198.51.100.1 40000",
            "TCP4 192.0.2.7 198.51.100.1 40000 80 1",
            "TCP4 192.0.2.7 198.51.100.1 40000 80 ",
            "TCP4  192.0.2.7 198.51.100.1 40000 80",
            "TCP4 192.0.2.7 198.51.100.1 040000 80",
            "TCP4 192.0.2.7 198.51.100.1 40000 080",
            "TCP4 192.0.2.7 198.51.100.1 +40000 80",
            "TCP4 192.0.2.7 198.51.100.1 65536 80",
            "TCP4 192.0.2.7 198.51.100.1 40000 65536",
            "TCP4 192.0.2.07 198.51.100.1 40000 80",
            "TCP4 192.0.2 198.51.100.1 40000 80",
            "TCP4 192.0.2.7 ::1 40000 80",
            "TCP4 ::1 ::1 40000 80",
            "TCP6 192.0.2.7 192.0.2.7 40000 80",
            "TCP6 fe80::1%eth0 ::1 40000 80",
            "TCP5 192.0.2.7 198.51.100.1 40000 80",
            "tcp4 192.0.2.7 198.51.100.1 40000 80",
            "UNKNOWNS",
            "unknown",
            "",
            " ",
        ] {
            assert_eq!(parse(format!("PROXY {line}\r\n").as_bytes()), Err(Flaw::Malformed), "{line}");
        }
        assert_eq!(parse(b"PROXY TCP4 \xff\r\n"), Err(Flaw::Malformed));
    }

    #[test]
    fn a_line_has_107_bytes_at_the_most() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_TEXT - 16));
        assert_eq!(source(longest.as_bytes()), Ok(None));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_TEXT - 15));
        assert_eq!(parse(longer.as_bytes()), Err(Flaw::TooLong));
        assert_eq!(parse(&longer.as_bytes()[..LONGEST_TEXT]), Err(Flaw::TooLong));
        assert_eq!(parse(&longer.as_bytes()[..LONGEST_TEXT - 1]), Ok(None));
    }

    #[test]
    fn a_block_tells_the_source() {
        assert_eq!(source(&binary(PROXY, TCP_OVER_IPV4, V4)), Ok(Some("192.0.2.7:40000".to_owned())));
        let block = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0xff; 16], &[0x9c, 0x40, 0, 80]].concat();
        assert_eq!(source(&binary(PROXY, TCP_OVER_IPV6, &block)), Ok(Some("[2001:db8::1]:40000".to_owned())));
        let with_additions = [V4, b"\x04\x00\x02xx\x01"].concat();
        assert_eq!(source(&binary(PROXY, TCP_OVER_IPV4, &with_additions)), Ok(Some("192.0.2.7:40000".to_owned())));
    }

    #[test]
    fn a_block_may_tell_nothing() {
        for family in [UNSPECIFIED, UDP_OVER_IPV4, UDP_OVER_IPV6, UNIX_STREAM, UNIX_DATAGRAM] {
            assert_eq!(source(&binary(PROXY, family, b"")), Ok(None));
            assert_eq!(source(&binary(PROXY, family, &[1; 216])), Ok(None));
        }
        for family in [UNSPECIFIED, TCP_OVER_IPV4, 0x77] {
            assert_eq!(source(&binary(LOCAL, family, V4)), Ok(None));
            assert_eq!(source(&binary(LOCAL, family, b"")), Ok(None));
        }
    }

    #[test]
    fn a_block_has_values_that_are_known() {
        for command in [0x00, 0x01, 0x10, 0x11, 0x22, 0x2f, 0x31, 0xff] {
            assert_eq!(parse(&binary(command, TCP_OVER_IPV4, V4)), Err(Flaw::Malformed), "{command:#x}");
        }
        for family in [0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xff] {
            assert_eq!(parse(&binary(PROXY, family, V4)), Err(Flaw::Malformed), "{family:#x}");
        }
        assert_eq!(parse(&binary(PROXY, TCP_OVER_IPV4, &V4[1..])), Err(Flaw::Malformed));
        assert_eq!(parse(&binary(PROXY, TCP_OVER_IPV6, &[0; 35])), Err(Flaw::Malformed));
    }

    #[test]
    fn a_block_that_is_too_long_is_not_waited_for() {
        assert_eq!(source(&binary(PROXY, UNSPECIFIED, &[0; LONGEST_BINARY - FIXED])), Ok(None));
        let longer = binary(PROXY, UNSPECIFIED, &[0; LONGEST_BINARY - FIXED + 1]);
        assert_eq!(parse(&longer[..FIXED]), Err(Flaw::TooLong));
        assert_eq!(parse(&longer[..FIXED - 1]), Ok(None));
    }

    #[test]
    fn what_begins_otherwise_is_refused_at_its_first_wrong_byte() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"PROX"), Ok(None));
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT"), Ok(None));
        for bytes in
            [&b"G"[..], b"PROXY\r", b"PROXY\n", b"proxy ", b"\n", b"\r\n\r\n\0\r\nQUIT\r", b"\r\n\r\nGET", b"\0"]
        {
            assert_eq!(parse(bytes), Err(Flaw::Missing), "{}", bytes.escape_ascii());
        }
    }
}
