//! What changes of an upstream's backends while the process runs: connections open to each, what probes and dials say
//! of it, what the operator wants. One table for all workers and control; a snapshot only points to it.
//!
//! Each number is an atomic of its own and orders nothing else. Two workers that ask at once may see each other's
//! change late: a choice is then as good as one made a moment earlier. What must hold exactly (seats below
//! `max_connections`, one trial of a backend that was out) is one compare-and-swap.

use super::health::State;
use crate::balance::SlowStart;
use crate::config::AdminState;
use crate::ring::Time;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};
use std::time::Duration;

/// A backend that is out again within so many of its times out has flapped.
const CALM: u32 = 8;

/// Each flap doubles the time out, so many times at most: a backend that comes and goes all day is tried every eight
/// `fail_timeout`s.
const DOUBLINGS_MAX: u32 = 3;

/// Never out.
const IN: u64 = 0;

/// Whether a backend may get a connection, and if not, why. In the order in which one is asked: what the operator wants
/// comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may.
    Up,
    /// The operator wants it to get no more.
    Drain,
    /// The operator wants it to get none.
    Maint,
    /// Its probes failed.
    Down,
    /// So many dials failed in a row; it is out until its time is over.
    Out,
    /// It has `max_connections`.
    Full,
}

/// What an upstream's configuration says of dials that fail, and of backends that come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// So many in a row take a backend out; 0 is any number.
    pub max_fails: u32,
    /// For so long.
    pub fail_timeout: Duration,
    /// Over so long it then gets its share again; zero is at once.
    pub slow_start: Duration,
}

/// How much is asked of a backend: more at first, less when nobody is left who meets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Demand {
    /// It is up, and if it has just come back, its pace allows one more.
    Paced,
    /// It is up.
    Up,
    /// It is not full, and the operator does not mind: nobody is up.
    Any,
}

/// All backends of an upstream, by their places in the configuration.
#[derive(Debug)]
pub struct Live(Box<[Row]>);

/// One backend. Alone on its pair of cache lines: every worker writes to it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Row {
    open: AtomicU64,
    /// Seats; 0 is any number.
    most: u64,
    opened: AtomicU64,
    failed: AtomicU64,
    admin: AtomicU8,
    /// Its probes failed.
    down: AtomicBool,
    /// Failed dials in a row.
    fails: AtomicU32,
    /// When its time out is over, in nanoseconds; then one connection tries it, and the time begins anew.
    out_until: AtomicU64,
    /// When it was last taken back, in nanoseconds; 0 if it never was away.
    back_since: AtomicU64,
    /// How often the time out is doubled.
    doublings: AtomicU32,
    /// How often dials took it out.
    ejections: AtomicU64,
    start: SlowStart,
}

impl Live {
    /// Rows for backends with so many seats each (0: any number), as the operator and the probes want them to begin.
    pub fn new(backends: impl IntoIterator<Item = (u64, AdminState, bool)>) -> Self {
        let row = |(most, admin, is_down): (u64, AdminState, bool)| Row {
            most,
            admin: AtomicU8::new(code(admin)),
            down: AtomicBool::new(is_down),
            ..Row::default()
        };
        Self(backends.into_iter().map(row).collect())
    }

    pub(super) fn row(&self, at: u16) -> &Row {
        &self.0[usize::from(at)]
    }

    /// Connections open to a backend, dials in flight included.
    pub fn open(&self, at: u16) -> u64 {
        self.row(at).open.load(Relaxed)
    }

    /// Connections that were ever dialed to it.
    pub fn opened(&self, at: u16) -> u64 {
        self.row(at).opened.load(Relaxed)
    }

    /// Dials that failed.
    pub fn failed(&self, at: u16) -> u64 {
        self.row(at).failed.load(Relaxed)
    }

    /// How often failed dials took it out.
    pub fn ejections(&self, at: u16) -> u64 {
        self.row(at).ejections.load(Relaxed)
    }

    /// Whether failed dials took it out and none has succeeded since.
    pub fn is_out(&self, at: u16) -> bool {
        self.row(at).out_until.load(Relaxed) != IN
    }

    /// For how long it is still out.
    pub fn out_for(&self, at: u16, now: Time) -> Duration {
        Time::from_nanos(self.row(at).out_until.load(Relaxed)) - now
    }

    /// Whether it may get a connection now.
    pub fn standing(&self, at: u16, now: Time) -> Standing {
        self.row(at).standing(now)
    }

    /// What the operator wants.
    pub fn admin(&self, at: u16) -> AdminState {
        admin(self.row(at).admin.load(Relaxed))
    }

    /// What probes and dials say, whatever the operator wants.
    pub fn health(&self, at: u16, now: Time) -> State {
        if self.row(at).is_well(now) {
            State::Up
        } else {
            State::Down
        }
    }

    /// Gives a seat back.
    ///
    /// # Panics
    /// When none is taken: a connection left twice.
    pub fn leave(&self, at: u16) {
        let before = self.row(at).open.fetch_sub(1, Relaxed);
        assert!(before > 0, "a connection left backend {at} twice");
    }

    /// A dial succeeded.
    pub fn on_connected(&self, at: u16, now: Time) {
        let row = self.row(at);
        // Mostly nothing has failed, and then nothing is written.
        if row.fails.load(Relaxed) > 0 {
            row.fails.store(0, Relaxed);
        }
        if row.out_until.load(Relaxed) != IN && row.out_until.swap(IN, AcqRel) != IN {
            row.take_back(now);
        }
    }

    /// A dial failed, for a reason that is the backend's.
    pub fn on_failed(&self, at: u16, terms: Terms, now: Time) {
        let row = self.row(at);
        row.failed.fetch_add(1, Relaxed);
        let fails = row.fails.fetch_add(1, Relaxed).saturating_add(1);
        let is_enough = terms.max_fails > 0 && fails >= terms.max_fails;
        if is_enough && row.out_until.load(Relaxed) == IN {
            row.take_out(terms.fail_timeout, now);
        }
    }

    /// What probes say. Whether that is news.
    pub fn set_down(&self, at: u16, is_down: bool, now: Time) -> bool {
        let row = self.row(at);
        let is_news = row.down.swap(is_down, AcqRel) != is_down;
        if is_news && !is_down {
            row.fails.store(0, Relaxed);
            row.out_until.store(IN, Relaxed);
            row.take_back(now);
        }
        is_news
    }

    /// What the operator wants.
    pub fn set_admin(&self, at: u16, admin: AdminState) {
        self.row(at).admin.store(code(admin), Relaxed);
    }
}

impl Row {
    pub(super) fn standing(&self, now: Time) -> Standing {
        let admin = self.admin.load(Relaxed);
        if admin == code(AdminState::Maint) {
            Standing::Maint
        } else if admin == code(AdminState::Drain) {
            Standing::Drain
        } else if self.most > 0 && self.open.load(Relaxed) >= self.most {
            Standing::Full
        } else if self.down.load(Relaxed) {
            Standing::Down
        } else if self.out_until.load(Relaxed) > now.as_nanos() {
            Standing::Out
        } else {
            Standing::Up
        }
    }

    fn is_well(&self, now: Time) -> bool {
        !self.down.load(Relaxed) && self.out_until.load(Relaxed) <= now.as_nanos()
    }

    /// When it was last taken back, if ever.
    fn back_since(&self) -> Option<Time> {
        match self.back_since.load(Relaxed) {
            0 => None,
            since => Some(Time::from_nanos(since)),
        }
    }

    /// Whether it may get a connection of which so much is asked.
    pub(super) fn meets(&self, demand: Demand, terms: Terms, now: Time) -> bool {
        match (demand, self.standing(now)) {
            (Demand::Paced, Standing::Up) => self.start.may(now, terms.slow_start),
            (Demand::Up, Standing::Up)
            | (Demand::Any, Standing::Up | Standing::Down | Standing::Out) => true,
            (Demand::Paced | Demand::Up, Standing::Down | Standing::Out)
            | (_, Standing::Full | Standing::Drain | Standing::Maint) => false,
        }
    }

    /// Takes a seat of a backend that [meets](Self::meets) the demand. `false` when somebody else was faster: the last
    /// seat is gone, or the pace of a slow start is kept, or another connection tries a backend that was out.
    ///
    /// The try comes last: who finds no seat must not have kept everybody else away for another `fail_timeout`.
    pub(super) fn take(&self, demand: Demand, terms: Terms, now: Time) -> bool {
        let is_paced = demand == Demand::Paced;
        if is_paced && !self.start.take(now, terms.slow_start) {
            return false;
        }
        let one_more = |open| (self.most == 0 || open < self.most).then_some(open + 1);
        if self.open.fetch_update(Relaxed, Relaxed, one_more).is_err() {
            return false;
        }
        if demand != Demand::Any && !self.may_try(terms.fail_timeout, now) {
            self.open.fetch_sub(1, Relaxed);
            return false;
        }
        self.opened.fetch_add(1, Relaxed);
        true
    }

    fn take_back(&self, now: Time) {
        self.back_since.store(now.as_nanos(), Relaxed);
        self.start.begin(now);
    }

    /// Whether this connection is the one that finds out whether a backend whose time out is over is back. If it fails,
    /// others have been kept away meanwhile.
    fn may_try(&self, fail_timeout: Duration, now: Time) -> bool {
        let until = self.out_until.load(Relaxed);
        if until == IN {
            return true;
        }
        if until > now.as_nanos() {
            return false;
        }
        let next = (now + fail_timeout).as_nanos();
        self.out_until
            .compare_exchange(until, next, AcqRel, Relaxed)
            .is_ok()
    }

    fn take_out(&self, fail_timeout: Duration, now: Time) {
        let calm = fail_timeout.saturating_mul(CALM);
        let flapped = self.back_since().is_some_and(|since| now - since < calm);
        let doublings = if flapped {
            self.doublings
                .load(Relaxed)
                .saturating_add(1)
                .min(DOUBLINGS_MAX)
        } else {
            0
        };
        let until = (now + fail_timeout.saturating_mul(1 << doublings)).as_nanos();
        if self
            .out_until
            .compare_exchange(IN, until, AcqRel, Relaxed)
            .is_ok()
        {
            self.doublings.store(doublings, Relaxed);
            self.ejections.fetch_add(1, Relaxed);
        }
    }
}

const fn code(state: AdminState) -> u8 {
    match state {
        AdminState::Ready => 0,
        AdminState::Drain => 1,
        AdminState::Maint => 2,
    }
}

/// The reverse of [`code`], which alone writes it.
const fn admin(code: u8) -> AdminState {
    match code {
        0 => AdminState::Ready,
        1 => AdminState::Drain,
        _ => AdminState::Maint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        max_fails: 3,
        fail_timeout: Duration::from_secs(10),
        slow_start: Duration::ZERO,
    };

    fn one(most: u64) -> Live {
        Live::new([(most, AdminState::Ready, false)])
    }

    fn at(seconds: u64) -> Time {
        Time::default() + Duration::from_secs(1_000 + seconds)
    }

    fn take(live: &Live, now: Time) -> bool {
        live.row(0).take(Demand::Paced, TERMS, now)
    }

    fn fail(live: &Live, times: u32, now: Time) {
        (0..times).for_each(|_| live.on_failed(0, TERMS, now));
    }

    #[test]
    fn failures_in_a_row_take_a_backend_out_until_its_time_is_over() {
        let live = one(0);
        fail(&live, 2, at(0));
        assert_eq!(live.standing(0, at(0)), Standing::Up);
        live.on_connected(0, at(0));
        fail(&live, 2, at(0));
        assert_eq!(live.standing(0, at(0)), Standing::Up, "not in a row");
        fail(&live, 1, at(0));
        assert_eq!(live.standing(0, at(9)), Standing::Out);
        assert_eq!(live.standing(0, at(10)), Standing::Up);
        assert_eq!((live.failed(0), live.ejections(0)), (5, 1));
    }

    #[test]
    fn one_connection_tries_a_backend_that_was_out_while_others_keep_away() {
        let live = one(0);
        fail(&live, 3, at(0));
        assert!(take(&live, at(10)));
        assert_eq!(live.standing(0, at(10)), Standing::Out);
        live.on_failed(0, TERMS, at(11));
        assert_eq!(live.standing(0, at(19)), Standing::Out);
        assert!(take(&live, at(20)), "the next one tries");
        live.on_connected(0, at(20));
        assert_eq!(live.standing(0, at(20)), Standing::Up);
        assert!(take(&live, at(20)) && take(&live, at(20)));
    }

    #[test]
    fn who_finds_no_seat_leaves_the_trial_of_a_backend_that_was_out_to_others() {
        let live = one(1);
        assert!(take(&live, at(0)));
        fail(&live, 3, at(0));
        assert!(!take(&live, at(10)), "the seat is still taken");
        live.leave(0);
        assert!(take(&live, at(10)));
        assert_eq!((live.open(0), live.opened(0)), (1, 2));
    }

    #[test]
    fn two_that_try_at_the_same_moment_are_told_apart() {
        let live = one(0);
        fail(&live, 3, at(0));
        let let_in = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| take(&live, at(10))))
                .collect();
            all.into_iter()
                .filter_map(|it| it.join().ok())
                .filter(|it| *it)
                .count()
        });
        assert_eq!(let_in, 1);
        assert_eq!(live.open(0), 1);
    }

    #[test]
    fn a_backend_that_flaps_stays_out_twice_as_long_each_time_and_eight_times_at_most() {
        let live = one(0);
        let (mut now, mut times) = (0, Vec::new());
        for _ in 0..6 {
            fail(&live, 3, at(now));
            let back = (now..)
                .find(|&s| live.standing(0, at(s)) == Standing::Up)
                .unwrap();
            times.push(back - now);
            live.on_connected(0, at(back));
            now = back + 1;
        }
        assert_eq!(times, [10, 20, 40, 80, 80, 80]);
        now += 1_000;
        fail(&live, 3, at(now));
        assert_eq!(live.standing(0, at(now + 10)), Standing::Up, "it was calm");
    }

    #[test]
    fn seats_are_counted_exactly_by_all_threads() {
        let live = one(100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).filter(|_| take(&live, at(0))).count());
            }
        });
        assert_eq!((live.open(0), live.opened(0)), (100, 100));
        assert_eq!(live.standing(0, at(0)), Standing::Full);
        live.leave(0);
        assert!(take(&live, at(0)) && !take(&live, at(0)));
    }

    #[test]
    fn what_the_operator_wants_comes_before_what_probes_say() {
        let live = Live::new([(0, AdminState::Maint, true)]);
        assert_eq!(live.standing(0, at(0)), Standing::Maint);
        assert_eq!(live.admin(0), AdminState::Maint);
        live.set_admin(0, AdminState::Drain);
        assert_eq!(live.standing(0, at(0)), Standing::Drain);
        assert_eq!(live.admin(0), AdminState::Drain);
        live.set_admin(0, AdminState::Ready);
        assert_eq!(live.standing(0, at(0)), Standing::Down);
        assert_eq!(
            (live.admin(0), live.health(0, at(0))),
            (AdminState::Ready, State::Down)
        );
        assert!(live.set_down(0, false, at(0)) && !live.set_down(0, false, at(0)));
        assert_eq!(live.standing(0, at(0)), Standing::Up);
    }

    #[test]
    fn a_probe_that_passes_again_makes_up_for_failed_dials() {
        let live = one(0);
        fail(&live, 3, at(0));
        live.set_down(0, true, at(1));
        live.set_down(0, false, at(2));
        assert_eq!(live.standing(0, at(2)), Standing::Up);
    }
}
