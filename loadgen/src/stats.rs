//! What an engine counts: plain numbers with one writer, copied out once a second, summed by the reader.

use crate::fault::Faults;
use hdrhistogram::Histogram;
use ringway_ring::Time;
use std::time::Duration;

/// Durations, to three digits, from half a microsecond to a hundred seconds. Empty until first used, because most
/// engines use one or two of the five they have, and a full one is 150 KiB.
#[derive(Clone, Default, Debug)]
pub struct Durations(Option<Box<Histogram<u64>>>);

const LOW_NANOS: u64 = 1_000;
const HIGH_NANOS: u64 = 100_000_000_000;

impl Durations {
    /// Adds one; what exceeds the range counts as its end.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.histogram().saturating_record(nanos);
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        if let Some(other) = &other.0 {
            let added = self.histogram().add(&**other);
            added.expect("every histogram has the same bounds");
        }
    }

    /// What came since `earlier` was copied from this one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        if let (Some(mine), Some(earlier)) = (&mut difference.0, &earlier.0) {
            // Fails when `earlier` holds what we do not: it was not a copy of us, and the whole is the best answer.
            if mine.subtract(&**earlier).is_err() {
                return self.clone();
            }
        }
        difference
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// The duration, in microseconds, that `share` (0.5 is the median) of them do not exceed; zero when there are none.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.micros(|all| all.value_at_quantile(share))
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.micros(Histogram::max)
    }

    /// The mean, in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |all| all.mean() / 1_000.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "below 1e11, exact in f64")]
    fn micros(&self, read: impl Fn(&Histogram<u64>) -> u64) -> f64 {
        self.0
            .as_ref()
            .map_or(0.0, |all| read(all) as f64 / 1_000.0)
    }

    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.0.get_or_insert_with(|| {
            let empty = Histogram::new_with_bounds(LOW_NANOS, HIGH_NANOS, 3);
            Box::new(empty.expect("constant bounds that the crate allows"))
        })
    }
}

/// Things that happened, as totals.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Request and answer, whole and verified.
    pub exchanges: u64,
    /// Feed messages sent (`publish`) or received and verified (`subscribe`).
    pub messages: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes that the kernel took to send.
    pub bytes_sent: u64,
    /// Events that the open-loop schedule wanted.
    pub planned: u64,
    /// Those that were begun.
    pub issued: u64,
    /// Handshakes of TLS that came to their end.
    pub handshakes: u64,
    /// Of these, of sessions that had been before.
    pub resumed: u64,
}

impl Counters {
    fn merge(&mut self, other: &Self) {
        self.exchanges += other.exchanges;
        self.messages += other.messages;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.planned += other.planned;
        self.issued += other.issued;
        self.handshakes += other.handshakes;
        self.resumed += other.resumed;
    }
}

/// Connections, as totals since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Connections {
    /// Accepted or connected.
    pub opened: u64,
    /// Closed, for whatever reason.
    pub closed: u64,
    /// Of these, reset by clients of a backend: clients may, so it is no error there.
    pub resets: u64,
}

impl Connections {
    /// Open now.
    pub fn open(&self) -> u64 {
        self.opened - self.closed
    }
}

/// All that an engine knows about its run.
#[derive(Clone, Default, Debug)]
pub struct Stats {
    /// Totals, since measuring began.
    pub counters: Counters,
    /// The totals when measuring ended; what came later only finishes what was begun.
    pub window: Option<Counters>,
    /// Connections since the start.
    pub connections: Connections,
    /// Those open when measuring ended.
    pub open_at_end: u64,
    /// Errors since the start.
    pub faults: Faults,
    /// From the planned time (closed loop: from the send) to the verified answer or message.
    pub latency: Durations,
    /// From the time of sending to the verified message.
    pub latency_sent: Durations,
    /// From the dial to the connection.
    pub connect: Durations,
    /// From the connection to keys that both sides agree on.
    pub handshake: Durations,
    /// How late planned events were begun.
    pub lag: Durations,
    began: Option<Time>,
    lasted: Duration,
}

impl Stats {
    /// Forgets what the warm-up did (errors, connections, the times of connects and handshakes stay) and begins to measure.
    pub(crate) fn begin(&mut self, now: Time) {
        let kept = std::mem::take(self);
        *self = Self {
            connections: kept.connections,
            faults: kept.faults,
            connect: kept.connect,
            handshake: kept.handshake,
            began: Some(now),
            ..Self::default()
        };
    }

    /// Ends the measured time. Only the first call counts.
    pub(crate) fn finish(&mut self, now: Time) {
        if self.window.is_none() {
            self.advance(now);
            self.window = Some(self.counters);
            self.open_at_end = self.connections.open();
        }
    }

    /// Lets the measured time run on.
    pub(crate) fn advance(&mut self, now: Time) {
        if let (Some(began), None) = (self.began, self.window) {
            self.lasted = now.since(began);
        }
    }

    /// One exchange came to its end.
    pub(crate) fn exchanged(&mut self, took: Duration) {
        self.counters.exchanges += 1;
        self.latency.record(took);
    }

    /// TLS was agreed on.
    pub(crate) fn agreed(&mut self, took: Duration, resumed: bool) {
        self.counters.handshakes += 1;
        self.counters.resumed += u64::from(resumed);
        self.handshake.record(took);
    }

    /// The totals of the measured time.
    pub fn measured(&self) -> Counters {
        self.window.unwrap_or(self.counters)
    }

    /// How long was measured (so far).
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// Whether measuring has begun.
    pub fn is_measuring(&self) -> bool {
        self.began.is_some()
    }

    /// Whether more than one in a hundred planned events was not begun in the measured time: the load was not the one
    /// asked for, and percentiles say nothing.
    pub fn missed_schedule(&self) -> bool {
        let counters = self.measured();
        u128::from(counters.issued) * 100 < u128::from(counters.planned) * 99
    }

    /// Adds another engine's.
    pub fn merge(&mut self, other: &Self) {
        let window = (self.window.is_some() || other.window.is_some()).then(|| {
            let mut sum = self.measured();
            sum.merge(&other.measured());
            sum
        });
        self.window = window;
        self.counters.merge(&other.counters);
        self.connections.opened += other.connections.opened;
        self.connections.closed += other.connections.closed;
        self.connections.resets += other.connections.resets;
        self.open_at_end += other.open_at_end;
        self.faults.merge(&other.faults);
        self.latency.merge(&other.latency);
        self.latency_sent.merge(&other.latency_sent);
        self.connect.merge(&other.connect);
        self.handshake.merge(&other.handshake);
        self.lag.merge(&other.lag);
        self.began = self.began.or(other.began);
        self.lasted = self.lasted.max(other.lasted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn durations(millis: impl IntoIterator<Item = u64>) -> Durations {
        let mut all = Durations::default();
        millis
            .into_iter()
            .for_each(|ms| all.record(Duration::from_millis(ms)));
        all
    }

    #[track_caller]
    fn assert_near(is: f64, wanted: f64) {
        assert!(
            (is - wanted).abs() <= wanted / 500.0,
            "{is} is not near {wanted}"
        );
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let all = durations(1..=1000);
        assert_near(all.quantile_us(0.5), 500_000.0);
        assert_near(all.quantile_us(0.99), 990_000.0);
        assert_near(all.max_us(), 1_000_000.0);
        assert_near(all.mean_us(), 500_500.0);
    }

    #[test]
    fn no_durations_are_zero_everywhere() {
        let none = Durations::default();
        assert_eq!(
            (none.count(), none.max_us(), none.quantile_us(0.5)),
            (0, 0.0, 0.0)
        );
    }

    #[test]
    fn the_last_second_is_the_difference_of_two_copies() {
        let mut all = durations([1; 100]);
        let earlier = all.clone();
        all.merge(&durations([9; 10]));
        let last = all.since(&earlier);
        assert_eq!(last.count(), 10);
        assert_near(last.quantile_us(0.5), 9_000.0);
    }

    #[test]
    fn the_warm_up_is_forgotten_but_not_its_errors() {
        let mut stats = Stats::default();
        stats.exchanged(Duration::from_secs(1));
        stats.faults.add(Fault::Corrupt, 1);
        stats.begin(at(10));
        assert_eq!((stats.counters.exchanges, stats.latency.count()), (0, 0));
        assert_eq!(stats.faults.count(Fault::Corrupt), 1);
    }

    #[test]
    fn what_ends_after_the_window_does_not_raise_the_rate() {
        let mut stats = Stats::default();
        stats.begin(at(10));
        stats.exchanged(Duration::from_millis(1));
        stats.finish(at(12));
        stats.exchanged(Duration::from_secs(1));
        assert_eq!(stats.measured().exchanges, 1);
        assert_eq!(stats.lasted(), Duration::from_secs(2));
        assert_eq!(stats.latency.count(), 2, "the slow one counts as latency");
    }

    #[test]
    fn engines_add_up() {
        let mut one = Stats::default();
        one.begin(at(0));
        let mut two = one.clone();
        one.exchanged(Duration::from_millis(1));
        two.exchanged(Duration::from_millis(3));
        one.finish(at(2));
        two.finish(at(3));
        let mut sum = Stats::default();
        sum.merge(&one);
        sum.merge(&two);
        assert_eq!((sum.measured().exchanges, sum.latency.count()), (2, 2));
        assert_eq!(sum.lasted(), Duration::from_secs(3));
    }

    #[test]
    fn the_schedule_is_missed_beyond_one_percent() {
        let counted = |issued| {
            let counters = Counters {
                planned: 1_000,
                issued,
                ..Counters::default()
            };
            Stats {
                counters,
                ..Stats::default()
            }
            .missed_schedule()
        };
        assert!(!counted(990));
        assert!(counted(989));
        assert!(!Stats::default().missed_schedule());
    }
}
