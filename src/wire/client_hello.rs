//! The first flight of a TLS client, read without terminating: which name it asks for (SNI), which protocols it offers
//! (ALPN), which versions. The record layer below is in [`records`], the rules for names in [`name`].
//!
//! RFC 8446 and 5246 for the message, 6066 for names, 7301 for ALPN, 8701 for GREASE, 9849 for ECH. Strict where a
//! server behind could read the same bytes differently, silent about what does not route. `docs/tls-peek.md` lists what
//! is refused under which word.

mod name;
mod records;

use super::reader::Reader;
use name::HostName;
use std::borrow::Cow;
use std::fmt;

/// What the first bytes of a connection are, as far as they can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The start of a hello; the rest is to come.
    Partial,
    /// A hello.
    Complete(Hello<'a>),
    /// No hello, and no further byte will make it one.
    Refused(Refusal),
}

/// What a hello says that a route can ask for. Borrows from the bytes it was read from, unless the hello was spread over
/// several records and had to be gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The host that the client asks for, as it was sent, but for a trailing dot. `None`: it did not say, or wrote an IP
    /// address. With [`ech`](Self::ech) it is the name of the outer hello, all that anybody on the way can see.
    pub sni: Option<Cow<'a, str>>,
    /// The newest version of TLS on offer.
    pub version: Version,
    /// Whether the hello carries another one, encrypted (RFC 9849), or grease that looks like it: the two cannot be told
    /// apart.
    pub ech: bool,
    /// How many bytes of the stream hold the hello, headers of its records included.
    pub len: usize,
    /// The entries of the ALPN extension, each behind its length in one byte, checked.
    alpn: Cow<'a, [u8]>,
}

/// A version of TLS by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

/// Why the first bytes are no hello that can be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Nothing that TLS begins with.
    NotTls,
    /// The start of an HTTP request.
    PlainHttp,
    /// A PROXY protocol header where none is expected.
    ProxyHeader,
    /// The hello of SSL 2.0, also used by some old clients to offer more (RFC 6176 ends it).
    Sslv2,
    /// An alert in place of the hello, or in the middle of it.
    Alert,
    /// A record of another type in place of the hello, or in the middle of it.
    NotHandshake,
    /// A record whose version is none of SSL 3.0 or TLS.
    RecordVersion,
    /// A record longer than 2^14 bytes.
    RecordLength,
    /// A handshake record without a byte in it (RFC 8446, section 5.1, forbids it).
    EmptyRecord,
    /// A hello spread over more than [`RECORDS_MAX`] records.
    TooManyRecords,
    /// A handshake message other than a client hello.
    NotHello,
    /// A hello longer than the caller's limit.
    TooLong,
    /// A hello whose version is none of SSL 3.0 or TLS.
    HelloVersion,
    /// A hello whose lengths contradict each other, or a field out of its range.
    Malformed,
    /// One of the extensions read here does not have its form.
    MalformedExtension,
    /// One extension twice (RFC 8446, section 4.2).
    DuplicateExtension,
    /// Two host names (RFC 6066, section 3).
    DuplicateName,
    /// A host name that is no DNS name.
    BadName,
}

/// A hello may be spread over this many records. Clients put it into one, tools that hide from filters into two or
/// three; a thousand tiny ones are only a way to cost work.
pub const RECORDS_MAX: usize = 64;

/// Reads the hello at the front of a connection's `bytes`, which may end in the middle of it and go on behind it.
/// `max` bounds the hello with the headers of its records, in bytes; more than `max` bytes are never looked at.
///
/// Always from the start: nothing is kept between calls, and what was `Complete` or `Refused` stays so whatever comes
/// behind it. Until the last byte is there a call looks at the records' headers alone.
///
/// ```
/// use ringway::wire::client_hello::{Progress, Refusal, parse};
/// assert_eq!(parse(b"\x16\x03\x01", 16_384), Progress::Partial);
/// assert_eq!(parse(b"GET / HTTP/1.1\r\n", 16_384), Progress::Refused(Refusal::PlainHttp));
/// ```
pub fn parse(bytes: &[u8], max: usize) -> Progress<'_> {
    let visible = &bytes[..bytes.len().min(max)];
    match read(visible, max) {
        Ok(hello) => Progress::Complete(hello),
        Err(Stop::Partial) if visible.len() == max => Progress::Refused(Refusal::TooLong),
        Err(Stop::Partial) => Progress::Partial,
        Err(Stop::Refused(refusal)) => Progress::Refused(refusal),
    }
}

/// Why reading ends before there is a hello.
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

fn read(bytes: &[u8], max: usize) -> Result<Hello<'_>, Stop> {
    let (message, len) = records::first_message(bytes, max)?;
    let hello = match message {
        Cow::Borrowed(message) => Hello::read(message, len)?,
        Cow::Owned(message) => Hello::read(&message, len)?.into_owned(),
    };
    Ok(hello)
}

impl<'a> Hello<'a> {
    /// The protocols on offer, in the client's order of preference; none if it sent no ALPN extension. Grease included.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut list = Reader::new(&self.alpn);
        std::iter::from_fn(move || list.block8())
    }

    /// The same, free of the bytes it was read from.
    pub fn into_owned(self) -> Hello<'static> {
        Hello {
            sni: self.sni.map(|name| Cow::Owned(name.into_owned())),
            alpn: Cow::Owned(self.alpn.into_owned()),
            version: self.version,
            ech: self.ech,
            len: self.len,
        }
    }

    /// From the body of the message (RFC 8446, section 4.1.2).
    fn read(message: &'a [u8], len: usize) -> Result<Self, Refusal> {
        let mut message = Reader::new(message);
        let legacy_version = fixed_fields(&mut message)?;
        let extensions = extension_block(&mut message).ok_or(Refusal::Malformed)?;
        let mut hello = Self {
            sni: None,
            version: legacy_version,
            ech: false,
            len,
            alpn: Cow::Borrowed(&[]),
        };
        hello.read_extensions(extensions)?;
        Ok(hello)
    }

    fn read_extensions(&mut self, block: &'a [u8]) -> Result<(), Refusal> {
        let mut seen = Seen::default();
        let mut block = Reader::new(block);
        while !block.is_empty() {
            let kind = block.u16().ok_or(Refusal::Malformed)?;
            let body = block.block16().ok_or(Refusal::Malformed)?;
            if !seen.first_time(kind) {
                return Err(Refusal::DuplicateExtension);
            }
            self.read_extension(kind, body)?;
        }
        Ok(())
    }

    fn read_extension(&mut self, kind: u16, body: &'a [u8]) -> Result<(), Refusal> {
        match kind {
            SERVER_NAME => self.sni = server_name(body)?.map(Cow::Borrowed),
            ALPN => {
                let list = protocol_list(body).ok_or(Refusal::MalformedExtension)?;
                self.alpn = Cow::Borrowed(list);
            }
            SUPPORTED_VERSIONS => {
                let versions = version_list(body).ok_or(Refusal::MalformedExtension)?;
                self.version = newest(versions).unwrap_or(self.version);
            }
            ENCRYPTED_CLIENT_HELLO => self.ech = true,
            // GREASE values (RFC 8701) are strangers like any other.
            _ => {}
        }
        Ok(())
    }
}

// IANA, TLS ExtensionType Values.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Version, random, session, ciphers and compression: checked as far as they decide where the extensions begin.
fn fixed_fields(message: &mut Reader) -> Result<Version, Refusal> {
    let version = Version(message.u16().ok_or(Refusal::Malformed)?);
    if !version.is_tls() {
        return Err(Refusal::HelloVersion);
    }
    up_to_extensions(message).ok_or(Refusal::Malformed)?;
    Ok(version)
}

fn up_to_extensions(message: &mut Reader) -> Option<()> {
    message.take(32)?;
    let session = message.block8()?;
    let ciphers = message.block16()?;
    let compression = message.block8()?;
    let in_range = session.len() <= 32
        && !ciphers.is_empty()
        && ciphers.len().is_multiple_of(2)
        && !compression.is_empty();
    in_range.then_some(())
}

/// What is left of the message: nothing (clients before TLS 1.2 may stop here), or one block.
fn extension_block<'a>(message: &mut Reader<'a>) -> Option<&'a [u8]> {
    if message.is_empty() {
        return Some(&[]);
    }
    all(message.rest(), Reader::block16)
}

/// RFC 6066, section 3: a list, of which there can be one entry. Names of other types were never defined, so nobody
/// knows where one ends and the next begins; readers who guess do not agree.
fn server_name(body: &[u8]) -> Result<Option<&str>, Refusal> {
    let list = all(body, Reader::block16).ok_or(Refusal::MalformedExtension)?;
    let mut list = Reader::new(list);
    let name = host_name(&mut list).ok_or(Refusal::MalformedExtension)?;
    if !list.is_empty() {
        return Err(match host_name(&mut list) {
            Some(_) => Refusal::DuplicateName,
            None => Refusal::MalformedExtension,
        });
    }
    match HostName::read(name) {
        Some(HostName::Dns(name)) => Ok(Some(name)),
        Some(HostName::Address) => Ok(None),
        None => Err(Refusal::BadName),
    }
}

fn host_name<'a>(list: &mut Reader<'a>) -> Option<&'a [u8]> {
    const HOST_NAME: u8 = 0;
    match list.u8()? {
        HOST_NAME => list.block16(),
        _ => None,
    }
}

/// RFC 7301, section 3.1: at least one protocol, none of them empty.
fn protocol_list(body: &[u8]) -> Option<&[u8]> {
    let list = all(body, Reader::block16)?;
    let mut entries = Reader::new(list);
    let mut count = 0;
    while !entries.is_empty() {
        if entries.block8()?.is_empty() {
            return None;
        }
        count += 1;
    }
    (count > 0).then_some(list)
}

/// RFC 8446, section 4.2.1: at least one version.
fn version_list(body: &[u8]) -> Option<&[u8]> {
    let list = all(body, Reader::block8)?;
    (!list.is_empty() && list.len().is_multiple_of(2)).then_some(list)
}

/// The newest version among those that are versions: GREASE, drafts and DTLS are not.
fn newest(versions: &[u8]) -> Option<Version> {
    let (pairs, _) = versions.as_chunks();
    pairs
        .iter()
        .map(|pair| Version(u16::from_be_bytes(*pair)))
        .filter(|version| version.is_tls())
        .max()
}

/// What `part` reads, if that is all there is.
fn all<'a>(bytes: &'a [u8], part: fn(&mut Reader<'a>) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
    let mut reader = Reader::new(bytes);
    let read = part(&mut reader)?;
    reader.is_empty().then_some(read)
}

/// Which extensions came already: a bit each, because comparing thousands of tiny ones with each other is what somebody
/// would like us to do.
struct Seen([u64; 1024]);

impl Default for Seen {
    fn default() -> Self {
        Self([0; 1024])
    }
}

impl Seen {
    fn first_time(&mut self, kind: u16) -> bool {
        let word = &mut self.0[usize::from(kind / 64)];
        let bit = 1 << (kind % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

impl Version {
    /// TLS 1.3 (RFC 8446).
    pub const TLS13: Self = Self(0x0304);
    /// TLS 1.2 (RFC 5246).
    pub const TLS12: Self = Self(0x0303);

    /// SSL 3.0 or any TLS: major number 3.
    fn is_tls(self) -> bool {
        self.0 >> 8 == 3
    }
}

impl fmt::Display for Version {
    /// The words of OpenSSL, nginx and HAProxy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0300 => f.write_str("SSLv3"),
            0x0301 => f.write_str("TLSv1"),
            0x0302 => f.write_str("TLSv1.1"),
            0x0303 => f.write_str("TLSv1.2"),
            0x0304 => f.write_str("TLSv1.3"),
            other => write!(f, "0x{other:04x}"),
        }
    }
}

impl Refusal {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 18] = [
        Self::NotTls,
        Self::PlainHttp,
        Self::ProxyHeader,
        Self::Sslv2,
        Self::Alert,
        Self::NotHandshake,
        Self::RecordVersion,
        Self::RecordLength,
        Self::EmptyRecord,
        Self::TooManyRecords,
        Self::NotHello,
        Self::TooLong,
        Self::HelloVersion,
        Self::Malformed,
        Self::MalformedExtension,
        Self::DuplicateExtension,
        Self::DuplicateName,
        Self::BadName,
    ];

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for logs and counters: one of a fixed set, nothing of the client's.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotTls => "not-tls",
            Self::PlainHttp => "plain-http",
            Self::ProxyHeader => "proxy-header",
            Self::Sslv2 => "sslv2",
            Self::Alert => "tls-alert",
            Self::NotHandshake => "not-handshake",
            Self::RecordVersion => "record-version",
            Self::RecordLength => "record-length",
            Self::EmptyRecord => "empty-record",
            Self::TooManyRecords => "too-many-records",
            Self::NotHello => "not-hello",
            Self::TooLong => "hello-too-long",
            Self::HelloVersion => "hello-version",
            Self::Malformed => "malformed-hello",
            Self::MalformedExtension => "malformed-extension",
            Self::DuplicateExtension => "duplicate-extension",
            Self::DuplicateName => "duplicate-name",
            Self::BadName => "bad-name",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
