//! Two backends by chance, and of these the emptier: "the power of two choices" (Mitzenmacher, IEEE Transactions on
//! Parallel and Distributed Systems 12(10), 2001). Nearly as even as looking at all of them, at the cost of looking at
//! two; and workers or boxes that choose at the same moment do not all find the same one.
//!
//! Chance goes by weight, by an alias table (Walker, 1977, built as Vose does, 1991): one column for each backend, of equal
//! width, shared by it and at most one other. A draw is a column and a point in it, whatever the number of backends.

use super::{Fill, View};
use crate::base::Dice;

/// Draws that may fall on backends that are not usable, or on the one drawn before, until all are looked at. With half
/// of the weight down that happens to one draw in 256, and where but one is usable, as of two in a failover, to every
/// second: so not many more.
const DRAWS: usize = 8;

/// The table. It is a function of the weights it was built from: whoever changes them builds another.
#[derive(Clone, Debug)]
pub struct RandomTwo {
    columns: Box<[Column]>,
    /// The height of every column: what all backends weigh together.
    height: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Column {
    /// So much of it is its own backend's, the one of the same place.
    own: u32,
    /// Whose the rest is.
    other: u16,
}

impl RandomTwo {
    /// From the weights of the backends, in the order of their places.
    ///
    /// # Panics
    /// When there are over 65,535.
    pub fn build(weights: &[u16]) -> Self {
        let count = u16::try_from(weights.len()).expect("places are 16 bits");
        let height = weights.iter().copied().map(u32::from).sum();
        // What each still has to put into columns. As many times its weight as there are columns, so that all shares of
        // them are whole numbers: at most 256 · 65,535, which 32 bits hold.
        let mut rest: Vec<u32> = weights
            .iter()
            .map(|&w| u32::from(w) * u32::from(count))
            .collect();
        let is_light = |at: &u16| rest[usize::from(*at)] < height;
        let (mut light, mut heavy): (Vec<u16>, Vec<u16>) = (0..count).partition(is_light);
        let full = |at| Column {
            own: height,
            other: at,
        };
        let mut columns: Box<[Column]> = (0..count).map(full).collect();
        // Ends: each pass fills a column for good. While one is not full, another has more than fits its own.
        while let Some(at) = light.pop() {
            let giver = *heavy.last().expect("columns are full on average");
            let own = rest[usize::from(at)];
            columns[usize::from(at)] = Column { own, other: giver };
            rest[usize::from(giver)] -= height - own;
            if rest[usize::from(giver)] < height {
                heavy.pop();
                light.push(giver);
            }
        }
        Self { columns, height }
    }

    /// Of two usable backends drawn by weight the one with fewer connections per weight, of equal ones the first drawn. The
    /// only usable one, if there is but one; nobody when none is. Looks at all only when it has drawn in vain.
    pub fn pick(&self, view: &impl View, dice: &mut Dice) -> Option<u16> {
        let first = self.usable(view, None, dice)?;
        let Some(second) = self.usable(view, Some(first), dice) else {
            return Some(first);
        };
        let second_wins = Fill::of(view, second).is_below(Fill::of(view, first));
        Some(if second_wins { second } else { first })
    }

    /// Any usable one but this.
    #[inline]
    fn usable(&self, view: &impl View, but: Option<u16>, dice: &mut Dice) -> Option<u16> {
        let is_fit = |at: &u16| Some(*at) != but && view.is_usable(*at);
        let mut draws = (0..DRAWS).filter_map(|_| self.draw(dice));
        let drawn = draws.find(is_fit);
        drawn.or_else(|| one_of(view, is_fit, dice))
    }

    /// Any one at all.
    #[inline]
    fn draw(&self, dice: &mut Dice) -> Option<u16> {
        let count = u32::try_from(self.columns.len()).expect("places are 16 bits");
        let at = dice.below(count);
        let column = self.columns.get(at as usize)?;
        if dice.below(self.height) < column.own {
            return u16::try_from(at).ok();
        }
        Some(column.other)
    }
}

/// One of those that fit, by weight, in one pass: each takes the place of the one before with the chance that its weight
/// has among those seen so far.
#[cold]
fn one_of(view: &impl View, is_fit: impl Fn(&u16) -> bool, dice: &mut Dice) -> Option<u16> {
    let mut seen = 0;
    let mut chosen = None;
    for at in (0..view.backends()).filter(is_fit) {
        let weight = u32::from(view.weight(at));
        seen += weight;
        if dice.below(seen) < weight {
            chosen = Some(at);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Pool, mixed};
    use super::*;
    use proptest::prelude::*;

    /// What each backend owns of all columns.
    fn owned(table: &RandomTwo) -> Vec<u32> {
        let mut owned = vec![0; table.columns.len()];
        for (at, column) in table.columns.iter().enumerate() {
            owned[at] += column.own;
            owned[usize::from(column.other)] += table.height - column.own;
        }
        owned
    }

    /// So many connections that stay.
    fn fill(pool: &mut Pool, connections: usize, seed: u64) {
        let table = RandomTwo::build(&pool.weights);
        let mut dice = Dice::new(seed);
        for _ in 0..connections {
            let at = table.pick(pool, &mut dice).unwrap();
            pool.connect(at);
        }
    }

    /// How many more connections than its share the fullest usable one has.
    fn excess(pool: &Pool) -> f64 {
        let open: u64 = pool.open.iter().sum();
        let level = open as f64 / pool.weight_up() as f64;
        let up = (0..pool.open.len()).filter(|&at| !pool.down[at]);
        up.map(|at| pool.open[at] as f64 - level * f64::from(pool.weights[at]))
            .fold(0.0, f64::max)
    }

    #[test]
    fn connections_that_stay_are_even_at_any_number_of_backends() {
        // With two choices the fullest of n has log₂ ln n + O(1) more than the average, however many come (Berenbrink and
        // others, STOC 2000): 2.8 for a thousand. By chance alone it would be √(2 · 100 · ln 1000) = 37.
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::equal(count);
            fill(&mut pool, 100 * count, 1);
            assert!(excess(&pool) <= 4.0, "{count}: {}", excess(&pool));
        }
    }

    #[test]
    fn connections_that_stay_follow_weights() {
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::new(&mixed(count));
            fill(&mut pool, 50_000, 2);
            // A fiftieth of what the heaviest has, which weighs 256.
            let level = 50_000.0 / pool.weight_up() as f64;
            let within = level * 256.0 * 0.02 + 4.0;
            assert!(excess(&pool) <= within, "{count}: {}", excess(&pool));
        }
    }

    #[test]
    fn those_left_are_even_while_others_are_down() {
        for count in [3, 16, 1000] {
            let mut pool = Pool::equal(count).without(|at| at % 2 == 1);
            fill(&mut pool, 50 * count, 3);
            assert!(excess(&pool) <= 4.0, "{count}: {}", excess(&pool));
            let downs: u64 = (1..count).step_by(2).map(|at| pool.open[at]).sum();
            assert_eq!(downs, 0);
        }
    }

    #[test]
    fn two_that_are_usable_are_always_both_looked_at() {
        let mut pool = Pool::equal(1000).without(|at| at != 3 && at != 900);
        pool.open[3] = 1;
        let table = RandomTwo::build(&pool.weights);
        let mut dice = Dice::new(4);
        assert!((0..1_000).all(|_| table.pick(&pool, &mut dice) == Some(900)));
    }

    #[test]
    fn equally_full_ones_are_chosen_by_weight_drawn_or_searched_for() {
        // Two of two hundred: nearly no draw finds one.
        for (padding, seed) in [(0, 5), (198, 6)] {
            let weights = [vec![3, 1], vec![1; padding]].concat();
            let mut pool = Pool::new(&weights).without(|at| at >= 2);
            // As full after one more: (2 + 1) / 3 and (0 + 1) / 1.
            pool.open[0] = 2;
            let table = RandomTwo::build(&weights);
            let mut dice = Dice::new(seed);
            let picks = (0..40_000).map(|_| table.pick(&pool, &mut dice));
            let heavy = picks.filter(|at| *at == Some(0)).count();
            // Four standard deviations: 4 · √(40,000 · 3/4 · 1/4) = 347.
            assert!(heavy.abs_diff(30_000) < 347, "{padding}: {heavy}");
        }
    }

    #[test]
    fn the_only_usable_one_of_a_thousand_is_found_and_without_it_nobody() {
        let pool = Pool::equal(1000).without(|at| at != 777);
        let table = RandomTwo::build(&pool.weights);
        let mut dice = Dice::new(7);
        assert!((0..100).all(|_| table.pick(&pool, &mut dice) == Some(777)));
        let none = Pool::equal(1000).without(|_| true);
        assert_eq!(table.pick(&none, &mut dice), None);
        let empty = RandomTwo::build(&[]);
        assert_eq!(empty.pick(&Pool::new(&[]), &mut dice), None);
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let opened = |seed| {
            let mut pool = Pool::new(&mixed(16));
            fill(&mut pool, 1_000, seed);
            pool.open
        };
        assert_eq!(opened(8), opened(8));
        assert_ne!(opened(8), opened(9));
    }

    proptest! {
        #[test]
        fn the_table_gives_each_exactly_its_weight(
            weights in prop::collection::vec(1..=256_u16, 1..300),
        ) {
            let table = RandomTwo::build(&weights);
            let count = u32::try_from(weights.len()).unwrap();
            let fair: Vec<u32> = weights.iter().map(|&w| u32::from(w) * count).collect();
            prop_assert_eq!(owned(&table), fair);
        }

        #[test]
        fn a_usable_one_is_found_whenever_there_is_one_and_never_another(
            backends in prop::collection::vec((1..=256_u16, 0..9_u64, any::<bool>()), 0..40),
            seed: u64,
        ) {
            let mut pool = Pool::new(&[]);
            for (weight, open, down) in backends {
                pool.weights.push(weight);
                pool.open.push(open);
                pool.down.push(down);
            }
            let table = RandomTwo::build(&pool.weights);
            match table.pick(&pool, &mut Dice::new(seed)) {
                Some(at) => prop_assert!(pool.is_usable(at)),
                None => prop_assert_eq!(pool.weight_up(), 0),
            }
        }
    }
}
