//! How much each worker has to do, where every worker can see it, and who therefore gets the next connection.
//!
//! The kernel spreads connections over listening sockets by a hash that knows nothing of load, and what it gave one
//! worker stays there for as long as the connection lives. So the worker that accepts one compares itself with another,
//! and the less loaded of the two gets it ("the power of two choices"; Mitzenmacher, 2001). The other is the next in
//! turn, or the one with the fewest connections that it has met in its turns: with two choices alone, of which one is
//! always itself, a worker that accepts nearly everything could give each of the others no more than an even share, and
//! nothing would make up for the chances of who ends (142 ‰ off with 64 workers in the simulation below; with the
//! memory, at most 80).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Differences of so few connections are no reason to move one to another CPU.
const SLACK_MIN: u64 = 2;

/// Above, a difference of 1/64 is none: the 1.6 % are paid back by the accepts that need no message.
const SLACK_SHARE: u64 = 64;

/// How much less busy the other must be, per mille, when the numbers of connections say nothing. A quarter of a CPU:
/// less is noise on a machine that does anything else, and the figure is up to a second old.
const BUSY_MARGIN: u32 = 250;

/// Of the connections that only busyness would move, one in so many is moved. The figures are a second old: with all of
/// them, clients that come and go would swing from one worker to the other each second.
const BUSY_SHARE: u32 = 4;

/// One row for each worker. Any thread writes any row: who gives a connection to a worker counts it there at once, so
/// that the next one to look already sees it. Nothing else is ordered by these numbers.
#[derive(Debug)]
pub struct Board(Box<[Row]>);

/// Alone on its pair of cache lines, as [`Shared`](crate::base::Shared) is and for the same reason.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    connections: AtomicU64,
    busy: AtomicU32,
}

/// What two workers are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Load {
    connections: u64,
    /// Per mille of the last second that its thread was on its CPU.
    busy: u32,
}

impl Load {
    fn slack(self) -> u64 {
        SLACK_MIN.max(self.connections / SLACK_SHARE)
    }

    /// Clearly more connections: a new one goes to the other.
    fn is_fuller(self, other: Self) -> bool {
        self.connections > other.connections + self.slack()
    }

    /// As many connections, give or take the slack, and clearly less idle: some of the new ones go to the other.
    fn is_busier(self, other: Self) -> bool {
        let even = self.connections.abs_diff(other.connections) <= self.slack();
        even && self.busy > other.busy + BUSY_MARGIN
    }
}

impl Board {
    /// With a row for each of so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Row::default()).collect())
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.0.len()
    }

    /// Connections that a worker has or has been handed.
    pub fn connections(&self, worker: usize) -> u64 {
        self.0[worker].connections.load(Relaxed)
    }

    /// How busy a worker's thread was in the last second, per mille.
    pub fn busy(&self, worker: usize) -> u32 {
        self.0[worker].busy.load(Relaxed)
    }

    /// Tells how busy a worker's thread was, per mille of the time.
    pub fn set_busy(&self, worker: usize, per_mille: u32) {
        self.0[worker].busy.store(per_mille, Relaxed);
    }

    /// A worker has one connection more.
    pub(super) fn enter(&self, worker: usize) {
        self.0[worker].connections.fetch_add(1, Relaxed);
    }

    /// A worker has one connection less.
    ///
    /// # Panics
    /// When it has none: one ended twice.
    pub(super) fn leave(&self, worker: usize) {
        let before = self.0[worker].connections.fetch_sub(1, Relaxed);
        assert!(before > 0, "a connection left worker {worker} twice");
    }

    fn load(&self, worker: usize) -> Load {
        Load {
            connections: self.connections(worker),
            busy: self.busy(worker),
        }
    }
}

/// One worker's choice between itself and one other.
#[derive(Debug)]
pub(super) struct Chooser {
    me: usize,
    /// How far behind `me` the other one is.
    step: usize,
    /// Had the fewest connections of those met so far.
    light: usize,
    /// New connections that busyness alone spoke for moving.
    leans: u32,
}

impl Chooser {
    pub(super) fn new(me: usize) -> Self {
        Self {
            me,
            step: 0,
            light: me,
            leans: 0,
        }
    }

    /// The worker that a new connection had better go to.
    pub(super) fn choose(&mut self, board: &Board) -> usize {
        let others = board.workers() - 1;
        if others == 0 {
            return self.me;
        }
        self.step = self.step % others + 1;
        let other = (self.me + self.step) % board.workers();
        if self.light == self.me || board.connections(other) < board.connections(self.light) {
            self.light = other;
        }
        let mine = board.load(self.me);
        let others = [self.light, other];
        let find = |is_worse: fn(Load, Load) -> bool| {
            let better = |&&other: &&usize| is_worse(mine, board.load(other));
            others.iter().find(better).copied()
        };
        find(Load::is_fuller)
            .or_else(|| find(Load::is_busier).filter(|_| self.lean()))
            .unwrap_or(self.me)
    }

    fn lean(&mut self) -> bool {
        self.leans = self.leans.wrapping_add(1);
        self.leans.is_multiple_of(BUSY_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(connections: u64, busy: u32) -> Load {
        Load { connections, busy }
    }

    #[test]
    fn few_more_connections_are_no_reason() {
        let is_fuller = |mine, other| load(mine, 0).is_fuller(load(other, 0));
        assert!(!is_fuller(2, 0));
        assert!(is_fuller(3, 0));
        assert!(!is_fuller(6400, 6300));
        assert!(is_fuller(6400, 6299));
    }

    #[test]
    fn clearly_more_connections_decide_however_busy_the_other_is() {
        assert!(load(1000, 0).is_fuller(load(500, 1000)));
        assert!(!load(500, 1000).is_fuller(load(1000, 0)));
        assert!(!load(500, 1000).is_busier(load(1000, 0)));
    }

    #[test]
    fn between_equals_the_clearly_less_busy_one_is_better() {
        assert!(!load(1000, 650).is_busier(load(1000, 400)));
        assert!(load(1000, 651).is_busier(load(1000, 400)));
        assert!(!load(1000, 400).is_busier(load(1000, 1000)));
        let (within, beyond) = (load(1015, 0), load(1016, 0));
        assert!(load(1000, 1000).is_busier(within), "15 are within 1/64");
        assert!(!load(1000, 1000).is_busier(beyond), "16 are not");
    }

    #[test]
    fn a_worker_alone_keeps_everything() {
        let board = Board::new(1);
        (0..100).for_each(|_| board.enter(0));
        assert_eq!(Chooser::new(0).choose(&board), 0);
    }

    #[test]
    fn a_burst_on_one_worker_is_dealt_out_evenly_to_all_the_others() {
        let board = Board::new(4);
        (0..100).for_each(|_| board.enter(2));
        let mut chooser = Chooser::new(2);
        for _ in 0..90 {
            let to = chooser.choose(&board);
            assert_ne!(to, 2);
            board.enter(to);
        }
        for other in [0, 1, 3] {
            assert!(board.connections(other).abs_diff(30) <= 1);
        }
    }

    #[test]
    #[should_panic(expected = "left worker 1 twice")]
    fn a_connection_that_leaves_twice_is_caught() {
        let board = Board::new(2);
        board.enter(1);
        board.leave(1);
        board.leave(1);
    }

    #[test]
    fn two_rows_are_two_pairs_of_cache_lines() {
        assert_eq!(size_of::<[Row; 2]>(), 256);
    }

    /// Workers that get connections as a hash would send them, in any shares.
    struct Play {
        board: Board,
        choosers: Vec<Chooser>,
        shares: Vec<u64>,
        /// The worker of each open connection.
        open: Vec<usize>,
        random: oorandom::Rand64,
    }

    impl Play {
        fn new(shares: Vec<u64>, busy: &[u32], seed: u64) -> Self {
            let board = Board::new(shares.len());
            (0..shares.len()).for_each(|worker| board.set_busy(worker, busy[worker % busy.len()]));
            Self {
                choosers: (0..shares.len()).map(Chooser::new).collect(),
                board,
                shares,
                open: Vec::new(),
                random: oorandom::Rand64::new(u128::from(seed)),
            }
        }

        fn arrive(&mut self) {
            let mut at = self.random.rand_range(0..self.shares.iter().sum());
            let mut hashed = 0;
            while at >= self.shares[hashed] {
                at -= self.shares[hashed];
                hashed += 1;
            }
            let worker = self.choosers[hashed].choose(&self.board);
            self.board.enter(worker);
            self.open.push(worker);
        }

        fn end_one(&mut self) {
            let at = self.random.rand_range(0..self.open.len() as u64);
            let worker = self
                .open
                .swap_remove(usize::try_from(at).expect("an index"));
            self.board.leave(worker);
        }

        /// How far the worker that is farthest from its fair share is from it, per mille.
        fn unevenness(&self) -> u64 {
            let workers = self.board.workers() as u64;
            let all = self.open.len() as u64;
            let off = |worker| (self.board.connections(worker) * workers).abs_diff(all);
            let worst = (0..self.board.workers()).map(off).max();
            worst.unwrap_or(0) * 1000 / all
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_the_hash_does_ten_thousand_connections_end_up_within_five_percent(
            workers in prop::sample::select(vec![2_usize, 3, 8, 64]),
            hot in prop::collection::vec((any::<prop::sample::Index>(), 1_u64..1000), 1..8),
            rest in 0_u64..3,
            busy in prop::collection::vec(0_u32..=1000, 1..8),
            seed in any::<u64>(),
        ) {
            let mut shares = vec![rest; workers];
            hot.iter().for_each(|(at, share)| shares[at.index(workers)] += share);
            let mut play = Play::new(shares, &busy, seed);
            (0..10_000).for_each(|_| play.arrive());
            prop_assert!(play.unevenness() <= 50, "{} ‰ after the start", play.unevenness());
            for _ in 0..20_000 {
                play.end_one();
                play.arrive();
            }
            // Who ends is chance, and here some workers are busier for ever, which pushes as hard as it can.
            prop_assert!(play.unevenness() <= 80, "{} ‰ after churn", play.unevenness());
        }
    }

    #[test]
    fn clients_that_come_and_go_do_not_swing_from_one_worker_to_the_other() {
        let mut play = Play::new(vec![1, 1], &[1000, 0], 1);
        for second in 0..20 {
            let mut taken = [0, 0];
            for _ in 0..1000 {
                play.arrive();
                let worker = play.open[0];
                taken[worker] += 1;
                play.end_one();
            }
            assert!(taken[0].min(taken[1]) > 300, "{taken:?} in second {second}");
            // Both together have one CPU's worth of work, done by who took the client.
            (0..2).for_each(|worker| play.board.set_busy(worker, taken[worker]));
        }
    }

    #[test]
    fn the_measure_of_evenness_sees_what_a_skewed_hash_does() {
        let mut play = Play::new(vec![3, 1], &[0], 1);
        play.open = [vec![0; 750], vec![1; 250]].concat();
        play.open
            .iter()
            .for_each(|&worker| play.board.enter(worker));
        assert_eq!(play.unevenness(), 500);
    }
}
