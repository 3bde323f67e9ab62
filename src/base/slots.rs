//! A table whose keys go stale: each removal bumps the slot's generation, so that a late answer for an earlier owner
//! finds nothing instead of somebody else's value.
//!
//! Never grows past the capacity it was made with, and never moves a value: inserting costs the same at any size.

use slab::Slab;

/// Names one value of a [`Slots`] for as long as it is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Where it is: dense, reused soonest by the latest freed.
    pub slot: u32,
    /// How many values were removed from this slot before it. Wraps after 2^32, which no key outlives.
    pub generation: u32,
}

/// Values by [`Key`]. At most 12 bytes a slot above the value: the generation, and a tag where the value has no
/// bit pattern to spare.
///
/// ```
/// use ringway::base::Slots;
/// let mut slots = Slots::with_capacity(10);
/// let key = slots.insert("first").unwrap();
/// assert_eq!(slots.get(key), Some(&"first"));
/// slots.remove(key);
/// let again = slots.insert("second").unwrap();
/// assert_eq!(again.slot, key.slot);
/// assert_eq!(slots.get(key), None);
/// ```
#[derive(Debug)]
pub struct Slots<T> {
    values: Slab<T>,
    /// Beside the values, not in them: a vacant slot must remember its own.
    generations: Vec<u32>,
    max: usize,
}

impl<T> Slots<T> {
    /// Room for `max` values, reserved here and once. Memory is touched only when used.
    pub fn with_capacity(max: u32) -> Self {
        let max = max as usize;
        Self {
            values: Slab::with_capacity(max),
            generations: Vec::with_capacity(max),
            max,
        }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// When full: gives the value back.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let Some(key) = self.vacant_key() else {
            return Err(value);
        };
        self.values.insert(value);
        Ok(key)
    }

    /// Adds a value that knows its own key. `None`, and `make` not called, when full.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        let key = self.vacant_key()?;
        self.values.insert(make(key));
        Some(key)
    }

    /// The key of the next value, unless full.
    fn vacant_key(&mut self) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let slot = self.values.vacant_key();
        if slot == self.generations.len() {
            self.generations.push(0);
        }
        Some(self.key_of(slot))
    }

    /// The key of the value in this slot, if there is one.
    pub fn key(&self, slot: u32) -> Option<Key> {
        let at = slot as usize;
        self.values.contains(at).then(|| self.key_of(at))
    }

    /// The value, unless it was removed.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.is_current(key)
            .then(|| self.values.get(key.slot as usize))?
    }

    /// The value to change, unless it was removed.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.is_current(key)
            .then(|| self.values.get_mut(key.slot as usize))?
    }

    /// Takes the value out, unless it was removed before. Its key, and every copy of it, is stale from here on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        if !self.is_current(key) {
            return None;
        }
        let value = self.values.try_remove(key.slot as usize)?;
        let generation = &mut self.generations[key.slot as usize];
        *generation = generation.wrapping_add(1);
        Some(value)
    }

    /// One above the highest slot that was ever used: where a walk by [`key`](Self::key) ends.
    pub fn reach(&self) -> u32 {
        u32::try_from(self.generations.len()).expect("at most `max`, a u32")
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether the next insert would be refused.
    pub fn is_full(&self) -> bool {
        self.values.len() == self.max
    }

    /// Every value and its key, by slot. Visits vacant slots too: for the slow paths.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.values
            .iter()
            .map(|(slot, value)| (self.key_of(slot), value))
    }

    /// Every key, by slot: to be collected by who changes the table as it goes.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }

    #[inline]
    fn is_current(&self, key: Key) -> bool {
        self.generations.get(key.slot as usize) == Some(&key.generation)
    }

    fn key_of(&self, slot: usize) -> Key {
        Key {
            slot: u32::try_from(slot).expect("below `max`, a u32"),
            generation: self.generations[slot],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_stale_key_finds_nothing_of_the_new_owner() {
        let mut slots = Slots::with_capacity(1);
        let old = slots.insert('a').unwrap();
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert('b').unwrap();
        assert_eq!((new.slot, new.generation), (old.slot, old.generation + 1));
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&'b'));
    }

    #[test]
    fn a_key_of_a_vacant_slot_finds_nothing_though_the_generation_is_right() {
        let mut slots = Slots::with_capacity(1);
        let old = slots.insert('a').unwrap();
        slots.remove(old);
        let ahead = Key {
            generation: old.generation + 1,
            ..old
        };
        assert_eq!(slots.get(ahead), None);
        assert_eq!(slots.remove(ahead), None);
        assert_eq!(slots.insert('b'), Ok(ahead));
    }

    #[test]
    fn a_full_table_gives_the_value_back_and_makes_none() {
        let mut slots = Slots::with_capacity(1);
        assert!(!slots.is_full());
        slots.insert('a').unwrap();
        assert!(slots.is_full());
        assert_eq!(slots.insert('b'), Err('b'));
        assert_eq!(slots.insert_with(|_| panic!("made for nobody")), None);
    }

    #[test]
    fn a_table_for_none_is_full_and_empty() {
        let mut slots = Slots::with_capacity(0);
        assert_eq!(slots.insert('a'), Err('a'));
        assert!(slots.is_empty() && slots.is_full());
    }

    #[test]
    fn a_walk_over_its_reach_meets_every_value() {
        let mut slots = Slots::with_capacity(9);
        let keys: Vec<Key> = (0..5).map(|n| slots.insert(n).unwrap()).collect();
        slots.remove(keys[1]);
        slots.remove(keys[4]);
        let met: Vec<_> = (0..slots.reach())
            .filter_map(|slot| slots.key(slot))
            .collect();
        assert_eq!((slots.reach(), met), (5, vec![keys[0], keys[2], keys[3]]));
    }

    #[test]
    fn a_value_can_hold_its_own_key() {
        let mut slots = Slots::with_capacity(2);
        slots.insert_with(|key| key).unwrap();
        let second = slots.insert_with(|key| key).unwrap();
        assert_eq!(slots.get(second), Some(&second));
    }

    #[test]
    fn the_generation_wraps_and_the_key_before_stays_stale() {
        let mut slots = Slots::with_capacity(1);
        let first = slots.insert('a').unwrap();
        slots.generations[0] = u32::MAX;
        let last = slots.keys().next().unwrap();
        assert_eq!(slots.remove(last), Some('a'));
        assert_eq!(slots.insert('b'), Ok(first));
        assert_eq!(slots.get(last), None);
    }

    #[test]
    fn filling_to_the_brim_never_reallocates() {
        let mut slots = Slots::with_capacity(1000);
        let reserved = (slots.values.capacity(), slots.generations.capacity());
        let keys: Vec<Key> = (0..1000).map(|n| slots.insert(n).unwrap()).collect();
        assert!(keys.iter().all(|&key| slots.remove(key).is_some()));
        assert!((0..1000).all(|n| slots.insert(n).is_ok()));
        assert_eq!(
            (slots.values.capacity(), slots.generations.capacity()),
            reserved
        );
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_of_keys_that_are_never_used_twice(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            const MAX: u32 = 8;
            let mut slots = Slots::with_capacity(MAX);
            let mut model: HashMap<Key, usize> = HashMap::new();
            let mut issued: Vec<Key> = Vec::new();
            for (n, (insert, which)) in steps.into_iter().enumerate() {
                if insert {
                    let was_full = model.len() == MAX as usize;
                    match slots.insert(n) {
                        Ok(key) => {
                            prop_assert!(!was_full && !issued.contains(&key));
                            issued.push(key);
                            model.insert(key, n);
                        }
                        Err(value) => prop_assert!(was_full && value == n),
                    }
                } else if !issued.is_empty() {
                    let key = issued[which.index(issued.len())];
                    prop_assert_eq!(slots.remove(key), model.remove(&key));
                }
                for key in &issued {
                    prop_assert_eq!(slots.get(*key), model.get(key));
                }
                prop_assert_eq!(slots.len(), model.len());
                let listed: HashMap<Key, usize> = slots.iter().map(|(key, v)| (key, *v)).collect();
                prop_assert_eq!(&listed, &model);
            }
        }
    }
}
