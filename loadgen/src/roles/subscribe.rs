//! The receiving side of a feed: every message is checked, its order too.

use super::{Step, cut};
use crate::fault::Fault;
use crate::job::Cx;
use crate::message::{BadMessage, Framer, Message, Order, Sequence};
use crate::stats::Stats;
use ringway_ring::{Lease, Time};

/// One subscriber.
#[derive(Default)]
pub(crate) struct Reader {
    framer: Framer,
    check: Check,
}

/// What is known of the stream so far.
#[derive(Default)]
struct Check {
    publisher: Option<u32>,
    sequence: Sequence,
}

impl Reader {
    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        let mut step = Step::Continue;
        for bytes in cx.buffers.segments(&lease) {
            self.framer.feed(bytes, |message| {
                if self.check.on_message(message, cx.now, cx.stats) == Step::Close {
                    step = Step::Close;
                }
            });
            if step == Step::Close {
                break;
            }
        }
        cx.buffers.release(lease);
        step
    }

    pub(super) fn on_end(&mut self, cx: &mut Cx) -> Step {
        if !self.framer.is_between() && !cx.job.ending {
            cx.stats.faults.add(Fault::Truncated, 1);
        }
        cut(cx);
        Step::Close
    }
}

impl Check {
    fn on_message(
        &mut self,
        message: Result<Message, BadMessage>,
        now: Time,
        stats: &mut Stats,
    ) -> Step {
        match message {
            Ok(message) => {
                self.on_sound(&message, now, stats);
                Step::Continue
            }
            Err(BadMessage::Checksum) => {
                stats.faults.add(Fault::Corrupt, 1);
                Step::Continue
            }
            // Out of step for good: nothing behind can be read.
            Err(BadMessage::Framing) => {
                stats.faults.add(Fault::Garbled, 1);
                Step::Close
            }
        }
    }

    fn on_sound(&mut self, message: &Message, now: Time, stats: &mut Stats) {
        if *self.publisher.get_or_insert(message.publisher) != message.publisher {
            return stats.faults.add(Fault::Mixed, 1);
        }
        match self.sequence.check(message.sequence) {
            Order::Next => {}
            Order::Gap(missing) => stats.faults.add(Fault::Gap, missing),
            Order::Duplicate => return stats.faults.add(Fault::Duplicate, 1),
            Order::Late => stats.faults.add(Fault::Reordered, 1),
        }
        stats.counters.messages += 1;
        stats.latency.record(now.since(message.planned));
        stats.latency_sent.record(now.since(message.sent));
    }
}
