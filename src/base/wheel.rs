//! Timers by the hundred thousand: one per slot index, set, moved and cancelled in constant time.
//!
//! A hierarchical timing wheel (Varghese and Lauck, SOSP 1987). Seven levels of 64 buckets, each level 64 times
//! coarser than the one below; together they reach past the end of [`Time`], so no deadline is too far. A timer waits
//! in the bucket of the highest base-64 digit in which its tick and the present differ, and sinks a level each time
//! the present reaches its bucket: at most six times in its life. Timers below a level's reach come before all
//! those above, so the first used bucket of the lowest used level is the next thing to happen.
//!
//! Buckets are circular lists through one array of 16-byte nodes, whose first nodes are the buckets themselves.

use ringway_ring::Time;
use std::time::Duration;

/// How exact a timer is: it fires at the first multiple of this (since the wheel's origin) at or after its deadline.
///
/// 2^23 ns, about 8.4 ms: two kernel ticks at 250 Hz, and far below the shortest timeout that makes sense between
/// two machines. A power of two, so that a deadline becomes a tick by a shift.
pub const TICK: Duration = Duration::from_nanos(1 << TICK_BITS);

const TICK_BITS: u32 = 23;
/// One base-64 digit a level: the 64 buckets of a level are one word of the bitmap.
const DIGIT_BITS: u32 = 6;
const BUCKETS: u32 = 1 << DIGIT_BITS;
/// Enough for every tick that 64 bits of nanoseconds hold: 41 bits, at 6 a level.
const LEVELS: u32 = (u64::BITS - TICK_BITS).div_ceil(DIGIT_BITS);
/// The last tick of [`Time`], 584 years from the origin.
const TICK_MAX: u64 = u64::MAX >> TICK_BITS;
/// Nodes before the first timer's: one for each bucket.
const HEADS: u32 = LEVELS * BUCKETS;

/// Number of a node: below [`HEADS`] a bucket, from there on a slot's timer.
type Id = u32;

/// A link of a circular list. Linked to itself alone: a bucket that is empty, a timer that is not set.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// When it is due; of a bucket, nothing.
    tick: u64,
    prev: Id,
    next: Id,
}

// What a timer costs each slot of the table, set or not.
const _: () = assert!(size_of::<Node>() == 16);

impl Node {
    fn alone(id: Id) -> Self {
        Self {
            tick: 0,
            prev: id,
            next: id,
        }
    }
}

/// At most one timer for each slot index.
///
/// ```
/// use ringway::base::{TICK, Wheel};
/// use ringway::ring::Time;
/// use std::time::Duration;
///
/// let start = Time::from_nanos(0);
/// let mut wheel = Wheel::new(start);
/// let mut fired = Vec::new();
/// let deadline = start + Duration::from_secs(1);
/// wheel.set(7, deadline);
/// wheel.expire(start + Duration::from_millis(999), &mut fired);
/// assert!(fired.is_empty());
/// wheel.expire(deadline + TICK, &mut fired);
/// assert_eq!(fired, [7]);
/// ```
#[derive(Debug)]
pub struct Wheel {
    origin: Time,
    /// Up to where [`expire`](Self::expire) has looked, in ticks since `origin`. Every timer's digits above its level
    /// equal the present's, and its digit at its level is larger (or equal, at level 0).
    present: u64,
    /// One word a level: which buckets are not empty.
    used: [u64; LEVELS as usize],
    nodes: Vec<Node>,
}

/// A bucket that is not empty, and the first tick it covers.
#[derive(Clone, Copy)]
struct Bucket {
    id: Id,
    start: u64,
}

impl Wheel {
    /// No timers. Nothing before `origin` can be told apart from it.
    pub fn new(origin: Time) -> Self {
        Self {
            origin,
            present: 0,
            used: [0; LEVELS as usize],
            nodes: (0..HEADS).map(Node::alone).collect(),
        }
    }

    /// The same, with room for slots below `slots`: setting their timers never allocates.
    pub fn with_capacity(origin: Time, slots: u32) -> Self {
        let mut wheel = Self::new(origin);
        wheel.nodes.reserve_exact(slots as usize);
        wheel
    }

    /// Sets the slot's timer, or moves it. One that is already due fires at the next [`expire`](Self::expire).
    ///
    /// # Panics
    /// When `slot` is above 2^32 - 449, which no table reaches.
    pub fn set(&mut self, slot: u32, at: Time) {
        let id = slot
            .checked_add(HEADS)
            .expect("a slot far below the end of u32");
        self.grow_to(id);
        self.unlink(id);
        let tick = self.nanos_since_origin(at).div_ceil(1 << TICK_BITS);
        self.nodes[id as usize].tick = tick.clamp(self.present, TICK_MAX);
        self.link(id);
    }

    /// Takes the slot's timer back. Nothing happens when there is none.
    pub fn cancel(&mut self, slot: u32) {
        let id = slot.saturating_add(HEADS);
        if (id as usize) < self.nodes.len() {
            self.unlink(id);
        }
    }

    /// When to call [`expire`](Self::expire) next: never after the first timer is to fire. Exactly then for one in the
    /// present's block of 64 ticks; a farther one asks for at most six calls before, in which it sinks a level. `None`
    /// when no timer is set.
    pub fn next(&self) -> Option<Time> {
        let bucket = self.first_bucket()?;
        Some(self.origin + Duration::from_nanos(bucket.start << TICK_BITS))
    }

    /// Appends the slots whose timers are due at `now` to `fired`, in no particular order; their timers are no longer
    /// set. Never early, and late by less than [`TICK`] when called at `next()`. A `now` before an earlier one is
    /// taken for that.
    pub fn expire(&mut self, now: Time, fired: &mut Vec<u32>) {
        let now = self.nanos_since_origin(now) >> TICK_BITS;
        let now = now.max(self.present);
        // Several turns fall into one tick. Within it only what was set when already due can fire: all else is later.
        let bucket_of_now = 1 << (now % u64::from(BUCKETS));
        if now == self.present && self.used[0] & bucket_of_now == 0 {
            return;
        }
        self.expire_until(now, fired);
    }

    /// The present moves to `now`, and past every timer on the way.
    fn expire_until(&mut self, now: u64, fired: &mut Vec<u32>) {
        // Ends: each round empties a bucket, and what it files again sinks to a lower level.
        while let Some(bucket) = self.first_bucket().filter(|bucket| bucket.start <= now) {
            self.present = bucket.start;
            self.empty(bucket.id, now, fired);
        }
        self.present = now;
    }

    /// Fires the bucket's timers that are due at `now` and files the others by the present, which has reached it.
    fn empty(&mut self, bucket: Id, now: u64, fired: &mut Vec<u32>) {
        loop {
            let id = self.nodes[bucket as usize].next;
            if id == bucket {
                return;
            }
            self.unlink(id);
            if self.nodes[id as usize].tick <= now {
                fired.push(id - HEADS);
            } else {
                self.link(id);
            }
        }
    }

    fn first_bucket(&self) -> Option<Bucket> {
        let level = (0..LEVELS).find(|&level| self.used[level as usize] != 0)?;
        let digit = self.used[level as usize].trailing_zeros();
        let shift = level * DIGIT_BITS;
        let above = self.present >> (shift + DIGIT_BITS) << DIGIT_BITS;
        Some(Bucket {
            id: level * BUCKETS + digit,
            start: (above | u64::from(digit)) << shift,
        })
    }

    /// Where a timer for `tick`, not before the present, waits.
    fn bucket_for(&self, tick: u64) -> Id {
        let differing_bits = u64::BITS - (tick ^ self.present).leading_zeros();
        let level = differing_bits.saturating_sub(1) / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) % u64::from(BUCKETS);
        level * BUCKETS + u32::try_from(digit).expect("below 64")
    }

    /// Puts a timer that is in no list behind the last of its bucket.
    fn link(&mut self, id: Id) {
        let bucket = self.bucket_for(self.nodes[id as usize].tick);
        let last = self.nodes[bucket as usize].prev;
        self.nodes[id as usize].prev = last;
        self.nodes[id as usize].next = bucket;
        self.nodes[last as usize].next = id;
        self.nodes[bucket as usize].prev = id;
        self.used[(bucket / BUCKETS) as usize] |= 1 << (bucket % BUCKETS);
    }

    /// Takes a timer out of its list. Changes nothing when it is in none: its neighbours are itself.
    fn unlink(&mut self, id: Id) {
        let Node { prev, next, .. } = self.nodes[id as usize];
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
        self.nodes[id as usize].prev = id;
        self.nodes[id as usize].next = id;
        let bucket_is_empty = prev == next && prev < HEADS;
        if bucket_is_empty {
            self.used[(prev / BUCKETS) as usize] &= !(1 << (prev % BUCKETS));
        }
    }

    fn nanos_since_origin(&self, time: Time) -> u64 {
        time.as_nanos().saturating_sub(self.origin.as_nanos())
    }

    fn grow_to(&mut self, id: Id) {
        if (id as usize) < self.nodes.len() {
            return;
        }
        let len = u32::try_from(self.nodes.len()).expect("as many as there are ids");
        self.nodes.extend((len..=id).map(Node::alone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const START: Time = Time::from_nanos(123_456_789_012);
    const HOUR: Duration = Duration::from_secs(3600);

    fn expired(wheel: &mut Wheel, now: Time) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.expire(now, &mut fired);
        fired.sort_unstable();
        fired
    }

    /// Sleeps exactly as `next` says until something fires: what fired, when, and after how many wake-ups.
    fn sleep_until_fired(wheel: &mut Wheel) -> (Vec<u32>, Time, u32) {
        for wakeups in 1..=100 {
            let now = wheel.next().expect("a timer is set");
            let fired = expired(wheel, now);
            if !fired.is_empty() {
                return (fired, now, wakeups);
            }
        }
        panic!("woken 100 times for nothing");
    }

    #[test]
    fn a_timer_fires_once_and_not_before_its_time() {
        let mut wheel = Wheel::new(START);
        let at = START + Duration::from_millis(100);
        wheel.set(3, at);
        assert_eq!(
            expired(&mut wheel, Time::from_nanos(at.as_nanos() - 1)),
            [0_u32; 0]
        );
        assert_eq!(expired(&mut wheel, at + TICK), [3]);
        assert_eq!(expired(&mut wheel, at + HOUR), [0_u32; 0]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_on_a_tick_fires_on_that_tick() {
        let mut wheel = Wheel::new(START);
        wheel.set(0, START + TICK * 70);
        assert_eq!(expired(&mut wheel, START + TICK * 70), [0]);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_expire() {
        let mut wheel = Wheel::new(START);
        let now = START + HOUR;
        wheel.expire(now, &mut Vec::new());
        wheel.set(0, START);
        wheel.set(1, Time::from_nanos(0));
        assert!(wheel.next().unwrap() <= now);
        assert_eq!(expired(&mut wheel, now), [0, 1]);
    }

    #[test]
    fn moving_a_timer_forgets_its_old_deadline() {
        let mut wheel = Wheel::new(START);
        wheel.set(0, START + TICK);
        wheel.set(0, START + HOUR);
        assert_eq!(expired(&mut wheel, START + (HOUR - TICK)), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, START + HOUR + TICK), [0]);
    }

    #[test]
    fn a_cancelled_timer_leaves_its_neighbours_in_the_bucket() {
        let mut wheel = Wheel::new(START);
        (0..5).for_each(|slot| wheel.set(slot, START + HOUR));
        [0, 2, 4].into_iter().for_each(|slot| wheel.cancel(slot));
        assert_eq!(expired(&mut wheel, START + HOUR + TICK), [1, 3]);
    }

    #[test]
    fn cancelling_what_was_never_set_is_nothing() {
        let mut wheel = Wheel::new(START);
        wheel.set(5, START + TICK);
        [0, 4, 6, u32::MAX]
            .into_iter()
            .for_each(|slot| wheel.cancel(slot));
        assert_eq!(expired(&mut wheel, START + TICK), [5]);
        wheel.cancel(5);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_far_timer_wakes_an_idle_worker_at_most_once_a_level() {
        let year = HOUR * 24 * 365;
        for far in [TICK * 64, HOUR / 6, HOUR, HOUR * 24, year, year * 500] {
            let mut wheel = Wheel::new(START);
            wheel.expire(START + TICK * 63, &mut Vec::new());
            wheel.set(0, START + far);
            let (fired, when, wakeups) = sleep_until_fired(&mut wheel);
            assert_eq!(fired, [0]);
            assert!(when >= START + far && when.since(START + far) < TICK);
            assert!(wakeups <= LEVELS, "{wakeups} wake-ups for {far:?}");
        }
    }

    #[test]
    fn the_end_of_time_is_a_deadline_like_any_other() {
        let mut wheel = Wheel::new(Time::from_nanos(0));
        let end = Time::from_nanos(u64::MAX);
        wheel.set(0, end);
        assert_eq!(expired(&mut wheel, START + HOUR), [0_u32; 0]);
        assert!(wheel.next().unwrap() <= end);
        assert_eq!(expired(&mut wheel, end), [0]);
    }

    #[test]
    fn a_clock_that_steps_back_fires_nothing_twice() {
        let mut wheel = Wheel::new(START);
        wheel.expire(START + HOUR, &mut Vec::new());
        assert_eq!(expired(&mut wheel, START), [0_u32; 0]);
        wheel.set(0, START + HOUR + TICK);
        assert_eq!(expired(&mut wheel, START), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, START + HOUR + TICK * 2), [0]);
    }

    #[test]
    fn no_timer_allocates_within_the_capacity() {
        let mut wheel = Wheel::with_capacity(START, 1000);
        let reserved = wheel.nodes.capacity();
        (0..1000).for_each(|slot| wheel.set(slot, START + HOUR));
        (0..1000).for_each(|slot| wheel.set(slot, START + TICK));
        assert_eq!(expired(&mut wheel, START + HOUR).len(), 1000);
        assert_eq!(wheel.nodes.capacity(), reserved);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Cancel(u32),
        Pass(u64),
        SleepUntilNext,
    }

    /// Nanoseconds of every magnitude, from below a tick to years.
    fn spans() -> impl Strategy<Value = u64> {
        (0..57u32, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits))
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..20u32, spans()).prop_map(|(slot, span)| Step::Set(slot, span)),
            1 => (0..20u32).prop_map(Step::Cancel),
            2 => spans().prop_map(Step::Pass),
            3 => Just(Step::SleepUntilNext),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(steps in steps()) {
            let mut wheel = Wheel::new(START);
            let mut model: BTreeMap<u32, Time> = BTreeMap::new();
            let mut now = START;
            for step in steps {
                let passed = match step {
                    Step::Set(slot, span) => {
                        // Some of them a little in the past.
                        let at = Time::from_nanos(now.as_nanos() + span - (span % 7) * (1 << 20));
                        wheel.set(slot, at);
                        model.insert(slot, at);
                        None
                    }
                    Step::Cancel(slot) => {
                        wheel.cancel(slot);
                        model.remove(&slot);
                        None
                    }
                    Step::Pass(span) => Some(now + Duration::from_nanos(span)),
                    Step::SleepUntilNext => Some(wheel.next().unwrap_or(now).max(now)),
                };
                if let Some(later) = passed {
                    now = later;
                    for slot in expired(&mut wheel, now) {
                        let at = model.remove(&slot);
                        prop_assert!(at.is_some_and(|at| at <= now), "{slot} fired early: {at:?}");
                    }
                    for at in model.values() {
                        prop_assert!(*at + TICK > now, "{at} missed at {now}");
                    }
                    prop_assert!(wheel.next().is_none_or(|next| next > now), "a worker would spin");
                }
                let earliest = model.values().min();
                prop_assert_eq!(wheel.next().is_some(), earliest.is_some());
                if let (Some(next), Some(earliest)) = (wheel.next(), earliest) {
                    prop_assert!(next.since(*earliest) < TICK, "a worker would oversleep");
                }
            }
        }
    }
}
