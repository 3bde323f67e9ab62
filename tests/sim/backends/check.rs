//! What every choice of a world must be like, and every end of a connection whose backend changed.

use super::watch::{Backend, Evicted, Set, Turn, Watch};
use crate::seats::Record;
use ringway::config::{AllDown, Upstream};
use ringway::conn::Cause;
use ringway::ring::{Errno, Time};
use ringway::sim::{Dialed, World};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How much later than its turn an evicted connection may be over: a second in which its peers may take what was received,
/// and what a slow kernel and a late bell take.
const EVICTED_IN: Duration = Duration::from_millis(1_200);

/// From one time that a connection is asked to end to the next, while it cannot.
const AGAIN: Duration = Duration::from_secs(1);

/// The least time between two connections at the beginning of a slow start: 16 a second, and 20 ms that are remembered.
const APART_MIN: Duration = Duration::from_micros(42_500);

/// What a dial fails with that this machine lacks something for, here.
const OURS: [Errno; 2] = [Errno::EMFILE, Errno::EADDRNOTAVAIL];

/// A world that is over.
pub(crate) struct Known<'a> {
    pub(crate) world: &'a World,
    pub(crate) watch: &'a Watch,
    pub(crate) upstreams: &'a [Upstream],
    pub(crate) workers: usize,
}

/// Whom a dial is for: a slot of a ring.
type Slot = (usize, u32, u32);

fn slot_of(dial: &Dialed) -> Slot {
    (dial.ring, dial.tag.slot, dial.tag.generation)
}

impl Known<'_> {
    pub(crate) fn check(&self, records: &[Record]) {
        self.check_dials();
        for record in records {
            self.check_tries(record);
            self.check_refusal(record);
            self.check_success(record);
            self.check_eviction(record);
        }
        self.watch
            .backends
            .iter()
            .for_each(|backend| self.check_counts(backend));
    }

    fn number_of(&self, dial: &Dialed) -> usize {
        let mut all = self.watch.backends.iter();
        all.position(|it| it.address == dial.peer)
            .expect("nobody else is dialed")
    }

    /// The backends of an upstream.
    fn of_upstream(&self, upstream: usize) -> Set {
        self.set(|it| usize::from(it.upstream) == upstream)
    }

    fn set(&self, is_in: impl Fn(&Backend) -> bool) -> Set {
        let mut set = Set::default();
        let all = self.watch.backends.iter().enumerate();
        all.filter(|(_, it)| is_in(it))
            .for_each(|(number, _)| set.add(number));
        set
    }

    fn check_dials(&self) {
        let mut tried: HashMap<Slot, Set> = HashMap::new();
        let mut chosen: HashMap<usize, Vec<usize>> = HashMap::new();
        let steady = self.steady();
        for (dial, &at) in self.world.dials().iter().zip(&self.watch.picked) {
            let number = self.number_of(dial);
            let tried = tried.entry(slot_of(dial)).or_default();
            let turn = self.watch.turns[at];
            self.check_pick(number, turn, *tried);
            let others = turn.usable.and(steady).and(self.peers_of(number));
            if !others.without(*tried).is_empty() {
                chosen.entry(number).or_default().push(at);
            }
            tried.add(number);
            self.check_seats(number, dial);
        }
        chosen
            .iter()
            .for_each(|(number, turns)| self.check_pace(*number, turns));
    }

    /// Those that never were away: nothing holds them back.
    fn steady(&self) -> Set {
        let mut returned = Set::default();
        let all = self.watch.returned.iter();
        all.for_each(|it| returned.add(it.backend));
        self.set(|it| it.live.ejections() == 0).without(returned)
    }

    /// Of its upstream and its tier.
    fn peers_of(&self, number: usize) -> Set {
        let own = &self.watch.backends[number];
        self.set(|it| (it.upstream, it.is_backup) == (own.upstream, own.is_backup))
    }

    /// In the first tenth of its slow start a backend is chosen for one connection after the other, slowly, while there is
    /// another to choose.
    fn check_pace(&self, number: usize, chosen: &[usize]) {
        let turns = &self.watch.turns;
        let upstream = usize::from(self.watch.backends[number].upstream);
        let first_tenth = self.upstreams[upstream].slow_start / 10;
        let returned = self.watch.returned.iter().filter(|it| it.backend == number);
        for it in returned {
            let is_early = |at: &&usize| **at >= it.turn && turns[**at].now < it.at + first_tenth;
            let early: Vec<_> = chosen.iter().filter(is_early).collect();
            for pair in early.windows(2) {
                let [first, second] = [pair[0], pair[1]].map(|at| turns[*at].now);
                assert!(
                    second.since(first) >= APART_MIN,
                    "{} got connections at {first} and {second}, at the beginning of a slow start",
                    self.watch.backends[number].address,
                );
            }
        }
    }

    /// Nobody was dialed who should not have been, while another could.
    fn check_pick(&self, number: usize, turn: Turn, tried: Set) {
        let Turn { now, .. } = turn;
        let backend = &self.watch.backends[number];
        let name = backend.address;
        let is_away = turn.away.has(number);
        let all_down = self.upstreams[usize::from(backend.upstream)].all_down;
        let others = turn.usable.without(tried);
        let others = others.and(self.of_upstream(usize::from(backend.upstream)));
        let ordinary = others.and(self.set(|it| !it.is_backup));
        assert!(!tried.has(number), "{name} was tried twice, at {now}");
        assert!(
            !turn.closed.has(number),
            "{name} was dialed in drain or maintenance, at {now}"
        );
        assert!(
            !is_away || others.is_empty(),
            "{name} was dialed while it was away and {others:?} were not, at {now}"
        );
        assert!(
            !is_away || all_down == AllDown::TryAll,
            "{name} was dialed although all are refused while none is up, at {now}"
        );
        assert!(
            !backend.is_backup || ordinary.is_empty(),
            "{name} is a backup and was dialed while {ordinary:?} were up, at {now}"
        );
    }

    /// The seats as the kernel has them. Of two workers one may take the seat of a connection that the other closes only at the
    /// beginning of its next turn.
    fn check_seats(&self, number: usize, dial: &Dialed) {
        let most = self.watch.backends[number].most;
        assert!(
            self.workers > 1 || most == 0 || dial.open as u64 <= most,
            "{} connections to {}, which has {most} seats",
            dial.open,
            dial.peer
        );
    }

    fn dials_of<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = &'a Dialed> {
        let dials = self.world.dials().iter();
        dials.filter(|dial| self.world.dialed_for(dial) == Some(record.client))
    }

    /// The record says whom the world saw dialed.
    fn check_tries(&self, record: &Record) {
        let summary = &record.summary;
        let Some(last) = self.dials_of(record).last() else {
            return;
        };
        let tries = self.dials_of(record).count();
        assert_eq!(usize::from(summary.tries), tries, "{}", summary.outcome);
        let backend = &self.watch.backends[self.number_of(last)];
        assert!(
            record
                .backend
                .as_ref()
                .is_some_and(|it| Arc::ptr_eq(it, &backend.live)),
            "{}",
            summary.outcome
        );
    }

    /// Nobody was given up while a backend could be had that he had not tried.
    fn check_refusal(&self, record: &Record) {
        let summary = &record.summary;
        let cause = summary.outcome.cause;
        let is_refused = matches!(
            cause,
            Cause::NoBackend
                | Cause::ConnectRefused
                | Cause::ConnectTimeout
                | Cause::ConnectFailed
                | Cause::Resource
        );
        let upstream = record.upstream().expect("each listener has its own");
        let tries_max = self.upstreams[upstream].connect_tries;
        let Some((from, to)) = self.decided(record) else {
            return;
        };
        if !is_refused || summary.connect.is_some() || summary.tries >= tries_max {
            return;
        }
        let mut tried = Set::default();
        self.dials_of(record)
            .for_each(|dial| tried.add(self.number_of(dial)));
        let missed = self
            .throughout(record, (from, to), |turn| turn.usable)
            .and(self.of_upstream(upstream))
            .without(tried);
        assert!(
            missed.is_empty(),
            "client {} ended {cause:?} after {} tries while {missed:?} could be had, at {from}",
            record.client,
            summary.tries
        );
    }

    /// A dial that succeeded took its backend back.
    fn check_success(&self, record: &Record) {
        let Some(connected) = record.summary.connect.map(|after| record.started + after) else {
            return;
        };
        let Some(dial) = self.dials_of(record).last() else {
            return;
        };
        let out = self.throughout(record, (connected, connected), |turn| turn.out);
        assert!(
            !out.has(self.number_of(dial)),
            "{} is out although a dial of it succeeded at {connected}",
            dial.peer
        );
    }

    /// What held in every turn of a connection's worker from one moment to another.
    fn throughout(
        &self,
        record: &Record,
        (from, to): (Time, Time),
        what: impl Fn(&Turn) -> Set,
    ) -> Set {
        let turns = self.watch.turns.iter();
        turns
            .filter(|turn| turn.worker == usize::from(record.worker))
            .filter(|turn| from <= turn.now && turn.now <= to)
            .map(what)
            .reduce(Set::and)
            .unwrap_or_default()
    }

    /// When a connection that got no backend was given up; of two workers one may come to know of it later.
    fn decided(&self, record: &Record) -> Option<(Time, Time)> {
        match (record.summary.tries, self.workers) {
            (0, 1) => Some((record.started, record.started)),
            (0, _) => Some((record.started, record.ended)),
            (_, _) => {
                let failed = self.dials_of(record).last()?.failed?.0;
                Some((failed, failed))
            }
        }
    }

    /// Whoever was relayed to a backend when its connections were to end did, and nobody else for that reason.
    fn check_eviction(&self, record: &Record) {
        let Some(connected) = record.summary.connect.map(|after| record.started + after) else {
            return;
        };
        let ended = record.ended;
        let latest = |it: &Evicted| it.at + it.over + EVICTED_IN;
        let is_own = |it: &&Evicted| {
            let backend = &self.watch.backends[it.backend].live;
            record
                .backend
                .as_ref()
                .is_some_and(|it| Arc::ptr_eq(it, backend))
        };
        let outcome = record.summary.outcome;
        let evicted = || self.watch.evicted.iter().filter(is_own);
        for it in evicted().filter(|it| connected < it.at && it.at < ended) {
            assert!(
                ended <= latest(it),
                "{outcome} only at {ended}: it outlived the end of its backend at {}",
                it.at
            );
        }
        // Who was dialing when it was to end is asked again every second.
        let upstream = &self.upstreams[record.upstream().expect("it was relayed")];
        let dialing = upstream.connect_timeout * upstream.connect_tries.into() + AGAIN;
        assert!(
            outcome.cause != Cause::BackendDown
                || evicted().any(|it| it.at <= ended && ended <= latest(it) + dialing),
            "{outcome} at {ended}, and its backend was not down"
        );
    }

    /// What is counted of a backend is what happened to it.
    fn check_counts(&self, backend: &Backend) {
        let (live, name) = (&backend.live, backend.address);
        assert_eq!(live.open(), 0, "seats of {name} were not given back");
        let dials = || self.world.dials().iter().filter(|dial| dial.peer == name);
        assert_eq!(
            live.opened(),
            dials().count() as u64,
            "seats taken of {name}"
        );
        let is_its = |(_, errno)| !OURS.contains(&errno);
        let failed = dials().filter(|dial| dial.failed.is_some_and(is_its));
        let failed = failed.count() as u64;
        let (counted, ejections) = (live.failed(), live.ejections());
        assert!(counted <= failed, "{counted} of {failed} failed to {name}");
        let upstream = &self.upstreams[usize::from(backend.upstream)];
        let most = counted.checked_div(upstream.max_fails.into());
        assert!(
            ejections <= most.unwrap_or(0),
            "{name} was taken out {ejections} times for {counted} failed dials"
        );
    }
}
