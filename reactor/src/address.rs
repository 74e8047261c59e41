//! The address of a socket as the kernel tells it: numbers and names, nothing left to resolve.

use std::fmt;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A resolved socket address, whichever family it is of.
///
/// It displays as `127.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock`, `unix:@name` or `unix:`, on one
/// line whatever bytes the name holds, so a log may print a peer's address as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketAddress {
    /// An IPv4 or IPv6 address and a port.
    Inet(SocketAddr),
    /// The name of a Unix domain socket.
    Unix(UnixName),
}

impl SocketAddress {
    /// The IP address and port, unless this is a Unix domain socket.
    #[must_use]
    pub fn as_inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// What counts as one peer where peers are counted: the IPv4 address, or the /64 network of the IPv6 address, for a host has as
    /// many of its addresses as it likes. None for a Unix domain socket.
    ///
    /// ```
    /// use reactor::SocketAddress;
    ///
    /// let network = |text: &str| SocketAddress::Inet(text.parse().unwrap()).network().unwrap().to_string();
    /// assert_eq!(network("192.0.2.7:80"), "192.0.2.7");
    /// assert_eq!(network("[2001:db8::1:2:3:4]:80"), "2001:db8::");
    /// // As a socket for both families has it.
    /// assert_eq!(network("[::ffff:192.0.2.7]:80"), "192.0.2.7");
    /// ```
    #[must_use]
    pub fn network(&self) -> Option<IpAddr> {
        Some(match self.as_inet()?.ip().to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }

    /// The Unix domain name, unless this is an IP address.
    #[must_use]
    pub fn as_unix(&self) -> Option<&UnixName> {
        match self {
            Self::Inet(_) => None,
            Self::Unix(name) => Some(name),
        }
    }

    /// Whether this names a Unix domain socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl From<UnixName> for SocketAddress {
    fn from(name: UnixName) -> Self {
        Self::Unix(name)
    }
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(name) => name.fmt(f),
        }
    }
}

/// The name of a Unix domain socket, one of the three kinds `unix(7)` knows.
///
/// Two names are equal when they are of one kind and, for paths, when [`Path`] says so.
/// A control byte, a byte that is not UTF-8 and a leading `@` of a path display as `\xHH`, a
/// backslash as `\\`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// A file in the file system, absolute or relative to the working directory.
    Path(PathBuf),
    /// A name outside the file system, without its leading NUL; any bytes, NUL among them.
    Abstract(Vec<u8>),
    /// No name: a client that never bound, or one end of a socket pair.
    Unnamed,
}

impl UnixName {
    /// How many bytes a name may have: the kernel's `sun_path` less one NUL, which ends a path and
    /// begins an abstract name.
    pub const MAX_LEN: usize = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

    /// The file of a socket that has one.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) | Self::Unnamed => None,
        }
    }

    /// Reads back the bytes of a name that `Display` wrote; `None` at a backslash it would not write.
    pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
        let mut parts = text.split('\\');
        let mut bytes = parts.next()?.as_bytes().to_vec();
        while let Some(part) = parts.next() {
            let (byte, rest) = if part.is_empty() {
                // Two backslashes in a row: what follows them is plain.
                (b'\\', parts.next()?)
            } else {
                let (digits, rest) = part.strip_prefix('x')?.split_at_checked(2)?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                (u8::from_str_radix(digits, 16).ok()?, rest)
            };
            bytes.push(byte);
            bytes.extend_from_slice(rest.as_bytes());
        }
        Some(bytes)
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unix:")?;
        match self {
            Self::Path(path) => {
                let bytes = path.as_os_str().as_bytes();
                // A bare `@` would read as an abstract name.
                let Some(rest) = bytes.strip_prefix(b"@") else {
                    return write_escaped(f, bytes);
                };
                f.write_str(r"\x40")?;
                write_escaped(f, rest)
            }
            Self::Abstract(name) => {
                f.write_str("@")?;
                write_escaped(f, name)
            }
            Self::Unnamed => Ok(()),
        }
    }
}

/// Writes text as text and the rest as `\xHH`, so that the name stays on its line and can be read
/// back byte for byte.
fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => f.write_str(r"\\")?,
                _ if char.is_control() => {
                    write_hex(f, char.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
                _ => fmt::Write::write_char(f, char)?,
            }
        }
        write_hex(f, chunk.invalid())?;
    }
    Ok(())
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, r"\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn path(bytes: &[u8]) -> SocketAddress {
        SocketAddress::Unix(UnixName::Path(OsStr::from_bytes(bytes).into()))
    }

    fn abstract_name(bytes: &[u8]) -> SocketAddress {
        SocketAddress::Unix(UnixName::Abstract(bytes.to_vec()))
    }

    fn inet(text: &str) -> SocketAddress {
        SocketAddress::from(text.parse::<SocketAddr>().unwrap())
    }

    #[test]
    fn displays_what_a_person_would_write() {
        assert_eq!(inet("127.0.0.1:80").to_string(), "127.0.0.1:80");
        assert_eq!(inet("[::1]:80").to_string(), "[::1]:80");
        assert_eq!(path(b"/run/app.sock").to_string(), "unix:/run/app.sock");
        assert_eq!(path("/tmp/gr\u{fc}n".as_bytes()).to_string(), "unix:/tmp/gr\u{fc}n");
        assert_eq!(abstract_name(b"name").to_string(), "unix:@name");
        assert_eq!(SocketAddress::Unix(UnixName::Unnamed).to_string(), "unix:");
    }

    #[test]
    fn displays_odd_bytes_on_one_line() {
        assert_eq!(path(b"/a\nb\\c\xff").to_string(), r"unix:/a\x0ab\\c\xff");
        assert_eq!(path("/\u{85}".as_bytes()).to_string(), r"unix:/\xc2\x85");
        assert_eq!(abstract_name(b"\0\x7f").to_string(), r"unix:@\x00\x7f");
    }

    #[test]
    fn unescapes_what_it_escapes_and_nothing_else() {
        for bytes in [&b"plain"[..], b"\\", b"\\\\x41", b"\n\xff\\x", b"a\0b"] {
            let told = abstract_name(bytes).to_string();
            let escaped = told.strip_prefix("unix:@").unwrap();
            assert_eq!(UnixName::unescape(escaped).as_deref(), Some(bytes), "{told}");
        }
        for bad in [r"\", r"\n", r"\x", r"\x4", r"\x+1", r"\\\", "\\x\u{fc}"] {
            assert_eq!(UnixName::unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_path_that_begins_with_at_is_not_abstract() {
        assert_eq!(path(b"@name").to_string(), r"unix:\x40name");
        assert_eq!(path(b"dir/@name").to_string(), "unix:dir/@name");
        assert_ne!(path(b"@name").to_string(), abstract_name(b"name").to_string());
    }

    #[test]
    fn accessors_tell_the_families_apart() {
        let (inet, unix) = (inet("[::1]:80"), path(b"/s"));
        assert_eq!(inet.as_inet(), "[::1]:80".parse().ok());
        assert_eq!((inet.as_unix(), inet.is_unix()), (None, false));
        assert_eq!((unix.as_inet(), unix.is_unix()), (None, true));
        assert_eq!(unix.as_unix().and_then(UnixName::as_path), Some(Path::new("/s")));
    }

    #[test]
    fn a_name_is_as_long_as_linux_allows() {
        assert_eq!(UnixName::MAX_LEN, 107);
    }
}
