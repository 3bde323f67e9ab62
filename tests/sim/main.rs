//! Worlds from seeds: many in each run, more on request, one again by its seed.
//!
//! `RINGWAY_SIM_WORLDS=100000 cargo test --test sim` plays more worlds; the line that a failing one prints plays it alone.

mod backends;
mod commanding;
mod following;
mod leaving;
mod opening;
mod relay;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other event fails the test"
)]
mod rules;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a sabotage names one op and passes on every other"
)]
mod sabotage;
mod scarce;
mod seats;
mod splicing;
mod swaying;
mod tls;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a train is about accepts, dials and sends alone"
)]
mod train;
mod worker;

use relay::Relay;
use ringway::sim::{Demands, SimRing, World, replay_line};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The small relay stops reading at 32 KiB queued; a budget and one buffer may come on top.
const HELD_MAX: u64 = 2 * 32 * 1024 + 4096;

/// Tells how to see a world again when something panics in it that does not know its seed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", replay_line(self.0));
        }
    }
}

fn backend_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 80))
}

/// Plays one world with the small relay; the hash of its trace.
fn play(seed: u64) -> u64 {
    let _replay = Replay(seed);
    let demands = Demands {
        held_max: HELD_MAX,
        whole: true,
        turns_max: 400_000,
    };
    let mut world = World::drawn(seed, demands);
    let listener = world.listen();
    world.backend(backend_address());
    for _ in 0..world.chance().within(1, 12) {
        let pause = world.chance().pause(Duration::from_millis(500));
        world.client(0, pause);
    }
    let buffers = u16::try_from(1 << world.chance().within(3, 8)).expect("at most 256");
    let size = u16::try_from(1 << world.chance().within(6, 12)).expect("at most 4,096");
    let world = Rc::new(RefCell::new(world));
    let mut relay = Relay::new(
        SimRing::new(Rc::clone(&world), buffers, size),
        listener,
        backend_address(),
    );
    while !(world.borrow().is_over() && relay.is_idle() && relay.ring.is_idle()) {
        relay.turn();
    }
    let ring = relay.finish();
    ring.check_end(1);
    world.borrow().trace_hash()
}

fn worlds() -> u64 {
    std::env::var("RINGWAY_SIM_WORLDS").map_or(500, |n| n.parse().expect("a number of worlds"))
}

/// Plays `count` worlds on every CPU there is.
fn play_all(count: u64, play: impl Fn(u64) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicU64::new(0);
    let seeds = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < count);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| std::iter::from_fn(seeds).for_each(&play));
        }
    });
}

#[test]
fn the_small_relay_keeps_every_rule_in_every_world() {
    play_all(worlds(), |seed| {
        play(seed);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(play(seed), play(seed), "world {seed} differs from itself");
    }
    assert_ne!(play(1), play(2));
}

/// Plays the world that `RINGWAY_SIM_SEED` names, for reading a failure.
#[test]
fn replay() {
    let seed = std::env::var("RINGWAY_SIM_SEED").map_or(0, |n| n.parse().expect("a seed"));
    worker::play_seed(seed);
    opening::play_seed(seed);
    backends::play_seed(seed);
    tls::play_seed(seed);
    commanding::play_seed(seed);
    play(seed);
}
