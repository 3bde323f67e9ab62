//! A client with whom TLS is being agreed on, after a PROXY protocol header if there was one. Its hello says which name it
//! wants, and takes its turn in the worker's line: the signature that answers it is the most that any client can ask of us.

use super::client::{Client, Heard};
use super::greet::Refused;
use super::{Cause, Cx, Outcome, Phase, Side};
use crate::base::Key;
use crate::relay::{Failure, Opened, Session};
use crate::ring::{Errno, Lane, Lease, Time};
use crate::upstream::Current;
use crate::wire::client_hello::{self, Progress, Refusal};
use rustls::ServerConfig;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of a flight that are received at once. A hello of today has two KiB, certificates of a client a few more.
const FLIGHT: u32 = 16 << 10;

/// A hello is at most so long, with what TLS puts around it. rustls takes no message beyond 64 KiB either.
const HELLO_MAX: usize = 64 << 10;

/// The state of a connection that has no keys yet.
#[derive(Debug)]
pub(super) struct Shake {
    client: Client,
    /// From the hello on.
    session: Option<Box<Session>>,
    /// What came behind the last message of the handshake, opened.
    text: Lease,
    stage: Stage,
    /// Whose upstreams its listener's routes mean.
    current: Rc<Current>,
    since: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The hello is not whole yet.
    Hello,
    /// Bytes of the client wait for their step.
    InLine,
    /// The client has to say something.
    Listening,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Shaken {
    /// More bytes are needed, or time.
    Waiting,
    /// The hello is there, and asks for this name.
    Hello(Option<Box<str>>),
    /// There are keys, and all that was to be said has been.
    Agreed,
    /// There never will be.
    Refused(Refused),
}

impl Shake {
    pub(super) fn new(client: Client, current: Rc<Current>, now: Time) -> Self {
        Self {
            client,
            session: None,
            text: Lease::EMPTY,
            stage: Stage::Hello,
            current,
            since: now,
        }
    }

    /// Whose upstreams its listener's routes mean.
    pub(super) fn current(&self) -> &Rc<Current> {
        &self.current
    }

    /// When it began.
    pub(super) fn since(&self) -> Time {
        self.since
    }

    /// It ends before there are keys.
    pub(super) fn refuse(cause: Cause, errno: Option<Errno>) -> Refused {
        let outcome = Outcome {
            cause,
            phase: Phase::Handshaking,
            errno,
        };
        // Who sends plain HTTP can read plain HTTP.
        let status = cause.status().filter(|_| cause == Cause::PlainHttp);
        Refused { outcome, status }
    }

    /// A receive completed.
    pub(super) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Shaken {
        match self.client.on_received(result, more, cx) {
            Heard::Bytes | Heard::End if self.stage == Stage::InLine => Shaken::Waiting,
            Heard::Bytes | Heard::End => self.advance(key, cx),
            Heard::NoBuffer => {
                cx.starved.push_back((key, Lane::A));
                Shaken::Waiting
            }
            Heard::Failed(failure) => {
                let (cause, errno) = Cause::of(Side::Client, failure);
                Shaken::Refused(Self::refuse(cause, errno))
            }
        }
    }

    /// A flight of ours went out, or a part of it.
    pub(super) fn on_sent(
        &mut self,
        result: Result<u32, Errno>,
        rest: Lease,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Shaken {
        match self.client.on_sent(result, rest, key, cx) {
            Ok(()) => self.advance(key, cx),
            Err(errno) => {
                let cause = Cause::of_failure(Side::Client, errno);
                Shaken::Refused(Self::refuse(cause, Some(errno)))
            }
        }
    }

    /// It is its turn, or its beginning.
    pub(super) fn on_turn(&mut self, key: Key, cx: &mut Cx<'_>) -> Shaken {
        if self.stage == Stage::InLine {
            self.stage = Stage::Listening;
        }
        self.advance(key, cx)
    }

    /// Buffers are free again.
    pub(super) fn on_buffers(&mut self, key: Key, cx: &mut Cx<'_>) {
        self.client.read(FLIGHT, key, cx);
    }

    pub(super) fn shed(&mut self, cx: &mut Cx<'_>) {
        self.client.shed(cx);
        if let Some(session) = &mut self.session {
            session.shed(cx.buffers);
        }
    }

    /// The hello is there: TLS begins as it is configured now.
    pub(super) fn on_hello(
        &mut self,
        config: &Arc<ServerConfig>,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Shaken {
        match Session::server(config) {
            Ok(session) => self.session = Some(Box::new(session)),
            Err(_) => {
                let refused = Self::refuse(Cause::ClientTls("internal"), None);
                return Shaken::Refused(refused);
            }
        }
        self.stage = Stage::Listening;
        self.advance(key, cx)
    }

    /// Hands over a client whose bytes are opened from now on.
    pub(super) fn into_client(mut self, cx: &mut Cx<'_>) -> (Client, Result<(), Failure>) {
        let session = self.session.expect("agreed on");
        let result = self.client.begin_tls(session, self.text, cx);
        (self.client, result)
    }

    /// Gives up, with the client's socket and what TLS has to say to it.
    pub(super) fn into_refused(mut self, cx: &mut Cx<'_>) -> Client {
        self.client.forget(cx);
        cx.buffers.release(self.text);
        if let Some(session) = self.session {
            // It holds no bytes that could fail to be opened.
            let _ = self.client.begin_tls(session, Lease::EMPTY, cx);
        }
        self.client
    }

    /// Looks at what is there.
    fn advance(&mut self, key: Key, cx: &mut Cx<'_>) -> Shaken {
        if self.client.is_sending() {
            return Shaken::Waiting;
        }
        match &self.session {
            None => self.look(key, cx),
            Some(session) if session.is_established() => Shaken::Agreed,
            Some(_) if self.client.seen().is_empty() => self.read_on(key, cx),
            Some(_) if !cx.desk.take_step(key) => {
                self.stage = Stage::InLine;
                Shaken::Waiting
            }
            Some(_) => self.step(key, cx),
        }
    }

    /// Whether the hello is whole. rustls judges it; a plain request is told apart, as many a client has only taken the wrong port.
    fn look(&mut self, key: Key, cx: &mut Cx<'_>) -> Shaken {
        let seen = self.client.seen();
        let mut bytes = std::mem::take(cx.scratch);
        bytes.clear();
        cx.buffers.copy_front(seen, seen.len() as usize, &mut bytes);
        let progress = client_hello::parse(&bytes, HELLO_MAX);
        let found = match progress {
            Progress::Partial => None,
            Progress::Complete(hello) => Some(Shaken::Hello(hello.sni.map(|sni| (&*sni).into()))),
            Progress::Refused(Refusal::PlainHttp) => {
                Some(Shaken::Refused(Self::refuse(Cause::PlainHttp, None)))
            }
            Progress::Refused(_) => Some(Shaken::Hello(None)),
        };
        *cx.scratch = bytes;
        match found {
            Some(shaken) => shaken,
            None => self.read_on(key, cx),
        }
    }

    fn read_on(&mut self, key: Key, cx: &mut Cx<'_>) -> Shaken {
        if !self.client.is_open() {
            return Shaken::Refused(Self::refuse(Cause::ClientFin, None));
        }
        self.client.read(FLIGHT, key, cx);
        Shaken::Waiting
    }

    /// One step of the handshake with what the client has said.
    fn step(&mut self, key: Key, cx: &mut Cx<'_>) -> Shaken {
        let session = self.session.as_mut().expect("the caller looked");
        let came = self.client.take_seen();
        let Opened { text, failure } = session.open(came, cx.buffers, cx.desk);
        cx.buffers.append(&mut self.text, text);
        if let Some(broken) = failure {
            let (cause, errno) = Cause::of(Side::Client, broken.into());
            return Shaken::Refused(Self::refuse(cause, errno));
        }
        let flight = session.take_pending();
        if !flight.is_empty() {
            self.client.send(flight, false, key, cx);
        } else if session.is_established() {
            return Shaken::Agreed;
        }
        self.read_on(key, cx)
    }
}
