//! `[upstream.probe]`: what a probe is made of, which keys go with which type, and what their values look like.

use super::document::{Once, Table};
use super::ratio::{Ratio, ratio};
use super::value::{Parsed, integer, listed, quoted, text};
use super::words::{self, PROBE_TYPES};
use super::{escapes, host_name, quantity};
use std::fmt;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// How many in a row flip a backend. Far above any use that is meant.
pub(super) const STREAK: RangeInclusive<u32> = 1..=1_000_000;
/// Beyond it two probes could follow each other at once.
const JITTER: RangeInclusive<f64> = 0.0..=0.5;
const STATUSES_MAX: usize = 64;
/// A longer path is no health check that anybody wrote.
const PATH_BYTES_MAX: usize = 1024;
/// A host name and a port.
const HOST_BYTES_MAX: usize = 260;

/// `[upstream.probe]`: how each backend of an upstream is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// `type`, with the keys that only some types have. Default `"tcp"`.
    pub exchange: Exchange,
    /// From the begin of one probe of a backend to that of the next. Default 3 s.
    pub interval: Duration,
    /// How long a probe may take, connecting and exchanging together. Default 1 s.
    pub timeout: Duration,
    /// So many probes in a row that pass put a backend up, at least 1. Default 2.
    pub rise: u32,
    /// So many probes in a row that fail take it down, at least 1. Default 5.
    pub fall: u32,
    /// Where to connect instead of the backend's port. Default 0: none.
    pub port: Option<NonZeroU16>,
    /// What a backend is before the first verdict. Default `"up"`.
    pub initial: InitialHealth,
    /// By how much of itself `interval` varies either way, 0 to 0.5, so that probes do not march in step. Default 0.1.
    pub jitter: Ratio,
}

/// What is said to a backend once it is connected, and what it must answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exchange {
    /// Nothing.
    Tcp,
    /// A request; the status of the response.
    Http {
        /// What is asked.
        request: HttpRequest,
        /// `expect_status`: what the status may be, at least one.
        expect_status: Vec<Status>,
    },
    /// A ClientHello; a ServerHello.
    SslHello {
        /// `host`: the server name that is asked for; a host name.
        host: Option<String>,
    },
    /// Its greeting.
    Smtp,
    /// Its greeting.
    Mysql,
    /// Its greeting.
    Pop3,
    /// Its greeting.
    Imap,
    /// A request for TLS; any of the answers that the protocol has.
    Pgsql,
    /// PING; PONG.
    Redis,
    /// An upgrade; status 101, and perhaps a first message.
    Websocket {
        /// What is asked to upgrade.
        path: String,
        /// The host that is asked for; none written: the backend.
        host: Option<String>,
        /// What the first message must contain; empty when none needs to follow.
        expect: Vec<u8>,
    },
    /// These bytes; these in the answer.
    SendExpect {
        /// Perhaps none, for servers that speak first.
        send: Vec<u8>,
        /// At least one byte.
        expect: Vec<u8>,
    },
}

/// The request of an HTTP probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HttpRequest {
    /// A GET of our own making.
    Get {
        /// Path and query.
        path: String,
        /// The host that is asked for; none written: the backend.
        host: Option<String>,
    },
    /// `send`: these bytes, at least one.
    Raw(Vec<u8>),
}

/// One of `expect_status`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// `"2xx"`: the first digit, 1 to 5.
    Class(u16),
    /// `"204"`: this one, 100 to 599.
    Exact(u16),
}

/// `probe.type` alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeType {
    /// `"tcp"`
    Tcp,
    /// `"http"`
    Http,
    /// `"ssl_hello"`
    SslHello,
    /// `"smtp"`
    Smtp,
    /// `"mysql"`
    Mysql,
    /// `"pop3"`
    Pop3,
    /// `"imap"`
    Imap,
    /// `"pgsql"`
    Pgsql,
    /// `"redis"`
    Redis,
    /// `"websocket"`
    Websocket,
    /// `"send_expect"`
    SendExpect,
}

/// `probe.initial`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitialHealth {
    /// It gets connections until probes say otherwise.
    Up,
    /// It gets none until probes say that it may.
    Down,
}

/// Keys that only some types have.
const OWN_KEYS: [(&str, &[ProbeType]); 5] = [
    ("send", &[ProbeType::Http, ProbeType::SendExpect]),
    ("expect", &[ProbeType::Websocket, ProbeType::SendExpect]),
    ("expect_status", &[ProbeType::Http]),
    ("path", &[ProbeType::Http, ProbeType::Websocket]),
    (
        "host",
        &[ProbeType::Http, ProbeType::SslHello, ProbeType::Websocket],
    ),
];

impl Default for Probe {
    fn default() -> Self {
        Self {
            exchange: Exchange::Tcp,
            interval: Duration::from_secs(3),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 5,
            port: None,
            initial: InitialHealth::Up,
            jitter: Ratio::new(0.1),
        }
    }
}

impl Exchange {
    /// Which type of probe it is.
    pub fn probe_type(&self) -> ProbeType {
        match self {
            Self::Tcp => ProbeType::Tcp,
            Self::Http { .. } => ProbeType::Http,
            Self::SslHello { .. } => ProbeType::SslHello,
            Self::Smtp => ProbeType::Smtp,
            Self::Mysql => ProbeType::Mysql,
            Self::Pop3 => ProbeType::Pop3,
            Self::Imap => ProbeType::Imap,
            Self::Pgsql => ProbeType::Pgsql,
            Self::Redis => ProbeType::Redis,
            Self::Websocket { .. } => ProbeType::Websocket,
            Self::SendExpect { .. } => ProbeType::SendExpect,
        }
    }
}

impl fmt::Display for ProbeType {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PROBE_TYPES.name(*self))
    }
}

impl Status {
    /// Whether `status`, of a response, is meant.
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Class(digit) => status / 100 == digit,
            Self::Exact(exact) => status == exact,
        }
    }
}

impl fmt::Display for Status {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(digit) => write!(f, "{digit}xx"),
            Self::Exact(status) => write!(f, "{status}"),
        }
    }
}

/// Reads the table.
pub(super) fn probe(mut table: Table<'_>) -> Probe {
    let mut probe = Probe {
        exchange: exchange(&mut table),
        ..Probe::default()
    };
    table.set("interval", &mut probe.interval, quantity::timeout);
    table.set("timeout", &mut probe.timeout, quantity::timeout);
    table.set("rise", &mut probe.rise, |v| integer(v, STREAK));
    table.set("fall", &mut probe.fall, |v| integer(v, STREAK));
    table.set("port", &mut probe.port, |v| {
        integer(v, 0..=u16::MAX).map(NonZeroU16::new)
    });
    table.set("initial", &mut probe.initial, |v| {
        words::INITIAL_HEALTHS.of(v)
    });
    table.set("jitter", &mut probe.jitter, |v| ratio(v, JITTER));
    table.finish();
    probe
}

/// What the keys that only some types have say, whether the type has them or not.
struct Own {
    send: Vec<u8>,
    expect: Vec<u8>,
    expect_status: Vec<Status>,
    path: String,
    host: Option<String>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            send: Vec::new(),
            expect: Vec::new(),
            expect_status: vec![Status::Class(2), Status::Class(3)],
            path: "/".to_owned(),
            host: None,
        }
    }
}

impl Own {
    fn exchange(self, probe_type: ProbeType) -> Exchange {
        match probe_type {
            ProbeType::Tcp => Exchange::Tcp,
            ProbeType::Http => self.http(),
            ProbeType::SslHello => Exchange::SslHello { host: self.host },
            ProbeType::Smtp => Exchange::Smtp,
            ProbeType::Mysql => Exchange::Mysql,
            ProbeType::Pop3 => Exchange::Pop3,
            ProbeType::Imap => Exchange::Imap,
            ProbeType::Pgsql => Exchange::Pgsql,
            ProbeType::Redis => Exchange::Redis,
            ProbeType::Websocket => Exchange::Websocket {
                path: self.path,
                host: self.host,
                expect: self.expect,
            },
            ProbeType::SendExpect => Exchange::SendExpect {
                send: self.send,
                expect: self.expect,
            },
        }
    }

    fn http(self) -> Exchange {
        let request = if self.send.is_empty() {
            HttpRequest::Get {
                path: self.path,
                host: self.host,
            }
        } else {
            HttpRequest::Raw(self.send)
        };
        Exchange::Http {
            request,
            expect_status: self.expect_status,
        }
    }
}

/// The type with the defaults of all its keys; `None` for one that has a key without default.
pub(super) fn with_defaults(probe_type: ProbeType) -> Option<Exchange> {
    (probe_type != ProbeType::SendExpect).then(|| Own::default().exchange(probe_type))
}

fn exchange(table: &mut Table<'_>) -> Exchange {
    let is_written = table.has("type");
    let found = table.optional("type", |v| PROBE_TYPES.of(v));
    // Of a type that is none, nobody knows which keys it would have.
    let is_known = found.is_some() || !is_written;
    let probe_type = found.unwrap_or(ProbeType::Tcp);
    let own = own_keys(table, probe_type);
    if is_known {
        check_own_keys(table, probe_type);
    }
    own.exchange(probe_type)
}

fn own_keys(table: &mut Table<'_>, probe_type: ProbeType) -> Own {
    let is_server_name = probe_type == ProbeType::SslHello;
    let parse_host = if is_server_name { server_name } else { host };
    let mut own = Own::default();
    table.set("send", &mut own.send, escapes::bytes);
    table.set("expect", &mut own.expect, escapes::bytes);
    table.set("path", &mut own.path, path);
    table.set("host", &mut own.host, parse_host);
    if table.has("expect_status") {
        own.expect_status = expect_status(table);
    }
    own
}

/// Whether the keys that are there go with the type, and with each other.
fn check_own_keys(table: &Table<'_>, probe_type: ProbeType) {
    for (key, types) in OWN_KEYS {
        if table.is_given(key) && !types.contains(&probe_type) {
            let wanted = listed(types.iter().map(|wanted| PROBE_TYPES.name(*wanted)));
            let message = format!(
                "means nothing to a probe of type \"{probe_type}\"; remove it, or write type = {wanted}"
            );
            table.fault(key, message);
        }
    }
    if probe_type == ProbeType::SendExpect && !table.is_given("expect") {
        let message =
            "is missing; write what the reply must contain, or type = \"tcp\" if none has to come";
        table.fault("expect", message.to_owned());
    }
    if probe_type == ProbeType::Http && table.is_given("send") {
        for key in ["path", "host"] {
            if table.is_given(key) {
                let message =
                    "means nothing beside send, which is the whole request; remove one of them";
                table.fault(key, message.to_owned());
            }
        }
    }
}

fn expect_status(table: &mut Table<'_>) -> Vec<Status> {
    if !table.is_given("expect_status") {
        let message = "is empty; write at least one, such as \"2xx\"";
        table.fault("expect_status", message.to_owned());
    }
    let mut seen = Once::new();
    let mut statuses = Vec::new();
    for (spot, status) in table.list("expect_status", STATUSES_MAX, status) {
        match seen.repeats(status, spot.path()) {
            Some(first) => {
                let message = format!("\"{status}\" is also {first}; remove one of them");
                table.fault_at(&spot, message);
            }
            None => statuses.push(status),
        }
    }
    statuses
}

fn status(value: &DeValue) -> Parsed<Status> {
    let text = text(value)?;
    let found = match text.as_bytes() {
        [digit @ b'1'..=b'5', b'x', b'x'] => Some(Status::Class(u16::from(digit - b'0'))),
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok().map(Status::Exact),
        _ => None,
    };
    found.ok_or_else(|| {
        format!(
            "{} is not a status; write a class such as \"2xx\", or a status from \"100\" to \"599\"",
            quoted(text)
        )
    })
}

fn path(value: &DeValue) -> Parsed<String> {
    let text = text(value)?;
    let is_of_path = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if text.starts_with('/') && text.len() <= PATH_BYTES_MAX && text.bytes().all(is_of_path) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a path; write one as it is sent, such as \"/health\", at most {PATH_BYTES_MAX} bytes",
        quoted(text)
    ))
}

/// What a request names: a host, or an address, perhaps with a port. `None` for the empty text.
fn host(value: &DeValue) -> Parsed<Option<String>> {
    let text = text(value)?;
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() <= HOST_BYTES_MAX && text.bytes().all(is_of_host) {
        return Ok(Some(text.to_owned()));
    }
    Err(format!(
        "{} is not a host; write one such as \"www.example.com\" or \"www.example.com:8080\"",
        quoted(text)
    ))
}

/// What a ClientHello names: RFC 6066, section 3, has no addresses and no ports.
fn server_name(value: &DeValue) -> Parsed<Option<String>> {
    let text = text(value)?;
    (!text.is_empty())
        .then(|| host_name::parse(text))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_class_or_one() {
        let status = |text: &'static str| status(&DeValue::String(text.into()));
        assert_eq!(status("2xx"), Ok(Status::Class(2)));
        assert_eq!(status("204"), Ok(Status::Exact(204)));
        for wrong in ["", "6xx", "0xx", "2XX", "2x", "99", "600", "2xxx", "+20"] {
            assert!(status(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_class_means_all_of_its_statuses_and_no_other() {
        let matched = |status: Status| (0..1000).filter(move |n| status.matches(*n));
        assert!(matched(Status::Class(2)).eq(200..300));
        assert!(matched(Status::Exact(204)).eq([204]));
    }
}
