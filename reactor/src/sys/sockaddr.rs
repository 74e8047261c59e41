//! Socket addresses as the kernel lays them out; see ip(7), ipv6(7) and unix(7).

use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_int, sa_family_t, socklen_t};

use crate::address::{SocketAddress, UnixName};

/// An address in the kernel's form and how many of its bytes count.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    storage: libc::sockaddr_storage,
    length: socklen_t,
}

impl RawAddress {
    /// An unset address with room for any; what a call that fills it in starts from.
    pub(super) fn unset() -> Self {
        // SAFETY: `sockaddr_storage` is made of integers, for which all bits zero is a value.
        let storage = unsafe { mem::zeroed() };
        Self { storage, length: length_of::<libc::sockaddr_storage>() }
    }

    /// The address as the kernel wants it; a Unix name that does not fit is an error.
    pub(crate) fn encode(address: &SocketAddress) -> io::Result<Self> {
        let mut raw = Self::unset();
        match address {
            SocketAddress::Inet(SocketAddr::V4(v4)) => raw.write(encode_v4(v4)),
            SocketAddress::Inet(SocketAddr::V6(v6)) => raw.write(encode_v6(v6)),
            SocketAddress::Unix(name) => {
                let (unix, length) = encode_unix(name)?;
                raw.write(unix);
                raw.length = length;
            }
        }
        Ok(raw)
    }

    /// What the kernel wrote; a family the library does not know is an error.
    pub(crate) fn decode(&self) -> io::Result<SocketAddress> {
        if self.length == 0 {
            // The kernel tells nothing of the sender of a datagram who has no name.
            return Ok(SocketAddress::Unix(UnixName::Unnamed));
        }
        match c_int::from(self.storage.ss_family) {
            libc::AF_INET => Ok(SocketAddress::Inet(decode_v4(&self.read()).into())),
            libc::AF_INET6 => Ok(SocketAddress::Inet(decode_v6(&self.read()).into())),
            libc::AF_UNIX => Ok(SocketAddress::Unix(decode_unix(&self.read(), self.length))),
            family => {
                Err(io::Error::other(format!("the socket is of address family {family}, which is not known here")))
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    /// The pointers to the bytes and to their count, as the calls take them that fill both in.
    pub(super) fn out_pointers(&mut self) -> (*mut libc::sockaddr, *mut socklen_t) {
        ((&raw mut self.storage).cast(), &raw mut self.length)
    }

    pub(super) fn length(&self) -> socklen_t {
        self.length
    }

    /// The place that the kernel fills in, of [`ROOM`](Self::ROOM) bytes.
    pub(super) fn place(&mut self) -> *mut libc::c_void {
        (&raw mut self.storage).cast()
    }

    /// The kernel has filled in so many bytes.
    pub(super) fn set_length(&mut self, length: socklen_t) {
        self.length = length.min(Self::ROOM);
    }

    /// Whether the kernel told no address at all, as of a Unix socket without a name.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.length <= UNNAMED
    }

    /// The most bytes that UDP carries there, or `None` if it is no address of UDP: what fits an IP packet less the
    /// headers; see udp(7).
    pub(crate) fn longest_udp(&self) -> Option<usize> {
        match c_int::from(self.storage.ss_family) {
            libc::AF_INET => Some(LONGEST_V4),
            libc::AF_INET6 if decode_v6(&self.read()).ip().to_ipv4_mapped().is_some() => Some(LONGEST_V4),
            libc::AF_INET6 => Some(LONGEST_V6),
            _ => None,
        }
    }

    /// The bytes that count.
    fn as_bytes(&self) -> &[u8] {
        let bytes = (&raw const self.storage).cast::<u8>();
        // SAFETY: the storage was zeroed before anything was written, so all its bytes are values, and `length` is at most
        // its size.
        unsafe { std::slice::from_raw_parts(bytes, self.length as usize) }
    }

    /// Room for any address.
    pub(super) const ROOM: socklen_t = size_of::<libc::sockaddr_storage>() as socklen_t;

    fn write<T: Layout>(&mut self, value: T) {
        let place = ptr::from_mut(&mut self.storage).cast::<T>();
        // SAFETY: `T: Layout` is no larger than `sockaddr_storage` and no more strictly aligned.
        unsafe { place.write(value) };
        self.length = length_of::<T>();
    }

    fn read<T: Layout>(&self) -> T {
        let place = ptr::from_ref(&self.storage).cast::<T>();
        // SAFETY: `T: Layout` lies within `sockaddr_storage`, is aligned in it, and is a value whatever the bits are.
        unsafe { place.read() }
    }
}

impl PartialEq for RawAddress {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RawAddress {}

impl Hash for RawAddress {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// A Unix address that is a family and no name.
const UNNAMED: socklen_t = size_of::<sa_family_t>() as socklen_t;

/// What an IP packet holds, less the headers: 20 bytes of IPv4 and 8 of UDP, and of IPv6, which does not count its own, 8.
const LONGEST_V4: usize = 65_535 - 20 - 8;
const LONGEST_V6: usize = 65_535 - 8;

/// The socket address types that may be laid over a `sockaddr_storage`.
///
/// # Safety
/// The type must be at most as large and as aligned as `sockaddr_storage`, and made of integers only.
unsafe trait Layout: Copy {}
// SAFETY: defined by the kernel to fit sockaddr_storage; integers only.
unsafe impl Layout for libc::sockaddr_in {}
// SAFETY: defined by the kernel to fit sockaddr_storage; integers only.
unsafe impl Layout for libc::sockaddr_in6 {}
// SAFETY: defined by the kernel to fit sockaddr_storage; integers only.
unsafe impl Layout for libc::sockaddr_un {}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("a socket address is at most 128 bytes")
}

fn family(value: c_int) -> sa_family_t {
    sa_family_t::try_from(value).expect("the address families used here are small numbers")
}

fn encode_v4(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: family(libc::AF_INET),
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn decode_v4(raw: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes()), u16::from_be(raw.sin_port))
}

fn encode_v6(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: family(libc::AF_INET6),
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
        sin6_scope_id: address.scope_id(),
    }
}

fn decode_v6(raw: &libc::sockaddr_in6) -> SocketAddrV6 {
    let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
    SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), raw.sin6_flowinfo, raw.sin6_scope_id)
}

/// A path ends with a NUL; an abstract name starts with one and is as long as its length says; see unix(7).
fn encode_unix(name: &UnixName) -> io::Result<(libc::sockaddr_un, socklen_t)> {
    let mut raw = libc::sockaddr_un { sun_family: family(libc::AF_UNIX), sun_path: [0; 108] };
    let (start, bytes, end) = match name {
        UnixName::Path(path) => (0, path.as_os_str().as_bytes(), 1),
        UnixName::Abstract(bytes) => (1, bytes.as_slice(), 0),
        UnixName::Unnamed => (0, &[][..], 0),
    };
    if start + bytes.len() + end > raw.sun_path.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name} is longer than the 107 bytes a Unix socket name may have"),
        ));
    }
    for (place, &byte) in raw.sun_path[start..].iter_mut().zip(bytes) {
        *place = byte.cast_signed();
    }
    let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + start + bytes.len() + end;
    Ok((raw, socklen_t::try_from(length).expect("a socket address is at most 128 bytes")))
}

fn decode_unix(raw: &libc::sockaddr_un, length: socklen_t) -> UnixName {
    let used = (length as usize).saturating_sub(std::mem::offset_of!(libc::sockaddr_un, sun_path));
    let bytes: Vec<u8> = raw.sun_path.iter().take(used).map(|byte| byte.cast_unsigned()).collect();
    match bytes.split_first() {
        None => UnixName::Unnamed,
        Some((0, name)) => UnixName::Abstract(name.to_vec()),
        Some(_) => {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            UnixName::Path(Path::new(OsStr::from_bytes(&bytes[..end])).to_path_buf())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(address: &SocketAddress) {
        assert_eq!(&RawAddress::encode(address).unwrap().decode().unwrap(), address);
    }

    #[test]
    fn every_kind_comes_back_as_it_went() {
        round_trip(&SocketAddress::Inet("127.0.0.1:80".parse().unwrap()));
        round_trip(&SocketAddress::Inet("[fe80::1%7]:65535".parse().unwrap()));
        round_trip(&SocketAddress::Unix(UnixName::Path("/tmp/x".into())));
        round_trip(&SocketAddress::Unix(UnixName::Path("p".repeat(107).into())));
        round_trip(&SocketAddress::Unix(UnixName::Abstract(b"a\0b".to_vec())));
        round_trip(&SocketAddress::Unix(UnixName::Abstract(vec![1; 107])));
        round_trip(&SocketAddress::Unix(UnixName::Unnamed));
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let long = SocketAddress::Unix(UnixName::Path("p".repeat(108).into()));
        assert_eq!(RawAddress::encode(&long).err().unwrap().kind(), io::ErrorKind::InvalidInput);
        let long = SocketAddress::Unix(UnixName::Abstract(vec![1; 108]));
        assert_eq!(RawAddress::encode(&long).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_unknown_family_is_an_error() {
        assert!(RawAddress::unset().decode().is_err());
    }
}
