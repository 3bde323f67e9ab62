//! What the records of a world must say of its clients.

use super::client::Plan;
use crate::seats::Record;
use crate::worker::check_relayed;
use ringway::config::{AcceptProxy, Listener, Mode};
use ringway::conn::{Cause, Household, Phase};
use ringway::ring::Time;
use ringway::sim::{Fate, World};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How much longer than `peek_timeout` a client may be there that gets no backend: the second in which it may read why, and
/// what a slow kernel and a slow turn take.
const LATE_MAX: Duration = Duration::from_millis(1_300);

/// What is known of a world beside its records.
pub(crate) struct Known<'a> {
    pub(crate) world: &'a World,
    pub(crate) plans: &'a HashMap<SocketAddr, Plan>,
    /// The program ends connections for reasons of its own.
    pub(crate) drained: bool,
    /// Buffers never run out and nothing is late, so that who is slow was slow.
    pub(crate) calm: bool,
}

/// Who connected to us.
fn peer_of(record: &Record) -> SocketAddr {
    let told = record.told.as_deref();
    told.and_then(|told| told.proxy).unwrap_or(record.client)
}

fn rules_of(record: &Record) -> &Listener {
    &record.listener
}

impl Known<'_> {
    /// Bytes that a record's client read.
    pub(crate) fn got(&self, record: &Record) -> u64 {
        self.world.fate(peer_of(record)).expect("a client").0.got
    }

    pub(crate) fn check(&self, record: &Record) {
        let outcome = record.summary.outcome;
        let peer = peer_of(record);
        let plan = &self.plans[&peer];
        let (client, backend) = self.world.fate(peer).expect("a client");
        if record.client != peer {
            assert_eq!(record.client, plan.source, "{outcome}");
        }
        assert!(
            self.is_possible(record, plan, &client),
            "client {peer} ended {outcome}, of which {:?} were possible, to {:?}",
            plan.refusals,
            plan.upstream,
        );
        self.check_reply(record, plan, &client);
        if backend.is_none() {
            assert!(
                outcome.cause != Cause::ClientReset || !plan.vanishes,
                "{outcome}"
            );
            assert!(
                outcome.cause != Cause::ClientLost || plan.vanishes,
                "{outcome}"
            );
        }
        match outcome.phase {
            Phase::Greeting | Phase::Peeking => {
                assert!(backend.is_none(), "{outcome}");
                let age = record.ended.since(record.started);
                let most = rules_of(record).peek_timeout + LATE_MAX;
                assert!(age <= most, "{outcome} only after {age:?}");
            }
            Phase::Handshaking => unreachable!("nobody speaks TLS here"),
            Phase::Dialing => check_choice(record, plan),
            Phase::Relaying | Phase::HalfClosed | Phase::Done => {
                check_choice(record, plan);
                let backend = backend.expect("a relay has two sides");
                let upstream = &record.config.upstreams[plan.upstream.expect("checked")];
                let backends = &upstream.backends;
                assert!(
                    backends
                        .iter()
                        .any(|it| it.address.socket() == Some(backend.address))
                );
                check_relayed(
                    record,
                    (client, backend),
                    client.given.saturating_sub(plan.header),
                );
            }
        }
    }

    fn is_possible(&self, record: &Record, plan: &Plan, client: &Fate) -> bool {
        let cause = record.summary.outcome.cause;
        let rules = rules_of(record);
        let mut refusals = plan.refusals.iter();
        let is_planned = refusals.any(|refusal| refusal.index() == cause.index());
        let is_admitted_late = rules.proxy_protocol != AcceptProxy::Off;
        match cause {
            Cause::ClientFin => is_planned || plan.upstream.is_some(),
            Cause::ClientReset | Cause::ClientLost => !client.orderly,
            Cause::BackendFin
            | Cause::BackendReset
            | Cause::BackendLost
            | Cause::Idle
            | Cause::MaxAge
            | Cause::SlowClient
            | Cause::ClientHalfClose
            | Cause::BackendHalfClose
            | Cause::ConnectRefused
            | Cause::ConnectTimeout
            | Cause::ConnectFailed
            | Cause::Resource => plan.upstream.is_some(),
            // Clients that are gone may still be on their way in when all is over.
            Cause::Drain => self.drained || !client.orderly,
            Cause::PeekTimeout => {
                let age = record.ended.since(record.started);
                age >= rules.peek_timeout && (is_planned || !self.calm || !client.orderly)
            }
            // Nobody speaks TLS here.
            Cause::ClientTruncated
            | Cause::BackendTruncated
            | Cause::ClientAlert(_)
            | Cause::BackendAlert(_)
            | Cause::ClientTls(_)
            | Cause::BackendTls(_)
            | Cause::PlainHttp
            | Cause::HandshakeTimeout => false,
            Cause::NoBackend | Cause::BackendDown | Cause::BackendDrain | Cause::Killed => false,
            Cause::BadHead(_)
            | Cause::BadHello(_)
            | Cause::BadProxyHeader(_)
            | Cause::NoProxyHeader
            | Cause::UntrustedProxy
            | Cause::NoRoute
            | Cause::Denied => is_planned,
            Cause::TooMany => is_admitted_late && rules.max_connections_per_ip > 0,
            Cause::TooFast => is_admitted_late && rules.connect_rate_per_ip.is_some(),
        }
    }

    /// Who speaks HTTP and is listening is told, unless there is no buffer for it; the world sees to it that it is whole.
    fn check_reply(&self, record: &Record, plan: &Plan, client: &Fate) {
        let outcome = record.summary.outcome;
        let is_told = matches!(
            outcome.cause,
            Cause::BadHead(_)
                | Cause::NoRoute
                | Cause::PeekTimeout
                | Cause::ConnectRefused
                | Cause::ConnectTimeout
                | Cause::ConnectFailed
        );
        let speaks_http = rules_of(record).mode == Mode::Http && outcome.phase != Phase::Greeting;
        if is_told && speaks_http && self.calm && plan.eager && client.orderly {
            assert!(client.got > 0, "{outcome}, and the client was not told");
        }
    }
}

/// It went where it asked to, and the record says what it asked for.
fn check_choice(record: &Record, plan: &Plan) {
    let outcome = record.summary.outcome;
    let upstream = record.upstream();
    assert_eq!(upstream, plan.upstream, "{outcome}");
    let peeked = record.told.as_ref().map(|told| &told.peeked);
    let name = peeked.and_then(|peeked| peeked.host.as_deref().or(peeked.sni.as_deref()));
    assert_eq!(name, plan.name, "{outcome}");
    let backends = plan
        .upstream
        .map(|at| record.config.upstreams[at].backends.len());
    let tries = usize::from(record.summary.tries);
    assert!(
        backends.is_some_and(|most| tries <= most),
        "{outcome}: one was tried twice"
    );
}

/// A connection's share of its household's time.
struct Stay {
    household: Household,
    most: usize,
    begins: Time,
    ends: Time,
    /// Since when it is certainly counted; `None` if perhaps never.
    counted: Option<Time>,
    rejected: bool,
}

/// Never are more open of one household than may be, whichever worker has them, and nobody is turned away before that.
pub(crate) fn check_households(records: &[Record], most: impl Fn(&Listener) -> usize) {
    let stays: Vec<_> = records
        .iter()
        .map(|record| Stay {
            household: Household::of(record.number(), record.client.ip()),
            most: most(rules_of(record)),
            begins: record.started,
            ends: record.ended,
            counted: record.summary.connect.map(|after| record.started + after),
            rejected: record.summary.outcome.cause == Cause::TooMany,
        })
        .filter(|stay| stay.most > 0)
        .collect();
    for stay in &stays {
        let others = || stays.iter().filter(|it| it.household == stay.household);
        if let Some(from) = stay.counted {
            let open = |it: &&Stay| it.counted.is_some_and(|at| at <= from) && from < it.ends;
            let open = others().filter(open).count();
            assert!(open <= stay.most, "{open} open of {:?}", stay.household);
        }
        if stay.rejected {
            let meets =
                |it: &&Stay| !it.rejected && it.begins <= stay.ends && stay.begins <= it.ends;
            let there = others().filter(meets).count();
            let most = stay.most;
            assert!(there >= most, "turned away with {there} of {most} open");
        }
    }
}
