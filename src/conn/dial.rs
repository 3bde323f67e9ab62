//! A client that waits for its backend. Owns which backends were tried and why the last one failed.

use super::client::{Client, Heard};
use super::secure::{Secure, Secured};
use super::{Cause, Cx, Outcome, Phase, Side};
use crate::base::Key;
use crate::relay::{Session, tag};
use crate::ring::{DialOptions, Errno, Lease, Op, OpKind, Sock, Time};
use crate::upstream::{DialFailure, Member, Upstream};
use arrayvec::ArrayVec;
use std::sync::Arc;
use std::time::Duration;

/// The most that `connect_tries` may say.
pub(super) const TRIES_MAX: usize = 8;

/// The state of a connection that has no backend yet.
#[derive(Debug)]
pub(super) struct Dial {
    client: Client,
    /// Among the upstream's backends.
    hash: u64,
    tried: ArrayVec<u16, TRIES_MAX>,
    /// Dials so far, at most [`TRIES_MAX`].
    tries: u8,
    /// Whether the backend that is dialed now can be dialed from another address of ours as well.
    from_elsewhere: Elsewhere,
    failed: Option<(Cause, Option<Errno>)>,
    /// The backend, while TLS is agreed on with it.
    secure: Option<Secure>,
    attempt: Time,
    cancelled: Cancelled,
}

/// Whether a backend is dialed a second time when the address that it is dialed from has no port left for it, or is not
/// there: once in a connection, so that other backends are tried too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elsewhere {
    /// There is one address alone.
    Nowhere,
    /// There are others.
    Possible,
    /// That has been done.
    Done,
}

/// Whether the dial in flight was asked to end, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cancelled {
    No,
    /// `connect_timeout` is over: the next backend is tried.
    TimedOut,
    /// The connection is given up.
    GivenUp(Cause, Option<Errno>),
}

/// What an answered dial leads to.
pub(super) enum Dialed {
    /// There is a backend.
    Connected(Sock),
    /// There is none; another may be tried. Why: the last one's fault, or this machine's.
    Failed(DialFailure),
    /// The connection was given up meanwhile, whatever the dial says.
    GivenUp(Outcome, Option<Sock>),
}

impl Dial {
    pub(super) fn new(client: Client, hash: u64, now: Time) -> Self {
        Self {
            client,
            hash,
            tried: ArrayVec::new(),
            tries: 0,
            from_elsewhere: Elsewhere::Nowhere,
            failed: None,
            secure: None,
            attempt: now,
            cancelled: Cancelled::No,
        }
    }

    /// Dials the next backend, whose seat is taken: which one, or why there is none. `asking` where the client connected to.
    pub(super) fn next(
        &mut self,
        upstream: &Upstream,
        nodelay: bool,
        asking: bool,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Result<Arc<Member>, Outcome> {
        let settings = upstream.settings();
        if self.tries >= settings.connect_tries {
            return Err(self.outcome());
        }
        let Some(at) = upstream.pick(self.hash, &self.tried, cx.now) else {
            return Err(self.outcome());
        };
        self.tried.push(at);
        self.tries += 1;
        self.attempt = cx.now;
        self.cancelled = Cancelled::No;
        let peer = upstream.backend(at).address.socket();
        let peer = peer.expect("only backends with an address are picked");
        self.from_elsewhere = match self.from_elsewhere {
            Elsewhere::Done => Elsewhere::Done,
            Elsewhere::Nowhere | Elsewhere::Possible if upstream.sources_for(peer) > 1 => {
                Elsewhere::Possible
            }
            Elsewhere::Nowhere | Elsewhere::Possible => Elsewhere::Nowhere,
        };
        let options = DialOptions {
            nodelay,
            user_timeout: (!settings.user_timeout.is_zero()).then_some(settings.user_timeout),
            source: upstream.source_for(peer),
            ..DialOptions::default()
        };
        cx.ops.push(Op::Dial {
            tag: tag(key, Side::Backend.lane()),
            peer,
            options,
            asking: asking.then(|| self.client.sock()),
        });
        cx.wheel.set(key.slot, cx.now + settings.connect_timeout);
        Ok(Arc::clone(upstream.live().member(at)))
    }

    pub(super) fn on_dialed(&mut self, result: Result<Sock, Errno>) -> Dialed {
        match (self.cancelled, result) {
            (Cancelled::GivenUp(cause, errno), result) => {
                let outcome = Outcome {
                    cause,
                    phase: Phase::Dialing,
                    errno,
                };
                Dialed::GivenUp(outcome, result.ok())
            }
            // A cancel that lost its race is a connection like any other.
            (Cancelled::No | Cancelled::TimedOut, Ok(backend)) => Dialed::Connected(backend),
            // That this machine has no port, say, is not the backend's silence, however late one hears it.
            (Cancelled::TimedOut, Err(errno)) if failure_of(errno).is_the_backends() => {
                self.failed(DialFailure::Timeout, Errno::ETIMEDOUT)
            }
            (Cancelled::No | Cancelled::TimedOut, Err(errno)) => {
                self.failed(failure_of(errno), errno)
            }
        }
    }

    fn failed(&mut self, failure: DialFailure, errno: Errno) -> Dialed {
        if failure == DialFailure::Port && self.from_elsewhere == Elsewhere::Possible {
            self.from_elsewhere = Elsewhere::Done;
            self.tried.pop();
        }
        self.failed = Some((failure.into(), Some(errno)));
        Dialed::Failed(failure)
    }

    /// Agrees on TLS with a backend that is connected; `before` goes out as it is, ahead of all else.
    pub(super) fn secure(
        &mut self,
        backend: Sock,
        session: Session,
        before: &[u8],
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Secured {
        let (secure, secured) = Secure::start(backend, session, before, key, cx);
        self.secure = Some(secure);
        secured
    }

    /// The backend, while TLS is agreed on with it.
    pub(super) fn secure_mut(&mut self) -> Option<&mut Secure> {
        self.secure.as_mut()
    }

    /// Takes out a backend with which there is TLS.
    pub(super) fn take_secured(&mut self) -> Secure {
        self.secure.take().expect("the caller was told")
    }

    /// TLS with the backend came to nothing, and the kernel holds nothing of it.
    pub(super) fn on_insecure(
        &mut self,
        cause: Cause,
        errno: Option<Errno>,
        cx: &mut Cx<'_>,
    ) -> Dialed {
        self.take_secured().close(cx);
        match self.cancelled {
            Cancelled::GivenUp(cause, errno) => Dialed::GivenUp(
                Outcome {
                    cause,
                    phase: Phase::Dialing,
                    errno,
                },
                None,
            ),
            Cancelled::No | Cancelled::TimedOut => {
                self.failed = Some((cause, errno));
                let failure = if cause == Cause::ConnectTimeout {
                    DialFailure::Timeout
                } else if cause == Cause::Resource {
                    DialFailure::Resource
                } else {
                    DialFailure::Other
                };
                Dialed::Failed(failure)
            }
        }
    }

    /// Bytes of a client that is still being read; it may also be gone.
    #[must_use]
    pub(super) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Secured {
        match self.client.on_received(result, more, cx) {
            Heard::Failed(failure) => {
                let (cause, errno) = Cause::of(Side::Client, failure);
                self.give_up(cause, errno, key, cx)
            }
            Heard::Bytes | Heard::NoBuffer | Heard::End => Secured::Waiting,
        }
    }

    #[must_use]
    pub(super) fn on_timer(
        &mut self,
        connect_timeout: Duration,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Secured {
        let due = self.attempt + connect_timeout;
        if self.cancelled != Cancelled::No {
            return Secured::Waiting;
        }
        if due > cx.now {
            cx.wheel.set(key.slot, due);
            return Secured::Waiting;
        }
        self.cancelled = Cancelled::TimedOut;
        match &mut self.secure {
            Some(secure) => secure.fail(Cause::ConnectTimeout, Some(Errno::ETIMEDOUT), cx),
            None => {
                cancel(key, cx);
                Secured::Waiting
            }
        }
    }

    /// Waits for the dial in flight to end, then for nothing more.
    #[must_use]
    pub(super) fn give_up(
        &mut self,
        cause: Cause,
        errno: Option<Errno>,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Secured {
        let cancelled = std::mem::replace(&mut self.cancelled, Cancelled::GivenUp(cause, errno));
        match &mut self.secure {
            Some(secure) => return secure.fail(cause, errno, cx),
            None if cancelled == Cancelled::No => cancel(key, cx),
            None => {}
        }
        Secured::Waiting
    }

    /// The place of the backend that is dialed now.
    pub(super) fn at(&self) -> u16 {
        *self.tried.last().expect("one is dialed")
    }

    /// How long the backend that is dialed now has had.
    pub(super) fn took(&self, now: Time) -> Duration {
        now.since(self.attempt)
    }

    pub(super) fn tries(&self) -> u8 {
        self.tries
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn into_client(self) -> Client {
        self.client
    }

    fn outcome(&self) -> Outcome {
        let (cause, errno) = match self.failed {
            Some(failed) => failed,
            None => (Cause::NoBackend, None),
        };
        Outcome {
            cause,
            phase: Phase::Dialing,
            errno,
        }
    }
}

fn cancel(key: Key, cx: &mut Cx<'_>) {
    cx.ops.push(Op::Cancel {
        tag: tag(key, Side::Backend.lane()),
        what: OpKind::Dial,
    });
}

/// Errors of connect(2) and socket(2): the backend's, or this machine's.
fn failure_of(errno: Errno) -> DialFailure {
    // Of descriptors and memory: without these no backend can be dialed.
    const OURS: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    if errno == Errno::ECONNREFUSED {
        DialFailure::Refused
    } else if errno == Errno::ETIMEDOUT {
        DialFailure::Timeout
    } else if errno == Errno::EADDRNOTAVAIL {
        DialFailure::Port
    } else if OURS.contains(&errno) {
        DialFailure::Resource
    } else {
        DialFailure::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a dial comes to that fails with this after `connect_timeout`.
    fn late(errno: Errno) -> DialFailure {
        let client = Client::new(Sock::simulated(3));
        let mut dial = Dial::new(client, 0, Time::default());
        dial.cancelled = Cancelled::TimedOut;
        let dialed = dial.on_dialed(Err(errno));
        dial.into_client().into_sock().into_simulated();
        match dialed {
            Dialed::Failed(failure) => failure,
            Dialed::Connected(_) | Dialed::GivenUp(..) => panic!("it failed"),
        }
    }

    #[test]
    fn a_backend_is_dialed_from_elsewhere_once_for_want_of_a_port() {
        let mut dial = Dial::new(Client::new(Sock::simulated(3)), 0, Time::default());
        dial.from_elsewhere = Elsewhere::Possible;
        for (errno, left) in [
            (Errno::ECONNREFUSED, 1),
            (Errno::EADDRNOTAVAIL, 1),
            (Errno::EADDRNOTAVAIL, 2),
        ] {
            dial.tried.push(0);
            dial.on_dialed(Err(errno));
            assert_eq!(dial.tried.len(), left, "{errno:?}");
        }
        dial.into_client().into_sock().into_simulated();
    }

    #[test]
    fn what_this_machine_lacks_is_not_a_backend_that_timed_out() {
        assert_eq!(late(Errno::EADDRNOTAVAIL), DialFailure::Port);
        assert_eq!(late(Errno::EMFILE), DialFailure::Resource);
        assert_eq!(late(Errno::ECANCELED), DialFailure::Timeout);
        assert_eq!(late(Errno::ECONNREFUSED), DialFailure::Timeout);
    }
}
