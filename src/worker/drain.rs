//! Connections that are open when a drain begins, or when their backend goes down, are ended evenly over a span, so that
//! their clients do not all come back in one second. What is left at a drain's deadline is cut.

use crate::base::Key;
use crate::ring::Time;
use std::time::Duration;

/// Connections that are asked to end, one after the other.
#[derive(Debug)]
pub(super) struct Pace {
    keys: Vec<Key>,
    asked: usize,
    began: Time,
    over: Duration,
}

/// All connections of a worker that takes no more.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) pace: Pace,
    deadline: Time,
}

impl Pace {
    pub(super) fn new(keys: Vec<Key>, over: Duration, now: Time) -> Self {
        Self {
            keys,
            asked: 0,
            began: now,
            over,
        }
    }

    /// The next connection whose turn has come.
    pub(super) fn due(&mut self, now: Time) -> Option<Key> {
        let key = *self.keys.get(self.asked)?;
        if self.turn_of(self.asked) > now {
            return None;
        }
        self.asked += 1;
        Some(key)
    }

    /// When the next one's turn comes; `None` when all were asked.
    pub(super) fn next(&self) -> Option<Time> {
        (self.asked < self.keys.len()).then(|| self.turn_of(self.asked))
    }

    /// The first at once, the last just before the span ends.
    fn turn_of(&self, at: usize) -> Time {
        let share = u32::try_from(at).unwrap_or(u32::MAX);
        let of = u32::try_from(self.keys.len()).unwrap_or(u32::MAX).max(1);
        self.began
            + Duration::from_secs_f64(self.over.as_secs_f64() * f64::from(share) / f64::from(of))
    }
}

impl Drain {
    pub(super) fn new(keys: Vec<Key>, over: Duration, deadline: Duration, now: Time) -> Self {
        Self {
            pace: Pace::new(keys, over, now),
            deadline: now + deadline,
        }
    }

    pub(super) fn is_overdue(&self, now: Time) -> bool {
        self.deadline <= now
    }

    /// When something is to be done next.
    pub(super) fn next(&self) -> Time {
        let turn = self.pace.next();
        turn.map_or(self.deadline, |turn| turn.min(self.deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_asked_evenly_over_the_span() {
        let keys: Vec<_> = (0..100)
            .map(|slot| Key {
                slot,
                generation: 0,
            })
            .collect();
        let mut drain = Drain::new(
            keys,
            Duration::from_secs(10),
            Duration::from_secs(30),
            Time::default(),
        );
        for second in 0..10 {
            let now = Time::default() + Duration::from_secs(second) + Duration::from_millis(999);
            let asked = std::iter::from_fn(|| drain.pace.due(now)).count();
            assert_eq!(asked, 10, "in second {second}");
        }
        assert_eq!(drain.next(), Time::default() + Duration::from_secs(30));
    }

    #[test]
    fn a_span_of_zero_asks_all_at_once() {
        let keys: Vec<_> = (0..7)
            .map(|slot| Key {
                slot,
                generation: 0,
            })
            .collect();
        let mut drain = Drain::new(
            keys,
            Duration::ZERO,
            Duration::from_secs(1),
            Time::default(),
        );
        assert_eq!(
            std::iter::from_fn(|| drain.pace.due(Time::default())).count(),
            7
        );
    }
}
