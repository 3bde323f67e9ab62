//! What must hold of any bytes given to the parser of PROXY protocol headers. Tests run it over tables, the corpus and
//! chance; the fuzzer includes this file.

use ringway::wire::proxy_protocol::{Header, Origin, Progress, parse, write_v1, write_v2};
use std::net::SocketAddr;

/// Panics where something does not hold.
pub(crate) fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    for end in (0..bytes.len()).step_by(bytes.len() / 256 + 1) {
        let part = parse(&bytes[..end]);
        assert!(
            part == Progress::Partial || part == whole,
            "{end}: {part:?}, then {whole:?}"
        );
    }
    if let Progress::Complete(header) = whole {
        assert_eq!(
            parse(&bytes[..header.len]),
            Progress::Complete(header.clone())
        );
        assert_eq!(parse(&bytes[..header.len - 1]), Progress::Partial);
        agrees_with_ppp(bytes, &header);
        survives_writing(&header);
    }
}

/// What a header says can be written, and says the same again.
fn survives_writing(header: &Header) {
    let line = write_v1(header.origin);
    let v1 = complete(&line);
    match header.origin {
        Origin::Local | Origin::Unknown => assert_eq!(v1.origin, Origin::Unknown),
        Origin::Tcp {
            source,
            destination,
        } => assert_eq!(
            canonical(v1.origin),
            canonical(Origin::Tcp {
                source,
                destination
            })
        ),
    }
    let Ok(block) = write_v2(header.origin, &header.tlvs) else {
        panic!("{header:?} was read, so it fits")
    };
    let v2 = complete(&block);
    assert_eq!(canonical(v2.origin), canonical(header.origin));
    if header.origin.source().is_some() {
        assert_eq!(v2.tlvs, header.tlvs);
    }
}

fn complete(bytes: &[u8]) -> Header<'_> {
    let Progress::Complete(header) = parse(bytes) else {
        panic!("{:?} of what we wrote: {bytes:x?}", parse(bytes));
    };
    assert_eq!(header.len, bytes.len());
    header
}

/// Without the difference between an IPv4 address and its form in IPv6.
fn canonical(origin: Origin) -> Origin {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    match origin {
        Origin::Local | Origin::Unknown => origin,
        Origin::Tcp {
            source,
            destination,
        } => Origin::Tcp {
            source: plain(source),
            destination: plain(destination),
        },
    }
}

/// Headers that both accept say the same to both.
fn agrees_with_ppp(bytes: &[u8], header: &Header) {
    let theirs = match ppp::HeaderResult::parse(bytes) {
        ppp::HeaderResult::V1(Ok(theirs)) => {
            assert_eq!(theirs.header.len(), header.len);
            match theirs.addresses {
                ppp::v1::Addresses::Tcp4(ip) => Some(pair(
                    ip.source_address,
                    ip.source_port,
                    ip.destination_address,
                    ip.destination_port,
                )),
                ppp::v1::Addresses::Tcp6(ip) => Some(pair(
                    ip.source_address,
                    ip.source_port,
                    ip.destination_address,
                    ip.destination_port,
                )),
                ppp::v1::Addresses::Unknown => None,
            }
        }
        ppp::HeaderResult::V2(Ok(theirs)) => {
            assert_eq!(theirs.len(), header.len);
            // It gives the addresses of headers whose addresses are to be ignored.
            if theirs.command == ppp::v2::Command::Local
                || theirs.protocol != ppp::v2::Protocol::Stream
            {
                return;
            }
            match theirs.addresses {
                ppp::v2::Addresses::IPv4(ip) => Some(pair(
                    ip.source_address,
                    ip.source_port,
                    ip.destination_address,
                    ip.destination_port,
                )),
                ppp::v2::Addresses::IPv6(ip) => Some(pair(
                    ip.source_address,
                    ip.source_port,
                    ip.destination_address,
                    ip.destination_port,
                )),
                ppp::v2::Addresses::Unix(_) | ppp::v2::Addresses::Unspecified => None,
            }
        }
        ppp::HeaderResult::V1(Err(_)) | ppp::HeaderResult::V2(Err(_)) => return,
    };
    assert_eq!(theirs.unwrap_or(Origin::Unknown), header.origin);
}

fn pair<Ip: Into<std::net::IpAddr>>(
    source: Ip,
    source_port: u16,
    destination: Ip,
    destination_port: u16,
) -> Origin {
    Origin::Tcp {
        source: (source, source_port).into(),
        destination: (destination, destination_port).into(),
    }
}
