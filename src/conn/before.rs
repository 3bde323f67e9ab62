//! A connection before it is relayed: greeted, dialed, or sent away.

use super::client::Client;
use super::dial::Dial;
use super::dial::Dialed;
use super::greet::{Choice, Greeted, Introduction, Refused, Rules};
use super::leave::Leave;
use super::pair::Pair;
use super::{Cause, Connection, Cx, Outcome, State, Summary, Target, Told, admit};
use crate::config::{Mode, SendProxy};
use crate::ring::{Event, Op, Sock};
use crate::upstream::{Member, Upstream};
use crate::wire::http_head::Status;
use crate::wire::proxy_protocol::{Origin, Tlvs, write_v1, write_v2};
use std::net::SocketAddr;
use std::sync::Arc;

impl Connection {
    pub(super) fn on_event_before(&mut self, event: Event, cx: &mut Cx<'_>) {
        match (&mut self.state, event) {
            (State::Greeting(greet), Event::Received { result, more, .. }) => {
                let rules = Rules {
                    listener: &self.site.rules,
                    peer: peer_of(self.client, self.told.as_deref()),
                    client: self.client,
                };
                let greeted = greet.on_received(result, more, rules, self.key, cx);
                self.on_greeted(greeted, cx);
            }
            (State::Dialing(dial), Event::Received { result, more, .. }) => {
                dial.on_received(result, more, self.key, cx);
            }
            (State::Dialing(_), Event::Dialed { result, local }) => {
                self.on_dialed(result, local, cx);
            }
            (State::Leaving(leave), event) => {
                leave.on_event(event, self.key, cx);
                self.leave_if_over(cx);
            }
            (_, event) => unreachable!("nobody asked for {event:?}"),
        }
    }

    pub(super) fn on_timer_before(&mut self, cx: &mut Cx<'_>) {
        let peek_until = self.started + self.listener_rules().peek_timeout;
        match &mut self.state {
            State::Greeting(_) if peek_until > cx.now => cx.wheel.set(self.key.slot, peek_until),
            State::Greeting(greet) => {
                let refused = greet.refuse(Cause::PeekTimeout, None);
                self.send_away(refused, cx);
            }
            State::Dialing(dial) => {
                let Target::Upstream(upstream, _) = &self.target else {
                    unreachable!("what is dialed is chosen")
                };
                dial.on_timer(upstream.settings().connect_timeout, self.key, cx);
            }
            State::Leaving(leave) => {
                leave.hurry(cx);
                self.leave_if_over(cx);
            }
            State::Relaying(_) | State::Closing(_) | State::Over(_) => {
                unreachable!("the caller's")
            }
        }
    }

    /// Ends it for a reason of ours.
    pub(super) fn give_up(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Greeting(greet) => {
                let refused = greet.refuse(cause, None);
                self.send_away(refused, cx);
            }
            State::Dialing(dial) => dial.give_up(cause, None, self.key, cx),
            State::Leaving(leave) => {
                leave.hurry(cx);
                self.leave_if_over(cx);
            }
            State::Relaying(_) | State::Closing(_) | State::Over(_) => {
                unreachable!("the caller's")
            }
        }
    }

    /// Reads first bytes until it is known where they lead.
    pub(super) fn greet(&mut self, cx: &mut Cx<'_>) {
        cx.wheel.set(
            self.key.slot,
            self.started + self.listener_rules().peek_timeout,
        );
        self.look(cx);
    }

    fn look(&mut self, cx: &mut Cx<'_>) {
        let State::Greeting(greet) = &mut self.state else {
            unreachable!("only a greeting looks at bytes")
        };
        let rules = Rules {
            listener: &self.site.rules,
            peer: peer_of(self.client, self.told.as_deref()),
            client: self.client,
        };
        let greeted = greet.advance(rules, self.key, cx);
        self.on_greeted(greeted, cx);
    }

    fn on_greeted(&mut self, greeted: Greeted, cx: &mut Cx<'_>) {
        match greeted {
            Greeted::Waiting => {}
            Greeted::Introduced(introduction) => self.on_introduced(introduction, cx),
            Greeted::Chosen(choice) => self.on_chosen(choice, cx),
            Greeted::Refused(refused) => self.send_away(refused, cx),
        }
    }

    /// Who the client is decides whether it may come in.
    fn on_introduced(&mut self, introduction: Introduction, cx: &mut Cx<'_>) {
        let peer = std::mem::replace(&mut self.client, introduction.client);
        if introduction.destination.is_some() {
            let told = self.told.get_or_insert_default();
            told.proxy = Some(peer);
            told.destination = introduction.destination;
        }
        let (rules, ip) = (&self.site.rules, self.client.ip());
        let mode = rules.mode;
        match admit(rules, self.site.number, ip, cx.households, cx.now) {
            Ok(counted) => {
                self.counted = counted;
                let State::Greeting(greet) = &mut self.state else {
                    unreachable!("only a greeting introduces")
                };
                greet.let_in(mode);
                self.look(cx);
            }
            Err(rejection) => self.give_up(rejection.into(), cx),
        }
    }

    fn on_chosen(&mut self, choice: Choice, cx: &mut Cx<'_>) {
        let Choice {
            upstream,
            key,
            peeked,
        } = choice;
        self.target = Target::Upstream(upstream, None);
        if let Some(peeked) = peeked {
            self.told.get_or_insert_default().peeked = peeked;
        }
        let took = cx.now.since(self.started);
        cx.peeks.add(took);
        if let Some(told) = &mut self.told {
            told.took = took;
        }
        let State::Greeting(greet) = self.take_state() else {
            unreachable!("only a greeting chooses")
        };
        self.state = State::Dialing(Dial::new(greet.into_client(), key, cx.now));
        self.dial_next(cx);
    }

    pub(super) fn dial_next(&mut self, cx: &mut Cx<'_>) {
        let (State::Dialing(dial), Target::Upstream(upstream, tried)) =
            (&mut self.state, &mut self.target)
        else {
            unreachable!("only a dial goes on, to one of an upstream")
        };
        let nodelay = self.site.rules.nodelay;
        let is_told = self.told.as_ref().is_some_and(|t| t.destination.is_some());
        let asking = upstream.settings().proxy_protocol != SendProxy::Off && !is_told;
        match dial.next(upstream, nodelay, asking, self.key, cx) {
            Ok(backend) => {
                *tried = Some(backend);
                self.seated = true;
            }
            Err(outcome) => self.end_dialing(outcome, cx),
        }
    }

    fn on_dialed(
        &mut self,
        result: Result<Sock, crate::ring::Errno>,
        local: Option<SocketAddr>,
        cx: &mut Cx<'_>,
    ) {
        let State::Dialing(dial) = &mut self.state else {
            unreachable!("only a dial is answered")
        };
        match dial.on_dialed(result) {
            Dialed::Connected(sock) => {
                let took = dial.took(cx.now);
                self.dialed().1.on_connected(took, cx.now);
                self.relay(sock, local, cx);
            }
            Dialed::Failed(failure) => {
                let (upstream, backend) = self.dialed();
                upstream.on_failed(backend, failure, cx.now);
                backend.leave();
                self.seated = false;
                self.dial_next(cx);
            }
            Dialed::GivenUp(outcome, backend) => {
                if let Some(sock) = backend {
                    // A client that broke off is passed on as that, here too.
                    let reset = matches!(outcome.cause, Cause::ClientReset | Cause::ClientLost);
                    cx.ops.push(Op::Close { sock, reset });
                }
                self.end_dialing(outcome, cx);
            }
        }
    }

    fn relay(&mut self, backend: Sock, local: Option<SocketAddr>, cx: &mut Cx<'_>) {
        let State::Dialing(dial) = self.take_state() else {
            unreachable!("a connected dial was a dial")
        };
        let tries = dial.tries();
        let mut client = dial.into_client();
        if !self.introduce(&mut client, local, cx) {
            cx.ops.push(Op::Close {
                sock: backend,
                reset: true,
            });
            let outcome = Outcome {
                cause: Cause::Resource,
                phase: super::Phase::Dialing,
                errno: Some(crate::ring::Errno::ENOBUFS),
            };
            return self.leave(client, outcome, tries, cx);
        }
        let (upstream, member) = self.dialed();
        let traffic = upstream.traffic(member);
        self.target = Target::Backend(Arc::clone(member));
        let connect = cx.now.since(self.started);
        let (client, begin) = client.into_relay();
        let mut pair = Pair::new(
            (client, backend),
            tries,
            self.listener_rules(),
            connect,
            traffic,
            cx.now,
        );
        let verdict = pair.start(begin, self.key, cx);
        self.state = State::Relaying(pair);
        self.on_verdict(verdict, cx);
    }

    /// Tells the backend who the client is, ahead of its first byte. `false` when there was no buffer for it.
    fn introduce(&self, client: &mut Client, local: Option<SocketAddr>, cx: &mut Cx<'_>) -> bool {
        let told = self.told.as_deref();
        let destination = told.and_then(|told| told.destination).or(local);
        let origin = match destination {
            Some(destination) => Origin::Tcp {
                source: self.client,
                destination,
            },
            None => Origin::Unknown,
        };
        match self.dialed().0.settings().proxy_protocol {
            SendProxy::Off => true,
            SendProxy::V1 => client.prepend(&write_v1(origin), cx),
            SendProxy::V2 => {
                let id = format!("{:016x}", self.id);
                let peeked = told.map(|told| &told.peeked);
                let name =
                    peeked.and_then(|peeked| peeked.sni.as_deref().or(peeked.host.as_deref()));
                let with = |authority| {
                    let tlvs = Tlvs {
                        unique_id: Some(id.as_bytes()),
                        authority,
                        ..Tlvs::default()
                    };
                    write_v2(origin, &tlvs)
                };
                // A host may be longer than the header has room for; it then goes without.
                let header = with(name).or_else(|_| with(None));
                header.is_ok_and(|header| client.prepend(&header, cx))
            }
        }
    }

    fn end_dialing(&mut self, outcome: Outcome, cx: &mut Cx<'_>) {
        let State::Dialing(dial) = self.take_state() else {
            unreachable!("only a dial ends so")
        };
        let tries = dial.tries();
        self.leave(dial.into_client(), outcome, tries, cx);
    }

    fn send_away(&mut self, refused: Refused, cx: &mut Cx<'_>) {
        let State::Greeting(greet) = self.take_state() else {
            unreachable!("only a greeting is refused")
        };
        let summary = Summary {
            outcome: refused.outcome,
            ..Summary::nothing()
        };
        self.begin_leaving(greet.into_client(), refused.status, summary, cx);
    }

    fn leave(&mut self, client: Client, outcome: Outcome, tries: u8, cx: &mut Cx<'_>) {
        let speaks_http = self.listener_rules().mode == Mode::Http;
        let status = outcome.cause.status().filter(|_| speaks_http);
        let summary = Summary {
            outcome,
            tries,
            ..Summary::nothing()
        };
        self.begin_leaving(client, status, summary, cx);
    }

    fn begin_leaving(
        &mut self,
        client: Client,
        status: Option<Status>,
        summary: Summary,
        cx: &mut Cx<'_>,
    ) {
        cx.wheel.cancel(self.key.slot);
        let reply = status.map(Status::reply);
        self.state = State::Leaving(Leave::new(client, reply, summary, self.key, cx));
        self.leave_if_over(cx);
    }

    fn leave_if_over(&mut self, cx: &mut Cx<'_>) {
        if !matches!(&self.state, State::Leaving(leave) if leave.is_over()) {
            return;
        }
        let State::Leaving(leave) = self.take_state() else {
            unreachable!("looked at above")
        };
        let summary = leave.summary;
        let sock = leave.into_sock();
        cx.ops.push(Op::Close { sock, reset: false });
        self.over(summary, cx);
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Over(Summary::nothing()))
    }

    /// The backend that was dialed last, and its upstream.
    fn dialed(&self) -> (&Upstream, &Arc<Member>) {
        match &self.target {
            Target::Upstream(upstream, Some(backend)) => (upstream, backend),
            Target::Upstream(_, None) | Target::Unknown | Target::Backend(_) => {
                unreachable!("nothing was dialed")
            }
        }
    }
}

/// Who connected to us, whoever the client is.
fn peer_of(client: SocketAddr, told: Option<&Told>) -> SocketAddr {
    told.and_then(|told| told.proxy).unwrap_or(client)
}
