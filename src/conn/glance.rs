//! What can be seen of a connection from outside while it is open.

use super::{Connection, Phase, State};
use crate::relay::Moved;
use crate::ring::Time;
use std::time::Duration;

/// A connection at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// How far it is.
    pub phase: Phase,
    /// For how long no byte has moved; before the relay, for how long it has been open.
    pub idle: Duration,
    /// Bytes from client to backend.
    pub up: Moved,
    /// Bytes from backend to client.
    pub down: Moved,
    /// Whether either side speaks TLS with us.
    pub tls: bool,
    /// Whether each direction, up and down, is spliced now.
    pub spliced: [bool; 2],
}

impl Glance {
    /// The word for how bytes move now, as the access log has it; `None` before they do.
    pub fn relay(&self) -> Option<&'static str> {
        match (self.phase, self.spliced) {
            (Phase::Greeting | Phase::Handshaking | Phase::Peeking | Phase::Dialing, _) => None,
            (Phase::Relaying | Phase::HalfClosed | Phase::Done, _) if self.tls => Some("tls"),
            (Phase::Relaying | Phase::HalfClosed | Phase::Done, spliced) => Some(match spliced {
                [false, false] => "copy",
                [true, true] => "splice",
                [true, false] | [false, true] => "copy+splice",
            }),
        }
    }
}

impl Connection {
    /// What can be seen of it.
    pub fn glance(&self, now: Time) -> Glance {
        let before = |phase| Glance {
            phase,
            idle: now - self.started,
            up: Moved::default(),
            down: Moved::default(),
            tls: self.site.tls.is_some(),
            spliced: [false; 2],
        };
        match &self.state {
            State::Relaying(pair) => pair.glance(now),
            State::Closing(close) => close.pair.glance(now),
            State::Greeting(_) => before(Phase::Peeking),
            State::Handshaking(_) => before(Phase::Handshaking),
            State::Dialing(_) => before(Phase::Dialing),
            State::Leaving(_) | State::Over(_) => before(Phase::Done),
        }
    }
}
