//! Ways to move bytes between two sockets, one contract.
//!
//! A [`Half`] is one direction: it reads a source and writes a sink, by one engine at a time. It is told what completed
//! and answers with a [`Step`]; what to do about a step that ends something is the connection's to decide. Every engine keeps:
//!
//! - bytes leave in the order in which they came, each once;
//! - [`Step::Ended`], which is when FIN is due, comes after the last byte went out, and once;
//! - at most [`HIGH_WATER`] and one receive are queued, or one pipe; above [`LOW_WATER`], or with anything in the pipe,
//!   nothing more is read, so that a slow reader reaches the sender as TCP's own window;
//! - a half at rest owns no buffer and no pipe;
//! - where a side speaks TLS, FIN means close_notify and then FIN; a stream that was cut off without close_notify is passed on
//!   as just that;
//! - [`Half::is_quiet`] is true exactly when the kernel holds nothing of this half.

mod copy;
mod desk;
mod fault;
mod half;
mod pace;
mod pressure;
mod session;
mod splice;
mod tls;

pub use desk::Desk;
pub use fault::Fault;
pub use half::{Half, Moved};
pub use pressure::Pressure;
pub use session::{Broken, Opened, Session};

use crate::base::Key;
use crate::ring::{Buffers, Errno, Lane, Lease, Ops, SockRef, Tag, Time};
use std::collections::VecDeque;

/// Bytes queued per direction at which reading stops.
pub const HIGH_WATER: u32 = 64 << 10;

/// Bytes queued per direction at which reading starts again.
pub const LOW_WATER: u32 = 16 << 10;

/// Why a side of a relay is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Its socket says so.
    Socket(Errno),
    /// TLS with it is broken.
    Tls(Fault),
    /// There is no memory for what TLS makes of its bytes.
    NoRoom,
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Tls(fault) => Self::Tls(fault),
            Broken::NoRoom => Self::NoRoom,
        }
    }
}

/// What an event did to a half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Goes on.
    Going,
    /// The source ended and all its bytes are out: the sink is to be told (FIN).
    Ended,
    /// The source failed. What it had sent before is still on its way.
    SourceFailed(Failure),
    /// The sink failed. What was queued for it is gone.
    SinkFailed(Failure),
}

/// What a half begins with.
#[derive(Debug)]
pub struct Begin {
    /// What the sink is to get first: bytes that were read from the source before, and what was put before them.
    pub seen: Lease,
    /// How many bytes the source itself gave for that.
    pub given: u64,
    /// How the source stands.
    pub source: Source,
}

/// How a source stands when its half begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// It has mostly spoken by now.
    Speaking,
    /// It mostly waits to be spoken to.
    Silent,
    /// A receive is in flight.
    Armed,
    /// It sent FIN.
    Ended,
}

impl Begin {
    /// With nothing.
    pub const fn nothing(source: Source) -> Self {
        Self {
            seen: Lease::EMPTY,
            given: 0,
            source,
        }
    }
}

/// Where a half reads and writes, and what it needs to ask for it.
pub struct Cx<'a> {
    /// Ops to fill.
    pub ops: &'a mut Ops,
    /// The worker's buffers.
    pub buffers: &'a mut Buffers,
    /// Halves that found no free buffer, oldest first: who, and the lane that they read.
    pub starved: &'a mut VecDeque<(Key, Lane)>,
    /// The worker's account of back-pressure.
    pub pressure: &'a Pressure,
    /// The time of this turn.
    pub now: Time,
    /// The connection.
    pub key: Key,
    /// Read from here.
    pub source: (Lane, SockRef),
    /// Written to here.
    pub sink: (Lane, SockRef),
    /// TLS with the source, if it speaks that.
    pub source_tls: Option<&'a mut Session>,
    /// TLS with the sink, if it speaks that.
    pub sink_tls: Option<&'a mut Session>,
    /// Where TLS is done.
    pub desk: &'a mut Desk,
}

impl Cx<'_> {
    fn source_tag(&self) -> Tag {
        tag(self.key, self.source.0)
    }

    fn sink_tag(&self) -> Tag {
        tag(self.key, self.sink.0)
    }
}

/// The tag of one socket's ops.
pub fn tag(key: Key, lane: Lane) -> Tag {
    Tag {
        lane,
        slot: key.slot,
        generation: key.generation,
    }
}
