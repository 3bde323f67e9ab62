//! The real worker in simulated worlds: several listeners, upstreams and backends; clients that come and go; timeouts;
//! a drain in the middle of it all. Alone, or two that hand clients over to each other.

use crate::seats::{Furnished, Listeners, Play, Played, Record};
use crate::{Replay, backends, opening, play_all, swaying, worlds};
use ringway::base::TICK;
use ringway::config::{Backend, Config, Listener, Log, Process, Relay, SlowClient, Upstream};
use ringway::conn::{Cause, Phase};
use ringway::relay::HIGH_WATER;
use ringway::ring::{Lane, Time};
use ringway::sim::{Chance, Demands, Fate, World};
use ringway::worker::{Limits, Stats, TurnedAway};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// No world has more connections than that.
const CLIENTS_MAX: u64 = 24;

/// What is still under way when a connection ends comes back late.
const STOPPING: Duration = Duration::from_millis(200);

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
pub(crate) fn demands(haste: Haste) -> Demands {
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
pub(crate) fn furnish(world: &mut World, haste: Haste, workers: usize) -> Furnished {
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
        admin: None,
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
        set_timeouts(&mut listener, haste, world);
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
    let limits = draw_limits(&mut config, world.chance());
    Furnished {
        config,
        listeners: socks,
        limits,
        buffers: (4, 9),
        sizes: (if haste == Haste::Swaying { 11 } else { 6 }, 12),
    }
}

pub(crate) fn set_timeouts(listener: &mut Listener, haste: Haste, world: &mut World) {
    let chance = world.chance();
    match haste {
        Haste::Patient | Haste::Swaying | Haste::Draining => be_patient(listener),
        Haste::Hurried => {
            listener.idle_timeout = Duration::from_millis(1) + chance.pause(Duration::from_secs(2));
            listener.half_close_timeout =
                Duration::from_millis(1) + chance.pause(Duration::from_secs(1));
            if chance.below(2) == 0 {
                listener.max_age = Duration::from_millis(1) + chance.pause(Duration::from_secs(3));
                world.let_discard();
            }
            let chance = world.chance();
            if chance.below(2) == 0 {
                listener.slow_client = SlowClient {
                    unsent: u32::try_from(1 << chance.below(17)).expect("to 64 KiB"),
                    patience: Duration::from_millis(1) + chance.pause(Duration::from_secs(1)),
                };
            }
        }
    }
}

/// Ends nothing before everything is over.
pub(crate) fn be_patient(listener: &mut Listener) {
    listener.idle_timeout = Duration::from_hours(24);
    listener.half_close_timeout = Duration::from_hours(24);
}

/// In half of the worlds the process or a listener has fewer places than clients.
pub(crate) fn draw_limits(config: &mut Config, chance: &mut Chance) -> Arc<Limits> {
    let mut limit = || {
        if chance.below(4) == 0 {
            chance.within(1, 8)
        } else {
            0
        }
    };
    let process = limit();
    for listener in &mut config.listeners {
        listener.max_connections = usize::try_from(limit()).expect("a few");
    }
    Arc::new(Limits::new(process))
}

/// A connection that ended at its age had it, and one that had it was relayed no further.
fn check_age(record: &Record) {
    let rules = &record.listener;
    let age = record.ended.since(record.started);
    let outcome = record.summary.outcome;
    if outcome.cause == Cause::MaxAge {
        let least = rules.max_age.mul_f64(0.9);
        assert!(age >= least, "{outcome} at {age:?}, not {least:?}");
    }
    let relayed = matches!(
        outcome.cause,
        Cause::ClientFin | Cause::BackendFin | Cause::Idle
    );
    if relayed && !rules.max_age.is_zero() {
        // A dial may take longer than a connection may live.
        let connected = record.summary.connect.expect("it was relayed");
        let most = rules.max_age.mul_f64(1.1).max(connected) + TICK + STOPPING;
        assert!(age <= most, "{outcome} at {age:?}, {most:?} at most");
    }
}

/// A connection that timed out was silent for that long.
fn check_timeout(record: &Record, heard: Time) {
    let rules = &record.listener;
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
pub(crate) fn check_record(world: &World, record: &Record) {
    let summary = &record.summary;
    let outcome = summary.outcome;
    let (client, backend) = world.fate(record.client).expect("a client");
    let rules = &record.listener;
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
    check_relayed(record, (client, backend), client.given);
}

/// A relay that had both its sides. `up` is what the client gave of its stream.
pub(crate) fn check_relayed(record: &Record, (client, backend): (Fate, Fate), up: u64) {
    let summary = &record.summary;
    let outcome = summary.outcome;
    assert!(
        outcome.cause != Cause::ClientReset || !client.orderly,
        "{outcome}: it did not"
    );
    assert!(
        outcome.cause != Cause::BackendReset || !backend.orderly,
        "{outcome}: it did not"
    );
    check_timeout(record, client.heard.max(backend.heard));
    check_age(record);
    if outcome.cause == Cause::SlowClient {
        let age = record.ended.since(record.started);
        let patience = record.listener.slow_client.patience;
        assert!(age >= patience, "{outcome} after {age:?}");
    }
    let ours = matches!(
        outcome.cause,
        Cause::Drain
            | Cause::Idle
            | Cause::MaxAge
            | Cause::SlowClient
            | Cause::BackendDrain
            | Cause::Killed
            | Cause::ClientHalfClose
            | Cause::BackendHalfClose
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
        (up, backend.given),
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

/// Plays one world.
pub(crate) fn play(seed: u64, haste: Haste, workers: usize) -> Played {
    let _replay = Replay(seed);
    let mut world = World::drawn(seed, demands(haste));
    let furnished = furnish(&mut world, haste, workers);
    let mut play = Play::new(world, furnished);
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run(turns);
    for record in play.records() {
        check_record(&play.world.borrow(), &record);
    }
    play.played()
}

pub(crate) const HASTES: [Haste; 3] = [Haste::Patient, Haste::Draining, Haste::Hurried];

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
    let others: Vec<_> = opening::stats(100).chain(backends::stats(100)).collect();
    // No operator is here either: `tests/e2e/admin` and `leaving` have them.
    let is_operators = |cause| matches!(cause, Cause::Killed | Cause::BackendDrain);
    let is_here = |cause: &Cause| !is_of_tls(*cause) && !is_operators(*cause);
    for cause in Cause::ALL.into_iter().filter(is_here) {
        let ended = stats.iter().chain(&others);
        let ended: u64 = ended.map(|it| it.closed(cause)).sum();
        assert!(ended > 0, "none ended {}", cause.word());
    }
    assert!(worlds >= 10, "only {worlds} spilled");
    assert!(sum(|stats| stats.pressure.no_buffer.get()) > 0);
    assert!(sum(|stats| stats.pressure.no_pipe.get()) > 0);
    assert!(sum(|stats| stats.pressure.nanos(Lane::A)) > 0);
    assert!(sum(|stats| stats.pressure.nanos(Lane::B)) > 0);
    assert!(sum(|stats| stats.stale.get()) > 0);
    assert!(sum(|stats| stats.overflows.get()) > 0);
    assert!(sum(|stats| stats.turned_away(TurnedAway::Limit)) > 0);
    assert!(sum(|stats| stats.accept_no_descriptor.get()) > 0);
    assert!(sum(|stats| stats.accept_failed.get()) > 0);
}

/// Actors here send so many bytes and not these or those: none speaks TLS.
pub(crate) fn is_of_tls(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ClientTruncated
            | Cause::BackendTruncated
            | Cause::ClientAlert(_)
            | Cause::BackendAlert(_)
            | Cause::ClientTls(_)
            | Cause::BackendTls(_)
            | Cause::PlainHttp
            | Cause::HandshakeTimeout
    )
}

#[test]
fn the_worlds_of_two_reach_every_way_of_a_hand_over() {
    let plays: Vec<_> = (0..200)
        .flat_map(|seed| HASTES.map(|haste| play(seed, haste, 2).stats))
        .collect();
    let sum = |at: usize, count: fn(&Stats) -> u64| -> u64 {
        plays.iter().map(|stats| count(&stats[at])).sum()
    };
    assert!(sum(0, |stats| stats.handed_over.get()) > 0, "there");
    assert!(sum(1, |stats| stats.handed_over.get()) > 0, "and back");
    assert!(
        sum(1, |stats| stats.turned_away(TurnedAway::Draining)) > 0,
        "to one that drains"
    );
}
