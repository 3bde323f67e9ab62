//! Counters by name, so that one process can hand what it counted to the next, which may be of another version: what a
//! name is not known for is not counted, and nothing else is lost.

use super::{Counter, Gauge};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Something that counts up.
pub trait Tally {
    /// What it stands at.
    fn get(&self) -> u64;

    /// Counts so many more. Only whoever may write it calls this.
    fn add(&self, n: u64);
}

impl Tally for Counter {
    fn get(&self) -> u64 {
        self.get()
    }

    fn add(&self, n: u64) {
        self.add(n);
    }
}

impl Tally for Gauge {
    fn get(&self) -> u64 {
        self.get()
    }

    fn add(&self, n: u64) {
        self.add(n);
    }
}

impl Tally for AtomicU64 {
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }

    fn add(&self, n: u64) {
        self.fetch_add(n, Relaxed);
    }
}

/// Something with several of them.
pub trait Counted {
    /// Shows each with its name, which never changes its meaning.
    fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally));

    /// What they stand at.
    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.each(&mut |name, tally| totals.add(name, tally.get()));
        totals
    }

    /// Counts so many more of each. Only whoever may write them calls this.
    fn add_totals(&self, more: &Totals) {
        self.each(&mut |name, tally| match more.get(name) {
            0 => {}
            n => tally.add(n),
        });
    }
}

/// What counters stand at, by their names. Those at 0 are left out.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Totals(BTreeMap<String, u64>);

impl Totals {
    /// What a counter stands at.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Counts so many more.
    pub fn add(&mut self, name: &str, n: u64) {
        if n == 0 {
            return;
        }
        match self.0.get_mut(name) {
            Some(total) => *total = total.wrapping_add(n),
            None => drop(self.0.insert(name.to_owned(), n)),
        }
    }

    /// What came since an earlier reading of the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = Self::default();
        for (name, total) in &self.0 {
            later.add(name, total.saturating_sub(earlier.get(name)));
        }
        later
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        for (name, n) in other.0 {
            self.add(&name, n);
        }
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|one| sum += one);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Two {
        one: Counter,
        other: AtomicU64,
    }

    impl Counted for Two {
        fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally)) {
            see("one", &self.one);
            see("other", &self.other);
        }
    }

    #[test]
    fn what_one_counted_the_other_goes_on_from() {
        let (before, after) = (Two::default(), Two::default());
        before.one.add(3);
        before.other.store(5, Relaxed);
        after.one.add(1);
        after.add_totals(&before.totals());
        assert_eq!((after.one.get(), after.other.get()), (4, 5));
    }

    #[test]
    fn what_came_since_is_added_once() {
        let (before, after) = (Two::default(), Two::default());
        before.one.add(3);
        let first = before.totals();
        after.add_totals(&first);
        before.one.add(4);
        after.add_totals(&before.totals().since(&first));
        assert_eq!(after.one.get(), 7);
    }

    #[test]
    fn a_counter_that_the_next_one_does_not_know_is_left_out() {
        let totals: Totals = serde_json::from_str(r#"{"one": 2, "a third": 9}"#).unwrap();
        let after = Two::default();
        after.add_totals(&totals);
        assert_eq!((after.one.get(), after.other.get()), (2, 0));
    }
}
