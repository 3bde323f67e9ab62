//! What happened, as one number: two runs of a seed that differ anywhere differ here.

use crate::ring::{Completion, Event, Op, Time};
use std::fmt;

/// Hash of every op and completion so far; prints them too when asked to.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    print: bool,
}

impl Trace {
    /// `RINGWAY_SIM_TRACE` in the environment prints every step to standard error, for reading a failure.
    pub(super) fn new() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            print: std::env::var_os("RINGWAY_SIM_TRACE").is_some(),
        }
    }

    /// One step: a few numbers that tell it from others, and words for people.
    fn step(&mut self, numbers: &[u64], words: fmt::Arguments<'_>) {
        for number in numbers {
            self.hash = (self.hash ^ number)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
        if self.print {
            eprintln!("{words}");
        }
    }

    pub(super) fn op(&mut self, now: Time, op: &Op) {
        let (kind, number) = match op {
            Op::Accept { listener, .. } => (1, listener.number()),
            Op::TurnAway { listener } => (11, listener.number()),
            Op::Dial { peer, .. } => (2, i32::from(peer.port())),
            Op::Recv { sock, .. } => (3, sock.number()),
            Op::Send { sock, .. } => (4, sock.number()),
            Op::Splice { from, .. } => (13, from.number()),
            Op::Discard { .. } => (14, 0),
            Op::NotsentLowat { sock, .. } => (16, sock.number()),
            Op::Poll { sock, .. } => (5, sock.number()),
            Op::Cancel { .. } => (6, 0),
            Op::Unsent { sock, .. } => (12, sock.number()),
            Op::Shed { tag } => (15, tag.slot.cast_signed()),
            Op::Shutdown { sock, both } => (7 + u64::from(*both), sock.number()),
            Op::Close { sock, reset } => (9 + u64::from(*reset), sock.as_ref().number()),
        };
        let number = u64::from(number.unsigned_abs());
        self.step(
            &[now.as_nanos(), kind, number],
            format_args!("{now} {op:?}"),
        );
    }

    pub(super) fn completion(&mut self, now: Time, completion: &Completion) {
        let (kind, value) = match &completion.event {
            Event::Accepted { result, .. } => {
                (21, result.as_ref().map_or(0, |(s, _)| s.as_ref().number()))
            }
            Event::Dialed { result, .. } => {
                (22, result.as_ref().map_or(0, |s| s.as_ref().number()))
            }
            Event::Received { result, .. } => {
                (23, result.as_ref().map_or(-1, |l| l.len().cast_signed()))
            }
            Event::Sent { result, .. } => (24, result.map_or(-1, u32::cast_signed)),
            Event::Spliced { taken, given, .. } => (27, (taken + given).cast_signed()),
            Event::Unsent { bytes } => (26, bytes.cast_signed()),
            Event::Polled { result, .. } => (25, i32::from(result.is_ok())),
        };
        let tag = completion.tag;
        let numbers = [
            now.as_nanos(),
            kind,
            u64::from(value.cast_unsigned()),
            u64::from(tag.slot),
        ];
        self.step(&numbers, format_args!("{now}     {completion:?}"));
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}
