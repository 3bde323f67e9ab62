//! The one source of chance in a world: a generator with a given seed, and the odds of things going wrong.

use std::time::Duration;

/// How likely something is, in 1,024ths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Odds(u16);

impl Odds {
    /// Never happens, and takes nothing from the generator.
    pub const NEVER: Self = Self(0);
    /// Happens each time.
    pub const ALWAYS: Self = Self(1024);

    /// `n` of 1,024 times.
    ///
    /// # Panics
    /// When `n` is over 1,024.
    pub const fn of_1024(n: u16) -> Self {
        assert!(n <= 1024, "odds are at most 1,024 of 1,024");
        Self(n)
    }
}

/// Seeded chance. The same seed and the same questions give the same answers, on every machine and version.
#[derive(Debug)]
pub struct Chance(oorandom::Rand64);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(oorandom::Rand64::new(u128::from(seed)))
    }

    /// Whether it happens this time.
    pub fn hit(&mut self, odds: Odds) -> bool {
        odds.0 > 0 && self.below(1024) < u64::from(odds.0)
    }

    /// A number from 0 up to, not including, `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below 0");
        self.0.rand_range(0..end)
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index into something of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// A length of time from zero to `most`; short ones as likely as long ones, by order of magnitude.
    pub fn pause(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_nanos()).expect("a pause of under 584 years");
        let scale = most >> self.below(16);
        Duration::from_nanos(self.below(scale + 1))
    }

    /// Puts the items in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.index(end + 1);
            items.swap(end, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            (0..32).map(|_| chance.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn odds_hit_about_as_often_as_they_say() {
        let mut chance = Chance::new(1);
        let hits = (0..10_000)
            .filter(|_| chance.hit(Odds::of_1024(256)))
            .count();
        assert!(
            (2_200..2_800).contains(&hits),
            "{hits} of 10,000 at one in four"
        );
        assert!(!chance.hit(Odds::NEVER));
        assert!(chance.hit(Odds::ALWAYS));
    }
}
