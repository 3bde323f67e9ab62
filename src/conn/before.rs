//! A connection before it is relayed: greeted, dialed, or sent away.

use super::client::Client;
use super::dial::Dial;
use super::dial::Dialed;
use super::greet::{Choice, Greet, Greeted, Introduction, Refused, Rules};
use super::leave::Leave;
use super::pair::{End, Pair};
use super::secure::Secured;
use super::shake::{Shake, Shaken};
use super::{Cause, Connection, Cx, Outcome, Side, State, Summary, Target, Told, admit};
use crate::config::{Listener, Mode, SendProxy};
use crate::relay::{Begin, Session, Source};
use crate::ring::{Event, Lane, Op, Sock};
use crate::tls::Connector;
use crate::upstream::{Member, Upstream};
use crate::wire::http_head::Status;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

impl Connection {
    pub(super) fn on_event_before(&mut self, lane: Lane, event: Event, cx: &mut Cx<'_>) {
        match (&mut self.state, event) {
            (State::Greeting(greet), Event::Received { result, more, .. }) => {
                let told = self.told.as_deref();
                let rules = Rules {
                    listener: &self.site.rules,
                    peer: peer_of(self.client, told),
                    client: self.client,
                    sni: told.and_then(|told| told.peeked.sni.as_deref()),
                    is_tls: self.site.tls.is_some(),
                };
                let greeted = greet.on_received(result, more, rules, self.key, cx);
                self.on_greeted(greeted, cx);
            }
            (State::Handshaking(shake), Event::Received { result, more, .. }) => {
                let shaken = shake.on_received(result, more, self.key, cx);
                self.on_shaken(shaken, cx);
            }
            (State::Handshaking(shake), Event::Sent { result, rest }) => {
                let shaken = shake.on_sent(result, rest, self.key, cx);
                self.on_shaken(shaken, cx);
            }
            (State::Dialing(_), Event::Dialed { result, local }) => {
                self.on_dialed(result, local, cx);
            }
            (State::Dialing(dial), event) if lane == Lane::B => {
                let secure = dial.secure_mut().expect("it was dialed, and then secured");
                let secured = secure.on_event(event, self.key, cx);
                self.on_secured(secured, cx);
            }
            (State::Dialing(dial), Event::Received { result, more, .. }) => {
                let secured = dial.on_received(result, more, self.key, cx);
                self.on_secured(secured, cx);
            }
            (State::Leaving(leave), event) => {
                leave.on_event(event, self.key, cx);
                self.leave_if_over(cx);
            }
            (_, event) => unreachable!("nobody asked for {event:?}"),
        }
    }

    pub(super) fn on_timer_before(&mut self, cx: &mut Cx<'_>) {
        let rules = &self.site.rules;
        match &mut self.state {
            State::Greeting(greet) => {
                let until = greet.since() + rules.peek_timeout;
                if until > cx.now {
                    return cx.wheel.set(self.key.slot, until);
                }
                let refused = greet.refuse(Cause::PeekTimeout, None);
                self.send_away(refused, cx);
            }
            State::Handshaking(shake) => {
                let until = shake.since() + handshake_timeout(rules);
                if until > cx.now {
                    return cx.wheel.set(self.key.slot, until);
                }
                let refused = Shake::refuse(Cause::HandshakeTimeout, None);
                self.send_away(refused, cx);
            }
            State::Dialing(dial) => {
                let Target::Upstream(upstream, _) = &self.target else {
                    unreachable!("what is dialed is chosen")
                };
                let connect_timeout = upstream.settings().connect_timeout;
                let secured = dial.on_timer(connect_timeout, self.key, cx);
                self.on_secured(secured, cx);
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
            State::Handshaking(_) => self.send_away(Shake::refuse(cause, None), cx),
            State::Dialing(dial) => {
                let secured = dial.give_up(cause, None, self.key, cx);
                self.on_secured(secured, cx);
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

    /// Reads first bytes until it is known where they lead.
    pub(super) fn greet(&mut self, cx: &mut Cx<'_>) {
        let State::Greeting(greet) = &self.state else {
            unreachable!("only a greeting listens to first bytes")
        };
        let until = greet.since() + self.listener_rules().peek_timeout;
        cx.wheel.set(self.key.slot, until);
        self.look(cx);
    }

    pub(super) fn look(&mut self, cx: &mut Cx<'_>) {
        let State::Greeting(greet) = &mut self.state else {
            unreachable!("only a greeting looks at bytes")
        };
        let told = self.told.as_deref();
        let rules = Rules {
            listener: &self.site.rules,
            peer: peer_of(self.client, told),
            client: self.client,
            sni: told.and_then(|told| told.peeked.sni.as_deref()),
            is_tls: self.site.tls.is_some(),
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
                self.go_in(cx);
            }
            Err(rejection) => self.give_up(rejection.into(), cx),
        }
    }

    /// Its stream begins here: in TLS, or as it is.
    fn go_in(&mut self, cx: &mut Cx<'_>) {
        if self.site.tls.is_some() {
            self.begin_handshake(cx);
        } else {
            self.look(cx);
        }
    }

    /// Agrees on TLS with what has been read so far and what comes.
    pub(super) fn begin_handshake(&mut self, cx: &mut Cx<'_>) {
        let State::Greeting(greet) = self.take_state() else {
            unreachable!("a greeting is what comes before")
        };
        let current = Rc::clone(greet.current());
        self.state = State::Handshaking(Shake::new(greet.into_client(), current, cx.now));
        let until = cx.now + handshake_timeout(self.listener_rules());
        cx.wheel.set(self.key.slot, until);
        self.shake(cx);
    }

    /// Goes on with the handshake, if that has not ended meanwhile.
    pub fn shake(&mut self, cx: &mut Cx<'_>) {
        if let State::Handshaking(shake) = &mut self.state {
            let shaken = shake.on_turn(self.key, cx);
            self.on_shaken(shaken, cx);
        } else if let State::Dialing(dial) = &mut self.state
            && let Some(secure) = dial.secure_mut()
        {
            let secured = secure.on_turn(self.key, cx);
            self.on_secured(secured, cx);
        }
    }

    fn on_shaken(&mut self, shaken: Shaken, cx: &mut Cx<'_>) {
        match shaken {
            Shaken::Waiting => {}
            Shaken::Hello(sni) => {
                if sni.is_some() {
                    self.told.get_or_insert_default().peeked.sni = sni;
                }
                let server = Arc::clone(self.site.tls.as_ref().expect("it shakes hands"));
                let State::Handshaking(shake) = &mut self.state else {
                    unreachable!("only a handshake has a hello")
                };
                let shaken = shake.on_hello(&server.current(), self.key, cx);
                self.on_shaken(shaken, cx);
            }
            Shaken::Agreed => {
                let State::Handshaking(shake) = self.take_state() else {
                    unreachable!("only a handshake is agreed on")
                };
                let mode = self.listener_rules().mode;
                let current = Rc::clone(shake.current());
                let (client, result) = shake.into_client(cx);
                self.state = State::Greeting(Greet::of_stream(client, mode, current, cx.now));
                match result {
                    Ok(()) => self.greet(cx),
                    Err(failure) => {
                        let (cause, errno) = Cause::of(Side::Client, failure);
                        self.send_away(Shake::refuse(cause, errno), cx);
                    }
                }
            }
            Shaken::Refused(refused) => self.send_away(refused, cx),
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
        self.meter.peeks.add(took);
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
        let dialed = dial.on_dialed(result);
        self.on_answered(dialed, local, cx);
    }

    fn on_answered(&mut self, dialed: Dialed, local: Option<SocketAddr>, cx: &mut Cx<'_>) {
        match dialed {
            Dialed::Connected(sock) => {
                let tls = self.dialed().0.tls().map(|tls| tls.current());
                match tls {
                    Some(connector) => self.secure(&connector, sock, local, cx),
                    None => self.relay_plain(sock, local, cx),
                }
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

    /// Agrees on TLS with a backend.
    fn secure(
        &mut self,
        connector: &Connector,
        backend: Sock,
        local: Option<SocketAddr>,
        cx: &mut Cx<'_>,
    ) {
        // From here on the backend's bytes are not those that are relayed.
        let State::Dialing(dial) = &self.state else {
            unreachable!("only a dial is secured")
        };
        let asked = self.dialed().0.backend(dial.at());
        let session = Session::client(&connector.config, &connector.server_name(asked))
            .expect("a configuration that was checked, and a name");
        let before = self.introduction(dial.client(), local);
        let State::Dialing(dial) = &mut self.state else {
            unreachable!("looked at above")
        };
        let secured = dial.secure(backend, session, &before, self.key, cx);
        self.on_secured(secured, cx);
    }

    fn on_secured(&mut self, secured: Secured, cx: &mut Cx<'_>) {
        let State::Dialing(dial) = &mut self.state else {
            unreachable!("only a dial is secured")
        };
        match secured {
            Secured::Waiting => {}
            Secured::Agreed => {
                let secure = dial.take_secured();
                let (sock, tls, begin) = secure.into_relay();
                self.relay(End::new(sock, Some(tls)), begin, cx);
            }
            Secured::Failed(cause, errno) => {
                let dialed = dial.on_insecure(cause, errno, cx);
                self.on_answered(dialed, None, cx);
            }
        }
    }

    fn relay_plain(&mut self, backend: Sock, local: Option<SocketAddr>, cx: &mut Cx<'_>) {
        let State::Dialing(dial) = &self.state else {
            unreachable!("a connected dial was a dial")
        };
        let before = self.introduction(dial.client(), local);
        let State::Dialing(dial) = &mut self.state else {
            unreachable!("looked at above")
        };
        if dial.client_mut().prepend(&before, cx) {
            let begin = Begin::nothing(Source::Silent);
            return self.relay(End::new(backend, None), begin, cx);
        }
        cx.ops.push(Op::Close {
            sock: backend,
            reset: true,
        });
        let outcome = Outcome {
            cause: Cause::Resource,
            phase: super::Phase::Dialing,
            errno: Some(crate::ring::Errno::ENOBUFS),
        };
        self.end_dialing(outcome, cx);
    }

    fn relay(&mut self, backend: End, begin_down: Begin, cx: &mut Cx<'_>) {
        let State::Dialing(dial) = self.take_state() else {
            unreachable!("a connected dial was a dial")
        };
        let tries = dial.tries();
        let (upstream, member) = self.dialed();
        member.on_connected(dial.took(cx.now), cx.now);
        let traffic = upstream.traffic(member);
        self.target = Target::Backend(Arc::clone(member));
        let connect = cx.now.since(self.started);
        let (client, tls, begin_up) = dial.into_client().into_relay();
        let mut pair = Pair::new(
            (End::new(client, tls), backend),
            tries,
            self.listener_rules(),
            connect,
            traffic,
            cx.now,
        );
        let verdict = pair.start(begin_up, begin_down, self.key, &self.meter, cx);
        self.state = State::Relaying(pair);
        self.on_verdict(verdict, cx);
    }

    fn end_dialing(&mut self, outcome: Outcome, cx: &mut Cx<'_>) {
        let State::Dialing(dial) = self.take_state() else {
            unreachable!("only a dial ends so")
        };
        let tries = dial.tries();
        self.leave(dial.into_client(), outcome, tries, cx);
    }

    fn send_away(&mut self, refused: Refused, cx: &mut Cx<'_>) {
        let client = match self.take_state() {
            State::Greeting(greet) => greet.into_client(),
            State::Handshaking(shake) => shake.into_refused(cx),
            State::Dialing(_)
            | State::Relaying(_)
            | State::Closing(_)
            | State::Leaving(_)
            | State::Over(_) => unreachable!("only who is not let in is refused"),
        };
        let summary = Summary {
            outcome: refused.outcome,
            ..Summary::nothing()
        };
        self.begin_leaving(client, refused.status, summary, cx);
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
        mut client: Client,
        status: Option<Status>,
        summary: Summary,
        cx: &mut Cx<'_>,
    ) {
        cx.wheel.cancel(self.key.slot);
        let summary = Summary {
            tls: self.site.tls.is_some(),
            ..summary
        };
        let reply = client.last_words(status.map(Status::reply), cx);
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
    pub(super) fn dialed(&self) -> (&Upstream, &Arc<Member>) {
        match &self.target {
            Target::Upstream(upstream, Some(backend)) => (upstream, backend),
            Target::Upstream(_, None) | Target::Unknown | Target::Backend(_) => {
                unreachable!("nothing was dialed")
            }
        }
    }
}

/// Of a listener where TLS ends.
fn handshake_timeout(rules: &Listener) -> Duration {
    let tls = rules.tls.as_ref().expect("its TLS ends here");
    tls.handshake_timeout
}

/// Who connected to us, whoever the client is.
fn peer_of(client: SocketAddr, told: Option<&Told>) -> SocketAddr {
    told.and_then(|told| told.proxy).unwrap_or(client)
}
