//! The real worker in simulated worlds: several listeners, upstreams and backends; clients that come and go; timeouts;
//! a drain in the middle of it all. Alone, or two that hand clients over to each other.

use crate::{Replay, play_all, swaying, worlds};
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
use std::collections::HashSet;
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
pub(crate) enum Haste {
    /// No timeout is shorter than any script; it drains when all is over.
    Patient,
    /// As patient, with streams that are bulk and messages by turns.
    Swaying,
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

/// A worker's listening sockets.
type Listeners = Vec<(u16, Sock)>;

/// Listeners, upstreams and backends of this world, and its clients.
fn furnish(world: &mut World, haste: Haste, workers: usize) -> (Config, Vec<Listeners>) {
    if haste == Haste::Swaying {
        world.widen();
    }
    let upstreams = world.chance().within(1, 2);
    let backends = world.chance().within(1, 3);
    for n in 0..upstreams * backends {
        // Now and then nobody is there, and every dial is refused.
        if haste == Haste::Swaying {
            let script = swaying::script(world.chance());
            world.backend_playing(backend_address(n), script);
        } else if world.chance().below(16) > 0 {
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
    let mut socks: Vec<Listeners> = (0..workers).map(|_| Vec::new()).collect();
    for at in 0..world.chance().within(1, 3) {
        let target = usize::try_from(world.chance().below(upstreams)).expect("two at most");
        let mut listener = Listener::new(format!("l{at}"), Vec::new(), target);
        if haste != Haste::Swaying {
            let all = [Relay::Auto, Relay::Copy, Relay::Splice];
            listener.relay = world.chance().pick(&all);
        }
        set_timeouts(&mut listener, haste, world.chance());
        listener.incoming_cpu = world.chance().below(4) == 0;
        config.listeners.push(listener);
        let at = u16::try_from(at).expect("three at most");
        socks
            .iter_mut()
            .for_each(|socks| socks.push((at, world.listen())));
    }
    // As from a hash that likes one worker better.
    let liked = world.chance().index(workers);
    let hashed = |chance: &mut Chance| match chance.below(8) {
        0 => chance.index(workers),
        _ => liked,
    };
    let most = if haste == Haste::Swaying {
        swaying::CLIENTS_MAX
    } else {
        CLIENTS_MAX
    };
    for _ in 0..world.chance().within(1, most) {
        let listener = world.chance().index(config.listeners.len());
        let listener = listener * workers + hashed(world.chance());
        let pause = world.chance().pause(Duration::from_secs(5));
        if haste == Haste::Swaying {
            let script = swaying::script(world.chance());
            world.client_playing(listener, pause, script);
        } else {
            world.client(listener, pause);
        }
    }
    (config, socks)
}

fn set_timeouts(listener: &mut Listener, haste: Haste, chance: &mut Chance) {
    match haste {
        Haste::Patient | Haste::Swaying | Haste::Draining => {
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

/// A worker and the ways to it.
struct Seat {
    worker: Worker<SimRing>,
    bell: SockRef,
    post: Post,
    stats: Arc<Stats>,
    life: Life,
}

/// Workers in their world, and what they tell.
struct Play {
    world: Rc<RefCell<World>>,
    seats: Vec<Seat>,
    board: Arc<Board>,
    limits: Arc<Limits>,
    records: Receiver<Record>,
    /// The most that was spilled at any time.
    spilled: u64,
    /// The size of the smallest buffers, as a power of two: small ones make bulk slow to play.
    smallest: u64,
}

impl Play {
    fn new(seed: u64, haste: Haste, workers: usize) -> Self {
        let mut world = World::drawn(seed, demands(haste));
        let (config, listeners) = furnish(&mut world, haste, workers);
        let snapshot = Snapshot::new(Arc::new(config));
        let limits = draw_limits(snapshot.config.listeners.len(), world.chance());
        let (journal, records) = sync_channel(64);
        let board = Arc::new(Board::new(workers));
        let bells: Vec<_> = (0..workers).map(|_| world.bell()).collect();
        let ends = bells.iter().map(|bell| Mailbox::simulated(*bell));
        let (posts, mailboxes): (Vec<_>, Vec<_>) = ends.unzip();
        let world = Rc::new(RefCell::new(world));
        let mut play = Self {
            world,
            seats: Vec::new(),
            board: Arc::clone(&board),
            limits: Arc::clone(&limits),
            records,
            spilled: 0,
            smallest: if haste == Haste::Swaying { 11 } else { 6 },
        };
        for ((listeners, mailbox), number) in listeners.into_iter().zip(mailboxes).zip(0..) {
            let at = usize::from(number);
            let setup = Setup {
                worker: number,
                limits: Arc::clone(&limits),
                snapshot: snapshot.clone(),
                listeners,
                connections_max: play.draw(1, 32),
                mailbox,
                handover: Handover::new(at, Arc::clone(&board), posts.clone()),
                stats: Arc::default(),
                journal: Journal::into(journal.clone()),
            };
            board.set_busy(at, play.draw(0, 1000));
            play.seat(setup, bells[at], posts[at].clone());
        }
        play
    }

    fn draw(&self, min: u64, max: u64) -> u32 {
        let drawn = self.world.borrow_mut().chance().within(min, max);
        u32::try_from(drawn).expect("small numbers")
    }

    fn seat(&mut self, setup: Setup, bell: SockRef, post: Post) {
        let buffers = u16::try_from(1 << self.draw(4, 9)).expect("at most 512");
        let size = u16::try_from(1 << self.draw(self.smallest, 12)).expect("at most 4,096");
        let stats = Arc::clone(&setup.stats);
        let ring = SimRing::new(Rc::clone(&self.world), buffers, size);
        self.seats.push(Seat {
            worker: Worker::new(ring, setup),
            bell,
            post,
            stats,
            life: Life::Turning,
        });
    }

    /// The turns in which each worker is told to drain: one of them now, others perhaps much later.
    fn plan_drains(&self, now: u64) -> Vec<u64> {
        let mut world = self.world.borrow_mut();
        let first = world.chance().index(self.seats.len());
        let mut later = |at| match world.chance().below(2) {
            _ if at == first => now,
            0 => now + world.chance().below(10),
            _ => now + world.chance().below(2000),
        };
        (0..self.seats.len()).map(&mut later).collect()
    }

    /// Tells one worker to drain. When it must be over.
    fn drain(&self, at: usize) -> Time {
        let mut world = self.world.borrow_mut();
        world.excuse();
        let deadline = world.chance().pause(Duration::from_secs(20));
        let over = world.chance().pause(deadline);
        self.seats[at].post.post(Message::Drain { over, deadline });
        world.now() + deadline + SLACK
    }

    /// Those that somebody rang, and now and then one for which there is no message.
    fn ring_bells(&self) {
        let mut world = self.world.borrow_mut();
        for seat in &self.seats {
            let in_vain = world.chance().below(64) == 0;
            if seat.post.take_ring() || in_vain {
                world.ring_bell(seat.bell);
            }
        }
    }

    /// Turns until nothing is left, draining after `turns` or when all is over.
    fn run(&mut self, turns: u64) {
        let mut turn = 0;
        let mut drains = None;
        let mut drained_by = None;
        while self.seats.iter().any(|seat| seat.life == Life::Turning) {
            let over = self.world.borrow().is_over() && self.limits.open() == 0;
            if drains.is_none() && (over || turn == turns) {
                drains = Some(self.plan_drains(turn));
            }
            for at in 0..self.seats.len() {
                if drains.as_ref().is_some_and(|drains| drains[at] == turn) {
                    drained_by = drained_by.max(Some(self.drain(at)));
                }
            }
            turn += 1;
            self.turn();
            self.check_counts();
        }
        let now = self.world.borrow().now();
        assert!(
            drained_by.is_some_and(|by| now <= by),
            "drained only at {now}"
        );
        self.finish();
    }

    /// Lets the last closes go out, and what comes late come.
    fn finish(&mut self) {
        // What comes may be answered with an op, and that with a completion: quiet is two turns without either.
        let mut quiet = 0;
        while quiet < 2 {
            for seat in &mut self.seats {
                seat.turn();
            }
            let idle = self.seats.iter_mut().all(|s| s.worker.ring().is_idle());
            quiet = if idle { quiet + 1 } else { 0 };
        }
    }

    /// A turn of each worker that has not finished, in any order.
    fn turn(&mut self) {
        let mut order: Vec<usize> = (0..self.seats.len()).collect();
        self.world.borrow_mut().chance().shuffle(&mut order);
        for at in order {
            self.ring_bells();
            let seat = &mut self.seats[at];
            if seat.life == Life::Turning {
                seat.life = seat.turn();
            }
        }
    }

    /// Accepted is open and ended, on each worker; each open one, and each on its way between two, has one place and is
    /// counted once on the board.
    fn check_counts(&mut self) {
        let mut open = 0;
        for seat in &self.seats {
            self.spilled = self.spilled.max(seat.stats.spilled_bytes.get());
            let ended: u64 = seat.stats.ended.iter().map(|counter| counter.get()).sum();
            let its = seat.worker.connections() as u64;
            assert_eq!(
                seat.stats.accepted.get(),
                its + ended,
                "accepted = open + ended"
            );
            open += its;
        }
        let placed: u64 = (0..self.seats.len())
            .map(|at| self.board.connections(at))
            .sum();
        assert_eq!(self.limits.open(), placed, "places taken, and on the board");
        assert!(placed >= open, "{open} open in {placed} places");
        let alone = self.seats.len() == 1;
        let finished = self.seats.iter().all(|seat| seat.life == Life::Finished);
        if alone || finished {
            assert_eq!(placed, open, "nobody is on the way");
        }
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
        let upstream = rules.upstream.expect("each has its own");
        let backends = record.config.upstreams[upstream].backends.len();
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

impl Seat {
    fn turn(&mut self) -> Life {
        self.worker.turn().expect("a simulated ring never fails")
    }
}

/// What came of a world.
pub(crate) struct Played {
    /// Of its trace.
    hash: u64,
    /// Each worker's numbers.
    pub(crate) stats: Vec<Arc<Stats>>,
    /// The most that was spilled.
    spilled: u64,
}

/// Plays one world.
pub(crate) fn play(seed: u64, haste: Haste, workers: usize) -> Played {
    let _replay = Replay(seed);
    let mut play = Play::new(seed, haste, workers);
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run(turns);
    play.world.borrow_mut().settle();
    play.check_counts();
    let records: Vec<_> = play.records.try_iter().collect();
    records.iter().for_each(|record| play.check_record(record));
    let ids: HashSet<_> = records.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), records.len(), "an id came twice");
    for seat in &mut play.seats {
        let dropped = seat.stats.records_dropped.get();
        assert_eq!(dropped, 0, "the journal has room for all");
        seat.worker.ring().check_end(workers); // the bells
    }
    let hash = play.world.borrow().trace_hash();
    let stats = play.seats.iter().map(|seat| Arc::clone(&seat.stats));
    Played {
        hash,
        stats: stats.collect(),
        spilled: play.spilled,
    }
}

const HASTES: [Haste; 3] = [Haste::Patient, Haste::Draining, Haste::Hurried];

/// Every kind of world of one seed.
pub(crate) fn play_seed(seed: u64) {
    for haste in HASTES {
        play(seed, haste, 1);
    }
    play_pair(seed);
    play(seed, Haste::Swaying, 1);
}

fn play_pair(seed: u64) {
    for haste in HASTES {
        play(seed, haste, 2);
    }
}

#[test]
fn the_worker_keeps_every_rule_in_every_world() {
    play_all(worlds(), |seed| {
        for haste in HASTES {
            play(seed, haste, 1);
        }
    });
}

#[test]
fn two_workers_that_hand_clients_over_keep_every_rule_in_every_world() {
    play_all(worlds(), play_pair);
}

#[test]
fn the_worker_does_the_same_in_the_same_world() {
    for seed in 0..10 {
        for haste in HASTES {
            for workers in [1, 2] {
                assert_eq!(
                    play(seed, haste, workers).hash,
                    play(seed, haste, workers).hash,
                    "{haste:?} world {seed} of {workers}"
                );
            }
        }
    }
}

#[test]
fn the_worlds_reach_every_way_to_end_and_every_fault_that_is_counted() {
    let (mut stats, mut worlds) = (Vec::new(), 0);
    for seed in 0..200 {
        for haste in HASTES {
            let played = play(seed, haste, 1);
            worlds += u32::from(played.spilled > 0);
            stats.extend(played.stats);
        }
    }
    let sum = |count: fn(&Stats) -> u64| stats.iter().map(|stats| count(stats)).sum::<u64>();
    for cause in Cause::ALL {
        let ended: u64 = stats
            .iter()
            .map(|stats| stats.ended[cause.index()].get())
            .sum();
        // Every upstream here has backends, and nobody's first bytes are looked at.
        let is_reached = cause != Cause::NoBackend && cause.index() <= Cause::Drain.index();
        assert_eq!(ended > 0, is_reached, "{} ended {}", ended, cause.word());
    }
    assert!(worlds >= 10, "only {worlds} spilled");
    assert!(sum(|stats| stats.enobufs.get()) > 0);
    assert!(sum(|stats| stats.no_pipe.get()) > 0);
    assert!(sum(|stats| stats.stale.get()) > 0);
    assert!(sum(|stats| stats.overflows.get()) > 0);
    assert!(sum(|stats| stats.rejected_limit.get()) > 0);
    assert!(sum(|stats| stats.accept_no_descriptor.get()) > 0);
    assert!(sum(|stats| stats.accept_failed.get()) > 0);
}

#[test]
fn the_worlds_of_two_reach_every_way_of_a_hand_over() {
    let plays: Vec<_> = (0..60)
        .flat_map(|seed| HASTES.map(|haste| play(seed, haste, 2).stats))
        .collect();
    let sum = |at: usize, count: fn(&Stats) -> u64| -> u64 {
        plays.iter().map(|stats| count(&stats[at])).sum()
    };
    assert!(sum(0, |stats| stats.handed_over.get()) > 0, "there");
    assert!(sum(1, |stats| stats.handed_over.get()) > 0, "and back");
    assert!(
        sum(1, |stats| stats.rejected_draining.get()) > 0,
        "to one that drains"
    );
}
