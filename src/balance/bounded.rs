//! Hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, arXiv 1608.01350): a key belongs where Maglev puts it, but
//! no backend gets more than a set multiple of its fair share of the open connections. One that has so many is passed
//! over, and the key goes on to the next of its own [walk](Maglev::walk): what overflows is spread over all others (as
//! arXiv 1908.08762 advises) and does not fill the neighbours in turn.
//!
//! Who is passed over depends on what is open, so that boxes agree on the order of a key's backends and not always on
//! the backend.

use super::View;
use super::ip_hash::Maglev;

/// What a factor is counted in.
const ONE: u32 = 1_000;

/// How many times its fair share a backend may have: at least once, because below not all connections find a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadFactor(u32);

impl LoadFactor {
    /// From thousandths: 1,250 is 125 %.
    ///
    /// # Panics
    /// When it is below one.
    pub const fn of_1000(thousandths: u32) -> Self {
        assert!(thousandths >= ONE, "a load factor is at least one");
        Self(thousandths)
    }
}

/// How many connections backends may have at the moment, by weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Connections, this one included, times the factor.
    load: u128,
    /// What the usable ones weigh together, in the factor's unit.
    weight: u128,
}

impl Bound {
    /// From what the usable backends have: a pass over all of them. It serves for a few connections, too, that are placed
    /// at one moment, and is a little too strict for the last of them.
    pub fn new(factor: LoadFactor, view: &impl View) -> Self {
        let (mut open, mut weight) = (1_u64, 0_u32);
        for at in (0..view.backends()).filter(|&at| view.is_usable(at)) {
            open = open.saturating_add(view.open(at));
            weight += u32::from(view.weight(at));
        }
        Self {
            load: u128::from(open) * u128::from(factor.0),
            weight: u128::from(weight) * u128::from(ONE),
        }
    }

    /// The same when one more has been placed, and nothing else has changed.
    #[must_use]
    pub fn with_one_more(self, factor: LoadFactor) -> Self {
        Self {
            load: self.load + u128::from(factor.0),
            ..self
        }
    }

    /// Whether a backend has all that it may: open ≥ ⌈load · its weight / all weight⌉. As `open` is whole, the rounding up
    /// and with it the division can go; and the quotient is above 0, so that an idle backend never is full.
    #[inline]
    pub fn is_full(self, open: u64, weight: u16) -> bool {
        u128::from(open) * self.weight >= self.load * u128::from(weight)
    }
}

/// The first usable backend of the key's walk that is not full, or nobody when none is usable. There is one, unless
/// other workers filled it since the bound was made: then the first usable one.
pub fn pick(table: &Maglev, key: u64, view: &impl View, bound: Bound) -> Option<u16> {
    let places = table.walk(key).filter_map(|at| u16::try_from(at).ok());
    let mut first = None;
    for at in places.filter(|&at| view.is_usable(at)) {
        if !bound.is_full(view.open(at), view.weight(at)) {
            return Some(at);
        }
        first.get_or_insert(at);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::super::ip_hash::{Entry, value_key};
    use super::super::pool::{Pool, mixed};
    use super::*;
    use proptest::prelude::*;

    const FACTOR: LoadFactor = LoadFactor::of_1000(1_250);

    fn table(pool: &Pool) -> Maglev {
        let names: Vec<String> = (0..pool.weights.len()).map(|n| format!("b{n}")).collect();
        let entries = names.iter().zip(&pool.weights);
        let entries: Vec<_> = entries
            .map(|(name, &weight)| Entry { name, weight })
            .collect();
        Maglev::build(&entries)
    }

    fn keys(count: u32) -> impl Iterator<Item = u64> {
        (0..count).map(|n| value_key(&n.to_le_bytes()))
    }

    fn choose(maglev: &Maglev, key: u64, pool: &Pool, factor: LoadFactor) -> u16 {
        pick(maglev, key, pool, Bound::new(factor, pool)).unwrap()
    }

    /// What a backend may have when so many are open, in the words of the paper.
    fn most(pool: &Pool, at: usize, factor: u64) -> u64 {
        let open: u64 = pool.open.iter().sum();
        (open * factor * u64::from(pool.weights[at])).div_ceil(1_000 * pool.weight_up())
    }

    /// So many connections that stay; after each, nobody has more than it may.
    fn fill(pool: &mut Pool, keys: impl Iterator<Item = u64>, factor: u32) {
        let maglev = table(pool);
        for key in keys {
            let at = choose(&maglev, key, pool, LoadFactor::of_1000(factor));
            assert!(pool.is_usable(at));
            pool.connect(at);
            let (open, most) = (
                pool.open[usize::from(at)],
                most(pool, at.into(), factor.into()),
            );
            assert!(open <= most, "{at} has {open} of {most}");
        }
    }

    #[test]
    fn no_backend_gets_more_than_its_bound_though_all_clients_share_a_key() {
        for count in [2, 3, 16, 1000] {
            for factor in [1_000, 1_250, 2_000] {
                fill(&mut Pool::equal(count), [7; 3_000].into_iter(), factor);
                fill(
                    &mut Pool::new(&mixed(count)),
                    [7; 3_000].into_iter(),
                    factor,
                );
            }
        }
    }

    #[test]
    fn a_bound_that_is_carried_on_is_the_one_made_anew() {
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::new(&mixed(count)).without(|at| at % 3 == 1);
            let maglev = table(&pool);
            let mut carried = Bound::new(FACTOR, &pool);
            for key in keys(3_000) {
                assert_eq!(carried, Bound::new(FACTOR, &pool));
                let at = pick(&maglev, key, &pool, carried).unwrap();
                pool.connect(at);
                carried = carried.with_one_more(FACTOR);
            }
        }
    }

    #[test]
    fn those_left_keep_their_bound_while_others_are_down() {
        for count in [3, 16, 1000] {
            let mut pool = Pool::new(&mixed(count)).without(|at| at % 3 == 1);
            fill(&mut pool, keys(3_000), 1_250);
            let downs: u64 = (1..count).step_by(3).map(|at| pool.open[at]).sum();
            assert_eq!(downs, 0);
        }
    }

    #[test]
    fn at_a_factor_of_one_all_are_level() {
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::equal(count);
            fill(&mut pool, keys(4_000), 1_000);
            let (least, most) = (4_000 / count as u64, 4_000_u64.div_ceil(count as u64));
            assert_eq!(pool.open.iter().max(), Some(&most), "{count}");
            // Each may have what the average is, rounded up: the others may lack that.
            let lack: u64 = pool
                .open
                .iter()
                .map(|open| least.saturating_sub(*open))
                .sum();
            assert!(lack <= count as u64, "{count}: {lack}");
        }
    }

    #[test]
    fn keys_stay_at_home_while_nobody_is_near_the_bound() {
        let mut pool = Pool::equal(16);
        pool.open = vec![100; 16];
        let maglev = table(&pool);
        for key in keys(2_000) {
            let home = maglev.walk(key).next().unwrap();
            assert_eq!(usize::from(choose(&maglev, key, &pool, FACTOR)), home);
        }
    }

    #[test]
    fn what_one_backend_cannot_take_is_spread_over_all_others() {
        let mut pool = Pool::equal(16);
        pool.open = vec![100; 16];
        // It may have ⌈1.25 · 1,631 / 16⌉ = 128.
        pool.open[3] = 130;
        let maglev = table(&pool);
        let mut heirs = vec![0_u32; 16];
        for key in keys(40_000).filter(|&key| maglev.walk(key).next() == Some(3)) {
            heirs[usize::from(choose(&maglev, key, &pool, FACTOR))] += 1;
        }
        assert_eq!(heirs.remove(3), 0);
        // A sixteenth of the keys over fifteen heirs are 167 each; four standard deviations of chance are 52.
        assert!(
            heirs.iter().all(|keys| (115..=219).contains(keys)),
            "{heirs:?}"
        );
    }

    #[test]
    fn a_bound_that_is_outrun_by_others_still_finds_somebody() {
        let mut pool = Pool::equal(3).without(|at| at == 0);
        let bound = Bound::new(FACTOR, &pool);
        pool.open = vec![50; 3];
        let maglev = table(&pool);
        for key in keys(100) {
            let first = maglev.walk(key).find(|at| *at != 0).unwrap();
            assert_eq!(
                pick(&maglev, key, &pool, bound).map(usize::from),
                Some(first)
            );
        }
    }

    #[test]
    fn the_only_usable_one_of_a_thousand_is_found_and_without_it_nobody() {
        let mut pool = Pool::equal(1000).without(|at| at != 777);
        pool.open[777] = 10_000;
        let maglev = table(&pool);
        assert!(keys(100).all(|key| choose(&maglev, key, &pool, FACTOR) == 777));
        let none = Pool::equal(1000).without(|_| true);
        assert_eq!(pick(&maglev, 7, &none, Bound::new(FACTOR, &none)), None);
    }

    #[test]
    #[should_panic(expected = "a load factor is at least one")]
    fn a_factor_that_leaves_connections_without_a_place_is_caught() {
        LoadFactor::of_1000(999);
    }

    proptest! {
        #[test]
        fn full_is_what_the_paper_calls_full(
            backends in prop::collection::vec((1..=256_u16, 0..2_000_u64), 1..20),
            factor in 1_000..3_000_u32,
        ) {
            let (weights, open): (Vec<_>, Vec<_>) = backends.into_iter().unzip();
            let mut pool = Pool::new(&weights);
            pool.open = open;
            let bound = Bound::new(LoadFactor::of_1000(factor), &pool);
            let mut with_this = pool.clone();
            with_this.open[0] += 1;
            let mut full = 0;
            for (at, &open) in pool.open.iter().enumerate() {
                let is_full = open >= most(&with_this, at, factor.into());
                prop_assert_eq!(bound.is_full(open, weights[at]), is_full);
                full += usize::from(is_full);
            }
            prop_assert!(full < weights.len(), "there is always room");
        }
    }
}
