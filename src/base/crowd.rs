//! How many each of very many has, and how fast they come: counts and rates by key, box-wide and exact, in bounded memory.
//!
//! A row lives while its member has anything or has come so lately that its rate is not forgotten. Rates are a leaky bucket
//! in the form that needs one number a member (the generic cell rate algorithm, ITU-T I.371, annex A): a time at which the
//! bucket would be empty again.

use crate::ring::Time;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks, so that workers seldom meet at one.
const SHARDS: usize = 64;

/// Members per shard that are kept for their rate alone. With all shards a million, 48 MiB; whoever then comes makes room by
/// having the shard forget those that have nothing open.
const IDLE_MAX: usize = 16_384;

/// What each member may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// So many at once; 0 is any number.
    pub most: u64,
    /// So many in this long: all at once, then one for each share of the time.
    pub rate: Option<(u32, Duration)>,
}

/// Why one more is too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
    /// It has as many as it may.
    TooMany,
    /// It comes faster than it may.
    TooFast,
}

/// What is known of one member.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    open: u64,
    /// When its bucket is empty.
    empty_at: Time,
}

/// All members.
#[derive(Debug)]
pub struct Crowd<K> {
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K>>]>,
}

/// Those behind one lock.
#[derive(Debug)]
struct Shard<K> {
    rows: HashMap<K, Row>,
    /// Rows of members that have nothing.
    idle: usize,
}

impl Terms {
    /// Whether nothing is asked.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl<K: Hash + Eq> Crowd<K> {
    /// One more of this member, unless its terms forbid it.
    ///
    /// # Errors
    /// What is too much; nothing has changed then.
    pub fn enter(&self, member: K, terms: Terms, now: Time) -> Result<(), Excess> {
        let mut shard = self.lock(&member);
        let Shard { rows, idle } = &mut *shard;
        if *idle >= IDLE_MAX {
            rows.retain(|_, row| row.open > 0);
            *idle = 0;
        }
        let row = match rows.entry(member) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(place) => {
                *idle += 1;
                place.insert(Row::default())
            }
        };
        row.admit(terms, now)?;
        *idle -= usize::from(row.open == 0);
        row.open += 1;
        Ok(())
    }

    /// One less.
    ///
    /// # Panics
    /// When it had none: one left twice.
    pub fn leave(&self, member: &K, now: Time) {
        let mut shard = self.lock(member);
        let Shard { rows, idle } = &mut *shard;
        let row = rows.get_mut(member).expect("who leaves has entered");
        assert!(row.open > 0, "a member left twice");
        row.open -= 1;
        if row.open == 0 && row.empty_at <= now {
            rows.remove(member);
        } else {
            *idle += usize::from(row.open == 0);
        }
    }

    /// What all members have together.
    pub fn open(&self) -> u64 {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).open()).sum()
    }

    /// How many members are known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).rows.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self, member: &K) -> MutexGuard<'_, Shard<K>> {
        let hash = self.hasher.hash_one(member);
        let at = usize::try_from(hash % SHARDS as u64).expect("below the number of shards");
        lock(&self.shards[at])
    }
}

impl<K> Shard<K> {
    fn open(&self) -> u64 {
        self.rows.values().map(|row| row.open).sum()
    }
}

impl<K> Default for Shard<K> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            idle: 0,
        }
    }
}

impl<K> Default for Crowd<K> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

/// A worker that panicked takes the process down; until then what it left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Row {
    fn admit(&mut self, terms: Terms, now: Time) -> Result<(), Excess> {
        if terms.most > 0 && self.open >= terms.most {
            return Err(Excess::TooMany);
        }
        let Some((count, per)) = terms.rate else {
            return Ok(());
        };
        let drop = per / count.max(1);
        let empty_at = self.empty_at.max(now) + drop;
        if empty_at.since(now) > per {
            return Err(Excess::TooFast);
        }
        self.empty_at = empty_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn rate(count: u32, per: Duration) -> Terms {
        Terms {
            most: 0,
            rate: Some((count, per)),
        }
    }

    #[test]
    fn a_member_has_so_many_and_gets_one_more_when_one_left() {
        let crowd = Crowd::default();
        let two = Terms {
            most: 2,
            rate: None,
        };
        assert_eq!(crowd.enter("a", two, at(0)), Ok(()));
        assert_eq!(crowd.enter("a", two, at(0)), Ok(()));
        assert_eq!(crowd.enter("a", two, at(0)), Err(Excess::TooMany));
        assert_eq!(crowd.enter("b", two, at(0)), Ok(()));
        assert_eq!(crowd.open(), 3);
        crowd.leave(&"a", at(1));
        assert_eq!(crowd.open(), 2);
        assert_eq!(crowd.enter("a", two, at(1)), Ok(()));
    }

    #[test]
    fn a_rate_lets_the_whole_count_come_at_once_then_one_per_share() {
        let crowd = Crowd::default();
        let ten = rate(10, SECOND);
        let come = |millis| crowd.enter("a", ten, at(millis));
        assert_eq!((0..20).filter(|_| come(0).is_ok()).count(), 10);
        assert_eq!(come(99), Err(Excess::TooFast));
        assert_eq!(come(100), Ok(()));
        assert_eq!(come(101), Err(Excess::TooFast));
        assert_eq!((0..20).filter(|_| come(5_000).is_ok()).count(), 10);
    }

    #[test]
    fn who_left_long_ago_is_forgotten_and_who_came_lately_is_not() {
        let crowd = Crowd::default();
        let ten = rate(10, SECOND);
        crowd.enter("a", ten, at(0)).unwrap();
        crowd.leave(&"a", at(50));
        assert_eq!(crowd.len(), 1, "its rate still counts");
        crowd.enter("a", ten, at(60)).unwrap();
        crowd.leave(&"a", at(5_000));
        assert!(crowd.is_empty());
    }

    #[test]
    fn however_many_come_memory_is_bounded_and_the_open_ones_still_count() {
        let crowd = Crowd::default();
        let terms = Terms {
            most: 1,
            rate: Some((1, Duration::from_hours(1))),
        };
        crowd.enter(u64::MAX, terms, at(0)).unwrap();
        for member in 0..2 * (SHARDS * IDLE_MAX) as u64 {
            crowd.enter(member, terms, at(0)).unwrap();
            crowd.leave(&member, at(0));
        }
        assert!(crowd.len() <= SHARDS * IDLE_MAX);
        assert_eq!(crowd.enter(u64::MAX, terms, at(0)), Err(Excess::TooMany));
    }

    #[test]
    fn the_limit_is_exact_however_many_workers_ask_at_once() {
        let crowd = Crowd::default();
        let terms = Terms {
            most: 100,
            rate: None,
        };
        let admitted = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let entered = crowd.enter("a", terms, at(0)).is_ok();
                        admitted.fetch_add(u32::from(entered), Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.load(Relaxed), 100);
    }
}
