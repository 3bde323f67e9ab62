//! Version 2: sixteen bytes, addresses, then what else there is to say.

use super::{Header, Origin, Refusal, Stop, Tlvs, TooLong, V2_MAX, tlv};
use crate::wire::reader::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;
const LENGTH_AT: usize = 14;

// Version in the upper four bits, command in the lower.
const VERSION: u8 = 0x2;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

// Address family in the upper four bits, transport in the lower: both are 0 for "unspecified".
const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = INET << 4 | STREAM;
const TCP6: u8 = INET6 << 4 | STREAM;

/// Two socket addresses of Unix, as they stand in `sun_path`.
const UNIX_ADDRESSES: usize = 2 * 108;

/// The header that tells a backend of `origin`, without a checksum. Only with addresses does it carry `tlvs`: receivers
/// have to ignore whatever else comes with [`Origin::Local`], and cannot know where TLVs begin behind no addresses.
///
/// # Errors
/// [`TooLong`] if a value exceeds its type's limit, or the header [`V2_MAX`] bytes.
pub fn write(origin: Origin, tlvs: &Tlvs) -> Result<Vec<u8>, TooLong> {
    let mut header = Vec::with_capacity(FIXED + UNIX_ADDRESSES);
    header.extend_from_slice(SIGNATURE);
    match origin.in_one_family() {
        Origin::Local => header.extend([LOCAL, UNSPECIFIED, 0, 0]),
        Origin::Unknown => header.extend([PROXY, UNSPECIFIED, 0, 0]),
        Origin::Tcp {
            source,
            destination,
        } => {
            let family = if source.is_ipv4() { TCP4 } else { TCP6 };
            header.extend([PROXY, family, 0, 0]);
            write_ip(source.ip(), &mut header);
            write_ip(destination.ip(), &mut header);
            header.extend(source.port().to_be_bytes());
            header.extend(destination.port().to_be_bytes());
            tlv::write(tlvs, &mut header)?;
        }
    }
    if header.len() > V2_MAX {
        return Err(TooLong);
    }
    let length = u16::try_from(header.len() - FIXED).expect("V2_MAX fits");
    header[LENGTH_AT..FIXED].copy_from_slice(&length.to_be_bytes());
    Ok(header)
}

fn write_ip(ip: IpAddr, header: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => header.extend(ip.octets()),
        IpAddr::V6(ip) => header.extend(ip.octets()),
    }
}

/// `bytes` begin with [`SIGNATURE`].
pub(super) fn read(bytes: &[u8]) -> Result<Header<'_>, Stop> {
    let fixed = Fixed::read(bytes)?;
    let len = FIXED + fixed.length;
    let header = bytes.get(..len).ok_or(Stop::Partial)?;
    let mut block = Reader::new(&header[FIXED..]);
    let origin = fixed
        .block
        .origin(&mut block)
        .ok_or(Refusal::AddressesCutShort)?;
    let tlvs = match fixed.block {
        Block::Ignored(_) => Tlvs::default(),
        Block::Tcp4 | Block::Tcp6 | Block::Unix => tlv::read(block.rest(), header)?,
    };
    Ok(Header { origin, tlvs, len })
}

/// What the first sixteen bytes say.
struct Fixed {
    block: Block,
    /// Of what follows.
    length: usize,
}

/// How to read what follows.
#[derive(Clone, Copy)]
enum Block {
    /// Not at all: the addresses of LOCAL are to be ignored, and where those of an unspecified family end, and the TLVs
    /// begin, nobody knows.
    Ignored(Origin),
    Tcp4,
    Tcp6,
    Unix,
}

impl Fixed {
    /// Refused at the first byte that is wrong, for the sender to see it soon.
    fn read(bytes: &[u8]) -> Result<Self, Stop> {
        let mut fixed = Reader::new(&bytes[SIGNATURE.len()..]);
        let command = fixed.u8().ok_or(Stop::Partial)?;
        check_command(command)?;
        let family = fixed.u8().ok_or(Stop::Partial)?;
        let block = Block::of(command, family)?;
        let length = fixed.u16().ok_or(Stop::Partial)?.into();
        if FIXED + length > V2_MAX {
            return Err(Refusal::HeaderTooLong.into());
        }
        Ok(Self { block, length })
    }
}

fn check_command(command: u8) -> Result<(), Refusal> {
    match command {
        LOCAL | PROXY => Ok(()),
        _ if command >> 4 != VERSION => Err(Refusal::Version),
        _ => Err(Refusal::Command),
    }
}

impl Block {
    fn of(command: u8, family: u8) -> Result<Self, Refusal> {
        match (command, family >> 4, family & 0xf) {
            (LOCAL, _, _) => Ok(Self::Ignored(Origin::Local)),
            (_, 0..=UNIX, DATAGRAM) => Err(Refusal::Datagram),
            (_, 0, STREAM) | (_, 0..=UNIX, 0) => Ok(Self::Ignored(Origin::Unknown)),
            (_, INET, STREAM) => Ok(Self::Tcp4),
            (_, INET6, STREAM) => Ok(Self::Tcp6),
            (_, UNIX, STREAM) => Ok(Self::Unix),
            _ => Err(Refusal::Family),
        }
    }

    fn origin(self, block: &mut Reader) -> Option<Origin> {
        match self {
            Self::Ignored(origin) => Some(origin),
            Self::Tcp4 => tcp(block, |block| {
                block.array().map(|ip| Ipv4Addr::from_octets(ip).into())
            }),
            Self::Tcp6 => tcp(block, |block| {
                block.array().map(|ip| Ipv6Addr::from_octets(ip).into())
            }),
            Self::Unix => block.take(UNIX_ADDRESSES).map(|_| Origin::Unknown),
        }
    }
}

fn tcp(block: &mut Reader, ip: fn(&mut Reader) -> Option<IpAddr>) -> Option<Origin> {
    let (source, destination) = (ip(block)?, ip(block)?);
    Some(Origin::Tcp {
        source: SocketAddr::new(source, block.u16()?),
        destination: SocketAddr::new(destination, block.u16()?),
    })
}
