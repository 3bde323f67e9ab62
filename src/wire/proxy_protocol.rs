//! The PROXY protocol, versions 1 and 2: who a connection is from, told by the proxy in front in the first bytes, and
//! told by us to the backend behind. HAProxy's `doc/proxy-protocol.txt` is the specification.
//!
//! Whoever sends such a header is believed, so the grammar is strict: what is not exactly a header is refused. Whether a
//! sender may be believed is not decided here. `docs/proxy-protocol.md` lists what is refused under which word.

mod tlv;
mod v1;
mod v2;

pub use v1::write as write_v1;
pub use v2::write as write_v2;

use std::fmt;
use std::net::SocketAddr;

/// The longest header of version 1 (section 2.1 of the specification), in bytes.
pub const V1_MAX: usize = 107;

/// The longest header of version 2 that is read or written, in bytes. Its length field reaches 64 KiB, but a header is to
/// fit one TCP segment; 4,096 is nginx's limit too.
pub const V2_MAX: usize = 4096;

/// What the first bytes of a connection are, as far as they can be told.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one match, once a connection"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The start of a header; the rest is to come.
    Partial,
    /// A header. The client's own bytes begin right behind it.
    Complete(Header<'a>),
    /// Something else from the start. Fine where a header is optional.
    Absent,
    /// A header that breaks the rules: the connection has to be closed.
    Refused(Refusal),
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Whose connection this is.
    pub origin: Origin,
    /// What version 2 can add.
    pub tlvs: Tlvs<'a>,
    /// How many bytes of the stream are the header.
    pub len: usize,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sender's own, such as a health check. Version 1 has no word for it.
    Local,
    /// Somebody's whose addresses the sender cannot or will not tell: `UNKNOWN`, a Unix socket.
    Unknown,
    /// A TCP client's.
    Tcp {
        /// The client's address.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
}

/// What a header of version 2 can say beside the addresses. Types that are not here are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// The application's protocol, as in TLS's ALPN: `h2`.
    pub alpn: Option<&'a [u8]>,
    /// The host that the client asked for, as in TLS's SNI.
    pub authority: Option<&'a str>,
    /// The connection's name across proxies, at most [`UNIQUE_ID_MAX`] bytes.
    pub unique_id: Option<&'a [u8]>,
    /// How the client is encrypted and who it proved to be.
    pub ssl: Option<Ssl<'a>>,
    /// The sender's name for the network namespace.
    pub netns: Option<&'a str>,
}

/// TLS between the client and the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// [`SSL_TLS`](Self::TLS) and its neighbours.
    pub client: u8,
    /// The result of verifying the client's certificate; 0 is fine, or no certificate.
    pub verify: u32,
    /// `TLSv1.3`.
    pub version: Option<&'a str>,
    /// Common name of the client's certificate.
    pub common_name: Option<&'a str>,
    /// `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<&'a str>,
    /// What the sender's own certificate was signed with: `RSA-SHA256`.
    pub signature_algorithm: Option<&'a str>,
    /// The key of the sender's own certificate: `RSA2048`.
    pub key_algorithm: Option<&'a str>,
}

/// Section 2.2.5.
pub const UNIQUE_ID_MAX: usize = 128;

/// The longest host name that is believed; HAProxy's limit too.
pub const AUTHORITY_MAX: usize = 255;

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Version 1: no CRLF within [`V1_MAX`] bytes.
    LineTooLong,
    /// Version 1: a CR or LF that is not part of CRLF.
    LineEnding,
    /// Version 1: a protocol other than `TCP4`, `TCP6`, `UNKNOWN`.
    Protocol,
    /// Version 1: fields missing, too many, or not separated by one space each.
    Fields,
    /// Version 1: an address that is none, or of the other family.
    Address,
    /// Version 1: a port that is not 0 to 65535 without leading zeros.
    Port,
    /// Version 2: another version behind the signature of 2.
    Version,
    /// Version 2: a command other than LOCAL and PROXY.
    Command,
    /// Version 2: an address family or transport that does not exist.
    Family,
    /// Version 2: UDP, which cannot be what this connection carries.
    Datagram,
    /// Version 2: longer than [`V2_MAX`].
    HeaderTooLong,
    /// Version 2: too short for the addresses of its family.
    AddressesCutShort,
    /// Version 2: a TLV that reaches beyond the header, or without the form its type demands.
    MalformedTlv,
    /// Version 2: one of the types that are read here, twice.
    DuplicateTlv,
    /// Version 2: the checksum does not agree.
    Checksum,
}

/// What [`write_v2`] was given does not fit: a value its type's limit, or the header [`V2_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Reads the header at the front of a connection's `bytes`, which may end in the middle of it and go on behind it.
///
/// Always from the start: nothing is kept between calls, and whatever was said, except `Partial`, stays so whatever
/// comes behind.
///
/// ```
/// use ringway::wire::proxy_protocol::{Origin, Progress, parse};
/// let bytes = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\nhello";
/// let Progress::Complete(header) = parse(bytes) else { panic!() };
/// let (source, destination) = ("192.0.2.7:56324", "192.0.2.1:443");
/// assert_eq!(header.origin, Origin::Tcp {
///     source: source.parse().unwrap(),
///     destination: destination.parse().unwrap(),
/// });
/// assert_eq!(&bytes[header.len..], b"hello");
/// ```
pub fn parse(bytes: &[u8]) -> Progress<'_> {
    let read = if bytes.starts_with(v1::SIGNATURE) {
        v1::read(bytes)
    } else if bytes.starts_with(v2::SIGNATURE) {
        v2::read(bytes)
    } else if v1::SIGNATURE.starts_with(bytes) || v2::SIGNATURE.starts_with(bytes) {
        Err(Stop::Partial)
    } else {
        return Progress::Absent;
    };
    match read {
        Ok(header) => Progress::Complete(header),
        Err(Stop::Partial) => Progress::Partial,
        Err(Stop::Refused(refusal)) => Progress::Refused(refusal),
    }
}

/// Why reading ends before there is a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Partial,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Origin {
    /// The client's address, if the header tells it.
    pub fn source(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { source, .. } => Some(source),
            Self::Local | Self::Unknown => None,
        }
    }

    /// Both addresses in one family, as either version needs them: IPv4 written as IPv6 (what a socket for both
    /// reports) becomes IPv4, unless only one of the two can.
    fn in_one_family(self) -> Self {
        let Self::Tcp {
            source,
            destination,
        } = self
        else {
            return self;
        };
        let plain =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = match (plain(source), plain(destination)) {
            (SocketAddr::V4(source), destination @ SocketAddr::V6(_)) => (v6(source), destination),
            (source @ SocketAddr::V6(_), SocketAddr::V4(destination)) => (source, v6(destination)),
            alike => alike,
        };
        Self::Tcp {
            source,
            destination,
        }
    }
}

fn v6(address: std::net::SocketAddrV4) -> SocketAddr {
    SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port())
}

impl Ssl<'_> {
    /// In `client`: the client connected over TLS.
    pub const TLS: u8 = 0x01;
    /// In `client`: it gave a certificate on this connection.
    pub const CERTIFICATE_NOW: u8 = 0x02;
    /// In `client`: it gave a certificate at least once in this TLS session.
    pub const CERTIFICATE_IN_SESSION: u8 = 0x04;

    /// Whether the client proved to own a certificate that the sender trusts.
    pub fn client_is_verified(&self) -> bool {
        let gave_one = self.client & (Self::CERTIFICATE_NOW | Self::CERTIFICATE_IN_SESSION) != 0;
        gave_one && self.verify == 0
    }
}

impl Refusal {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 15] = [
        Self::LineTooLong,
        Self::LineEnding,
        Self::Protocol,
        Self::Fields,
        Self::Address,
        Self::Port,
        Self::Version,
        Self::Command,
        Self::Family,
        Self::Datagram,
        Self::HeaderTooLong,
        Self::AddressesCutShort,
        Self::MalformedTlv,
        Self::DuplicateTlv,
        Self::Checksum,
    ];

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for logs and counters: one of a fixed set, nothing of the sender's.
    pub fn word(self) -> &'static str {
        match self {
            Self::LineTooLong => "line-too-long",
            Self::LineEnding => "line-ending",
            Self::Protocol => "protocol",
            Self::Fields => "fields",
            Self::Address => "address",
            Self::Port => "port",
            Self::Version => "version",
            Self::Command => "command",
            Self::Family => "family",
            Self::Datagram => "datagram",
            Self::HeaderTooLong => "header-too-long",
            Self::AddressesCutShort => "addresses-cut-short",
            Self::MalformedTlv => "malformed-tlv",
            Self::DuplicateTlv => "duplicate-tlv",
            Self::Checksum => "checksum",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
