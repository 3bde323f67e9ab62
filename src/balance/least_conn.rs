//! The backend with the fewest open connections for its weight. Connections of all workers count, so that a box is as
//! even as one worker would be.

use super::{Fill, View};

/// One worker's choices. It remembers where it looked first, so that equally full backends take turns.
#[derive(Clone, Debug)]
pub struct LeastConn {
    /// Where the next search begins, modulo the number of backends.
    start: u16,
}

impl LeastConn {
    /// Begins to look at a place, or at its remainder when there are fewer backends: another for each worker, so that
    /// those that choose at the same moment do not all find the same one.
    pub fn new(start: u16) -> Self {
        Self { start }
    }

    /// The usable backend that would have the fewest connections per weight with this one, or nobody when none is
    /// usable. Of equal ones the first after the last choice. Looks at every backend once.
    pub fn pick(&mut self, view: &impl View) -> Option<u16> {
        let count = view.backends();
        let start = self.start.checked_rem(count)?;
        let first = emptiest(view, start..count, None);
        let (at, _) = emptiest(view, 0..start, first)?;
        self.start = at.wrapping_add(1);
        Some(at)
    }
}

/// The emptiest usable one of `places` and `best`, which wins a tie.
#[inline]
fn emptiest(
    view: &impl View,
    places: std::ops::Range<u16>,
    mut best: Option<(u16, Fill)>,
) -> Option<(u16, Fill)> {
    for at in places {
        if !view.is_usable(at) {
            continue;
        }
        let fill = Fill::of(view, at);
        if best.is_none_or(|(_, least)| fill.is_below(least)) {
            best = Some((at, fill));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Pool, mixed};
    use super::*;
    use proptest::prelude::*;

    fn fill(pool: &mut Pool, connections: u32) {
        let mut policy = LeastConn::new(0);
        for _ in 0..connections {
            let at = policy.pick(pool).unwrap();
            pool.connect(at);
        }
    }

    /// Nobody has more than any other usable one would have with one connection more, each by its weight.
    fn is_level(pool: &Pool) -> bool {
        let up = |at: &usize| !pool.down[*at];
        let places = || (0..pool.weights.len()).filter(up);
        let no_fuller = |a: usize, b: usize| {
            pool.open[a] * u64::from(pool.weights[b])
                <= (pool.open[b] + 1) * u64::from(pool.weights[a])
        };
        places().all(|a| places().all(|b| no_fuller(a, b)))
    }

    #[test]
    fn connections_that_stay_are_level_by_weight_at_any_number() {
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::new(&mixed(count));
            for _ in 0..8 {
                fill(&mut pool, 1_237);
                assert!(is_level(&pool), "{count}: {:?}", pool.open);
            }
        }
    }

    #[test]
    fn equal_backends_differ_by_one_at_most() {
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::equal(count);
            fill(&mut pool, 4_321);
            let (least, most) = (pool.open.iter().min(), pool.open.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1);
        }
    }

    #[test]
    fn those_left_are_level_while_others_are_down() {
        for count in [2, 3, 16, 1000] {
            let mut pool = Pool::new(&mixed(count)).without(|at| at % 2 == 1);
            fill(&mut pool, 5_000);
            assert!(is_level(&pool), "{count}");
            let downs: u64 = (1..count).step_by(2).map(|at| pool.open[at]).sum();
            assert_eq!(downs, 0);
        }
    }

    #[test]
    fn who_comes_back_empty_is_filled_to_the_level_of_the_others() {
        let mut pool = Pool::equal(4).without(|at| at == 2);
        fill(&mut pool, 300);
        pool = Pool {
            down: vec![false; 4],
            ..pool
        };
        fill(&mut pool, 100);
        assert_eq!(pool.open, [100; 4]);
    }

    #[test]
    fn equally_full_ones_take_turns_though_none_gets_fuller() {
        // Connections that end before the next begins leave no trace in the counts.
        let pool = Pool::equal(5).without(|at| at == 1);
        let mut policy = LeastConn::new(3);
        let picks = [(); 8].map(|()| policy.pick(&pool).unwrap());
        assert_eq!(picks, [3, 4, 0, 2, 3, 4, 0, 2]);
    }

    #[test]
    fn of_idle_ones_the_heavier_is_the_emptier() {
        let pool = Pool::new(&[1, 3, 2]);
        assert!((0..3).all(|start| LeastConn::new(start).pick(&pool) == Some(1)));
    }

    #[test]
    fn the_only_usable_one_of_a_thousand_is_found_and_without_it_nobody() {
        let pool = Pool::equal(1000).without(|at| at != 777);
        assert_eq!(LeastConn::new(u16::MAX).pick(&pool), Some(777));
        let none = Pool::equal(1000).without(|_| true);
        assert_eq!(LeastConn::new(0).pick(&none), None);
        assert_eq!(LeastConn::new(0).pick(&Pool::new(&[])), None);
    }

    proptest! {
        #[test]
        fn whom_it_picks_nobody_usable_is_emptier_than(
            backends in prop::collection::vec((1..=256_u16, 0..1_000_u64, any::<bool>()), 1..40),
            start: u16,
        ) {
            let mut pool = Pool::new(&[]);
            for &(weight, open, down) in &backends {
                pool.weights.push(weight);
                pool.open.push(open);
                pool.down.push(down);
            }
            let Some(at) = LeastConn::new(start).pick(&pool) else {
                prop_assert!(pool.down.iter().all(|down| *down));
                return Ok(());
            };
            prop_assert!(pool.is_usable(at));
            // A quotient is rounded, and rounding keeps the order of what it rounds.
            let ratio = |(weight, open, _): (u16, u64, bool)| (open + 1) as f64 / f64::from(weight);
            let picked = ratio(backends[usize::from(at)]);
            let usable = backends.iter().filter(|(_, _, down)| !down);
            prop_assert!(usable.map(|backend| ratio(*backend)).all(|other| picked <= other));
        }
    }
}
