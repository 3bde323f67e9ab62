//! Whether a stream is bulk: what makes an adaptive half move from copying to splicing and back.
//!
//! Judged by turns, because what splicing saves is paid for by each turn's two system calls and one wait: a turn of 4 KiB
//! costs a tenth more spliced than copied, one of 16 KiB a fifth less, one of 64 KiB a third less (docs/benchmarks.md,
//! "Splice").

use crate::ring::Time;
use std::time::Duration;

/// Bytes of one turn from which splicing is not dearer than copying.
const FULL: u32 = 16 << 10;

/// Bytes that must come in full turns, one after the other, before a stream counts as bulk: four times what a single
/// large message is made of, so that a snapshot of an order book does not move a feed.
const PROOF: u32 = 256 << 10;

/// Bytes of one turn below which splicing is the dearer way.
const SMALL: u32 = 4 << 10;

/// So many small turns, one after the other, and a stream is bulk no more.
const SMALL_TURNS: u32 = 3;

/// Silence after which a stream has to prove itself again.
const QUIET: Duration = Duration::from_millis(50);

/// What is known of one direction's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When bytes came last.
    last: Time,
    /// Bytes that came at that time.
    turn: u32,
    /// While copying: bytes that came in full turns. While splicing: small turns.
    run: u32,
    /// The last turn's last receive left bytes in the socket.
    left: bool,
}

impl Pace {
    /// A receive brought `bytes`; `left`: it ended with more waiting in the socket.
    pub(super) fn on_copied(&mut self, bytes: u32, left: bool, now: Time) {
        if now != self.last {
            let full = self.turn >= FULL || self.left;
            if !full || now.since(self.last) > QUIET {
                self.run = 0;
            }
            self.last = now;
            self.turn = 0;
        }
        self.left = left;
        self.turn = self.turn.saturating_add(bytes);
        self.run = self.run.saturating_add(bytes);
    }

    /// Whether what was copied proves that the stream is bulk.
    pub(super) fn is_bulk(&self) -> bool {
        self.run >= PROOF
    }

    /// Begins to judge anew: the half has just moved to the other way.
    pub(super) fn restart(&mut self, now: Time) {
        *self = Self {
            last: now,
            ..Self::default()
        };
    }

    /// A splice emptied the source of `bytes`. Whether the stream is no longer bulk.
    pub(super) fn on_spliced_dry(&mut self, bytes: u32, now: Time) -> bool {
        let quiet = now.since(self.last) > QUIET;
        self.last = now;
        self.run = if bytes < SMALL { self.run + 1 } else { 0 };
        quiet || self.run >= SMALL_TURNS
    }

    /// A splice went as far as it could, and the source has more.
    pub(super) fn on_spliced(&mut self, now: Time) {
        self.last = now;
        self.run = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// Feeds turns of so many bytes, a millisecond apart, in receives of 4 KiB.
    fn bulk_after(turns: impl IntoIterator<Item = u32>) -> bool {
        let mut pace = Pace::default();
        for (turn, bytes) in (1..).zip(turns) {
            let mut left = bytes;
            while left > 0 {
                let piece = left.min(4096);
                pace.on_copied(piece, false, at(turn));
                left -= piece;
            }
        }
        pace.is_bulk()
    }

    #[test]
    fn small_messages_are_never_bulk_however_many_there_are() {
        assert!(!bulk_after([8192; 10_000]));
    }

    #[test]
    fn full_turns_are_bulk_once_they_are_enough() {
        assert!(!bulk_after([64 << 10; 3]));
        assert!(bulk_after([64 << 10; 4]));
        assert!(bulk_after([16 << 10; 16]));
    }

    #[test]
    fn one_small_turn_takes_the_proof_back() {
        let mut turns = vec![64 << 10; 3];
        turns.push(100);
        turns.extend([64 << 10; 3]);
        assert!(!bulk_after(turns));
    }

    #[test]
    fn a_single_large_message_is_not_bulk() {
        assert!(!bulk_after([64 << 10]));
    }

    #[test]
    fn single_receives_that_leave_more_behind_are_full_turns() {
        let mut pace = Pace::default();
        for turn in 1..=64 {
            pace.on_copied(4096, true, at(turn));
        }
        assert!(pace.is_bulk());
    }

    #[test]
    fn silence_takes_the_proof_back() {
        let mut pace = Pace::default();
        for turn in 0..8 {
            pace.on_copied(32 << 10, false, at(100 * turn + 1));
        }
        assert!(!pace.is_bulk());
    }

    #[test]
    fn bulk_ends_with_three_small_turns_or_with_silence() {
        let mut pace = Pace::default();
        pace.restart(at(0));
        assert!(!pace.on_spliced_dry(100, at(1)));
        assert!(!pace.on_spliced_dry(100, at(2)));
        assert!(!pace.on_spliced_dry(1 << 20, at(3)));
        assert!(!pace.on_spliced_dry(100, at(4)));
        pace.on_spliced(at(5));
        assert!(!pace.on_spliced_dry(100, at(6)));
        assert!(!pace.on_spliced_dry(100, at(7)));
        assert!(pace.on_spliced_dry(100, at(8)));
        pace.restart(at(9));
        assert!(pace.on_spliced_dry(1 << 20, at(100)));
    }
}
