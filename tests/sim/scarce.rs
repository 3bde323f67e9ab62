//! A worker with few buffers and many readers that stand still: what waits for them moves out of the way of others.

use crate::Replay;
use crate::seats::ears;
use ringway::config::{Backend, Config, Listener, Log, Process, Relay, Upstream};
use ringway::relay::HIGH_WATER;
use ringway::ring::{Ring, SPILL_MAX, Time};
use ringway::sim::{Appetite, Demands, Faults, Script, SimRing, Step, World};
use ringway::upstream::Snapshot;
use ringway::worker::{
    Board, Handover, Journal, Life, Limits, Mailbox, Message, Record, Setup, Stats, Worker,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// 128 KiB: two stalled readers' worth.
const BUFFERS: u16 = 128;
const BUFFER_SIZE: u16 = 1024;

/// More than there are buffers, so that not even one is left for each.
const STALLED: usize = 150;

/// When the stalled readers begin to read.
const WAKE: Duration = Duration::from_secs(120);

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(10_000);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

/// The listener `flood`, before backends that send at once, and `echo`.
fn config() -> Config {
    let rules = |name: &str, upstream| {
        let mut listener = Listener::new(name.into(), Vec::new(), upstream);
        listener.idle_timeout = PATIENCE;
        listener.half_close_timeout = PATIENCE;
        listener.relay = Relay::Copy; // a splice holds no buffer
        listener
    };
    let upstream = |name: &str, last| Upstream::new(name.into(), vec![Backend::new(address(last))]);
    Config {
        process: Process::default(),
        log: Log::default(),
        admin: None,
        listeners: vec![rules("flood", 0), rules("echo", 1)],
        upstreams: vec![upstream("flood", 1), upstream("echo", 2)],
    }
}

/// Readers that stand still, and ten seconds later one that does not: its address comes back.
fn people(world: &mut World) -> SocketAddr {
    let steps = vec![Step::Send(400_000), Step::Fin, Step::AwaitEnd(PATIENCE)];
    let appetite = Appetite::Eager;
    world.backend_playing(address(1), Script { steps, appetite });
    world.backend_playing(address(2), Script::answers());
    world.client_playing(1, Duration::from_secs(10), Script::sends(20_000));
    let late = Script {
        steps: vec![Step::AwaitEnd(PATIENCE), Step::Fin],
        appetite: Appetite::Late(WAKE),
    };
    for _ in 0..STALLED {
        world.client_playing(0, Duration::ZERO, late.clone());
    }
    SocketAddr::from(([10, 0, 0, 0], 40_000))
}

/// Plays the world to its end, with so much room to spill: when the brisk client's connection was over, and the most
/// that was spilled.
fn play(seed: u64, spill: usize) -> (Time, u64) {
    let _replay = Replay(seed);
    let demands = Demands {
        held_max: u64::from(HIGH_WATER) + u64::from(BUFFER_SIZE),
        ..Demands::default()
    };
    let mut world = World::new(seed, Faults::none(), demands);
    let listeners = vec![(0, world.listen()), (1, world.listen())];
    let brisk = people(&mut world);
    let bell = world.bell();
    let (post, mailbox) = Mailbox::simulated(bell);
    let (journal, records) = sync_channel(2 * STALLED);
    let stats = Arc::new(Stats::default());
    let setup = Setup {
        worker: 0,
        limits: Arc::new(Limits::new(0)),
        snapshot: Snapshot::new(Arc::new(config())),
        listeners: ears(listeners),
        connections_max: 2 * u32::try_from(STALLED).expect("few"),
        mailbox,
        handover: Handover::new(0, Arc::new(Board::new(1)), vec![post.clone()]),
        stats: Arc::clone(&stats),
        journal: Journal::into(journal),
    };
    let world = Rc::new(RefCell::new(world));
    let mut ring = SimRing::new(Rc::clone(&world), BUFFERS, BUFFER_SIZE);
    ring.buffers().limit_spill(spill);
    let mut worker = Worker::new(ring, setup);
    let mut turn = || {
        let life = worker.turn().expect("a simulated ring never fails");
        (life, worker.connections())
    };
    let mut spilled = 0;
    while !world.borrow().is_over() || turn().1 > 0 {
        turn();
        spilled = spilled.max(stats.spilled_bytes.get());
    }
    let (over, deadline) = (Duration::ZERO, Duration::from_secs(1));
    post.post(Message::Drain { over, deadline });
    world.borrow_mut().ring_bell(bell);
    while turn().0 != Life::Finished {}
    turn();
    worker.ring().check_end(1); // the bell
    let records: Vec<Record> = records.try_iter().collect();
    assert_eq!(records.len(), STALLED + 1);
    let record = records.iter().find(|record| record.client == brisk);
    (record.expect("a line for each").ended, spilled)
}

#[test]
fn stalled_readers_hold_up_nobody_as_long_as_there_is_room_to_spill() {
    for seed in 0..8 {
        let (ended, spilled) = play(seed, SPILL_MAX);
        assert!(
            ended < Time::default() + WAKE,
            "held up until {ended} in world {seed}"
        );
        assert!(spilled > 0);
    }
}

#[test]
fn without_room_to_spill_others_wait_for_the_stalled_readers_and_lose_nothing() {
    for seed in 0..8 {
        let (ended, spilled) = play(seed, 0);
        assert!(
            ended > Time::default() + WAKE,
            "over at {ended} in world {seed}"
        );
        assert_eq!(spilled, 0);
    }
}

#[test]
fn a_spill_that_fills_up_is_never_passed_and_loses_nothing() {
    const ROOM: usize = 100_000;
    for seed in 0..8 {
        let (_, spilled) = play(seed, ROOM);
        assert!(
            spilled > ROOM as u64 / 2 && spilled <= ROOM as u64,
            "{spilled} in world {seed}"
        );
    }
}
