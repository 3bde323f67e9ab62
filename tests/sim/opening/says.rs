//! First bytes of clients, written by hand, and what a backend is due of them: nothing here is asked of the code under
//! test but how a head is rewritten, which has tests of its own.

use ringway::config::SendProxy;
use ringway::sim::Chance;
use ringway::wire::http_head::{Progress, Reader, Scheme, append};
use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A name of the fixtures, which others of the same length replace.
const NAME: &str = "feed.example.com";

const HELLOS: [&[u8]; 5] = [
    include_bytes!("../../../fuzz/corpus/client_hello/chrome-150.bin"),
    include_bytes!("../../../fuzz/corpus/client_hello/curl.bin"),
    include_bytes!("../../../fuzz/corpus/client_hello/firefox-147.bin"),
    include_bytes!("../../../fuzz/corpus/client_hello/openssl-tls12.bin"),
    include_bytes!("../../../fuzz/corpus/client_hello/safari-26.bin"),
];

const NAMELESS: &[u8] = include_bytes!("../../../fuzz/corpus/client_hello/openssl-noname.bin");

/// Who a PROXY protocol header says that the client is, and where it connected to.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// A PROXY protocol header, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Header {
    None,
    /// Without addresses: of a health check, or of a client that the sender does not know.
    Nobody(Vec<u8>),
    Of(Vec<u8>, Ends),
    Bad(Vec<u8>),
}

/// Where first bytes ask to go; the names are those of the upstreams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Feed,
    Chat,
    /// All of its backends refuse.
    Dead,
    /// No route's.
    Other,
}

/// What comes behind the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// Nothing that means anything.
    Opaque,
    Head(Target, Vec<u8>),
    BadHead(Vec<u8>),
    /// A head that is too long, with nothing else wrong.
    LongHead(Vec<u8>),
    /// The preface of HTTP/2, which is routed without a look inside.
    Preface,
    Hello(Target, Vec<u8>),
    BadHello(Vec<u8>),
}

impl Header {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Nobody(bytes) | Self::Of(bytes, _) | Self::Bad(bytes) => bytes,
        }
    }

    /// One that a client with this number might bring.
    pub(crate) fn draw(number: u16, chance: &mut Chance) -> Self {
        let ends = draw_ends(number, chance);
        match chance.below(8) {
            0 => Self::None,
            1 => Self::Bad(
                chance
                    .pick(&[
                        &b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n"[..],
                        b"PROXY TCP4 203.0.113.7\r\n",
                        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c",
                    ])
                    .to_vec(),
            ),
            2 => Self::Nobody(b"PROXY UNKNOWN\r\n".to_vec()),
            3 => Self::Nobody([SIGNATURE, b"\x20\x00\x00\x00"].concat()),
            4 | 5 => Self::Of(v1(ends), ends),
            6 => Self::Of(v2(ends, &[]), ends),
            _ => {
                // PP2_TYPE_NOOP, as long as it likes.
                let len = u16::try_from(chance.below(300)).expect("below 300");
                let noop = [&[4][..], &len.to_be_bytes(), &vec![0; usize::from(len)]].concat();
                Self::Of(v2(ends, &noop), ends)
            }
        }
    }
}

/// Few clients, so that they meet; the third address is denied by some listeners, the last two are one household.
fn draw_ends(number: u16, chance: &mut Chance) -> Ends {
    let ip: IpAddr = chance
        .pick(&[
            "203.0.113.1",
            "203.0.113.2",
            "203.0.113.200",
            "2001:db8::1",
            "2001:db8::2",
        ])
        .parse()
        .expect("an address");
    let destination = if ip.is_ipv4() {
        "192.0.2.99:443"
    } else {
        "[2001:db8:1::9]:443"
    };
    let source = SocketAddr::new(ip, 20_000 + number);
    (source, destination.parse().expect("an address"))
}

fn v1((source, destination): Ends) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let ports = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1).into_bytes()
}

fn v2((source, destination): Ends, tlvs: &[u8]) -> Vec<u8> {
    let mut addresses = Vec::new();
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => addresses.extend(ip.octets()),
            IpAddr::V6(ip) => addresses.extend(ip.octets()),
        }
    }
    addresses.extend(source.port().to_be_bytes());
    addresses.extend(destination.port().to_be_bytes());
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let len = u16::try_from(addresses.len() + tlvs.len()).expect("a short header");
    [
        SIGNATURE,
        &[0x21, family],
        &len.to_be_bytes(),
        &addresses,
        tlvs,
    ]
    .concat()
}

/// What a backend is told of a client ahead of its bytes; the unique id is the program's to choose.
pub(crate) fn announced(version: SendProxy, ends: Ends, name: Option<&str>) -> Vec<Option<u8>> {
    const AUTHORITY: u8 = 2;
    const UNIQUE_ID: u8 = 5;
    const ID_BYTES: u8 = 16;
    match version {
        SendProxy::Off => Vec::new(),
        SendProxy::V1 => v1(ends).into_iter().map(Some).collect(),
        SendProxy::V2 => {
            let mut tlvs = Vec::new();
            if let Some(name) = name {
                let len = u8::try_from(name.len()).expect("a short name");
                tlvs.extend([&[AUTHORITY, 0, len], name.as_bytes()].concat());
            }
            tlvs.extend([UNIQUE_ID, 0, ID_BYTES]);
            let id = usize::from(ID_BYTES);
            tlvs.extend(vec![0; id]);
            let mut header: Vec<_> = v2(ends, &tlvs).into_iter().map(Some).collect();
            let known = header.len() - id;
            header[known..].fill(None);
            header
        }
    }
}

impl Target {
    fn draw(chance: &mut Chance) -> Self {
        chance.pick(&[
            Self::Feed,
            Self::Feed,
            Self::Chat,
            Self::Chat,
            Self::Dead,
            Self::Other,
        ])
    }

    /// What a client asks for to get there. As long as any other.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Feed => NAME,
            Self::Chat => "chat.example.com",
            Self::Dead => "dead.example.com",
            Self::Other => "none.example.com",
        }
    }
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Opaque => &[],
            Self::Preface => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            Self::Head(_, bytes)
            | Self::BadHead(bytes)
            | Self::LongHead(bytes)
            | Self::Hello(_, bytes)
            | Self::BadHello(bytes) => bytes,
        }
    }

    /// A request's head, or what is none. `most` is how long one may be.
    pub(crate) fn draw_head(most: u32, chance: &mut Chance) -> Self {
        let target = Target::draw(chance);
        match chance.below(8) {
            0 => Self::BadHead(
                chance
                    .pick(&[
                        &b"GET / HTTP/1.1\nHost: feed.example.com\n\n"[..],
                        b"GET / HTTP/1.1\r\nHost : feed.example.com\r\n\r\n",
                        b"GET / HTTP/1.1\r\n\r\n",
                        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                    ])
                    .to_vec(),
            ),
            1 => Self::LongHead(head(target, most as usize)),
            2 => Self::Preface,
            _ => Self::Head(target, head(target, chance.index(400))),
        }
    }

    /// A ClientHello, or what is none.
    pub(crate) fn draw_hello(chance: &mut Chance) -> Self {
        match chance.below(8) {
            0 => Self::BadHello(b"GET / HTTP/1.1\r\nHost: feed.example.com\r\n\r\n".to_vec()),
            1 => Self::Hello(Target::Other, NAMELESS.to_vec()),
            _ => {
                let target = Target::draw(chance);
                let mut hello = chance.pick(&HELLOS).to_vec();
                let at = hello
                    .windows(NAME.len())
                    .position(|bytes| bytes == NAME.as_bytes())
                    .expect("each of the fixtures names it");
                hello[at..at + NAME.len()].copy_from_slice(target.name().as_bytes());
                Self::Hello(target, hello)
            }
        }
    }

    /// Whose name it carries.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Head(target, _) => Some(target.name()),
            Self::Hello(_, bytes) if bytes == NAMELESS => None,
            Self::Hello(target, _) => Some(target.name()),
            Self::Opaque
            | Self::BadHead(_)
            | Self::LongHead(_)
            | Self::Preface
            | Self::BadHello(_) => None,
        }
    }
}

/// A head with a cookie of so many bytes. To chat it asks for an upgrade.
fn head(target: Target, cookie: usize) -> Vec<u8> {
    let (name, cookie) = (target.name(), "c".repeat(cookie));
    let more = match target {
        Target::Chat => "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        Target::Feed | Target::Dead | Target::Other => "X-Forwarded-For: 192.0.2.200\r\n",
    };
    format!("GET /chat?room=1 HTTP/1.1\r\nHost: {name}\r\n{more}Cookie: sid={cookie}\r\n\r\n")
        .into_bytes()
}

/// What a backend gets instead of a head where `forwarded` is on.
pub(crate) fn forwarded(head: &[u8], client: IpAddr) -> Vec<u8> {
    let Progress::Complete(head) = Reader::default().parse(head, head.len()) else {
        panic!("{:?} is a head", String::from_utf8_lossy(head));
    };
    append(&head, client, Scheme::Http).expect("a head that nothing is wrong with")
}
