//! What all connections of an engine share, and the view that one of them gets during an event.

use crate::pattern::Pattern;
use crate::roles::publish::Feed;
use crate::schedule::{Rate, Schedule};
use crate::stats::Stats;
use ringway_ring::{Buffers, Ops, Tag, Time};
use std::collections::VecDeque;

/// When exchanges begin.
pub(crate) enum Pace {
    /// The next when the last has ended, and the first when all connections are open: a proxy that is busy with the first of them
    /// would let the last wait.
    Closed {
        started: bool,
        /// Those that wait for the start.
        idle: VecDeque<Tag>,
    },
    /// At planned times, over all connections.
    Open {
        rate: Rate,
        /// Set when the load begins.
        schedule: Option<Schedule>,
        /// Connections without an exchange, the one that waited longest in front.
        idle: VecDeque<Tag>,
    },
}

impl Pace {
    pub(crate) fn of(rate: Option<Rate>) -> Self {
        match rate {
            None => Self::Closed {
                started: false,
                idle: VecDeque::new(),
            },
            Some(rate) => Self::Open {
                rate,
                schedule: None,
                idle: VecDeque::new(),
            },
        }
    }

    /// Lets the exchanges begin.
    pub(crate) fn start(&mut self, now: Time) {
        match self {
            Self::Closed { started, .. } => *started = true,
            Self::Open { rate, schedule, .. } => *schedule = Some(Schedule::new(now, *rate)),
        }
    }

    /// The planned time of the next exchange, if one may begin. How late that is, is noted.
    pub(crate) fn take(&mut self, now: Time, stats: &mut Stats) -> Option<Time> {
        match self {
            Self::Closed { started, .. } => started.then_some(now),
            Self::Open { schedule, .. } => {
                let planned = schedule.as_mut()?.take(now)?;
                stats.lag.record(now.since(planned));
                Some(planned)
            }
        }
    }

    /// Whether a planned exchange could begin at once.
    pub(crate) fn has_idle(&self) -> bool {
        match self {
            Self::Closed { .. } => false,
            Self::Open { idle, .. } => !idle.is_empty(),
        }
    }

    /// The connection that waited longest, when an exchange is due.
    pub(crate) fn pop_idle(&mut self, now: Time) -> Option<Tag> {
        match self {
            Self::Closed { started, idle } if *started => idle.pop_front(),
            Self::Open {
                schedule: Some(schedule),
                idle,
                ..
            } if schedule.next() <= now => idle.pop_front(),
            Self::Closed { .. } | Self::Open { .. } => None,
        }
    }

    /// Queues a connection that waits for the start, or the next planned time.
    pub(crate) fn push_idle(&mut self, tag: Tag) {
        match self {
            Self::Closed { idle, .. } | Self::Open { idle, .. } => idle.push_back(tag),
        }
    }

    pub(crate) fn schedule(&self) -> Option<&Schedule> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { schedule, .. } => schedule.as_ref(),
        }
    }
}

/// What the connections of an engine share.
pub(crate) struct Job {
    pub(crate) pattern: Pattern,
    pub(crate) pace: Pace,
    /// The feed of a publishing engine.
    pub(crate) feed: Option<Feed>,
    /// Nothing new is begun, and the peer's end is no fault any more.
    pub(crate) ending: bool,
    /// Dials without an answer.
    pub(crate) dialing: usize,
    /// Who waits for free buffers.
    pub(crate) starved: Vec<Tag>,
}

impl Job {
    pub(crate) fn new(pace: Pace, feed: Option<Feed>) -> Self {
        Self {
            pattern: Pattern::new(),
            pace,
            feed,
            ending: false,
            dialing: 0,
            starved: Vec::new(),
        }
    }
}

/// What a connection may read and change while it takes one event.
pub(crate) struct Cx<'a> {
    pub(crate) tag: Tag,
    pub(crate) now: Time,
    pub(crate) ops: &'a mut Ops,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) stats: &'a mut Stats,
    pub(crate) job: &'a mut Job,
}
