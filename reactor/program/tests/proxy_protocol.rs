//! A header that is written is read, whatever it tells and wherever its bytes are cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, SocketAddr};

use program::proxy_protocol::{Header, parse};
use program_testing::proxy_header::{binary, text};
use proptest::prelude::*;

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(from, to)| (IpAddr::from(from), IpAddr::from(to)));
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(from, to)| (IpAddr::from(from), IpAddr::from(to)));
    let ports = (any::<u16>(), any::<u16>());
    (prop_oneof![v4, v6], ports).prop_map(|(hosts, ports)| ((hosts.0, ports.0).into(), (hosts.1, ports.1).into()))
}

proptest! {
    #[test]
    fn what_is_told_is_read(
        (source, destination) in addresses(),
        additions in proptest::collection::vec(any::<u8>(), 0..600),
        behind in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for header in [text(source, destination).into_bytes(), binary(source, destination, &additions)] {
            let bytes = [&header[..], &behind].concat();
            for cut in 0..=bytes.len() {
                let wanted = Header { length: header.len(), source: Some(source) };
                prop_assert_eq!(parse(&bytes[..cut]), Ok(Some(wanted).filter(|_| cut >= header.len())));
            }
        }
    }
}
