//! What the kernel says beside a datagram, and is told: which of our addresses it was sent to, and what became of one; see
//! cmsg(3), ip(7) and ipv6(7).

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::c_int;

/// Which of this machine's addresses a datagram was sent to, and through which interface it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The destination of the packet; it may be a group or everybody.
    pub(crate) destination: IpAddr,
    /// The address to answer from, which is one of this machine.
    pub(crate) source: Option<IpAddr>,
    /// The number of the interface.
    pub(crate) interface: u32,
}

/// Room for the control messages of one datagram, laid out as the kernel wants it: each a length, a level, a type and data.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control([u8; ROOM]);

impl Control {
    pub(super) const fn empty() -> Self {
        Self([0; ROOM])
    }

    pub(super) fn place(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    pub(super) const fn room() -> usize {
        ROOM
    }

    /// What the first `length` bytes say of the address that was asked.
    pub(crate) fn asked(&self, length: usize) -> Option<Asked> {
        let all = || Messages(&self.0[..length.min(ROOM)]);
        // A dual-stack socket is told of IPv4 twice, and only the first way names an address to answer a group from.
        let v4 = all().find(|message| message.is(libc::IPPROTO_IP, libc::IP_PKTINFO));
        let v6 = || all().find(|message| message.is(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO));
        v4.and_then(|message| asked_v4(message.data)).or_else(|| v6().and_then(|message| asked_v6(message.data)))
    }

    /// What the first `length` bytes say of an error, and who told it.
    pub(super) fn error(&self, length: usize) -> Option<(ExtendedError, Option<IpAddr>)> {
        Messages(&self.0[..length.min(ROOM)]).find_map(|message| {
            let tells =
                message.is(libc::IPPROTO_IP, libc::IP_RECVERR) || message.is(libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
            if tells { extended_error(message.data) } else { None }
        })
    }

    /// Asks the kernel to cut what is sent into datagrams of this size, behind the first `length` bytes; answers how many
    /// bytes there are then.
    pub(super) fn cut_into(&mut self, length: usize, size: u16) -> usize {
        self.write(length, libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes())
    }

    /// Asks the kernel to send from this address of ours; answers how many bytes say so.
    pub(super) fn send_from(&mut self, source: &Source) -> usize {
        match source.address {
            IpAddr::V4(address) => {
                let mut data = [0; 12];
                data[4..8].copy_from_slice(&address.octets());
                self.write(0, libc::IPPROTO_IP, libc::IP_PKTINFO, &data)
            }
            IpAddr::V6(address) => {
                let mut data = [0; 20];
                data[..16].copy_from_slice(&address.octets());
                data[16..].copy_from_slice(&source.interface.to_ne_bytes());
                self.write(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data)
            }
        }
    }

    /// Writes a message behind the first `start` bytes; answers where the next one would begin.
    fn write(&mut self, start: usize, level: c_int, kind: c_int, data: &[u8]) -> usize {
        let length = HEADER + data.len();
        let place = &mut self.0[start..start + length];
        place[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
        place[size_of::<usize>()..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        place[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        place[HEADER..].copy_from_slice(data);
        start + length.next_multiple_of(size_of::<usize>())
    }
}

/// The address of ours that a datagram is to be sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    address: IpAddr,
    /// Counts where the address alone does not tell the interface; 0 leaves it to the routes.
    interface: u32,
}

impl Source {
    #[cfg(feature = "sim")]
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// This address, through whichever interface.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self { address, interface: 0 }
    }
}

impl Asked {
    /// The source of an answer, if there is one to name.
    pub(crate) fn answer_from(&self) -> Option<Source> {
        let address = self.source?;
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        Some(Source { address, interface: if link_local { self.interface } else { 0 } })
    }
}

/// `sock_extended_err` of ip(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    pub(crate) errno: i32,
    pub(crate) origin: u8,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) info: u32,
}

/// One control message.
pub(super) struct Message<'a> {
    level: c_int,
    kind: c_int,
    pub(super) data: &'a [u8],
}

impl Message<'_> {
    pub(super) fn is(&self, level: c_int, kind: c_int) -> bool {
        self.level == level && self.kind == kind
    }
}

/// A walk over control messages.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::from_ne_bytes(*self.0.first_chunk()?);
        let header = self.0.get(size_of::<usize>()..HEADER)?;
        let data = self.0.get(HEADER..length)?;
        let (level, kind) = (c_int_at(header, 0)?, c_int_at(header, 4)?);
        self.0 = self.0.get(length.next_multiple_of(size_of::<usize>())..).unwrap_or(&[]);
        Some(Message { level, kind, data })
    }
}

/// `in_pktinfo`: the interface, the address of ours, the destination.
fn asked_v4(data: &[u8]) -> Option<Asked> {
    let interface = u32::from_ne_bytes(*data.first_chunk()?);
    let source = Ipv4Addr::from(*data.get(4..)?.first_chunk::<4>()?);
    let destination = Ipv4Addr::from(*data.get(8..)?.first_chunk::<4>()?);
    let source = (!source.is_unspecified()).then_some(source.into());
    Some(Asked { destination: destination.into(), source, interface })
}

/// `in6_pktinfo`: the destination, the interface.
fn asked_v6(data: &[u8]) -> Option<Asked> {
    let destination = Ipv6Addr::from(*data.first_chunk::<16>()?);
    let interface = u32::from_ne_bytes(*data.get(16..)?.first_chunk()?);
    let source = (!destination.is_multicast()).then_some(destination.into());
    Some(Asked { destination: destination.into(), source, interface })
}

/// `sock_extended_err`, and behind it the address of whoever told.
fn extended_error(data: &[u8]) -> Option<(ExtendedError, Option<IpAddr>)> {
    let [origin, kind, code] = *data.get(4..)?.first_chunk()?;
    let info = u32::from_ne_bytes(*data.get(8..)?.first_chunk()?);
    let error = ExtendedError { errno: c_int_at(data, 0)?, origin, kind, code, info };
    Some((error, data.get(EXTENDED_ERROR..).and_then(ip_of)))
}

/// The IP address in a `sockaddr_in` or a `sockaddr_in6`.
fn ip_of(address: &[u8]) -> Option<IpAddr> {
    match c_int::from(u16::from_ne_bytes(*address.first_chunk()?)) {
        libc::AF_INET => Some(Ipv4Addr::from(*address.get(4..)?.first_chunk::<4>()?).into()),
        libc::AF_INET6 => Some(IpAddr::from(*address.get(8..)?.first_chunk::<16>()?).to_canonical()),
        _ => None,
    }
}

fn c_int_at(bytes: &[u8], place: usize) -> Option<c_int> {
    bytes.get(place..)?.first_chunk().copied().map(c_int::from_ne_bytes)
}

/// The length, the level and the type, as the kernel lays `cmsghdr` out on every architecture.
pub(super) const HEADER: usize = size_of::<usize>() + 8;

/// The size of `sock_extended_err`.
const EXTENDED_ERROR: usize = 16;

/// More than all messages take that the library asks for: two addresses asked for on a dual-stack socket, or an error with
/// them.
const ROOM: usize = 192;

/// Whatever the bytes are, no message reaches beyond them.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check(bytes: &[u8]) {
    let all: usize = Messages(bytes).map(|message| HEADER + message.data.len()).sum();
    assert!(all <= bytes.len());
    let mut control = Control::empty();
    let count = bytes.len().min(ROOM);
    control.0[..count].copy_from_slice(&bytes[..count]);
    if let Some(asked) = control.asked(bytes.len()) {
        assert!(asked.source.is_none_or(|source| !source.is_multicast() || asked.destination.is_ipv4()));
    }
    let _ = control.error(bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked_of(source: &str) -> Option<Asked> {
        let mut control = Control::empty();
        let length = control.send_from(&Source { address: source.parse().unwrap(), interface: 7 });
        control.asked(length)
    }

    #[test]
    fn what_is_written_is_read() {
        let v6 = asked_of("fe80::1").unwrap();
        assert_eq!((v6.source, v6.interface), ("fe80::1".parse().ok(), 7));
        assert_eq!(v6.answer_from().unwrap().interface, 7);
        assert_eq!(asked_of("127.0.0.2").unwrap().source, "127.0.0.2".parse().ok());
    }

    #[test]
    fn a_group_is_no_address_to_answer_from() {
        assert_eq!(asked_of("ff02::1").unwrap().answer_from(), None);
    }

    #[test]
    fn nonsense_is_no_message() {
        let mut control = Control::empty();
        assert_eq!(control.asked(ROOM), None);
        control.0.fill(0xff);
        assert_eq!(control.asked(ROOM), None);
        assert!(control.error(ROOM).is_none());
        control.write(0, libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 2]);
        assert_eq!(control.asked(ROOM), None);
    }

    #[test]
    fn an_error_tells_who_told() {
        let mut data = [0; 32];
        data[..4].copy_from_slice(&libc::ECONNREFUSED.to_ne_bytes());
        data[4..7].copy_from_slice(&[2, 3, 3]);
        data[16..18].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        data[20..24].copy_from_slice(&[127, 0, 0, 9]);
        let mut control = Control::empty();
        let length = control.write(0, libc::IPPROTO_IP, libc::IP_RECVERR, &data);
        let (error, teller) = control.error(length).unwrap();
        assert_eq!((error.errno, error.origin, error.kind, error.code), (libc::ECONNREFUSED, 2, 3, 3));
        assert_eq!(teller, "127.0.0.9".parse().ok());
    }

    /// Bytes that look like messages, some of them of the kinds that are read, with lengths that need not be true.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let kinds = prop::sample::select(vec![
            (libc::IPPROTO_IP, libc::IP_PKTINFO),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
            (libc::IPPROTO_IP, libc::IP_RECVERR),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
            (libc::SOL_SOCKET, libc::SCM_RIGHTS),
        ]);
        let lengths = prop_oneof![0..=2 * ROOM, any::<usize>()];
        let message = (lengths, kinds, prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(length, kind, data)| {
            let header = [kind.0.to_ne_bytes(), kind.1.to_ne_bytes()].concat();
            [&length.to_ne_bytes()[..], &header, &data].concat()
        });
        prop::collection::vec(message, 0..4).prop_map(|messages| messages.concat())
    }

    proptest! {
        #[test]
        fn no_message_reaches_beyond_the_bytes_that_there_are(bytes in messages()) {
            check(&bytes);
        }
    }
}
