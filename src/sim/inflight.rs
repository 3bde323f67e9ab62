//! Which ops are in flight, and the rules that their callers promised to keep.

use super::world::{Fd, World};
use crate::ring::{Errno, Lane, Lease, OpKind, Readiness, Tag, Time};
use std::net::SocketAddr;

/// The number of a flight whose socket was never made, or is closed.
pub(super) const NO_SOCKET: i32 = -1;

/// What an op waits for.
#[derive(Debug)]
pub(super) enum Wait {
    Accept {
        listener: usize,
    },
    Dial(Dial),
    Recv {
        conn: usize,
        left: u32,
        poll_first: bool,
    },
    Send {
        conn: usize,
        lease: Lease,
    },
    /// `wait` is what it must see before its first try; `None` also for one that may try at once.
    Splice {
        from: usize,
        to: usize,
        budget: u32,
        wait: Option<Readiness>,
    },
    /// `seen` counts the wake-ups that were reported.
    Poll {
        fd: Fd,
        number: i32,
        seen: Option<u64>,
    },
}

/// A dial that goes on, or one that failed before it began.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dial {
    Going {
        conn: usize,
        number: i32,
        /// What the answer tells of where the client connected to.
        local: Option<SocketAddr>,
    },
    Refused(Errno),
}

impl Wait {
    pub(super) fn kind(&self) -> OpKind {
        match self {
            Self::Accept { .. } => OpKind::Accept,
            Self::Dial(_) => OpKind::Dial,
            Self::Recv { .. } => OpKind::Recv,
            Self::Send { .. } => OpKind::Send,
            Self::Splice { .. } => OpKind::Splice,
            Self::Poll { .. } => OpKind::Poll,
        }
    }
}

/// One op in flight: from its submission until its last completion is delivered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) tag: Tag,
    pub(super) wait: Wait,
    /// The descriptor's number.
    pub(super) number: i32,
    /// The other descriptor's, for an op on two.
    pub(super) sink: i32,
    /// Not begun before this time.
    pub(super) begin: Time,
    pub(super) cancelled: bool,
    /// Its last completion has happened and waits to be delivered.
    pub(super) finished: bool,
}

impl Flight {
    /// Stands in the table while the real one happens.
    pub(super) fn placeholder() -> Self {
        Self {
            id: 0,
            tag: Tag {
                lane: Lane::A,
                slot: u32::MAX,
                generation: 0,
            },
            wait: Wait::Dial(Dial::Refused(Errno::ECANCELED)),
            number: NO_SOCKET,
            sink: NO_SOCKET,
            begin: Time::default(),
            cancelled: false,
            finished: true,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    serial: u64,
    pub(super) flights: Vec<Flight>,
}

impl Inflight {
    pub(super) fn add(&mut self, tag: Tag, (number, sink): (i32, i32), wait: Wait, begin: Time) {
        self.serial += 1;
        self.flights.push(Flight {
            id: self.serial,
            tag,
            wait,
            number,
            sink,
            begin,
            cancelled: false,
            finished: false,
        });
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.flights.retain(|flight| flight.id != id);
    }

    pub(super) fn cancel(&mut self, tag: Tag, kind: OpKind) {
        for flight in &mut self.flights {
            if flight.tag == tag && flight.wait.kind() == kind {
                flight.cancelled = true;
            }
        }
    }

    /// The bytes of a send that has not happened yet.
    pub(super) fn waiting_send(&mut self, tag: Tag) -> Option<&mut Lease> {
        self.flights
            .iter_mut()
            .find_map(|flight| match &mut flight.wait {
                Wait::Send { lease, .. } if flight.tag == tag && !flight.finished => Some(lease),
                Wait::Send { .. }
                | Wait::Accept { .. }
                | Wait::Dial(_)
                | Wait::Recv { .. }
                | Wait::Splice { .. }
                | Wait::Poll { .. } => None,
            })
    }

    /// Ops that outlive the connections: what listeners and mailboxes wait for.
    pub(super) fn is_lasting(wait: &Wait) -> bool {
        match wait {
            Wait::Accept { .. } => true,
            Wait::Poll { fd, .. } => matches!(fd, Fd::Bell { .. }),
            Wait::Dial(_) | Wait::Recv { .. } | Wait::Send { .. } | Wait::Splice { .. } => false,
        }
    }

    /// One op of each kind per lane; none beside a dial.
    pub(super) fn check_lane(&self, world: &World, tag: Tag, kind: OpKind) {
        if tag.slot >= 1 << 24 {
            world.fail(format_args!("slot {} does not fit 24 bits", tag.slot));
        }
        for flight in &self.flights {
            if (flight.tag.slot, flight.tag.lane) != (tag.slot, tag.lane) {
                continue;
            }
            let other = flight.wait.kind();
            if other == kind {
                world.fail(format_args!(
                    "two {} in flight on {}",
                    plural(kind),
                    lane_name(tag)
                ));
            }
            let reads = |kind| matches!(kind, OpKind::Recv | OpKind::Splice);
            if reads(kind) && reads(other) {
                world.fail(format_args!(
                    "{kind:?} beside {other:?} on {}",
                    lane_name(tag)
                ));
            }
            if (kind == OpKind::Dial) != (other == OpKind::Dial) {
                world.fail(format_args!(
                    "{kind:?} beside {other:?} on {}",
                    lane_name(tag)
                ));
            }
        }
    }

    /// One op of each kind per socket, whoever asks.
    pub(super) fn check_socket(&self, world: &World, number: i32, kind: OpKind) {
        if self
            .flights
            .iter()
            .any(|f| f.number == number && f.wait.kind() == kind)
        {
            world.fail(format_args!(
                "two {} in flight on socket {number}",
                plural(kind)
            ));
        }
    }

    /// A socket closes only when nothing is in flight on it.
    pub(super) fn check_close(&self, world: &World, number: i32) {
        let on_it = |f: &&Flight| f.number == number || f.sink == number;
        if let Some(flight) = self.flights.iter().find(on_it) {
            world.fail(format_args!(
                "close of socket {number} with a {:?} in flight on it",
                flight.wait.kind()
            ));
        }
    }
}

fn plural(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Accept => "accepts",
        OpKind::Dial => "dials",
        OpKind::Recv => "receives",
        OpKind::Send => "sends",
        OpKind::Poll => "polls",
        OpKind::Splice => "splices",
    }
}

fn lane_name(tag: Tag) -> String {
    let lane = match tag.lane {
        Lane::A => 'A',
        Lane::B => 'B',
    };
    format!("slot {} lane {lane}", tag.slot)
}
