//! Backends that come and go before the real worker: found down by probes or by dials, drained and put into maintenance,
//! refusing for a while, all at once and back again; backups, seats, slow starts, and every policy. Alone, or with two
//! workers that share what is known of them.

mod check;
mod flips;
mod sabotage;
mod watch;

use crate::seats::{Furnished, Listeners, Play, Played, Record};
use crate::worker::{Haste, be_patient, demands, draw_limits};
use crate::{Replay, play_all, worlds};
use check::Known;
use ringway::config::{
    AdminState, AllDown, Backend, Balance, Config, HashKey, Listener, Log, OnDown, Process, Ratio,
    Upstream,
};
use ringway::conn::{Cause, Phase};
use ringway::sim::{Chance, World};
use ringway::worker::Stats;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use watch::{Lie, Watch};

const CLIENTS_MAX: u64 = 40;

const BALANCES: [Balance; 5] = [
    Balance::IpHash,
    Balance::Hash,
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::RandomTwo,
];

const HASTES: [Haste; 2] = [Haste::Patient, Haste::Draining];

fn draw_backend(number: usize, chance: &mut Chance) -> Backend {
    let last = u8::try_from(10 + number).expect("few backends");
    let mut backend = Backend::new(SocketAddr::from(([192, 0, 2, last], 80)));
    backend.weight = u16::try_from(chance.within(1, 5)).expect("small");
    backend.backup = chance.below(4) == 0;
    if chance.below(3) == 0 {
        backend.max_connections = chance.index(4) + 1;
    }
    backend.state = match chance.below(12) {
        0 => AdminState::Drain,
        1 => AdminState::Maint,
        _ => AdminState::Ready,
    };
    backend
}

fn draw_upstream(at: usize, backends: Range<usize>, chance: &mut Chance) -> Upstream {
    let mut backends: Vec<_> = backends.map(|n| draw_backend(n, chance)).collect();
    backends[0].backup = false;
    let mut it = Upstream::new(format!("u{at}"), backends);
    let millis = |chance: &mut Chance, most| Duration::from_millis(1 + chance.below(most));
    it.balance = chance.pick(&BALANCES);
    it.hash_key = vec![HashKey::ClientIp];
    it.hash_load_factor = (chance.below(3) == 0).then(|| Ratio::new(1.25));
    it.connect_timeout = millis(chance, 2_000);
    it.connect_tries = u8::try_from(chance.within(1, 5)).expect("small");
    it.max_fails = u32::try_from(chance.below(4)).expect("small");
    it.fail_timeout = millis(chance, 1_500);
    it.all_down = chance.pick(&[AllDown::TryAll, AllDown::Refuse]);
    it.on_down = chance.pick(&[OnDown::Keep, OnDown::Close]);
    if chance.below(2) == 0 {
        it.slow_start = millis(chance, 3_000);
    }
    it
}

/// Upstreams, a listener for each, and which backends of the world each has.
fn draw_config(chance: &mut Chance) -> (Config, Vec<Range<usize>>) {
    let mut config = Config {
        process: Process::default(),
        log: Log::default(),
        admin: None,
        listeners: Vec::new(),
        upstreams: Vec::new(),
    };
    let (mut ranges, mut first) = (Vec::new(), 0);
    for at in 0..chance.index(2) + 1 {
        let range = first..first + chance.index(5) + 1;
        first = range.end;
        let upstream = draw_upstream(at, range.clone(), chance);
        config.upstreams.push(upstream);
        ranges.push(range);
        let mut listener = Listener::new(format!("l{at}"), Vec::new(), at);
        be_patient(&mut listener);
        config.listeners.push(listener);
    }
    (config, ranges)
}

fn furnish(world: &mut World, workers: usize) -> (Furnished, Vec<flips::Planned>) {
    let (mut config, ranges) = draw_config(world.chance());
    for backend in config.upstreams.iter().flat_map(|it| &it.backends) {
        world.backend(backend.address.socket().expect("an address"));
    }
    let count = config.listeners.len();
    let mut listeners: Vec<Listeners> = (0..workers).map(|_| Vec::new()).collect();
    for at in 0..u16::try_from(count).expect("two at most") {
        let socks = listeners.iter_mut();
        socks.for_each(|socks| socks.push((at, world.listen())));
    }
    for _ in 0..world.chance().within(1, CLIENTS_MAX) {
        let listener = world.chance().index(count * workers);
        let pause = world.chance().pause(Duration::from_secs(5));
        world.client(listener, pause);
    }
    let flips = flips::draw(&ranges, world.chance());
    let limits = draw_limits(&mut config, world.chance());
    let furnished = Furnished {
        config,
        listeners,
        limits,
        buffers: (4, 9),
        sizes: (6, 12),
    };
    (furnished, flips)
}

/// What came of a world.
struct Seen {
    played: Played,
    records: Vec<Record>,
    watch: Watch,
}

/// Plays one world.
fn play(seed: u64, haste: Haste, workers: usize) -> Seen {
    play_with(Lie::None, seed, haste, workers)
}

/// The same where workers are perhaps told something else than what the checks go by.
fn play_with(lie: Lie, seed: u64, haste: Haste, workers: usize) -> Seen {
    let _replay = Replay(seed);
    let mut world = World::drawn(seed, demands(haste));
    let (furnished, flips) = furnish(&mut world, workers);
    let config = furnished.config.clone();
    let over = world.chance().pause(Duration::from_secs(2));
    let mut play = Play::new(world, furnished);
    let mut watch = Watch::new(play.snapshot(), play.posts(), flips, over, lie);
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run_before(turns, &mut watch);
    let records = play.records();
    let known = Known {
        world: &play.world.borrow(),
        watch: &watch,
        upstreams: &config.upstreams,
        workers,
    };
    known.check(&records);
    Seen {
        played: play.played(),
        records,
        watch,
    }
}

/// Every kind of world of one seed.
pub(crate) fn play_seed(seed: u64) {
    for workers in [1, 2] {
        for haste in HASTES {
            play(seed, haste, workers);
        }
    }
}

/// The workers' numbers in worlds of all kinds.
pub(crate) fn stats(seeds: u64) -> impl Iterator<Item = Arc<Stats>> {
    (0..seeds).flat_map(|seed| play(seed, Haste::Patient, 1).played.stats)
}

#[test]
fn every_choice_is_right_while_backends_come_and_go() {
    play_all(worlds(), |seed| {
        for haste in HASTES {
            play(seed, haste, 1);
        }
    });
}

#[test]
fn two_workers_choose_right_while_backends_come_and_go() {
    play_all(worlds(), |seed| {
        for haste in HASTES {
            play(seed, haste, 2);
        }
    });
}

#[test]
fn backends_come_and_go_alike_in_the_same_world() {
    for seed in 0..10 {
        for workers in [1, 2] {
            let hash = || play(seed, Haste::Draining, workers).played.hash;
            assert_eq!(hash(), hash(), "world {seed} of {workers}");
        }
    }
}

#[test]
fn the_worlds_reach_every_policy_and_every_reason_to_pass_a_backend_over() {
    let mut relayed = [0; BALANCES.len()];
    let (mut backups, mut full, mut ejected, mut evicted, mut refused, mut late) =
        (0, 0, 0, 0, 0, 0);
    for seen in (0..200).map(|seed| play(seed, Haste::Patient, 1)) {
        for it in &seen.watch.backends {
            backups += u64::from(it.is_backup && it.live.opened() > 0);
            ejected += it.live.ejections();
            full += u64::from(it.was_full);
        }
        for record in &seen.records {
            let upstream = record.upstream().expect("each listener has its own");
            let balance = record.config.upstreams[upstream].balance;
            let at = BALANCES.iter().position(|it| *it == balance);
            let outcome = record.summary.outcome;
            let is_done = outcome.phase == Phase::Done;
            relayed[at.expect("one of all")] += u64::from(is_done);
            late += u64::from(is_done && record.summary.tries > 1);
            evicted += u64::from(outcome.cause == Cause::BackendDown);
            refused += u64::from(outcome.cause == Cause::NoBackend);
        }
    }
    assert!(relayed.iter().all(|count| *count > 50), "{relayed:?}");
    let reached = [backups, full, ejected, evicted, refused, late];
    assert!(reached.iter().all(|count| *count > 10), "{reached:?}");
}
