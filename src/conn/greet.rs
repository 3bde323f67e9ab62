//! A client whose first bytes are being read: a PROXY protocol header, then whatever the listener's mode peeks at. Finds
//! out who the client is and where it wants to go. Nothing is taken from the stream but the header that was meant for us;
//! a head is changed only where `forwarded` asks for it.

use super::client::{Client, Heard};
use super::{Cause, Cx, Outcome, Phase, Side};
use crate::base::Key;
use crate::config::{AcceptProxy, Forwarded, Listener, Mode};
use crate::ring::{Buffers, Errno, Lane, Lease, Time};
use crate::upstream::{Current, Facts, Upstream};
use crate::wire::client_hello::{self, Hello};
use crate::wire::http_head::{self, Head, Scheme, Status};
use crate::wire::proxy_protocol::{self, Header, Origin};
use std::net::SocketAddr;
use std::rc::Rc;

/// The state of a connection that has not said enough yet.
#[derive(Debug)]
pub(super) struct Greet {
    client: Client,
    awaits: Awaits,
    /// Whose upstreams its listener's routes mean.
    current: Rc<Current>,
    /// When it began to be listened to.
    since: Time,
}

/// What the next bytes are to be.
#[derive(Clone, Copy, Debug)]
enum Awaits {
    ProxyHeader,
    Head(http_head::Reader),
    Hello,
    /// Nothing more: the stream is opaque.
    Nothing,
}

/// What first bytes are judged by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) listener: &'a Listener,
    /// Who connected to us.
    pub(super) peer: SocketAddr,
    /// Who the client is, as far as is known.
    pub(super) client: SocketAddr,
    /// The name that it asked for in a TLS that ends here.
    pub(super) sni: Option<&'a str>,
    /// Whether TLS ends here.
    pub(super) is_tls: bool,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Greeted {
    /// More bytes are needed.
    Waiting,
    /// It is known who the client is; what it wants is still to be read.
    Introduced(Introduction),
    /// It is known where to go.
    Chosen(Choice),
    /// It is not served.
    Refused(Refused),
}

/// Who a client is, and where it connected to if somebody else took its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Introduction {
    pub(super) client: SocketAddr,
    pub(super) destination: Option<SocketAddr>,
}

/// Where a client goes, and what it said.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) upstream: Rc<Upstream>,
    /// Among the upstream's backends.
    pub(super) key: u64,
    /// For the log.
    pub(super) peeked: Option<Peeked>,
}

/// What a client asked for, in its own words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peeked {
    /// The host of an HTTP request.
    pub host: Option<Box<str>>,
    /// The path of an HTTP request.
    pub path: Option<Box<str>>,
    /// The server name of a ClientHello.
    pub sni: Option<Box<str>>,
}

/// Why a client is not served, and what it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) outcome: Outcome,
    pub(super) status: Option<Status>,
}

impl Rules<'_> {
    /// A client is whoever connected, unless somebody says otherwise.
    fn unannounced(&self) -> Introduction {
        Introduction {
            client: self.peer,
            destination: None,
        }
    }
}

impl Greet {
    pub(super) fn new(client: Client, rules: &Listener, current: Rc<Current>, now: Time) -> Self {
        let awaits = match rules.proxy_protocol {
            AcceptProxy::Off => Awaits::of(rules.mode),
            AcceptProxy::Optional | AcceptProxy::Required => Awaits::ProxyHeader,
        };
        Self {
            client,
            awaits,
            current,
            since: now,
        }
    }

    /// Of a client that has said all that is not its stream.
    pub(super) fn of_stream(client: Client, mode: Mode, current: Rc<Current>, now: Time) -> Self {
        Self {
            client,
            awaits: Awaits::of(mode),
            current,
            since: now,
        }
    }

    /// Whether a PROXY protocol header comes before anything else.
    pub(super) fn awaits_header(&self) -> bool {
        matches!(self.awaits, Awaits::ProxyHeader)
    }

    /// Whose upstreams its listener's routes mean.
    pub(super) fn current(&self) -> &Rc<Current> {
        &self.current
    }

    /// When it began to be listened to.
    pub(super) fn since(&self) -> Time {
        self.since
    }

    /// Whether anything is to be found out before a backend is dialed.
    pub(super) fn is_needed(rules: &Listener) -> bool {
        rules.mode != Mode::Tcp
            || rules.proxy_protocol != AcceptProxy::Off
            || !rules.routes.is_empty()
    }

    pub(super) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn into_client(self) -> Client {
        self.client
    }

    /// A receive completed.
    pub(super) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        rules: Rules<'_>,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Greeted {
        match self.client.on_received(result, more, cx) {
            Heard::Bytes | Heard::End => self.advance(rules, key, cx),
            Heard::NoBuffer => {
                cx.starved.push_back((key, Lane::A));
                Greeted::Waiting
            }
            Heard::Failed(failure) => {
                let (cause, errno) = Cause::of(Side::Client, failure);
                Greeted::Refused(self.refuse(cause, errno))
            }
        }
    }

    /// The client that was introduced may come in: what it wants comes next.
    pub(super) fn let_in(&mut self, mode: Mode) {
        self.awaits = Awaits::of(mode);
    }

    /// Looks at what is there, and reads on if it is not enough.
    pub(super) fn advance(&mut self, rules: Rules<'_>, key: Key, cx: &mut Cx<'_>) -> Greeted {
        let mut scratch = std::mem::take(cx.scratch);
        let found = self.look(rules, cx.buffers, &mut scratch);
        *cx.scratch = scratch;
        match found {
            Found::Nothing => self.read_on(rules, key, cx),
            Found::Introduction(len, introduction) => {
                self.client.consume(len, cx);
                Greeted::Introduced(introduction)
            }
            Found::Choice(choice, rewritten) => {
                let whole = rewritten.is_none_or(|(len, head)| self.client.replace(len, &head, cx));
                if whole {
                    Greeted::Chosen(choice)
                } else {
                    Greeted::Refused(self.refuse(Cause::Resource, Some(Errno::ENOBUFS)))
                }
            }
            Found::Refusal(cause) => Greeted::Refused(self.refuse(cause, None)),
        }
    }

    /// It ends before it was understood.
    pub(super) fn refuse(&self, cause: Cause, errno: Option<Errno>) -> Refused {
        let phase = match self.awaits {
            Awaits::ProxyHeader => Phase::Greeting,
            Awaits::Head(_) | Awaits::Hello | Awaits::Nothing => Phase::Peeking,
        };
        let outcome = Outcome {
            cause,
            phase,
            errno,
        };
        let speaks_http = matches!(self.awaits, Awaits::Head(_));
        let status = cause.status().filter(|_| speaks_http);
        Refused { outcome, status }
    }

    /// One more receive, unless the client has nothing more to say.
    fn read_on(&mut self, rules: Rules<'_>, key: Key, cx: &mut Cx<'_>) -> Greeted {
        if !self.client.is_open() {
            return Greeted::Refused(self.refuse(Cause::ClientFin, None));
        }
        let left = rules
            .listener
            .peek_max_bytes
            .saturating_sub(self.client.seen().len());
        self.client.read(left.max(1), key, cx);
        Greeted::Waiting
    }

    fn look(&mut self, rules: Rules<'_>, buffers: &Buffers, scratch: &mut Vec<u8>) -> Found {
        let seen = self.client.seen();
        if seen.is_empty() && self.client.is_open() && !matches!(self.awaits, Awaits::Nothing) {
            return Found::Nothing;
        }
        let bytes = in_one_piece(buffers, seen, scratch);
        let max = rules.listener.peek_max_bytes as usize;
        let upstreams = &self.current.upstreams;
        match &mut self.awaits {
            Awaits::ProxyHeader => introduction(bytes, self.client.is_open(), rules),
            Awaits::Head(reader) => match reader.parse(bytes, max) {
                http_head::Progress::Partial => Found::Nothing,
                http_head::Progress::Complete(head) => by_head(&head, rules, upstreams),
                http_head::Progress::Preface => by_default(rules, upstreams),
                http_head::Progress::Refused(refusal) => Found::Refusal(Cause::BadHead(refusal)),
            },
            Awaits::Hello => match client_hello::parse(bytes, max) {
                client_hello::Progress::Partial => Found::Nothing,
                client_hello::Progress::Complete(hello) => by_hello(&hello, rules, upstreams),
                client_hello::Progress::Refused(refusal) => {
                    Found::Refusal(Cause::BadHello(refusal))
                }
            },
            Awaits::Nothing => by_default(rules, upstreams),
        }
    }
}

impl Awaits {
    fn of(mode: Mode) -> Self {
        match mode {
            Mode::Tcp => Self::Nothing,
            Mode::Http => Self::Head(http_head::Reader::default()),
            Mode::Tls => Self::Hello,
        }
    }
}

/// What the bytes in hand say.
enum Found {
    /// Not enough.
    Nothing,
    /// So many bytes were a header for us, which says who the client is.
    Introduction(usize, Introduction),
    /// Where to go; and, for a head of so many bytes, what the backend is to get instead.
    Choice(Choice, Option<(usize, Vec<u8>)>),
    /// What is not served.
    Refusal(Cause),
}

/// Reads a PROXY protocol header. One from a stranger is refused and not taken for bytes: whoever sends it expects to be
/// believed.
fn introduction(bytes: &[u8], is_open: bool, rules: Rules<'_>) -> Found {
    let is_optional = rules.listener.proxy_protocol == AcceptProxy::Optional;
    match proxy_protocol::parse(bytes) {
        proxy_protocol::Progress::Partial if is_open => Found::Nothing,
        proxy_protocol::Progress::Partial | proxy_protocol::Progress::Absent if is_optional => {
            Found::Introduction(0, rules.unannounced())
        }
        proxy_protocol::Progress::Partial | proxy_protocol::Progress::Absent => {
            Found::Refusal(Cause::NoProxyHeader)
        }
        proxy_protocol::Progress::Complete(_) if !rules.listener.believes(rules.peer.ip()) => {
            Found::Refusal(Cause::UntrustedProxy)
        }
        proxy_protocol::Progress::Complete(Header { origin, len, .. }) => {
            let introduction = match origin {
                Origin::Tcp {
                    source,
                    destination,
                } => Introduction {
                    client: source,
                    destination: Some(destination),
                },
                Origin::Local | Origin::Unknown => rules.unannounced(),
            };
            Found::Introduction(len, introduction)
        }
        proxy_protocol::Progress::Refused(refusal) => {
            Found::Refusal(Cause::BadProxyHeader(refusal))
        }
    }
}

fn by_head(head: &Head<'_>, rules: Rules<'_>, upstreams: &[Rc<Upstream>]) -> Found {
    let facts = Facts {
        client: rules.client.ip(),
        head: Some(head),
        sni: rules.sni,
    };
    let peeked = Peeked {
        host: head.host.map(|host| host.name.into()),
        path: Some(head.path.into()),
        sni: rules.sni.map(Into::into),
    };
    let scheme = match rules.is_tls {
        true => Scheme::Https,
        false => Scheme::Http,
    };
    let rewritten = match rules.listener.forwarded {
        Forwarded::Off => None,
        Forwarded::Append => match http_head::append(head, rules.client.ip(), scheme) {
            Ok(bytes) => Some((head.bytes.len(), bytes)),
            Err(refusal) => return Found::Refusal(Cause::BadHead(refusal)),
        },
    };
    choose(&facts, Some(peeked), rewritten, rules, upstreams)
}

fn by_hello(hello: &Hello<'_>, rules: Rules<'_>, upstreams: &[Rc<Upstream>]) -> Found {
    let facts = Facts {
        client: rules.client.ip(),
        head: None,
        sni: hello.sni.as_deref(),
    };
    let peeked = Peeked {
        sni: hello.sni.as_deref().map(Into::into),
        ..Peeked::default()
    };
    choose(&facts, Some(peeked), None, rules, upstreams)
}

fn by_default(rules: Rules<'_>, upstreams: &[Rc<Upstream>]) -> Found {
    let facts = Facts {
        sni: rules.sni,
        ..Facts::of_client(rules.client.ip())
    };
    let peeked = rules.sni.map(|sni| Peeked {
        sni: Some(sni.into()),
        ..Peeked::default()
    });
    choose(&facts, peeked, None, rules, upstreams)
}

fn choose(
    facts: &Facts<'_>,
    peeked: Option<Peeked>,
    rewritten: Option<(usize, Vec<u8>)>,
    rules: Rules<'_>,
    upstreams: &[Rc<Upstream>],
) -> Found {
    let Some(place) = facts.upstream(rules.listener) else {
        return Found::Refusal(Cause::NoRoute);
    };
    let upstream = &upstreams[place];
    let choice = Choice {
        key: upstream.key_of(facts),
        upstream: Rc::clone(upstream),
        peeked,
    };
    Found::Choice(choice, rewritten)
}

/// The bytes of a lease, copied together only where they are in several buffers: most heads fit one.
fn in_one_piece<'a>(buffers: &'a Buffers, lease: &'a Lease, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if lease.buffers() <= 1 {
        return buffers.bytes(lease);
    }
    scratch.clear();
    buffers
        .segments(lease)
        .for_each(|bytes| scratch.extend_from_slice(bytes));
    scratch
}
