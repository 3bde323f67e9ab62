//! How long a relay may last: its listener's rules, as they are for one connection.

use crate::config::Listener;
use crate::ring::Time;
use std::time::Duration;

/// How far from `max_age` a connection ends at most, to either side.
const SPREAD: f64 = 0.1;

/// How long a relay may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    /// Without a byte either way.
    pub(super) idle: Duration,
    /// Without a byte after one side's FIN.
    pub(super) half_close: Duration,
    /// Whatever it does; `None` for as long as it likes.
    expires: Option<Time>,
}

impl Span {
    /// Of the connection of this id, which came at this time.
    pub(super) fn new(rules: &Listener, id: u64, came: Time) -> Self {
        let ages = !rules.max_age.is_zero();
        Self {
            idle: rules.idle_timeout,
            half_close: rules.half_close_timeout,
            expires: ages.then(|| came + age(rules.max_age, id)),
        }
    }

    /// Whether the connection has reached its age.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// The time given, or when the connection reaches its age, whichever comes first.
    pub(super) fn earlier(&self, time: Time) -> Time {
        self.expires.map_or(time, |expires| time.min(expires))
    }
}

/// At what age the connection of this id ends.
fn age(max_age: Duration, id: u64) -> Duration {
    max_age.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * place(id))
}

/// From 0 to 1. The ids of a worker are in a row, and multiples of the golden ratio divide a circle more evenly than chance
/// would, however many of them there are (Knuth, The Art of Computer Programming, volume 3, section 6.4, theorem S).
fn place(id: u64) -> f64 {
    /// 2^64 divided by the golden ratio.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let turned = u32::try_from(id.wrapping_mul(STEP) >> 32).expect("the upper half");
    f64::from(turned) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listener;

    const HOUR: Duration = Duration::from_hours(1);

    fn ages(ids: impl Iterator<Item = u64>) -> Vec<Duration> {
        let mut ages: Vec<_> = ids.map(|id| age(HOUR, id)).collect();
        ages.sort_unstable();
        ages
    }

    #[test]
    fn those_who_come_together_leave_evenly_over_a_fifth_of_their_age() {
        for worker in [0, 1, 7] {
            for count in [100, 1_000, 65_536] {
                let ages = ages((1..=count).map(|sequence| worker << 40 | sequence));
                let (first, last) = (HOUR.mul_f64(0.9), HOUR.mul_f64(1.1));
                assert!(first <= ages[0] && ages[ages.len() - 1] <= last);
                // 720 s in 50 parts: of each, what is even and 1.3 times that at most.
                let part = HOUR.mul_f64(0.2) / 50;
                let even = count as f64 / 50.0;
                for at in 0..50 {
                    let from = first + part * at;
                    let found = ages.iter().filter(|age| (from..from + part).contains(*age));
                    let found = found.count() as f64;
                    assert!(
                        found <= even.mul_add(1.3, 1.0),
                        "{found} of {count} in part {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_connection_without_a_max_age_ends_when_it_is_idle() {
        let mut rules = Listener::new("l".into(), Vec::new(), 0);
        let came = Time::default();
        let idle = came + HOUR * 100;
        let span = Span::new(&rules, 7, came);
        assert!(!span.is_over(idle));
        assert_eq!(span.earlier(idle), idle);
        rules.max_age = HOUR;
        let span = Span::new(&rules, 7, came);
        assert_eq!(span.earlier(idle), came + age(HOUR, 7));
        assert!(span.is_over(came + age(HOUR, 7)) && !span.is_over(came));
    }
}
