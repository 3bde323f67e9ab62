//! Places for connections, each with a generation, so that an answer to an op of a former holder is known as such.

use ringway_ring::{Lane, Tag};
use slab::Slab;

/// As many connections as a tag can name.
pub(crate) const SLOTS_MAX: usize = 1 << 24;

pub(crate) struct Slots<T> {
    held: Slab<T>,
    /// Outlives the holder: counts how often a place was left.
    generations: Vec<u32>,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self {
            held: Slab::new(),
            generations: Vec::new(),
        }
    }

    /// Takes a place.
    ///
    /// # Panics
    /// When [`SLOTS_MAX`] are taken; callers bound themselves far below (descriptors run out first).
    pub(crate) fn insert(&mut self, value: T) -> Tag {
        let key = self.held.insert(value);
        assert!(key < SLOTS_MAX, "more connections than a tag can name");
        if key == self.generations.len() {
            self.generations.push(0);
        }
        self.tag(key)
    }

    /// The holder, unless the place has passed on.
    pub(crate) fn get_mut(&mut self, tag: Tag) -> Option<&mut T> {
        let key = tag.slot as usize;
        if self.generations.get(key) != Some(&tag.generation) {
            return None;
        }
        self.held.get_mut(key)
    }

    pub(crate) fn remove(&mut self, tag: Tag) -> Option<T> {
        self.get_mut(tag)?;
        let key = tag.slot as usize;
        self.generations[key] = self.generations[key].wrapping_add(1);
        self.held.try_remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Every holder, in the order of places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Tag, &mut T)> {
        let generations = &self.generations;
        self.held
            .iter_mut()
            .map(|(key, value)| (tag(key, generations[key]), value))
    }

    fn tag(&self, key: usize) -> Tag {
        tag(key, self.generations[key])
    }
}

fn tag(key: usize, generation: u32) -> Tag {
    let slot = u32::try_from(key).expect("below SLOTS_MAX");
    Tag {
        lane: Lane::A,
        slot,
        generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_a_former_holder_finds_nobody() {
        let mut slots = Slots::new();
        let old = slots.insert("old");
        assert_eq!(slots.remove(old), Some("old"));
        let new = slots.insert("new");
        assert_eq!(new.slot, old.slot);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get_mut(new), Some(&mut "new"));
    }

    #[test]
    fn the_walk_names_holders_by_tags_that_find_them() {
        let mut slots = Slots::new();
        let first = slots.insert(1);
        slots.insert(2);
        slots.remove(first);
        let tags: Vec<_> = slots.iter_mut().map(|(tag, value)| (tag, *value)).collect();
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.get_mut(tags[0].0).copied(), Some(tags[0].1));
    }
}
