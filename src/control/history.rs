//! The last quarter of an hour, for the status page's sparklines: a sample every five seconds in a ring of fixed size.

use super::Proxy;
use super::view::View;
use crate::ring::Time;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

/// From one sample to the next.
const INTERVAL: Duration = Duration::from_secs(5);

/// Fifteen minutes of them.
const SAMPLES_MAX: usize = 180;

/// What is remembered, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(RefCell<VecDeque<Sample>>);

/// One interval.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Open at its end.
    pub(super) connections: u64,
    /// New ones a second.
    pub(super) accepted_per_second: f64,
    /// Bytes a second from clients.
    pub(super) up_per_second: f64,
    /// Bytes a second from backends.
    pub(super) down_per_second: f64,
    /// How long a dial took on average, microseconds; `None` when none succeeded.
    pub(super) connect_us: Option<f64>,
}

/// What runs on since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Totals {
    at: Time,
    accepted: u64,
    up: u64,
    down: u64,
    dials: u64,
    dial_nanos: u64,
}

impl History {
    /// Samples for ever.
    pub(super) async fn watch(&self, proxy: &Proxy) -> Infallible {
        let mut before = Totals::of(&proxy.view());
        loop {
            tokio::time::sleep(INTERVAL).await;
            let view = proxy.view();
            let now = Totals::of(&view);
            self.add(now.since(&before, view.open));
            before = now;
        }
    }

    /// Everything that is remembered, oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.0.borrow().iter().cloned().collect()
    }

    /// Begins with what another process remembers, as long as there is room for it.
    pub(super) fn begin_with(&self, older: Vec<Sample>) {
        let mut samples = self.0.borrow_mut();
        let room = SAMPLES_MAX - samples.len();
        for sample in older.into_iter().rev().take(room) {
            samples.push_front(sample);
        }
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.0.borrow_mut();
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

/// Seconds from one sample to the next.
pub(super) const fn interval_seconds() -> u64 {
    INTERVAL.as_secs()
}

impl Totals {
    fn of(view: &View) -> Self {
        let connects = view.backends().map(|(_, _, seen)| &seen.connects);
        let (dials, dial_nanos) = connects.fold((0, 0), |(count, nanos), connects| {
            (count + connects.count(), nanos + connects.nanos)
        });
        Self {
            at: view.now,
            accepted: view.total(|stats| stats.accepted.get()),
            up: view.total(crate::worker::Stats::bytes_up),
            down: view.total(crate::worker::Stats::bytes_down),
            dials,
            dial_nanos,
        }
    }

    fn since(&self, before: &Self, connections: u64) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let per_second = |now: u64, before: u64| number(now.saturating_sub(before)) / seconds;
        // Fewer than before: backends went, and took their dials with them.
        let dials = self.dials.saturating_sub(before.dials);
        let nanos = self.dial_nanos.saturating_sub(before.dial_nanos);
        Sample {
            connections,
            accepted_per_second: per_second(self.accepted, before.accepted),
            up_per_second: per_second(self.up, before.up),
            down_per_second: per_second(self.down, before.down),
            connect_us: (dials > 0).then(|| number(nanos) / number(dials) / 1000.0),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate that is drawn, not counted"
)]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(seconds: u64, scale: u64) -> Totals {
        Totals {
            at: Time::default() + Duration::from_secs(seconds),
            accepted: 10 * scale,
            up: 100 * scale,
            down: 1000 * scale,
            dials: scale,
            dial_nanos: 50_000 * scale,
        }
    }

    #[test]
    fn a_sample_is_what_happened_in_its_interval() {
        let sample = totals(14, 5).since(&totals(10, 3), 7);
        let expected = Sample {
            connections: 7,
            accepted_per_second: 5.0,
            up_per_second: 50.0,
            down_per_second: 500.0,
            connect_us: Some(50.0),
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn an_interval_without_a_dial_has_no_latency() {
        assert_eq!(totals(14, 3).since(&totals(10, 3), 7).connect_us, None);
        assert_eq!(totals(14, 3).since(&totals(10, 4), 7).connect_us, None);
    }

    #[test]
    fn what_another_process_remembers_comes_first() {
        let history = History::default();
        let sample = |connections| totals(14, 5).since(&totals(10, 3), connections);
        history.add(sample(3));
        history.begin_with(vec![sample(1), sample(2)]);
        let all = || history.samples().into_iter().map(|it| it.connections);
        assert!(all().eq([1, 2, 3]));
        history.begin_with((0..2 * 180).map(sample).collect());
        assert_eq!((all().len(), all().next()), (SAMPLES_MAX, Some(183)));
    }

    #[test]
    fn a_quarter_of_an_hour_is_remembered_and_no_more() {
        let history = History::default();
        let all = u64::try_from(SAMPLES_MAX).unwrap() + 3;
        for connections in 0..all {
            history.add(totals(14, 5).since(&totals(10, 3), connections));
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES_MAX);
        let kept = (samples[0].connections, samples[SAMPLES_MAX - 1].connections);
        assert_eq!(kept, (3, all - 1));
        assert_eq!(INTERVAL * 180, Duration::from_mins(15));
    }
}
