//! When things should happen, from absolute planned times: an event that is late does not move those behind it, so
//! that a slow answer counts against every event that had to wait for it. Pure.

use ringway_ring::Time;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Events a second: more than zero, at most a billion.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Rate(f64);

impl Rate {
    /// `None` unless `events` is over zero (one in eleven days, 1e-6) and at most 1e9.
    pub fn per_second(events: f64) -> Option<Self> {
        (1e-6..=1e9).contains(&events).then_some(Self(events))
    }

    /// Events a second.
    pub fn as_f64(self) -> f64 {
        self.0
    }

    /// A part of it, for one of `parts` that share it evenly.
    pub(crate) fn shared_by(self, parts: u16) -> Self {
        Self(self.0 / f64::from(parts.max(1)))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1e3 and 1e18 by the bounds of `per_second` (and their share), both exact enough in f64"
    )]
    fn interval_picos(self) -> u64 {
        (1e12 / self.0) as u64
    }
}

impl FromStr for Rate {
    type Err = String;

    /// A number, with or without `/s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        let events = number.parse().ok().and_then(Self::per_second);
        events.ok_or_else(|| "want events a second, as in 1000 or 0.5".to_owned())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Evenly spaced planned times, the first at the start.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Time,
    /// Picoseconds: a nanosecond is one part in a thousand at the highest rates.
    interval: u64,
    taken: u64,
    next: Time,
}

impl Schedule {
    pub(crate) fn new(start: Time, rate: Rate) -> Self {
        let interval = rate.interval_picos();
        Self {
            start,
            interval,
            taken: 0,
            next: start,
        }
    }

    /// The planned time of the next event, when it has come.
    pub(crate) fn take(&mut self, now: Time) -> Option<Time> {
        let planned = self.next;
        if planned > now {
            return None;
        }
        self.taken += 1;
        self.next = self.planned(self.taken);
        Some(planned)
    }

    /// When the next event is planned.
    pub(crate) fn next(&self) -> Time {
        self.next
    }

    /// Events taken so far, and so the number of the next one.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Events planned up to and including `now`, taken or not.
    pub(crate) fn due(&self, now: Time) -> u64 {
        if now < self.start {
            return 0;
        }
        let picos = now.since(self.start).as_nanos() * 1_000;
        u64::try_from(picos / u128::from(self.interval)).unwrap_or(u64::MAX) + 1
    }

    /// When event `number` (from zero) is planned.
    pub(crate) fn planned(&self, number: u64) -> Time {
        let picos = u128::from(self.interval) * u128::from(number);
        self.start + Duration::from_nanos(u64::try_from(picos / 1_000).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000);

    fn after(micros: u64) -> Time {
        START + Duration::from_micros(micros)
    }

    fn schedule(rate: f64) -> Schedule {
        Schedule::new(START, Rate::per_second(rate).unwrap())
    }

    #[test]
    fn events_come_at_their_planned_times_and_not_before() {
        let mut ticks = schedule(1_000.0);
        assert_eq!(ticks.take(after(0)), Some(after(0)));
        assert_eq!(ticks.take(after(999)), None);
        assert_eq!(ticks.take(after(1_000)), Some(after(1_000)));
    }

    #[test]
    fn a_pause_leaves_the_planned_times_where_they_were() {
        let mut ticks = schedule(1_000.0);
        let late: Vec<_> = std::iter::from_fn(|| ticks.take(after(3_500))).collect();
        assert_eq!(late, [after(0), after(1_000), after(2_000), after(3_000)]);
        assert_eq!(ticks.next(), after(4_000));
    }

    #[test]
    fn due_counts_what_nobody_took() {
        let ticks = schedule(100.0);
        assert_eq!(ticks.due(Time::from_nanos(0)), 0);
        assert_eq!(ticks.due(after(0)), 1);
        assert_eq!(ticks.due(after(1_000_000)), 101);
    }

    #[test]
    fn a_rate_that_is_no_whole_interval_does_not_drift() {
        let ticks = schedule(3_000_000.0);
        let hour = 3_600 * 3_000_000;
        let drift = ticks.planned(hour).since(after(3_600_000_000));
        assert!(after(3_600_000_000).since(ticks.planned(hour)) < Duration::from_millis(20));
        assert_eq!(drift, Duration::ZERO);
    }

    #[test]
    fn rates_are_positive_numbers() {
        assert_eq!("250/s".parse(), Ok(Rate(250.0)));
        assert_eq!("0.5".parse(), Ok(Rate(0.5)));
        for bad in ["0", "-1", "inf", "NaN", "", "many"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
