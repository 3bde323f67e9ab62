//! The publishing side of a feed: every tick to every subscriber.
//!
//! No subscriber has a queue. Each knows the number of its next tick, and a tick is made again from its number (its
//! planned time follows from the schedule), so a slow subscriber costs twelve bytes however far it is behind.

use super::{Outgoing, Step};
use crate::job::Cx;
use crate::message::Message;
use crate::schedule::{Rate, Schedule};
use crate::stats::Stats;
use ringway_ring::Time;

/// One publisher's ticks.
pub(crate) struct Feed {
    publisher: u32,
    size: u32,
    schedule: Schedule,
    published: u64,
    /// The encoded messages last asked for: after a tick, nearly all subscribers ask for the same.
    encoded: Vec<u8>,
    encoded_for: Option<Span>,
}

/// A run of ticks, and when it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    first: u64,
    count: u64,
    sent: Time,
}

impl Feed {
    pub(crate) fn new(publisher: u32, size: u32, rate: Rate, now: Time) -> Self {
        Self {
            publisher,
            size,
            schedule: Schedule::new(now, rate),
            published: 0,
            encoded: Vec::new(),
            encoded_for: None,
        }
    }

    /// When the next tick is planned.
    pub(crate) fn next(&self) -> Time {
        self.schedule.next()
    }

    /// Publishes what is due, noting how late each tick is; how many they were.
    pub(crate) fn advance(&mut self, now: Time, stats: &mut Stats) -> u64 {
        let before = self.published;
        while let Some(planned) = self.schedule.take(now) {
            stats.lag.record(now.since(planned));
        }
        self.published = self.schedule.taken();
        self.published - before
    }

    fn encode(&mut self, span: Span) -> &[u8] {
        if self.encoded_for != Some(span) {
            self.encoded.clear();
            for sequence in span.first..span.first + span.count {
                let tick = Message {
                    publisher: self.publisher,
                    sequence,
                    planned: self.schedule.planned(sequence),
                    sent: span.sent,
                };
                tick.encode(self.size, &mut self.encoded);
            }
            self.encoded_for = Some(span);
        }
        &self.encoded
    }
}

/// One subscriber, seen from the publisher.
#[derive(Default)]
pub(crate) struct Subscription {
    next: u64,
}

impl Subscription {
    /// Begins with the next tick.
    pub(super) fn on_open(&mut self, cx: &mut Cx) -> Step {
        self.next = cx.job.feed.as_ref().map_or(0, |feed| feed.published);
        Step::Continue
    }

    /// Everything it has not got, as far as one buffer goes: a subscriber that stalls keeps no more from the others.
    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        let Some(feed) = &mut cx.job.feed else {
            return Outgoing::Nothing;
        };
        let fit = u64::from(cx.buffers.size()) / u64::from(feed.size);
        let count = (feed.published - self.next).min(fit.max(1));
        if count == 0 {
            return Outgoing::Nothing;
        }
        let span = Span {
            first: self.next,
            count,
            sent: cx.now,
        };
        let out = Outgoing::copy(feed.encode(span), cx.buffers);
        if let Outgoing::Bytes(_) = out {
            self.next += count;
            cx.stats.counters.messages += count;
            cx.stats.counters.issued += count;
        }
        out
    }
}
