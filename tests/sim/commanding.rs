//! Workers that are paused, resumed, asked, given other snapshots and other doors, and have connections of theirs killed and
//! backends drained, at any time and each of them at another. What holds where nobody commands holds in these worlds; and who
//! is told to pause takes nobody, who is asked tells the truth.

use crate::following::draw_change;
use crate::sabotage::{Fault, Sabotage};
use crate::seats::{Furnished, Onlooker, Play};
use crate::worker::{HASTES, Haste, check_record, demands, furnish};
use crate::{Replay, play_all, worlds};
use ringway::config::Config;
use ringway::conn::Cause;
use ringway::ring::{Buffers, Op, Ops, Time};
use ringway::sim::World;
use ringway::tls::Material;
use ringway::upstream::{Member, Seats, Snapshot};
use ringway::worker::{Ear, Listed, Message, Order, Post, Question, Stats, Wanted};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often listening sockets are opened anew: each time with clients who come there.
const OPENED_MAX: u64 = 6;

/// The longest time that a pause gives.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a worker that was told to pause may still listen: a late bell, and a cancel that takes its time.
const DEAF_IN: Duration = Duration::from_millis(500);

/// How long a connection that was killed may take to let go of what the kernel holds.
const KILLED_IN: Duration = Duration::from_millis(200);

/// What is told to nobody, or noted by nobody, to show that the checks bite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    None,
    /// No worker is told to pause.
    Pause,
    /// Nobody notes that a backend is to be drained.
    Evict,
    /// Nobody is killed who is said to be.
    Kill,
}

/// A worker, as far as control knows it.
struct Known {
    post: Post,
    stats: Arc<Stats>,
    /// Messages on their way to it, each so many rounds behind the one before.
    way: VecDeque<(u64, Message)>,
    /// When it was told to pause; none if it was not, or was told to resume since.
    paused: Option<Time>,
    /// Clients accepted before its turn.
    accepted: u64,
}

/// Control.
struct Commander {
    lie: Lie,
    workers: Vec<Known>,
    snapshot: Snapshot,
    version: u64,
    /// Of each open door, the place of its listener in the configuration.
    doors: BTreeMap<usize, usize>,
    next_door: usize,
    /// Listening sockets of the world so far.
    sockets: usize,
    is_paused: bool,
    is_ending: bool,
    lists: Vec<oneshot::Receiver<Vec<Listed>>>,
    kills: Vec<(u64, oneshot::Receiver<bool>)>,
    /// Ids that were listed.
    listed: Vec<u64>,
    /// Ids that were killed, and when that was known.
    killed: Vec<(u64, Time)>,
    evicted: Vec<Arc<Member>>,
    members: Vec<Arc<Member>>,
    seats: Vec<Arc<Seats>>,
    opened: u64,
    resumed: u64,
    spared: u64,
}

impl Commander {
    fn new(lie: Lie, snapshot: &Snapshot, posts: Vec<Post>, stats: Vec<Arc<Stats>>) -> Self {
        let places = snapshot.config.listeners.len();
        let sockets = places * posts.len();
        let known = |(post, stats)| Known {
            post,
            stats,
            way: VecDeque::new(),
            paused: None,
            accepted: 0,
        };
        let mut this = Self {
            lie,
            workers: posts.into_iter().zip(stats).map(known).collect(),
            snapshot: snapshot.clone(),
            version: 0,
            doors: (0..places).map(|at| (at, at)).collect(),
            next_door: places,
            sockets,
            is_paused: false,
            is_ending: false,
            lists: Vec::new(),
            kills: Vec::new(),
            listed: Vec::new(),
            killed: Vec::new(),
            evicted: Vec::new(),
            members: Vec::new(),
            seats: Vec::new(),
            opened: 0,
            resumed: 0,
            spared: 0,
        };
        this.remember();
        this
    }

    fn remember(&mut self) {
        let upstreams = self.snapshot.upstreams.iter();
        let members = upstreams.flat_map(|it| it.live().members());
        self.members.extend(members.map(Arc::clone));
        let sites = self.snapshot.sites.iter();
        self.seats.extend(sites.map(|site| Arc::clone(&site.seats)));
    }

    /// Something that an operator may want now.
    fn command(&mut self, world: &mut World) {
        match world.chance().below(10) {
            0 | 1 if self.is_paused => self.resume(world),
            0 => self.pause(world),
            1 | 2 if !self.is_paused => self.follow(world),
            3 => self.list(world),
            4 | 5 => self.kill(world),
            6 => self.evict(world),
            7 => self.spare(world),
            8 => self.tell_all(world, || Message::AcceptAgain),
            _ => self.tell_all(world, || Message::Ping),
        }
    }

    /// Each worker hears of it when it comes to it.
    fn tell_all(&mut self, world: &mut World, message: impl Fn() -> Message) {
        for at in 0..self.workers.len() {
            self.tell(at, world, message());
        }
    }

    /// After a while. One that is alone may sleep until then, and would for ever: rounds are its turns.
    fn tell(&mut self, at: usize, world: &mut World, message: Message) {
        let is_alone = self.workers.len() == 1;
        let rounds = if is_alone {
            0
        } else {
            world.chance().below(12)
        };
        self.workers[at].way.push_back((rounds, message));
    }

    fn pause(&mut self, world: &mut World) {
        let deadline = world.chance().pause(PAUSE);
        let over = world.chance().pause(deadline);
        world.excuse(world.now());
        self.is_paused = true;
        self.tell_all(world, || Message::Pause { over, deadline });
    }

    fn resume(&mut self, world: &mut World) {
        if self.opened == OPENED_MAX {
            return;
        }
        self.opened += 1;
        self.resumed += 1;
        self.is_paused = false;
        let doors = self.doors.clone();
        for at in 0..self.workers.len() {
            let open = |(door, place): (&usize, &usize)| self.open(*door, *place, world);
            let ears: Vec<_> = doors.iter().map(open).collect();
            self.workers[at]
                .way
                .push_back((0, Message::Resume { ears }));
        }
    }

    /// A listening socket at a door, with somebody who comes there.
    fn open(&mut self, door: usize, place: usize, world: &mut World) -> Ear {
        let sock = world.listen();
        if world.chance().below(2) == 0 {
            let pause = world.chance().pause(Duration::from_secs(2));
            world.client(self.sockets, pause);
        }
        self.sockets += 1;
        Ear {
            door,
            listener: self.snapshot.number_of(place),
            sock,
        }
    }

    /// Nobody is behind.
    fn is_followed(&self) -> bool {
        let mut all = self.workers.iter();
        all.all(|it| it.way.is_empty() && it.stats.version.get() == self.version)
    }

    /// Another configuration, and perhaps another door for a listener.
    fn follow(&mut self, world: &mut World) {
        if !self.is_followed() {
            return;
        }
        let mut config = Config::clone(&self.snapshot.config);
        draw_change(&mut config, world.chance());
        let (config, now) = (Arc::new(config), world.now());
        self.snapshot = self.snapshot.next(config, Material::default(), now);
        self.version += 1;
        self.remember();
        let moves = self.opened < OPENED_MAX && world.chance().below(2) == 0;
        let moved = moves.then(|| self.move_house(world));
        let number = |(door, place): (&usize, &usize)| (*door, self.snapshot.number_of(*place));
        let doors: BTreeMap<_, _> = self.doors.iter().map(number).collect();
        for at in 0..self.workers.len() {
            let worker = u16::try_from(at).expect("two");
            let added = moved.map(|(door, place)| self.open(door, place, world));
            let order = Order {
                version: self.version,
                snapshot: self.snapshot.for_worker(worker),
                doors: doors.clone(),
                added: added.into_iter().collect(),
            };
            let message = Message::Follow(Box::new(order));
            self.tell(at, world, message);
        }
    }

    /// A listener listens at another door: that, and its place.
    fn move_house(&mut self, world: &mut World) -> (usize, usize) {
        self.opened += 1;
        let doors: Vec<_> = self.doors.keys().copied().collect();
        let left = world.chance().pick(&doors);
        let place = self.doors.remove(&left).expect("one of them");
        let door = self.next_door;
        self.next_door += 1;
        self.doors.insert(door, place);
        (door, place)
    }

    fn list(&mut self, world: &mut World) {
        let at = world.chance().index(self.workers.len());
        let (answer, answered) = oneshot::channel();
        let wanted = Wanted {
            limit: 1 + world.chance().index(10),
            upstream: None,
            backend: None,
        };
        let message = Message::Ask(Question::List(wanted, answer));
        self.tell(at, world, message);
        self.lists.push(answered);
    }

    fn kill(&mut self, world: &mut World) {
        if self.listed.is_empty() {
            return;
        }
        let mut id = world.chance().pick(&self.listed);
        let noted = id;
        if self.lie == Lie::Kill {
            id = u64::MAX;
        }
        world.excuse(world.now());
        for at in 0..self.workers.len() {
            let (answer, answered) = oneshot::channel();
            let message = Message::Ask(Question::Kill(id, answer));
            self.tell(at, world, message);
            self.kills.push((noted, answered));
        }
        if self.lie == Lie::Kill {
            self.killed.push((noted, world.now()));
        }
    }

    fn evict(&mut self, world: &mut World) {
        let member = self.member(world);
        let over = world.chance().pause(Duration::from_secs(1));
        world.excuse(world.now());
        self.tell_all(world, || Message::Evict {
            backend: Arc::clone(&member),
            over,
            cause: Cause::BackendDrain,
        });
        if self.lie != Lie::Evict {
            self.evicted.push(member);
        }
    }

    fn spare(&mut self, world: &mut World) {
        let member = self.member(world);
        self.spared += 1;
        self.tell_all(world, || Message::Spare {
            backend: Arc::clone(&member),
        });
    }

    fn member(&self, world: &mut World) -> Arc<Member> {
        Arc::clone(&self.members[world.chance().index(self.members.len())])
    }

    fn hear_answers(&mut self, now: Time) {
        let listed = &mut self.listed;
        self.lists.retain_mut(|answered| match answered.try_recv() {
            Ok(list) => {
                listed.extend(list.iter().map(|it| it.id));
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        let killed = &mut self.killed;
        self.kills
            .retain_mut(|(id, answered)| match answered.try_recv() {
                Ok(found) => {
                    killed.extend(found.then_some((*id, now)));
                    false
                }
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(oneshot::error::TryRecvError::Closed) => false,
            });
    }
}

impl Known {
    /// Tells it what has been on its way for long enough, or everything.
    fn tell(&mut self, everything: bool, lie: Lie, now: Time) {
        while let Some((rounds, _)) = self.way.front_mut() {
            if *rounds > 0 && !everything {
                *rounds -= 1;
                return;
            }
            let Some((_, message)) = self.way.pop_front() else {
                return;
            };
            self.note(&message, now);
            if lie != Lie::Pause || !matches!(message, Message::Pause { .. }) {
                self.post.post(message);
            }
        }
    }

    fn note(&mut self, message: &Message, now: Time) {
        match message {
            Message::Pause { .. } => self.paused = Some(now),
            Message::Resume { .. } => self.paused = None,
            Message::Drain { .. }
            | Message::Ask(_)
            | Message::Evict { .. }
            | Message::Spare { .. }
            | Message::Follow(_)
            | Message::Adopt(_)
            | Message::AcceptAgain
            | Message::Ping => {}
        }
    }
}

impl Onlooker for Commander {
    fn on_round(&mut self, world: &mut World) {
        self.hear_answers(world.now());
        if !self.is_ending && world.chance().below(8) == 0 {
            self.command(world);
        }
        for worker in &mut self.workers {
            worker.tell(false, self.lie, world.now());
        }
    }

    fn before_turn(&mut self, worker: usize, _: &World) {
        let it = &mut self.workers[worker];
        it.accepted = it.stats.accepted.get();
    }

    fn after_turn(&mut self, worker: usize, world: &World) {
        let it = &self.workers[worker];
        let Some(paused) = it.paused.filter(|at| world.now().since(*at) > DEAF_IN) else {
            return;
        };
        let (listens, accepted) = (it.stats.listening.get(), it.stats.accepted.get());
        assert_eq!(
            listens, 0,
            "worker {worker} listens, and was told to pause at {paused}"
        );
        assert_eq!(
            accepted, it.accepted,
            "worker {worker} takes clients while it is paused"
        );
    }

    /// What was said before is heard before, and sockets are somebody's.
    fn before_drain(&mut self, now: Time) {
        self.is_ending = true;
        for worker in &mut self.workers {
            worker.tell(true, self.lie, now);
        }
    }

    fn late(&self) -> Duration {
        PAUSE
    }
}

/// What came of a world.
#[derive(Default)]
struct Seen {
    hash: u64,
    resumed: u64,
    moved: u64,
    spared: u64,
    listed: usize,
    killed: usize,
    drained: usize,
}

fn play(lie: Lie, seed: u64, haste: Haste, workers: usize) -> Seen {
    let _replay = Replay(seed);
    let mut world = World::drawn(seed, demands(haste));
    let mut furnished: Furnished = furnish(&mut world, haste, workers);
    for (name, listener) in furnished.config.listeners.iter_mut().enumerate() {
        listener.name = format!("l{name}");
    }
    let mut play = Play::new(world, furnished);
    let mut commander = Commander::new(lie, play.snapshot(), play.posts(), play.stats());
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run_before(turns, &mut commander);
    let now = play.world.borrow().now();
    commander.hear_answers(now);
    let records = play.records();
    let mut seen = Seen {
        hash: play.played().hash,
        resumed: commander.resumed,
        moved: commander.version,
        spared: commander.spared,
        listed: commander.listed.len(),
        killed: commander.killed.len(),
        drained: 0,
    };
    for record in &records {
        check_record(&play.world.borrow(), record);
        let outcome = record.summary.outcome;
        if outcome.cause == Cause::BackendDrain {
            let backend = record.backend.as_ref().expect("it was relayed");
            let is_it = |it: &Arc<Member>| Arc::ptr_eq(it, backend);
            let is_wanted = commander.evicted.iter().any(is_it);
            assert!(is_wanted, "{outcome}, and nobody wanted that");
            seen.drained += 1;
        }
    }
    for id in &commander.listed {
        let told = records.iter().any(|record| record.id == *id);
        assert!(told, "{id} was listed and never was");
    }
    for (id, at) in &commander.killed {
        let mut those = records.iter().filter(|record| record.id == *id);
        let lived = those.next().expect("it was there").ended.since(*at);
        assert!(lived <= KILLED_IN, "{id} was killed and lived {lived:?}");
    }
    for member in &commander.members {
        let open = member.open();
        assert_eq!(open, 0, "seats of {} were not given back", member.name());
    }
    for seats in &commander.seats {
        assert_eq!(seats.taken(), 0, "a listener's places were not given back");
    }
    seen
}

/// Every kind of world of one seed.
pub(crate) fn play_seed(seed: u64) {
    for haste in HASTES {
        play(Lie::None, seed, haste, 1);
        play(Lie::None, seed, haste, 2);
    }
}

#[test]
fn workers_that_are_commanded_keep_every_rule_in_every_world() {
    play_all(worlds(), play_seed);
}

#[test]
fn the_same_is_commanded_in_the_same_world() {
    for seed in 0..10 {
        let hash = || play(Lie::None, seed, Haste::Patient, 2).hash;
        assert_eq!(hash(), hash(), "world {seed}");
    }
}

#[test]
fn every_command_comes_to_something() {
    let seen = (0..100).map(|seed| play(Lie::None, seed, Haste::Patient, 2));
    let (mut sums, mut worlds) = ([0; 6], 0);
    for it in seen {
        let [listed, killed, drained] = [it.listed, it.killed, it.drained].map(|n| n as u64);
        let counts = [it.resumed, it.moved, it.spared, listed, killed, drained];
        sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        worlds += 1;
    }
    assert_eq!(worlds, 100);
    assert!(sums.iter().all(|sum| *sum > 30), "{sums:?}");
}

/// Not every lie shows in every world.
fn lie(lie: Lie) {
    for seed in 0..100 {
        play(lie, seed, Haste::Patient, 2);
    }
}

#[test]
#[should_panic(expected = "and was told to pause")]
fn a_worker_that_does_not_pause_is_caught() {
    lie(Lie::Pause);
}

#[test]
#[should_panic(expected = "and nobody wanted that")]
fn a_connection_that_leaves_unasked_is_caught() {
    lie(Lie::Evict);
}

#[test]
#[should_panic(expected = "was killed and lived")]
fn a_connection_that_survives_being_killed_is_caught() {
    lie(Lie::Kill);
}

/// Has listeners move house again and again.
struct Mover {
    commander: Commander,
    moves: u64,
}

impl Onlooker for Mover {
    fn on_round(&mut self, world: &mut World) {
        if !self.commander.is_ending && self.moves < 50 {
            self.moves += 1;
            self.commander.opened = 0;
            self.commander.follow(world);
        }
        self.commander.workers[0].tell(true, Lie::None, world.now());
    }

    fn before_turn(&mut self, _: usize, _: &World) {}

    fn after_turn(&mut self, _: usize, _: &World) {}

    fn before_drain(&mut self, now: Time) {
        self.commander.before_drain(now);
    }
}

fn in_few_places(_: &mut Buffers, op: Op, ops: &mut Ops) {
    if let Op::Accept { tag, .. } = &op {
        // Those that take their time to close, and a new one.
        assert!(tag.slot < 16, "a listening socket in place {}", tag.slot);
    }
    ops.push(op);
}

#[test]
fn listening_sockets_take_the_places_of_those_that_are_closed() {
    for seed in 0..20 {
        let _replay = Replay(seed);
        let mut world = World::drawn(seed, demands(Haste::Patient));
        let furnished = furnish(&mut world, Haste::Patient, 1);
        let fault = Fault::Op(in_few_places);
        let mut play = Play::behind(|inner| Sabotage { inner, fault }, world, furnished);
        let commander = Commander::new(Lie::None, play.snapshot(), play.posts(), play.stats());
        let mut mover = Mover {
            commander,
            moves: 0,
        };
        play.run_before(u64::MAX, &mut mover);
        play.records();
        assert!(mover.commander.next_door > 10, "hardly any move");
    }
}
