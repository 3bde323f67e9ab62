//! Chance, for those who have to choose without knowing: as good as a choice between backends needs, and no secret.

use oorandom::Rand64;

/// A generator with a given seed. The same seed gives the same numbers, on every machine and version.
#[derive(Clone, Debug)]
pub struct Dice(Rand64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Rand64::new(u128::from(seed)))
    }

    /// A number from 0 up to, not including, `end`; 0 when `end` is. The high half of a product (Lemire, "Fast random
    /// integer generation in an interval", 2019): no division, and no number comes more often by over 1 in 2^32.
    #[inline]
    pub fn below(&mut self, end: u32) -> u32 {
        let product = u128::from(self.0.rand_u64()) * u128::from(end);
        u32::try_from(product >> 64).expect("below a u32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut dice = Dice::new(seed);
            [(); 32].map(|()| dice.below(1_000_000))
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn each_number_below_the_end_comes_as_often_and_the_end_never() {
        let mut dice = Dice::new(1);
        let mut seen = [0_u32; 6];
        (0..60_000).for_each(|_| seen[dice.below(6) as usize] += 1);
        // Four standard deviations of 10,000: 4 · √(60,000 · 1/6 · 5/6) = 365.
        let is_even = |count: &u32| (9_635..=10_365).contains(count);
        assert!(seen.iter().all(is_even), "{seen:?}");
    }

    #[test]
    fn below_one_and_below_nothing_is_zero() {
        let mut dice = Dice::new(1);
        assert!((0..100).all(|_| (dice.below(1), dice.below(0)) == (0, 0)));
    }
}
