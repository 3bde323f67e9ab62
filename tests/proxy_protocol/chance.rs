//! What holds of any header, and of what is nearly one.

use crate::build::*;
use crate::complete;
use crate::properties;
use proptest::prelude::*;
use ringway::wire::proxy_protocol::{Origin, Tlvs, write_v1, write_v2};
use std::net::SocketAddr;

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let command = prop_oneof![Just(PROXY), Just(PROXY), Just(LOCAL), any::<u8>()];
    let family = prop_oneof![Just(TCP4), Just(TCP6), Just(0x31), Just(0), any::<u8>()];
    let kind = prop_oneof![0..6_u8, Just(0x20), Just(0x30), any::<u8>()];
    let tlvs =
        proptest::collection::vec((kind, proptest::collection::vec(any::<u8>(), 0..20)), 0..5);
    (command, family, any::<[u8; 36]>(), tlvs).prop_map(|(command, family, addresses, tlvs)| {
        let length = match family {
            TCP4 => 12,
            _ => 36,
        };
        let tlvs: Vec<u8> = tlvs
            .iter()
            .flat_map(|(kind, value)| tlv(*kind, value))
            .collect();
        v2(command, family, &[&addresses[..length], &tlvs].concat())
    })
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..100), start in 0..3_usize) {
        let start = [b"".as_slice(), b"PROXY ", SIGNATURE][start];
        properties::check(&[start, &bytes].concat());
    }

    #[test]
    fn no_line_breaks_it(line in "PROXY (TCP4|TCP6|UNKNOWN|[A-Z]{3}) [0-9a-f:.]{1,20} [0-9a-f:. ]{1,20} [0-9]{1,6} [0-9]{1,6}[\r\n]{1,3}") {
        properties::check(line.as_bytes());
    }

    #[test]
    fn no_header_breaks_it(header in any_header()) {
        properties::check(&header);
    }

    #[test]
    fn any_addresses_survive_both_versions(source in any_address(), destination in any_address()) {
        let origin = Origin::Tcp { source, destination };
        for bytes in [write_v1(origin).to_vec(), write_v2(origin, &Tlvs::default()).unwrap()] {
            let Origin::Tcp { source: s, destination: d } = complete(&bytes).origin else {
                panic!("{origin:?}");
            };
            prop_assert_eq!((s.ip().to_canonical(), s.port()), (source.ip().to_canonical(), source.port()));
            prop_assert_eq!((d.ip().to_canonical(), d.port()), (destination.ip().to_canonical(), destination.port()));
            prop_assert_eq!(s.is_ipv4(), d.is_ipv4());
            properties::check(&bytes);
        }
    }
}
