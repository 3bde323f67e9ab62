//! Backends in turn, heavier ones more often, and no backend's turns in a row if they can be apart: the smooth weighted
//! round robin of nginx.
//!
//! With each choice every usable backend earns its share of it, and whoever then has the most credit is chosen and pays
//! for a whole one. So credit is what a backend was due and did not get, in fractions of a connection. One that is not
//! usable neither earns nor pays: it comes back to its turns as if it had not been away, and is owed none of those that
//! it missed.
//!
//! nginx counts in weights: all earn their own and the chosen one pays the sum. As long as the same backends are
//! usable that is the same order. But it makes a turn among few cheaper than one among many, and when backends come and go
//! shares drift apart without bound: those of three equal ones of which each is usable half of the time, by 53
//! connections in 20,000. In fractions of a connection the error stays below 2.5 by chance (it is the fair carpool problem: Fagin
//! and Williams, IBM Journal of Research and Development 27(2), 1983).

use super::View;
use crate::base::stable_hash;

/// One connection, in the unit of credit. Large enough that a share of 1 in 256 · 65,535 is right to six digits, and small
/// enough that no credit leaves an `i64`.
const ONE: i64 = 1 << 44;

/// One worker's turns. Each worker has its own, which begin at another point of the cycle, so that workers do not all
/// choose the same backend at the same time.
#[derive(Clone, Debug)]
pub struct RoundRobin {
    worker: u16,
    /// Of each backend, by its place.
    credits: Vec<i64>,
}

impl RoundRobin {
    /// The turns of a worker, by its number. Worker 0 takes equal backends in the order of their places.
    pub fn new(worker: u16) -> Self {
        Self {
            worker,
            credits: Vec::new(),
        }
    }

    /// The backend whose turn it is, or nobody when none is usable. Two passes over all of them. A new weight counts from
    /// the next pick on; with a new number of backends turns begin anew.
    pub fn pick(&mut self, view: &impl View) -> Option<u16> {
        let count = view.backends();
        if self.credits.len() != usize::from(count) {
            self.credits = (0..count).map(|at| self.first_credit(at, count)).collect();
        }
        let usable = || (0..count).filter(|&at| view.is_usable(at));
        let weight = |at| i64::from(view.weight(at));
        let per_weight = ONE.checked_div(usable().map(weight).sum())?;
        let mut price = 0;
        let mut next: Option<(usize, i64)> = None;
        for place in usable() {
            let (at, share) = (usize::from(place), weight(place) * per_weight);
            // The sum of the shares, and not `ONE`: nothing is lost by rounding, or when one became unusable meanwhile.
            price += share;
            self.credits[at] += share;
            if next.is_none_or(|(_, most)| self.credits[at] > most) {
                next = Some((at, self.credits[at]));
            }
        }
        let (at, _) = next?;
        self.credits[at] -= price;
        u16::try_from(at).ok()
    }

    /// A fraction of a connection, by which worker 0 begins with the first of equal backends, and each of the others
    /// somewhere else: any two are at other points of every backend's cycle, whatever the weights are.
    fn first_credit(&self, at: u16, count: u16) -> i64 {
        if self.worker == 0 {
            return ONE / i64::from(count) * i64::from(count - 1 - at);
        }
        let hash = stable_hash::of_u64(u64::from(self.worker) << 16 | u64::from(at));
        i64::try_from(hash >> 20).expect("44 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Pool, mixed};
    use super::*;
    use proptest::prelude::*;

    fn picks(turns: &mut RoundRobin, pool: &Pool, count: u64) -> Vec<u16> {
        (0..count).map(|_| turns.pick(pool).unwrap()).collect()
    }

    fn tally(turns: &mut RoundRobin, pool: &Pool, count: u64) -> Vec<u64> {
        let mut tally = vec![0; pool.weights.len()];
        for at in picks(turns, pool, count) {
            tally[usize::from(at)] += 1;
        }
        tally
    }

    /// How far the worst backend is from its share of so many picks, in connections.
    fn worst_error(tally: &[u64], pool: &Pool, count: u64) -> f64 {
        let share = |at: usize| {
            let weight = if pool.down[at] { 0 } else { pool.weights[at] };
            count as f64 * f64::from(weight) / pool.weight_up() as f64
        };
        let errors = (0..tally.len()).map(|at| (tally[at] as f64 - share(at)).abs());
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn the_order_is_that_of_nginx() {
        // The example of nginx's commit "Upstream: smooth weighted round-robin balancing." (May 2012).
        let pool = Pool::new(&[5, 1, 1]);
        let mut turns = RoundRobin {
            worker: 0,
            credits: vec![0; 3],
        };
        let twice = [[0, 0, 1, 0, 2, 0, 0]; 2].concat();
        assert_eq!(picks(&mut turns, &pool, 14), twice);
    }

    #[test]
    fn equal_backends_come_in_their_order() {
        for count in [2, 3, 16, 1000] {
            let twice = (0..count).chain(0..count);
            let pool = Pool::equal(usize::from(count));
            let picks = picks(&mut RoundRobin::new(0), &pool, 2 * u64::from(count));
            assert!(picks.into_iter().eq(twice));
        }
    }

    #[test]
    fn at_any_moment_each_backend_has_had_its_share_give_or_take_two() {
        for count in [2, 3, 16, 1000] {
            let pool = Pool::new(&mixed(count));
            let mut turns = RoundRobin::new(3);
            let mut tally = vec![0; count];
            for picks in 1..=20_000 {
                tally[usize::from(turns.pick(&pool).unwrap())] += 1;
                if picks % 97 == 0 {
                    let error = worst_error(&tally, &pool, picks);
                    assert!(error < 2.0, "{count}: off by {error} after {picks}");
                }
            }
        }
    }

    #[test]
    fn those_left_share_by_weight_while_others_are_down() {
        for count in [2, 3, 16, 1000] {
            let all = Pool::new(&mixed(count));
            let pool = all.clone().without(|at| at % 2 == 1);
            let mut turns = RoundRobin::new(0);
            tally(&mut turns, &all, 777);
            let tally = tally(&mut turns, &pool, 10_000);
            assert!(worst_error(&tally, &pool, 10_000) < 2.0, "{count}");
        }
    }

    #[test]
    fn who_comes_back_gets_its_share_and_nothing_for_the_time_away() {
        let all = Pool::equal(16);
        let without = all.clone().without(|at| at == 5);
        let mut turns = RoundRobin::new(0);
        tally(&mut turns, &all, 37);
        tally(&mut turns, &without, 100_000);
        let after = tally(&mut turns, &all, 160);
        assert!(after.iter().all(|count| (9..=11).contains(count)));
    }

    #[test]
    fn a_new_weight_counts_from_the_next_pick() {
        let mut turns = RoundRobin::new(0);
        tally(&mut turns, &Pool::new(&[256, 256, 1]), 300);
        let light = Pool::new(&[1, 256, 1]);
        let tally = tally(&mut turns, &light, 258);
        assert!(worst_error(&tally, &light, 258) < 2.0, "{tally:?}");
    }

    #[test]
    fn with_another_number_of_backends_turns_begin_anew() {
        let mut turns = RoundRobin::new(0);
        tally(&mut turns, &Pool::equal(3), 100);
        assert_eq!(picks(&mut turns, &Pool::equal(2), 4), [0, 1, 0, 1]);
    }

    #[test]
    fn workers_that_choose_at_once_do_not_all_choose_the_same() {
        for weights in [vec![5, 1, 1], vec![1; 16], vec![100, 100, 101]] {
            let pool = Pool::new(&weights);
            let mut workers: Vec<_> = (0..64).map(RoundRobin::new).collect();
            for round in 0..100 {
                let mut tally = vec![0; weights.len()];
                for turns in &mut workers {
                    tally[usize::from(turns.pick(&pool).unwrap())] += 1;
                }
                // Four standard deviations if each chose by chance: 4 · √(64 · 5/7 · 2/7) = 14. In step, all 64 choose one.
                let error = worst_error(&tally, &pool, 64);
                assert!(error < 14.5, "{round}: {tally:?}");
            }
        }
    }

    #[test]
    fn nobody_is_chosen_when_none_is_usable_and_no_turn_is_lost() {
        let all = Pool::new(&[5, 1, 1]);
        let none = all.clone().without(|_| true);
        let (mut turns, mut untouched) = (RoundRobin::new(0), RoundRobin::new(0));
        for _ in 0..20 {
            assert_eq!(turns.pick(&none), None);
            assert_eq!(turns.pick(&all), untouched.pick(&all));
        }
        assert_eq!(turns.pick(&Pool::new(&[])), None);
    }

    proptest! {
        #[test]
        fn however_backends_come_and_go_each_gets_what_it_was_due(
            weights in prop::collection::vec(1..=256_u16, 2..20),
            downs in prop::collection::vec(any::<u32>(), 400),
            worker: u16,
        ) {
            let count = weights.len();
            let mut turns = RoundRobin::new(worker);
            let mut error = vec![0.0; count];
            for mask in downs {
                let pool = Pool::new(&weights).without(|at| mask >> at & 1 == 1);
                let Some(at) = turns.pick(&pool) else {
                    prop_assert_eq!(pool.weight_up(), 0);
                    continue;
                };
                prop_assert!(pool.is_usable(at));
                for (at, error) in error.iter_mut().enumerate().filter(|(at, _)| !pool.down[*at]) {
                    *error += f64::from(weights[at]) / pool.weight_up() as f64;
                }
                error[usize::from(at)] -= 1.0;
            }
            prop_assert!(error.iter().all(|error| error.abs() < 2.5), "{:?}", error);
        }
    }
}
