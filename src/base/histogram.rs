//! How long something took, counted in fixed buckets: recording is a search among fifteen bounds and two adds.
//!
//! [`Histogram`] belongs to one thread, as a [`Counter`](super::Counter) does; [`SharedHistogram`] to all of them. Both
//! are read as a [`Distribution`], and distributions add up.

use super::{Counter, Tally};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The highest duration of each bucket but the last, which has no bound. From the time of a turn to that of a connect
/// whose first packets were lost, in steps of two or two and a half where most of both lie.
pub const BOUNDS: [Duration; 15] = [
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// How many buckets there are, the one without a bound included.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations that one thread records and any thread reads.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [Counter; BUCKETS],
    nanos: Counter,
}

/// Durations that any thread records and any thread reads.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// What a histogram stood at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Distribution {
    /// How many each bucket has, by [`BOUNDS`] and then those above all of them.
    pub counts: [u64; BUCKETS],
    /// All durations together, in nanoseconds; wraps after 584 years of them.
    pub nanos: u64,
}

impl Histogram {
    /// Records one more.
    pub fn add(&self, took: Duration) {
        self.counts[bucket(took)].add(1);
        self.nanos.add(nanos(took));
    }

    /// Shows each bucket, and the sum, with a name that begins so.
    pub fn each(&self, name: &str, see: &mut dyn FnMut(&str, &dyn Tally)) {
        let counts = self.counts.each_ref().map(|count| count as &dyn Tally);
        show(name, counts, &self.nanos, see);
    }

    /// What it stands at. Taken while somebody records, it may lack the last one's time or count.
    pub fn read(&self) -> Distribution {
        Distribution {
            counts: self.counts.each_ref().map(Counter::get),
            nanos: self.nanos.get(),
        }
    }
}

impl SharedHistogram {
    /// Records one more.
    pub fn add(&self, took: Duration) {
        self.counts[bucket(took)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos(took), Relaxed);
    }

    /// Shows each bucket, and the sum, with a name that begins so.
    pub fn each(&self, name: &str, see: &mut dyn FnMut(&str, &dyn Tally)) {
        let counts = self.counts.each_ref().map(|count| count as &dyn Tally);
        show(name, counts, &self.nanos, see);
    }

    /// What it stands at, as of [`Histogram::read`].
    pub fn read(&self) -> Distribution {
        Distribution {
            counts: self.counts.each_ref().map(|count| count.load(Relaxed)),
            nanos: self.nanos.load(Relaxed),
        }
    }
}

impl Distribution {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// What was recorded since an earlier reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        Self {
            counts,
            nanos: self.nanos.wrapping_sub(earlier.nanos),
        }
    }

    /// The duration that this share of them (0 to 1) took at most, by straight lines within buckets, as Prometheus has
    /// it; the highest bound for those above it. `None` of nothing.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share * as_f64(count);
        let (mut below, mut floor) = (0, Duration::ZERO);
        for (count, bound) in self.counts.into_iter().zip(BOUNDS) {
            if count > 0 && as_f64(below + count) >= rank {
                let part = (rank - as_f64(below)) / as_f64(count);
                return Some(floor + (bound - floor).mul_f64(part.clamp(0.0, 1.0)));
            }
            (below, floor) = (below + count, bound);
        }
        Some(floor)
    }
}

impl std::ops::AddAssign for Distribution {
    fn add_assign(&mut self, other: Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }
}

impl std::iter::Sum for Distribution {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|one| sum += one);
        sum
    }
}

/// Buckets are named by their bounds in microseconds: another version may have others.
fn show(
    name: &str,
    counts: [&dyn Tally; BUCKETS],
    nanos: &dyn Tally,
    see: &mut dyn FnMut(&str, &dyn Tally),
) {
    let bounds = BOUNDS.iter().map(|bound| bound.as_micros().to_string());
    let bounds = bounds.chain(["more".to_owned()]);
    for (bound, count) in bounds.zip(counts) {
        see(&format!("{name}.{bound}"), count);
    }
    see(&format!("{name}.nanos"), nanos);
}

fn bucket(took: Duration) -> usize {
    BOUNDS.partition_point(|bound| *bound < took)
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// Exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of events, for a share of them"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        histogram.add(Duration::ZERO);
        histogram.add(MILLI);
        histogram.add(MILLI + Duration::from_nanos(1));
        histogram.add(Duration::from_hours(1));
        let read = histogram.read();
        let filled: Vec<_> = (0..BUCKETS).filter(|&at| read.counts[at] == 1).collect();
        assert_eq!(filled, [0, 5, 6, 15]);
        assert_eq!(read.count(), 4);
        assert!((read.seconds() - 3600.002).abs() < 1e-6);
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn threads_together_lose_nothing() {
        let histogram = SharedHistogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| histogram.add(MILLI)));
            }
        });
        let read = histogram.read();
        assert_eq!((read.counts[5], read.nanos), (4000, 4_000_000_000));
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_that_its_rank_falls_into() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        (0..99).for_each(|_| histogram.add(Duration::from_micros(80)));
        histogram.add(Duration::from_millis(40));
        let read = histogram.read();
        let median = read.quantile(0.5).unwrap();
        assert!(median > BOUNDS[1] && median < BOUNDS[2], "{median:?}");
        assert_eq!(read.quantile(1.0), Some(BOUNDS[10]));
        histogram.add(Duration::from_mins(1));
        assert_eq!(histogram.read().quantile(1.0), Some(BOUNDS[14]));
    }

    #[test]
    fn readings_add_up_and_a_later_one_less_an_earlier_one_is_what_came_between() {
        let histogram = Histogram::default();
        histogram.add(MILLI);
        let earlier = histogram.read();
        histogram.add(MILLI * 3);
        let later = histogram.read();
        let between = later.since(&earlier);
        assert_eq!((between.count(), between.nanos), (1, 3_000_000));
        assert_eq!([earlier, between].into_iter().sum::<Distribution>(), later);
    }
}
