//! Numbers that one thread writes and others read, and numbers that every thread writes.
//!
//! [`Counter`] and [`Gauge`] belong to one worker: writing one is an ordinary add, with no locked instruction.
//! [`Shared`] is for limits that hold for the whole process. None of them orders any other memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts up. One thread writes, any thread reads.
///
/// Two writers would lose counts (and nothing worse): the add is a load and a store.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; wraps after 2^64.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts up and down. One thread writes, any thread reads, as with [`Counter`].
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it, for a writer that keeps the number elsewhere.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` off.
    ///
    /// # Panics
    /// When fewer than `n` were added: something ended twice.
    pub fn sub(&self, n: u64) {
        let now = self.0.load(Relaxed);
        assert!(n <= now, "{n} taken off a gauge that stands at {now}");
        self.0.store(now - n, Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many hold something that the whole process has only so many of. Any thread writes, any thread reads.
///
/// Alone on its cache line, and on the line beside it too: x86 fetches lines in pairs (Intel's optimization manual,
/// "spatial prefetcher"), and other workers hammer on this one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shared(AtomicU64);

impl Shared {
    /// Takes one, unless `limit` are taken already. `u64::MAX` is no limit.
    ///
    /// Exact: unlike adding first and taking back after, it never refuses because somebody else is being refused.
    #[must_use = "one that was taken must be released"]
    pub fn try_acquire(&self, limit: u64) -> bool {
        let one_more = |taken| (taken < limit).then(|| taken + 1);
        self.0.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Gives one back.
    ///
    /// # Panics
    /// When none is taken.
    pub fn release(&self) {
        let taken = self.0.fetch_sub(1, Relaxed);
        assert!(taken > 0, "released more often than acquired");
    }

    /// How many are taken.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_the_writer_added() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(|_| counter.add(3)));
        });
        assert_eq!(counter.get(), 3000);
    }

    #[test]
    fn a_gauge_goes_up_and_down() {
        let gauge = Gauge::default();
        gauge.add(5);
        gauge.sub(2);
        assert_eq!(gauge.get(), 3);
    }

    #[test]
    #[should_panic(expected = "4 taken off a gauge that stands at 3")]
    fn a_gauge_below_zero_is_caught() {
        let gauge = Gauge::default();
        gauge.add(3);
        gauge.sub(4);
    }

    #[test]
    fn a_limit_refuses_until_one_is_released() {
        let shared = Shared::default();
        assert!(shared.try_acquire(2) && shared.try_acquire(2));
        assert!(!shared.try_acquire(2));
        shared.release();
        assert!(shared.try_acquire(2));
        assert_eq!(shared.get(), 2);
    }

    #[test]
    fn threads_together_never_pass_the_limit_and_lose_none() {
        const LIMIT: u64 = 1000;
        let shared = Shared::default();
        let acquired = |_| (0..LIMIT).filter(|_| shared.try_acquire(LIMIT)).count();
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || acquired(n))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!((total, shared.get()), (1000, LIMIT));
    }

    #[test]
    #[should_panic(expected = "released more often than acquired")]
    fn a_release_too_many_is_caught() {
        Shared::default().release();
    }

    #[test]
    fn two_shared_counters_are_two_cache_lines_apart() {
        assert_eq!(size_of::<[Shared; 2]>(), 256);
    }
}
