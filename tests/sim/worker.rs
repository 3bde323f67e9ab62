//! The real worker in simulated worlds: several listeners, upstreams and backends; clients that come and go; timeouts;
//! a drain in the middle of it all.

use crate::{Replay, play_all, worlds};
use ringway::config::{Backend, Config, Listener, Log, Process, Relay, Upstream};
use ringway::conn::{Cause, Phase};
use ringway::relay::HIGH_WATER;
use ringway::ring::{Sock, SockRef, Time};
use ringway::sim::{Chance, Demands, SimRing, World};
use ringway::upstream::Snapshot;
use ringway::worker::{
    Board, Handover, Journal, Life, Limits, Mailbox, Message, Post, Record, Setup, Stats, Worker,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// No world has more connections than that.
const CLIENTS_MAX: u64 = 24;

/// How much later than its deadline a drain may be over: what the kernel still holds comes back late.
const SLACK: Duration = Duration::from_millis(200);

/// Whether the program has reasons of its own to end connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Haste {
    /// No timeout is shorter than any script; it drains when all is over.
    Patient,
    /// As patient, but it drains in mid-relay.
    Draining,
    /// Timeouts shorter than many scripts, and a drain in mid-relay.
    Hurried,
}

/// What the worker holds of one direction at most: the high water mark, and one receive's buffers on top.
fn demands(haste: Haste) -> Demands {
    Demands {
        held_max: u64::from(HIGH_WATER) + 4096,
        whole: haste != Haste::Hurried,
        turns_max: 2_000_000,
    }
}

fn backend_address(n: u64) -> SocketAddr {
    let last = u8::try_from(n).expect("few backends");
    SocketAddr::from(([192, 0, 2, 10 + last], 80))
}

/// Listeners, upstreams and backends of this world, and its clients.
fn furnish(world: &mut World, haste: Haste) -> (Config, Vec<(u16, Sock)>) {
    let upstreams = world.chance().within(1, 2);
    let backends = world.chance().within(1, 3);
    for n in 0..upstreams * backends {
        // Now and then nobody is there, and every dial is refused.
        if world.chance().below(16) > 0 {
            world.backend(backend_address(n));
        }
    }
    let upstream = |at| {
        let list = (at * backends..(at + 1) * backends).map(backend_address);
        Upstream::new(format!("u{at}"), list.map(Backend::new).collect())
    };
    let mut config = Config {
        process: Process::default(),
        log: Log::default(),
        listeners: Vec::new(),
        upstreams: (0..upstreams).map(upstream).collect(),
    };
    let mut socks = Vec::new();
    for at in 0..world.chance().within(1, 3) {
        let target = usize::try_from(world.chance().below(upstreams)).expect("two at most");
        let mut listener = Listener::new(format!("l{at}"), Vec::new(), target);
        listener.relay = world
            .chance()
            .pick(&[Relay::Auto, Relay::Copy, Relay::Splice]);
        set_timeouts(&mut listener, haste, world.chance());
        config.listeners.push(listener);
        socks.push((u16::try_from(at).expect("three at most"), world.listen()));
    }
    for _ in 0..world.chance().within(1, CLIENTS_MAX) {
        let listener = world.chance().index(socks.len());
        let pause = world.chance().pause(Duration::from_secs(5));
        world.client(listener, pause);
    }
    (config, socks)
}

fn set_timeouts(listener: &mut Listener, haste: Haste, chance: &mut Chance) {
    match haste {
        Haste::Patient | Haste::Draining => {
            listener.idle_timeout = Duration::from_hours(24);
            listener.half_close_timeout = Duration::from_hours(24);
        }
        Haste::Hurried => {
            listener.idle_timeout = Duration::from_millis(1) + chance.pause(Duration::from_secs(2));
            listener.half_close_timeout =
                Duration::from_millis(1) + chance.pause(Duration::from_secs(1));
        }
    }
}

/// In half of the worlds the process or a listener has fewer places than clients.
fn draw_limits(listeners: usize, chance: &mut Chance) -> Arc<Limits> {
    let mut limit = || {
        if chance.below(4) == 0 {
            chance.within(1, 8)
        } else {
            0
        }
    };
    let process = limit();
    let listeners: Vec<u64> = (0..listeners).map(|_| limit()).collect();
    Arc::new(Limits::new(process, listeners))
}

/// A worker in its world, and what it tells.
struct Play {
    world: Rc<RefCell<World>>,
    worker: Worker<SimRing>,
    bell: SockRef,
    post: Post,
    limits: Arc<Limits>,
    stats: Arc<Stats>,
    records: Receiver<Record>,
    /// The most that was spilled at any time.
    spilled: u64,
}

impl Play {
    fn new(seed: u64, haste: Haste) -> Self {
        let mut world = World::drawn(seed, demands(haste));
        let (config, listeners) = furnish(&mut world, haste);
        let bell = world.bell();
        let (post, mailbox) = Mailbox::simulated(bell);
        let buffers = u16::try_from(1 << world.chance().within(4, 9)).expect("at most 512");
        let size = u16::try_from(1 << world.chance().within(6, 12)).expect("at most 4,096");
        let connections_max = u32::try_from(world.chance().within(1, 32)).expect("at most 32");
        let limits = draw_limits(config.listeners.len(), world.chance());
        let (journal, records) = sync_channel(64);
        let stats = Arc::new(Stats::default());
        let world = Rc::new(RefCell::new(world));
        let setup = Setup {
            worker: 0,
            limits: Arc::clone(&limits),
            snapshot: Snapshot::new(Arc::new(config)),
            listeners,
            connections_max,
            mailbox,
            handover: Handover::new(0, Arc::new(Board::new(1)), vec![post.clone()]),
            stats: Arc::clone(&stats),
            journal: Journal::into(journal),
        };
        let worker = Worker::new(SimRing::new(Rc::clone(&world), buffers, size), setup);
        Self {
            world,
            worker,
            bell,
            post,
            limits,
            stats,
            records,
            spilled: 0,
        }
    }

    /// When it must be over.
    fn drain(&self) -> Time {
        let mut world = self.world.borrow_mut();
        world.excuse();
        let deadline = world.chance().pause(Duration::from_secs(20));
        let over = world.chance().pause(deadline);
        self.post.post(Message::Drain { over, deadline });
        world.ring_bell(self.bell);
        world.now() + deadline + SLACK
    }

    /// Now and then the bell rings and there is no message.
    fn ring_in_vain(&self) {
        let mut world = self.world.borrow_mut();
        if world.chance().below(64) == 0 {
            world.ring_bell(self.bell);
        }
    }

    /// Turns until nothing is left, draining after `turns` or when all is over.
    fn run(&mut self, turns: u64) {
        let mut turn = 0;
        let mut drained_by = None;
        loop {
            let over = self.world.borrow().is_over() && self.worker.connections() == 0;
            if drained_by.is_none() && (over || turn == turns) {
                drained_by = Some(self.drain());
            }
            turn += 1;
            self.ring_in_vain();
            if self.turn() == Life::Finished {
                let now = self.world.borrow().now();
                assert!(
                    drained_by.is_some_and(|by| now <= by),
                    "drained only at {now}"
                );
                return self.finish();
            }
            self.check_counts();
        }
    }

    /// Lets the last closes go out, and what comes late come.
    fn finish(&mut self) {
        // What comes may be answered with an op, and that with a completion: quiet is two turns without either.
        let mut quiet = 0;
        while quiet < 2 {
            self.turn();
            quiet = if self.worker.ring().is_idle() {
                quiet + 1
            } else {
                0
            };
        }
    }

    fn turn(&mut self) -> Life {
        self.worker.turn().expect("a simulated ring never fails")
    }

    /// Accepted is open and ended, and each open one has one place.
    fn check_counts(&mut self) {
        self.spilled = self.spilled.max(self.stats.spilled_bytes.get());
        let ended: u64 = self.stats.ended.iter().map(|counter| counter.get()).sum();
        let open = self.worker.connections() as u64;
        assert_eq!(
            self.stats.accepted.get(),
            open + ended,
            "accepted = open + ended"
        );
        assert_eq!(self.limits.open(), open, "places taken");
    }

    /// A connection that timed out was silent for that long.
    fn check_timeout(&self, record: &Record, heard: Time) {
        let rules = &record.config.listeners[usize::from(record.listener)];
        let outcome = record.summary.outcome;
        let timeout = if outcome.cause == Cause::Idle {
            rules.idle_timeout
        } else if matches!(
            outcome.cause,
            Cause::ClientHalfClose | Cause::BackendHalfClose
        ) {
            rules.half_close_timeout
        } else {
            return;
        };
        let silent = record.ended.since(heard);
        assert!(
            silent >= timeout,
            "{outcome} after {silent:?} of silence, not {timeout:?}"
        );
    }

    /// What the worker tells of a connection is what the world knows of it.
    fn check_record(&self, record: &Record) {
        let summary = &record.summary;
        let outcome = summary.outcome;
        let (client, backend) = self.world.borrow().fate(record.client).expect("a client");
        let rules = &record.config.listeners[usize::from(record.listener)];
        let backends = record.config.upstreams[rules.upstream].backends.len();
        assert!(
            usize::from(summary.tries) <= backends,
            "{outcome}: one was tried twice"
        );
        let Some(backend) = backend else {
            assert_eq!(outcome.phase, Phase::Dialing, "{outcome} without a backend");
            return;
        };
        assert!(
            outcome.cause != Cause::ClientReset || !client.orderly,
            "{outcome}: it did not"
        );
        assert!(
            outcome.cause != Cause::BackendReset || !backend.orderly,
            "{outcome}: it did not"
        );
        self.check_timeout(record, client.heard.max(backend.heard));
        let ours = matches!(
            outcome.cause,
            Cause::Drain | Cause::Idle | Cause::ClientHalfClose | Cause::BackendHalfClose
        );
        if ours || !client.orderly || !backend.orderly {
            return;
        }
        assert_eq!(
            outcome.phase,
            Phase::Done,
            "{outcome}, though both ended in order"
        );
        assert_eq!(
            (summary.up.total(), summary.down.total()),
            (client.given, backend.given),
            "{outcome}"
        );
        match (client.answered, backend.answered) {
            (false, true) => assert_eq!(outcome.cause, Cause::ClientFin),
            (true, false) => assert_eq!(outcome.cause, Cause::BackendFin),
            (true, true) | (false, false) => {
                assert!(matches!(
                    outcome.cause,
                    Cause::ClientFin | Cause::BackendFin
                ));
            }
        }
    }
}

/// Plays one world; the hash of its trace, what was counted, and the most that was spilled.
fn play(seed: u64, haste: Haste) -> (u64, Arc<Stats>, u64) {
    let _replay = Replay(seed);
    let mut play = Play::new(seed, haste);
    let turns = match haste {
        Haste::Patient => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run(turns);
    play.world.borrow_mut().settle();
    play.check_counts();
    play.records
        .try_iter()
        .for_each(|record| play.check_record(&record));
    assert_eq!(
        play.stats.records_dropped.get(),
        0,
        "the journal has room for all"
    );
    play.worker.ring().check_end(1); // the bell
    let hash = play.world.borrow().trace_hash();
    (hash, play.stats, play.spilled)
}

/// Every kind of world of one seed.
pub(crate) fn play_seed(seed: u64) {
    for haste in [Haste::Patient, Haste::Draining, Haste::Hurried] {
        play(seed, haste);
    }
}

#[test]
fn the_worker_keeps_every_rule_in_every_world() {
    play_all(worlds(), play_seed);
}

#[test]
fn the_worker_does_the_same_in_the_same_world() {
    for seed in 0..10 {
        for haste in [Haste::Patient, Haste::Draining, Haste::Hurried] {
            assert_eq!(
                play(seed, haste).0,
                play(seed, haste).0,
                "{haste:?} world {seed}"
            );
        }
    }
}

#[test]
fn the_worlds_reach_every_way_to_end_and_every_fault_that_is_counted() {
    let hastes = [Haste::Patient, Haste::Draining, Haste::Hurried];
    let plays = (0..200).flat_map(|seed| hastes.map(|haste| play(seed, haste)));
    let (stats, spilled): (Vec<_>, Vec<_>) = plays.map(|(_, stats, most)| (stats, most)).unzip();
    let sum = |count: fn(&Stats) -> u64| stats.iter().map(|stats| count(stats)).sum::<u64>();
    for cause in Cause::ALL {
        let ended: u64 = stats
            .iter()
            .map(|stats| stats.ended[cause.index()].get())
            .sum();
        // Every upstream here has backends.
        assert_eq!(
            ended > 0,
            cause != Cause::NoBackend,
            "{} ended {}",
            ended,
            cause.word()
        );
    }
    let worlds = spilled.iter().filter(|most| **most > 0).count();
    assert!(worlds >= 10, "only {worlds} spilled");
    assert!(sum(|stats| stats.enobufs.get()) > 0);
    assert!(sum(|stats| stats.stale.get()) > 0);
    assert!(sum(|stats| stats.overflows.get()) > 0);
    assert!(sum(|stats| stats.rejected_limit.get()) > 0);
    assert!(sum(|stats| stats.accept_no_descriptor.get()) > 0);
    assert!(sum(|stats| stats.accept_failed.get()) > 0);
}
