//! What changes of an upstream's backends while the process runs: connections open to each, what probes and dials say
//! of it, what the operator wants. One table for all workers and control; a snapshot only points to it.
//!
//! Each number is an atomic of its own and orders nothing else. Two workers that ask at once may see each other's
//! change late: a choice is then as good as one made a moment earlier. What must hold exactly (seats below
//! `max_connections`, one trial of a backend that was out) is one compare-and-swap.

use super::health::State;
use super::traffic::{Ledger, Traffic};
use crate::balance::SlowStart;
use crate::base::{Counted, Distribution, SharedHistogram, Tally};
use crate::config::{AdminState, Backend, InitialHealth, Upstream};
use crate::ring::Time;
use std::sync::Arc;
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

/// Why a dial came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialFailure {
    /// The backend's host refused it.
    Refused,
    /// Nobody answered within `connect_timeout`.
    Timeout,
    /// The backend could not be reached for another reason.
    Other,
    /// This machine had no local port left towards the backend, or not the address to dial from. No backend's fault: it
    /// takes none out.
    Port,
    /// This machine had no descriptor or memory left. No backend's fault either.
    Resource,
}

impl DialFailure {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] = [
        Self::Refused,
        Self::Timeout,
        Self::Other,
        Self::Port,
        Self::Resource,
    ];

    /// The word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Other => "other",
            Self::Port => "port",
            Self::Resource => "resource",
        }
    }

    /// Whether the backend is to blame.
    pub const fn is_the_backends(self) -> bool {
        match self {
            Self::Refused | Self::Timeout | Self::Other => true,
            Self::Port | Self::Resource => false,
        }
    }
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
pub struct Live(Box<[Arc<Member>]>);

/// One backend while the process runs, however often the configuration changes around it. Alone on its pairs of cache
/// lines: every worker writes to it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Member {
    upstream: Arc<str>,
    name: Box<str>,
    open: AtomicU64,
    /// Connections that processes before this one still have open to it.
    elsewhere: AtomicU64,
    /// Seats; 0 is any number.
    most: AtomicU64,
    opened: AtomicU64,
    /// Failed dials, in the order of [`DialFailure::ALL`].
    failed: [AtomicU64; DialFailure::ALL.len()],
    /// How long the others took.
    connects: SharedHistogram,
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
    ledger: Ledger,
    start: SlowStart,
}

impl Standing {
    /// The word for status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Down => "down",
            Self::Out => "out",
            Self::Full => "full",
        }
    }
}

impl Live {
    /// Backends that nobody has connections to yet, as the operator and the probes want them to begin.
    pub fn new(name: &Arc<str>, settings: &Upstream) -> Self {
        let member = |backend| Arc::new(Member::new(name, settings, backend));
        Self(settings.backends.iter().map(member).collect())
    }

    /// What is known of the backends of other settings, of which `before` and `after` are the old and the new. A backend
    /// with another address is another backend.
    pub(super) fn next(
        &self,
        name: &Arc<str>,
        (before, after): (&Upstream, &Upstream),
        now: Time,
    ) -> Self {
        let same = |new: &Backend| {
            let mut all = before.backends.iter().zip(&self.0);
            all.find(|(old, _)| old.name == new.name && old.address == new.address)
        };
        let next = |new| match same(new) {
            Some((old, member)) => {
                member.follow((before, after), (old, new), now);
                Arc::clone(member)
            }
            None => {
                let member = Member::new(name, after, new);
                member.start.begin(now);
                Arc::new(member)
            }
        };
        Self(after.backends.iter().map(next).collect())
    }

    /// What is known of the backend at a place.
    pub fn member(&self, at: u16) -> &Arc<Member> {
        &self.0[usize::from(at)]
    }

    /// All of them, by their places.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.0
    }
}

impl Member {
    fn new(name: &Arc<str>, upstream: &Upstream, backend: &Backend) -> Self {
        Self {
            upstream: Arc::clone(name),
            name: backend.name.as_str().into(),
            most: AtomicU64::new(backend.max_connections as u64),
            admin: AtomicU8::new(code(backend.state)),
            down: AtomicBool::new(starts_down(upstream, backend)),
            ..Self::default()
        }
    }

    /// The operator has written something else. What an admin has said since stands unless the file says otherwise than
    /// it did.
    fn follow(
        &self,
        (before, after): (&Upstream, &Upstream),
        (old, new): (&Backend, &Backend),
        now: Time,
    ) {
        self.most.store(new.max_connections as u64, Relaxed);
        if old.state != new.state {
            self.set_admin(new.state);
        }
        // Nobody is left to say that it is up again.
        let has_address = new.address.socket().is_some();
        if before.probe.is_some() && after.probe.is_none() && has_address {
            self.set_down(false, now);
        }
    }

    /// The name of its upstream.
    pub fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// Its own.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connections open to it, dials in flight included.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// The same together with those that processes before this one still have: how loaded it is.
    pub fn load(&self) -> u64 {
        self.open() + self.elsewhere.load(Relaxed)
    }

    /// So many are open to it from processes before this one.
    pub fn set_elsewhere(&self, open: u64) {
        self.elsewhere.store(open, Relaxed);
    }

    /// Connections that were ever dialed to it.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// Dials that failed, for a reason that is the backend's.
    pub fn failed(&self) -> u64 {
        let theirs = DialFailure::ALL.into_iter();
        theirs
            .filter(|failure| failure.is_the_backends())
            .map(|failure| self.failed_by(failure))
            .sum()
    }

    /// Dials that failed for this reason.
    pub fn failed_by(&self, failure: DialFailure) -> u64 {
        self.failed[failure as usize].load(Relaxed)
    }

    /// How long the dials took that succeeded.
    pub fn connects(&self) -> Distribution {
        self.connects.read()
    }

    /// How often failed dials took it out.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Where a worker counts its bytes.
    pub fn traffic(&self, worker: u16) -> Arc<Traffic> {
        self.ledger.of(worker)
    }

    /// Bytes to and from it, of all workers.
    pub fn bytes(&self) -> (u64, u64) {
        self.ledger.total()
    }

    /// Whether failed dials took it out and none has succeeded since.
    pub fn is_out(&self) -> bool {
        self.out_until.load(Relaxed) != IN
    }

    /// For how long it is still out.
    pub fn out_for(&self, now: Time) -> Duration {
        Time::from_nanos(self.out_until.load(Relaxed)) - now
    }

    /// What the operator wants.
    pub fn admin(&self) -> AdminState {
        admin(self.admin.load(Relaxed))
    }

    /// What probes and dials say, whatever the operator wants.
    pub fn health(&self, now: Time) -> State {
        if self.is_well(now) {
            State::Up
        } else {
            State::Down
        }
    }

    /// What probes say alone.
    pub fn probed(&self) -> State {
        if self.down.load(Relaxed) {
            State::Down
        } else {
            State::Up
        }
    }

    /// Gives a seat back.
    ///
    /// # Panics
    /// When none is taken: a connection left twice.
    pub fn leave(&self) {
        let before = self.open.fetch_sub(1, Relaxed);
        assert!(before > 0, "a connection left {self:?} twice");
    }

    /// A dial succeeded, and took so long.
    pub fn on_connected(&self, took: Duration, now: Time) {
        self.connects.add(took);
        // Mostly nothing has failed, and then nothing is written.
        if self.fails.load(Relaxed) > 0 {
            self.fails.store(0, Relaxed);
        }
        if self.out_until.load(Relaxed) != IN && self.out_until.swap(IN, AcqRel) != IN {
            self.take_back(now);
        }
    }

    /// A dial failed. If the reason is the backend's, it has failed once more in a self.
    pub fn on_failed(&self, failure: DialFailure, terms: Terms, now: Time) {
        self.failed[failure as usize].fetch_add(1, Relaxed);
        if !failure.is_the_backends() {
            return;
        }
        let fails = self.fails.fetch_add(1, Relaxed).saturating_add(1);
        let is_enough = terms.max_fails > 0 && fails >= terms.max_fails;
        if is_enough && self.out_until.load(Relaxed) == IN {
            self.take_out(terms.fail_timeout, now);
        }
    }

    /// What probes say. Whether that is news.
    pub fn set_down(&self, is_down: bool, now: Time) -> bool {
        let is_news = self.down.swap(is_down, AcqRel) != is_down;
        if is_news && !is_down {
            self.fails.store(0, Relaxed);
            self.out_until.store(IN, Relaxed);
            self.take_back(now);
        }
        is_news
    }

    /// What another process found out about it before this one began: what its probes said, if it was probed, and for
    /// how long it is still out.
    pub fn begin_with(&self, probed: Option<State>, out_for: Duration, now: Time) {
        if let Some(state) = probed {
            self.down.store(state == State::Down, Relaxed);
        }
        if !out_for.is_zero() {
            self.out_until.store((now + out_for).as_nanos(), Relaxed);
        }
    }

    /// What the operator wants.
    pub fn set_admin(&self, admin: AdminState) {
        self.admin.store(code(admin), Relaxed);
    }

    /// Whether it may get a connection now.
    pub fn standing(&self, now: Time) -> Standing {
        let admin = self.admin.load(Relaxed);
        if admin == code(AdminState::Maint) {
            Standing::Maint
        } else if admin == code(AdminState::Drain) {
            Standing::Drain
        } else if self.is_full(self.open()) {
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

    fn is_full(&self, open: u64) -> bool {
        let most = self.most.load(Relaxed);
        most > 0 && open.saturating_add(self.elsewhere.load(Relaxed)) >= most
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
        let one_more = |open| (!self.is_full(open)).then_some(open + 1);
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

impl Counted for Member {
    fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally)) {
        see("opened", &self.opened);
        for (failure, count) in DialFailure::ALL.into_iter().zip(&self.failed) {
            see(&format!("failed.{}", failure.word()), count);
        }
        self.connects.each("connects", see);
        see("ejections", &self.ejections);
        self.ledger.each(see);
    }
}

/// A name without an address is down, whoever asks.
fn starts_down(upstream: &Upstream, backend: &Backend) -> bool {
    let probe = upstream.probe.as_ref();
    let is_unproven = probe.is_some_and(|probe| probe.initial == InitialHealth::Down);
    is_unproven || backend.address.socket().is_none()
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
    use std::net::SocketAddr;

    const TERMS: Terms = Terms {
        max_fails: 3,
        fail_timeout: Duration::from_secs(10),
        slow_start: Duration::ZERO,
    };

    const TOOK: Duration = Duration::from_micros(80);

    fn one(most: usize) -> Member {
        let mut backend = Backend::new(SocketAddr::from(([192, 0, 2, 1], 80)));
        backend.max_connections = most;
        let upstream = Upstream::new("u".to_owned(), Vec::new());
        Member::new(&"u".into(), &upstream, &backend)
    }

    fn at(seconds: u64) -> Time {
        Time::default() + Duration::from_secs(1_000 + seconds)
    }

    fn take(live: &Member, now: Time) -> bool {
        live.take(Demand::Paced, TERMS, now)
    }

    fn fail(live: &Member, times: u32, now: Time) {
        (0..times).for_each(|_| live.on_failed(DialFailure::Refused, TERMS, now));
    }

    #[test]
    fn failures_in_a_row_take_a_backend_out_until_its_time_is_over() {
        let live = one(0);
        fail(&live, 2, at(0));
        assert_eq!(live.standing(at(0)), Standing::Up);
        live.on_connected(TOOK, at(0));
        fail(&live, 2, at(0));
        assert_eq!(live.standing(at(0)), Standing::Up, "not in a row");
        fail(&live, 1, at(0));
        assert_eq!(live.standing(at(9)), Standing::Out);
        assert_eq!(live.standing(at(10)), Standing::Up);
        assert_eq!((live.failed(), live.ejections()), (5, 1));
    }

    #[test]
    fn what_this_machine_lacks_is_counted_and_takes_no_backend_out() {
        let live = one(0);
        for _ in 0..9 {
            live.on_failed(DialFailure::Resource, TERMS, at(0));
            live.on_failed(DialFailure::Port, TERMS, at(0));
        }
        assert_eq!(live.standing(at(0)), Standing::Up);
        assert_eq!(live.failed_by(DialFailure::Resource), 9);
        assert_eq!(live.failed_by(DialFailure::Port), 9);
        assert_eq!(live.failed(), 0);
    }

    #[test]
    fn dials_that_succeed_are_counted_by_how_long_they_took() {
        let live = one(0);
        live.on_connected(TOOK, at(0));
        live.on_connected(TOOK * 1000, at(0));
        let connects = live.connects();
        assert_eq!((connects.count(), connects.nanos), (2, 80_080_000));
    }

    #[test]
    fn one_connection_tries_a_backend_that_was_out_while_others_keep_away() {
        let live = one(0);
        fail(&live, 3, at(0));
        assert!(take(&live, at(10)));
        assert_eq!(live.standing(at(10)), Standing::Out);
        live.on_failed(DialFailure::Timeout, TERMS, at(11));
        assert_eq!(live.standing(at(19)), Standing::Out);
        assert!(take(&live, at(20)), "the next one tries");
        live.on_connected(TOOK, at(20));
        assert_eq!(live.standing(at(20)), Standing::Up);
        assert!(take(&live, at(20)) && take(&live, at(20)));
    }

    #[test]
    fn who_finds_no_seat_leaves_the_trial_of_a_backend_that_was_out_to_others() {
        let live = one(1);
        assert!(take(&live, at(0)));
        fail(&live, 3, at(0));
        assert!(!take(&live, at(10)), "the seat is still taken");
        live.leave();
        assert!(take(&live, at(10)));
        assert_eq!((live.open(), live.opened()), (1, 2));
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
        assert_eq!(live.open(), 1);
    }

    #[test]
    fn a_backend_that_flaps_stays_out_twice_as_long_each_time_and_eight_times_at_most() {
        let live = one(0);
        let (mut now, mut times) = (0, Vec::new());
        for _ in 0..6 {
            fail(&live, 3, at(now));
            let back = (now..)
                .find(|&s| live.standing(at(s)) == Standing::Up)
                .unwrap();
            times.push(back - now);
            live.on_connected(TOOK, at(back));
            now = back + 1;
        }
        assert_eq!(times, [10, 20, 40, 80, 80, 80]);
        now += 1_000;
        fail(&live, 3, at(now));
        assert_eq!(live.standing(at(now + 10)), Standing::Up, "it was calm");
    }

    #[test]
    fn seats_are_counted_exactly_by_all_threads() {
        let live = one(100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).filter(|_| take(&live, at(0))).count());
            }
        });
        assert_eq!((live.open(), live.opened()), (100, 100));
        assert_eq!(live.standing(at(0)), Standing::Full);
        live.leave();
        assert!(take(&live, at(0)) && !take(&live, at(0)));
    }

    #[test]
    fn connections_of_another_process_fill_a_backend_too() {
        let live = one(3);
        live.set_elsewhere(2);
        assert!(take(&live, at(0)) && !take(&live, at(0)));
        assert_eq!(live.standing(at(0)), Standing::Full);
        assert_eq!((live.open(), live.load()), (1, 3));
        live.set_elsewhere(0);
        assert!(take(&live, at(0)));
    }

    #[test]
    fn what_another_process_found_out_holds_from_the_start() {
        let live = one(0);
        live.begin_with(Some(State::Down), Duration::ZERO, at(0));
        assert_eq!(live.standing(at(0)), Standing::Down);
        live.begin_with(Some(State::Up), Duration::from_secs(5), at(0));
        assert_eq!(live.standing(at(4)), Standing::Out);
        assert_eq!((live.standing(at(5)), live.ejections()), (Standing::Up, 0));
    }

    #[test]
    fn what_the_operator_wants_comes_before_what_probes_say() {
        let live = one(0);
        live.set_admin(AdminState::Maint);
        assert!(live.set_down(true, at(0)));
        assert_eq!(live.standing(at(0)), Standing::Maint);
        live.set_admin(AdminState::Drain);
        assert_eq!(live.standing(at(0)), Standing::Drain);
        live.set_admin(AdminState::Ready);
        assert_eq!(live.standing(at(0)), Standing::Down);
        assert_eq!(
            (live.admin(), live.health(at(0))),
            (AdminState::Ready, State::Down)
        );
        assert!(live.set_down(false, at(0)) && !live.set_down(false, at(0)));
        assert_eq!(live.standing(at(0)), Standing::Up);
    }

    #[test]
    fn a_probe_that_passes_again_makes_up_for_failed_dials() {
        let live = one(0);
        fail(&live, 3, at(0));
        live.set_down(true, at(1));
        live.set_down(false, at(2));
        assert_eq!(live.standing(at(2)), Standing::Up);
    }
}
