//! A client: what it says, how that is cut and where it ends, and the verdict, judged from how it was made.

use super::says::{Body, Ends, Header, Target, announced, forwarded};
use ringway::config::{AcceptProxy, Config, Forwarded, Listener, Mode, SendProxy};
use ringway::conn::Cause;
use ringway::sim::{Appetite, Chance, Faults, Opening, Script, Step};
use ringway::wire::http_head::{self, Status};
use ringway::wire::{client_hello, proxy_protocol};
use std::net::SocketAddr;
use std::time::Duration;

/// Places of the upstreams in the configuration.
pub(crate) const FEED: usize = 0;
pub(crate) const CHAT: usize = 1;
pub(crate) const DEAD: usize = 2;

/// Longer than `peek_timeout` and all that can delay an accept.
const SILENCE: Duration = Duration::from_mins(2);

/// Longer than anything lasts here.
const PATIENCE: Duration = Duration::from_hours(1);

const BAD_HEAD: Cause = Cause::BadHead(http_head::Refusal::RequestLine);
/// Half a PROXY protocol header, taken for a request.
const HALF_HEADER: Cause = Cause::BadHead(http_head::Refusal::Version);
const BAD_HELLO: Cause = Cause::BadHello(client_hello::Refusal::NotTls);
const BAD_HEADER: Cause = Cause::BadProxyHeader(proxy_protocol::Refusal::Fields);

/// Where first bytes end before they are whole, after so many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Nowhere,
    Fin(usize),
    Close(usize),
    Reset(usize),
    Vanish(usize),
    /// Nothing more for longer than anybody waits, then the rest.
    Silence(usize),
}

/// What is to come of a client.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who it is, once its header has been read.
    pub(crate) source: SocketAddr,
    /// Where it goes; `None` if it must be refused.
    pub(crate) upstream: Option<usize>,
    /// The name that it asks for.
    pub(crate) name: Option<&'static str>,
    /// Why it may be refused, each for all that say so in other words.
    pub(crate) refusals: Vec<Cause>,
    /// How long its PROXY protocol header is, which is not part of its stream.
    pub(crate) header: u64,
    /// It reads all the time.
    pub(crate) eager: bool,
    /// It may be gone without a word, and then never resets.
    pub(crate) vanishes: bool,
}

/// A client before it is known how it is cut.
struct Saying<'a> {
    config: &'a Config,
    rules: &'a Listener,
    peer: SocketAddr,
    /// Where it connects to.
    local: SocketAddr,
    header: Header,
    body: Body,
}

/// A verdict on first bytes: who the client is and where it goes, or why not.
enum Verdict {
    /// To an upstream, after so many bytes that were for the program.
    Served {
        at: usize,
        header: usize,
    },
    Refused(Vec<Cause>),
}

/// A client of this listener.
pub(crate) fn draw(
    config: &Config,
    at: usize,
    peer: SocketAddr,
    faults: &Faults,
    chance: &mut Chance,
) -> (Plan, Opening, Script) {
    let rules = &config.listeners[at];
    let header = match rules.proxy_protocol {
        AcceptProxy::Off => Header::None,
        AcceptProxy::Optional | AcceptProxy::Required => Header::draw(peer.port(), chance),
    };
    let body = match rules.mode {
        Mode::Tcp => Body::Opaque,
        Mode::Http => Body::draw_head(rules.peek_max_bytes, chance),
        Mode::Tls => Body::draw_hello(chance),
    };
    let saying = Saying {
        config,
        rules,
        peer,
        local: rules.listen[0],
        header,
        body,
    };
    let cut = saying.draw_cut(chance);
    let script = saying.script(cut, faults, chance);
    let plan = saying.plan(cut, &script);
    let opening = saying.opening(cut, &plan);
    (plan, opening, script)
}

impl Saying<'_> {
    fn says(&self) -> Vec<u8> {
        [self.header.bytes(), self.body.bytes()].concat()
    }

    /// A bad header and the preface are not cut: how much of them must come before they show is not for us to say.
    fn draw_cut(&self, chance: &mut Chance) -> Cut {
        let len = self.says().len();
        let is_odd = matches!(self.header, Header::Bad(_)) || self.body == Body::Preface;
        if len == 0 || is_odd || chance.below(2) == 0 {
            return Cut::Nowhere;
        }
        let at = chance.index(len);
        let cuts = [
            Cut::Fin(at),
            Cut::Close(at),
            Cut::Reset(at),
            Cut::Vanish(at),
            Cut::Silence(at),
        ];
        chance.pick(&cuts)
    }

    fn script(&self, cut: Cut, faults: &Faults, chance: &mut Chance) -> Script {
        let says = self.says().len();
        let mut script = Script::draw_client(chance, faults);
        let end = match cut {
            // Gone as soon as it has said enough, while it is dialed for.
            Cut::Nowhere if chance.below(16) == 0 => {
                let timeout = chance.pause(Duration::from_millis(200));
                vec![chance.pick(&[Step::Reset, Step::Vanish(timeout)])]
            }
            Cut::Nowhere => std::mem::take(&mut script.steps),
            Cut::Fin(_) => vec![Step::Fin, Step::AwaitEnd(PATIENCE)],
            Cut::Close(_) => vec![Step::Close],
            Cut::Reset(_) => vec![
                Step::Pause(chance.pause(Duration::from_secs(1))),
                Step::Reset,
            ],
            Cut::Vanish(_) => vec![Step::Vanish(chance.pause(Duration::from_secs(30)))],
            Cut::Silence(at) => vec![
                Step::Pause(SILENCE),
                Step::Send((says - at) as u64),
                Step::Fin,
                Step::AwaitEnd(PATIENCE),
            ],
        };
        let mut steps = draw_pieces(cut.at().unwrap_or(says), chance);
        // Half of the time the stream goes on in the segment that ends the first bytes.
        if let (Cut::Nowhere, Some(Step::Send(last)), 0) = (cut, steps.last_mut(), chance.below(2))
        {
            *last += 1 + chance.below(20_000);
        }
        steps.extend(end);
        Script { steps, ..script }
    }

    fn plan(&self, cut: Cut, script: &Script) -> Plan {
        let (upstream, refusals, header) = match self.judge(cut) {
            Verdict::Served { at, header } => (Some(at), Vec::new(), header),
            Verdict::Refused(why) => (None, why, 0),
        };
        let ends = match &self.header {
            Header::Of(_, ends) => Some(*ends),
            Header::None | Header::Nobody(_) | Header::Bad(_) => None,
        };
        Plan {
            source: ends.map_or(self.peer, |(source, _)| source),
            upstream,
            name: self.body.name(),
            refusals,
            header: header as u64,
            eager: script.appetite == Appetite::Eager,
            vanishes: matches!(script.steps.last(), Some(Step::Vanish(_))),
        }
    }

    fn judge(&self, cut: Cut) -> Verdict {
        let len = self.header.bytes().len();
        let is_optional = self.rules.proxy_protocol == AcceptProxy::Optional;
        if let Some(at) = cut.at().filter(|at| *at < len) {
            return self.judge_cut_header(cut, at, is_optional);
        }
        match &self.header {
            Header::None if self.rules.proxy_protocol == AcceptProxy::Required => {
                let silent = matches!(cut, Cut::Silence(_)).then_some(Cause::PeekTimeout);
                let refusals = silent.into_iter().chain([Cause::NoProxyHeader]);
                return Verdict::Refused(refusals.collect());
            }
            Header::Bad(_) => return Verdict::Refused(vec![BAD_HEADER]),
            Header::Of(..) | Header::Nobody(_) if !self.rules.proxy_protocol_from.is_empty() => {
                return Verdict::Refused(vec![Cause::UntrustedProxy]);
            }
            Header::Of(_, (source, _)) if self.rules.deny.contains(source.ip()) => {
                return Verdict::Refused(vec![Cause::Denied]);
            }
            Header::Of(..) | Header::Nobody(_) | Header::None => {}
        }
        self.judge_body(cut, len)
    }

    /// Half a header is bytes like others where none is required; but who is silent may still go on with it.
    fn judge_cut_header(&self, cut: Cut, at: usize, is_optional: bool) -> Verdict {
        let refusals = match cut {
            Cut::Nowhere => unreachable!("it is cut"),
            Cut::Silence(_) => vec![Cause::PeekTimeout],
            Cut::Reset(_) | Cut::Vanish(_) => Vec::new(),
            Cut::Fin(_) | Cut::Close(_) if !is_optional => vec![Cause::NoProxyHeader],
            Cut::Fin(_) | Cut::Close(_) => match self.rules.mode {
                Mode::Tcp => {
                    let at = self.rules.upstream.expect("a listener without routes");
                    return Verdict::Served { at, header: 0 };
                }
                Mode::Http | Mode::Tls if at == 0 => vec![Cause::ClientFin],
                Mode::Http => vec![Cause::ClientFin, HALF_HEADER],
                Mode::Tls => vec![Cause::ClientFin, BAD_HELLO],
            },
        };
        Verdict::Refused(refusals)
    }

    fn judge_body(&self, cut: Cut, header: usize) -> Verdict {
        let target = match &self.body {
            Body::Opaque | Body::Preface => Target::Other,
            Body::Head(target, _) | Body::Hello(target, _) => *target,
            Body::BadHead(_) | Body::LongHead(_) => return refused(cut, Some(BAD_HEAD)),
            Body::BadHello(_) => return refused(cut, Some(BAD_HELLO)),
        };
        if cut != Cut::Nowhere {
            return refused(cut, None);
        }
        let routed = (!self.rules.routes.is_empty()).then_some(match target {
            Target::Feed => Some(FEED),
            Target::Chat => Some(CHAT),
            Target::Dead => Some(DEAD),
            Target::Other => None,
        });
        match routed.flatten().or(self.rules.upstream) {
            Some(at) => Verdict::Served { at, header },
            None => Verdict::Refused(vec![Cause::NoRoute]),
        }
    }

    fn opening(&self, cut: Cut, plan: &Plan) -> Opening {
        let mut says = self.says();
        // Nothing but a FIN makes bytes of half a header.
        if let Cut::Fin(at) | Cut::Close(at) = cut {
            says.truncate(at);
        }
        let (kept, announced) = match plan.upstream {
            Some(at) => self.passed_on(at, plan),
            None => (0, Vec::new()),
        };
        Opening {
            says,
            kept,
            announced,
            unwanted: plan.upstream.is_none(),
            replies: self.replies(plan),
        }
    }

    /// How much of the first bytes the backend does not get as it was, and what it gets instead.
    fn passed_on(&self, at: usize, plan: &Plan) -> (usize, Vec<Option<u8>>) {
        let header = usize::try_from(plan.header).expect("a short header");
        let ends: Ends = match &self.header {
            Header::Of(_, ends) if header > 0 => *ends,
            Header::Of(..) | Header::None | Header::Nobody(_) | Header::Bad(_) => {
                (self.peer, self.local)
            }
        };
        let version: SendProxy = self.config.upstreams[at].proxy_protocol;
        let announced = announced(version, ends, self.body.name());
        if let (Body::Head(_, head), Forwarded::Append) = (&self.body, self.rules.forwarded) {
            let rewritten = forwarded(head, ends.0.ip());
            let announced = announced.into_iter().chain(rewritten.into_iter().map(Some));
            return (header + head.len(), announced.collect());
        }
        (header, announced)
    }

    /// Only who speaks HTTP is told anything; whoever is refused for what it said is told just that, or that it was slow.
    fn replies(&self, plan: &Plan) -> Vec<&'static [u8]> {
        if self.rules.mode != Mode::Http {
            return Vec::new();
        }
        let mut replies = vec![Status::RequestTimeout.reply()];
        if plan.upstream.is_some() {
            replies.push(Status::ServiceUnavailable.reply());
        }
        for refusal in &plan.refusals {
            if *refusal == Cause::NoRoute {
                replies.push(Status::NotFound.reply());
            } else if *refusal == HALF_HEADER {
                replies.push(Status::BadRequest.reply());
            } else if *refusal == BAD_HEAD {
                let is_long = matches!(self.body, Body::LongHead(_));
                let status = if is_long {
                    Status::HeadTooLarge
                } else {
                    Status::BadRequest
                };
                replies.push(status.reply());
            }
        }
        replies
    }
}

impl Cut {
    fn at(self) -> Option<usize> {
        match self {
            Self::Nowhere => None,
            Self::Fin(at)
            | Self::Close(at)
            | Self::Reset(at)
            | Self::Vanish(at)
            | Self::Silence(at) => Some(at),
        }
    }
}

/// Of a body that does not come to its end, or is malformed.
fn refused(cut: Cut, malformed: Option<Cause>) -> Verdict {
    let unfinished = match cut {
        Cut::Nowhere | Cut::Reset(_) | Cut::Vanish(_) => None,
        Cut::Fin(_) | Cut::Close(_) => Some(Cause::ClientFin),
        Cut::Silence(_) => Some(Cause::PeekTimeout),
    };
    Verdict::Refused(malformed.into_iter().chain(unfinished).collect())
}

/// So many bytes in one segment, each in its own, or cut at a few places.
fn draw_pieces(len: usize, chance: &mut Chance) -> Vec<Step> {
    const SINGLE_MAX: usize = 2000;
    let (pieces, most) = match chance.below(3) {
        0 => (1, Duration::ZERO),
        1 if len <= SINGLE_MAX => (len, Duration::from_micros(500)),
        _ => (chance.index(6) + 1, Duration::from_millis(200)),
    };
    let mut cuts: Vec<usize> = (1..pieces).map(|_| chance.index(len.max(1))).collect();
    if pieces == len {
        cuts = (1..len).collect();
    }
    cuts.extend([0, len]);
    cuts.sort_unstable();
    cuts.dedup();
    let pieces = cuts.windows(2).map(|ends| (ends[1] - ends[0]) as u64);
    let mut steps = Vec::new();
    for piece in pieces {
        steps.extend([Step::Pause(chance.pause(most)), Step::Send(piece)]);
    }
    steps
}
