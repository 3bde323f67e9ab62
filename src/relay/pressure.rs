//! How many directions wait for a slow reader, and for how long altogether. Back-pressure is a state that may last for
//! hours, so nothing is measured per connection: a worker multiplies how many waited with how long its turn took.

use crate::base::{Counted, Counter, Gauge, Tally};
use crate::ring::Lane;
use std::time::Duration;

/// One worker's account of back-pressure, by the side that is held back: what it sends waits for the other.
#[derive(Debug, Default)]
pub struct Pressure {
    held: [Gauge; 2],
    nanos: [Counter; 2],
    /// Receives that ended for want of a buffer.
    pub no_buffer: Counter,
    /// Splices that found no free pipe.
    pub no_pipe: Counter,
}

impl Pressure {
    /// Directions whose source is this lane's socket and is not read now, because what it sent before still waits.
    pub fn held(&self, source: Lane) -> u64 {
        self.held[place(source)].get()
    }

    /// How long directions were held altogether: two for a second each are two seconds. In nanoseconds.
    pub fn nanos(&self, source: Lane) -> u64 {
        self.nanos[place(source)].get()
    }

    /// So much time has passed since the last turn.
    pub fn on_turn(&self, passed: Duration) {
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        for (held, nanos) in self.held.iter().zip(&self.nanos) {
            nanos.add(held.get().saturating_mul(passed));
        }
    }

    pub(super) fn begin(&self, source: Lane) {
        self.held[place(source)].add(1);
    }

    pub(super) fn end(&self, source: Lane) {
        self.held[place(source)].sub(1);
    }
}

impl Counted for Pressure {
    fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally)) {
        see("backpressure_nanos.up", &self.nanos[place(Lane::A)]);
        see("backpressure_nanos.down", &self.nanos[place(Lane::B)]);
        see("no_buffer", &self.no_buffer);
        see("no_pipe", &self.no_pipe);
    }
}

const fn place(source: Lane) -> usize {
    match source {
        Lane::A => 0,
        Lane::B => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_once_for_each_direction_that_waits() {
        let pressure = Pressure::default();
        pressure.on_turn(Duration::from_secs(1));
        pressure.begin(Lane::A);
        pressure.begin(Lane::A);
        pressure.begin(Lane::B);
        pressure.on_turn(Duration::from_secs(2));
        pressure.end(Lane::A);
        pressure.on_turn(Duration::from_secs(3));
        let seconds = |lane| pressure.nanos(lane) / 1_000_000_000;
        assert_eq!((seconds(Lane::A), seconds(Lane::B)), (7, 5));
        assert_eq!((pressure.held(Lane::A), pressure.held(Lane::B)), (1, 1));
    }
}
