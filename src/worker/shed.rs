//! Half of the buffers are held: those of readers that stall are wanted back.
//!
//! A sweep goes round the connections, a few in each turn, and asks each to shed what waits for a reader that has taken
//! nothing since the round before. Stops as soon as half of the buffers are free again, or when there is no room left
//! outside of them; costs a comparison per turn when there is nothing to do.

use super::Worker;
use crate::conn::Connection;
use crate::ring::{Ring, Time};
use std::time::Duration;

/// From the end of one round to the next, and so how long a reader takes nothing before it counts as stalled: longer
/// than most round trips, so that a reader that is merely slow is not copied for nothing, and far below what anybody
/// who waits for a buffer meanwhile would notice.
const REST: Duration = Duration::from_millis(50);

/// Connections asked in one turn: at 64 KiB each they cost a copy of 2 MiB, under a millisecond.
const STEP: u32 = 32;

/// Where the sweep is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sweep {
    /// Between two rounds, until then.
    Resting(Time),
    /// In a round, at this slot.
    Going(u32),
}

impl Default for Sweep {
    /// The first round can begin at once.
    fn default() -> Self {
        Self::Resting(Time::default())
    }
}

impl Sweep {
    /// The slots of this turn, of so many.
    ///
    /// The turn after the last ones has none, and comes soon: in it the ring does what they asked for.
    fn step(&mut self, now: Time, slots: u32) -> std::ops::Range<u32> {
        let from = match *self {
            Self::Resting(until) if until > now => return 0..0,
            Self::Resting(_) => 0,
            Self::Going(at) if at >= slots => {
                *self = Self::Resting(now + REST);
                return 0..0;
            }
            Self::Going(at) => at,
        };
        let to = slots.min(from + STEP);
        *self = Self::Going(to);
        from..to
    }

    /// When the next step is due.
    fn next(self, now: Time) -> Time {
        match self {
            Self::Resting(until) => until,
            Self::Going(_) => now,
        }
    }
}

impl<R: Ring> Worker<R> {
    pub(super) fn shed_stalled(&mut self, now: Time) {
        if !self.can_shed() {
            return;
        }
        for slot in self.sweep.step(now, self.connections.reach()) {
            if let Some(key) = self.connections.key(slot) {
                self.with(key, now, Connection::shed);
            }
        }
    }

    /// When to turn for the sweep's sake alone: while somebody waits for buffers, as all who hold them may be stalled
    /// and nothing else may ever happen. Otherwise the turns that there are will do.
    pub(super) fn next_sweep(&mut self) -> Option<Time> {
        let waited_for = !self.starved.is_empty() && self.can_shed();
        waited_for.then(|| self.sweep.next(self.ring.now()))
    }

    /// Half, not all but the quarter at which halves begin to take less: there is time to find who stalls.
    fn can_shed(&mut self) -> bool {
        let buffers = self.ring.buffers();
        buffers.free() * 2 < buffers.count() && buffers.can_spill()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_slot_once_and_rests_after_its_end() {
        let at = |ms| Time::default() + Duration::from_millis(ms);
        let slots = 2 * STEP + 5;
        let mut sweep = Sweep::default();
        let visited: Vec<u32> = (0..3).flat_map(|ms| sweep.step(at(ms), slots)).collect();
        assert_eq!(visited, (0..slots).collect::<Vec<_>>());
        assert_eq!(sweep.next(at(3)), at(3), "what was asked for is done soon");
        assert_eq!(sweep.step(at(3), slots), 0..0);
        assert_eq!(sweep.next(at(4)), at(3) + REST);
        assert_eq!(sweep.step(at(52), slots), 0..0);
        assert_eq!(sweep.step(at(53), 7), 0..7);
    }
}
