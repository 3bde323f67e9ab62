//! Workers that are given something else to go by in the middle of it all: upstreams with other weights, policies and
//! backends, listeners with other names and limits. Each worker follows when it comes to it, so that clients are handed
//! over between workers of which one is ahead. What holds in worlds where nothing changes holds in these.

use crate::seats::{Furnished, Onlooker, Play};
use crate::worker::{HASTES, Haste, check_record, demands, furnish};
use crate::{Replay, play_all, worlds};
use ringway::config::{Balance, Config};
use ringway::ring::Time;
use ringway::sim::{Chance, World};
use ringway::tls::Material;
use ringway::upstream::{Member, Seats, Snapshot};
use ringway::worker::{Message, Order, Post, Stats};
use std::sync::Arc;

/// Control, as far as it has workers follow.
struct Control {
    posts: Vec<Post>,
    stats: Vec<Arc<Stats>>,
    snapshot: Snapshot,
    version: u64,
    /// Of each door, in the order of the world's listeners: the place of its listener in the configuration.
    doors: Vec<usize>,
    /// Workers that are still to be told of the latest version, in how many rounds.
    telling: Vec<(usize, u64)>,
    /// Everything that was ever counted.
    members: Vec<Arc<Member>>,
    seats: Vec<Arc<Seats>>,
}

impl Control {
    fn new(snapshot: &Snapshot, posts: Vec<Post>, stats: Vec<Arc<Stats>>) -> Self {
        let mut this = Self {
            posts,
            stats,
            snapshot: snapshot.clone(),
            version: 0,
            doors: (0..snapshot.config.listeners.len()).collect(),
            telling: Vec::new(),
            members: Vec::new(),
            seats: Vec::new(),
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

    /// Nobody is behind.
    fn is_followed(&self) -> bool {
        let mut all = self.stats.iter();
        self.telling.is_empty() && all.all(|stats| stats.version.get() == self.version)
    }

    fn change(&mut self, now: Time, chance: &mut Chance) {
        let mut config = Config::clone(&self.snapshot.config);
        draw_change(&mut config, chance);
        self.snapshot = self
            .snapshot
            .next(Arc::new(config), Material::default(), now);
        self.version += 1;
        self.remember();
        let rounds = |at| (at, chance.below(12));
        self.telling = (0..self.posts.len()).map(rounds).collect();
    }

    fn tell(&self, worker: usize) {
        let number = u16::try_from(worker).expect("two");
        let doors = self.doors.iter().enumerate();
        self.posts[worker].post(Message::Follow(Box::new(Order {
            version: self.version,
            snapshot: self.snapshot.for_worker(number),
            doors: doors
                .map(|(door, place)| (door, self.snapshot.number_of(*place)))
                .collect(),
            added: Vec::new(),
        })));
    }
}

impl Onlooker for Control {
    fn on_round(&mut self, world: &mut World) {
        if self.is_followed() && world.chance().below(8) == 0 {
            self.change(world.now(), world.chance());
        }
        let mut telling = std::mem::take(&mut self.telling);
        telling.retain_mut(|(worker, rounds)| {
            if *rounds == 0 {
                self.tell(*worker);
            }
            let waits = *rounds > 0;
            *rounds = rounds.saturating_sub(1);
            waits
        });
        self.telling = telling;
    }

    fn before_turn(&mut self, _: usize, _: &World) {}

    fn after_turn(&mut self, _: usize, _: &World) {}
}

/// Something that leads every client where it went before, some other way.
pub(crate) fn draw_change(config: &mut Config, chance: &mut Chance) {
    for upstream in &mut config.upstreams {
        match chance.below(4) {
            0 => chance.shuffle(&mut upstream.backends),
            1 => {
                let balances = [Balance::IpHash, Balance::RoundRobin, Balance::LeastConn];
                upstream.balance = chance.pick(&balances);
            }
            2 => {
                let at = chance.index(upstream.backends.len());
                upstream.backends[at].weight = u16::try_from(chance.within(1, 9)).expect("small");
            }
            _ => {}
        }
    }
    let at = chance.index(config.listeners.len());
    let listener = &mut config.listeners[at];
    match chance.below(3) {
        0 => listener.name.push('\''),
        1 => listener.max_connections = 1 + chance.index(8),
        _ => {}
    }
}

/// What came of a world.
struct Seen {
    hash: u64,
    versions: u64,
    relayed: usize,
}

fn play(seed: u64, haste: Haste, workers: usize) -> Seen {
    let _replay = Replay(seed);
    let mut world = World::drawn(seed, demands(haste));
    let mut furnished: Furnished = furnish(&mut world, haste, workers);
    // Doors are the world's listeners, one for each listener of the configuration.
    for (name, listener) in furnished.config.listeners.iter_mut().enumerate() {
        listener.name = format!("l{name}");
    }
    let mut play = Play::new(world, furnished);
    let mut control = Control::new(play.snapshot(), play.posts(), play.stats());
    let turns = match haste {
        Haste::Patient | Haste::Swaying => u64::MAX,
        Haste::Draining | Haste::Hurried => play.world.borrow_mut().chance().below(400),
    };
    play.run_before(turns, &mut control);
    let mut relayed = 0;
    for record in play.records() {
        check_record(&play.world.borrow(), &record);
        relayed += usize::from(record.summary.connect.is_some());
    }
    for member in &control.members {
        assert_eq!(
            member.open(),
            0,
            "seats of {} were not given back",
            member.name()
        );
    }
    for seats in &control.seats {
        assert_eq!(seats.taken(), 0, "a listener's places were not given back");
    }
    Seen {
        hash: play.played().hash,
        versions: control.version,
        relayed,
    }
}

#[test]
fn workers_that_follow_keep_every_rule_in_every_world() {
    play_all(worlds(), |seed| {
        for haste in HASTES {
            play(seed, haste, 1);
            play(seed, haste, 2);
        }
    });
}

#[test]
fn the_same_is_followed_in_the_same_world() {
    for seed in 0..10 {
        assert_eq!(
            play(seed, Haste::Patient, 2).hash,
            play(seed, Haste::Patient, 2).hash
        );
    }
}

#[test]
fn the_worlds_change_many_times_while_clients_are_relayed() {
    let seen: Vec<_> = (0..50).map(|seed| play(seed, Haste::Patient, 2)).collect();
    let versions: u64 = seen.iter().map(|seen| seen.versions).sum();
    let relayed: usize = seen.iter().map(|seen| seen.relayed).sum();
    assert!(versions > 500, "{versions} versions");
    assert!(relayed > 100, "{relayed} relayed");
}
