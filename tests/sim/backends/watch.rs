//! Changes the backends of a world between turns, and remembers what each turn of each worker could know of them: for
//! judging every choice when all is over.

use super::flips::{Flip, Planned};
use crate::seats::Onlooker;
use ringway::config::{AdminState, OnDown};
use ringway::conn::Cause;
use ringway::ring::Time;
use ringway::sim::World;
use ringway::upstream::{Member, Snapshot};
use ringway::worker::{Message, Post};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How many times `fail_timeout` a backend is out at most, however often it flaps.
const FLAPPING: u32 = 8;

/// Backends by their numbers in the world.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Set(u32);

impl Set {
    pub(crate) fn add(&mut self, backend: usize) {
        self.0 |= 1 << backend;
    }

    pub(crate) fn has(self, backend: usize) -> bool {
        self.0 >> backend & 1 == 1
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the onlooker gets wrong on purpose, so that a check has something to find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    None,
    /// Workers are not told what the operator wants.
    Admin,
    /// Nor what probes say.
    Down,
    /// Nor that connections are to be ended.
    Evict,
    /// A seat is taken each time that probes find a backend down, and nobody gives it back.
    Seat,
}

/// A backend as the operator, the probes and the world have it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) upstream: u16,
    pub(crate) address: SocketAddr,
    /// Seats; 0 is any number.
    pub(crate) most: u64,
    pub(crate) is_backup: bool,
    /// The longest time out.
    out_max: Duration,
    pub(crate) live: Arc<Member>,
    on_down: OnDown,
    admin: AdminState,
    is_down: bool,
    before: Before,
    /// Whether all its seats were ever taken.
    pub(crate) was_full: bool,
}

/// What was known of it when the turn began.
#[derive(Clone, Copy, Default, Debug)]
struct Before {
    open: u64,
    opened: u64,
    ejections: u64,
    /// Failed dials took it out until then.
    out_until: Option<Time>,
}

/// What held of backends in one turn, from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) worker: usize,
    pub(crate) now: Time,
    /// Those that any connection could have.
    pub(crate) usable: Set,
    /// Those in drain or maintenance.
    pub(crate) closed: Set,
    /// Those that probes found down, and those that failed dials took out.
    pub(crate) away: Set,
    /// Those that failed dials took out before, and that still were at the end.
    pub(crate) out: Set,
}

/// Connections of a backend were to be ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evicted {
    pub(crate) backend: usize,
    pub(crate) at: Time,
    pub(crate) over: Duration,
}

/// Probes found a backend up again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returned {
    pub(crate) backend: usize,
    pub(crate) at: Time,
    /// The first turn after it: others may have been at the same moment.
    pub(crate) turn: usize,
}

/// The onlooker.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) backends: Vec<Backend>,
    pub(crate) turns: Vec<Turn>,
    /// Of each dial, the turn in which its backend was picked.
    pub(crate) picked: Vec<usize>,
    pub(crate) evicted: Vec<Evicted>,
    pub(crate) returned: Vec<Returned>,
    /// Each worker's last turn: what it decided there goes out at the beginning of the next.
    last: Vec<usize>,
    flips: VecDeque<Planned>,
    snapshot: Snapshot,
    posts: Vec<Post>,
    over: Duration,
    lie: Lie,
}

impl Watch {
    pub(crate) fn new(
        snapshot: &Snapshot,
        posts: Vec<Post>,
        flips: Vec<Planned>,
        over: Duration,
        lie: Lie,
    ) -> Self {
        Self {
            backends: backends(snapshot),
            turns: Vec::new(),
            picked: Vec::new(),
            evicted: Vec::new(),
            returned: Vec::new(),
            last: vec![usize::MAX; posts.len()],
            flips: flips.into(),
            snapshot: snapshot.clone(),
            posts,
            over,
            lie,
        }
    }

    fn flip(&mut self, flip: Flip, world: &mut World) {
        match flip {
            Flip::Admin(number, admin) => {
                let it = &mut self.backends[number];
                it.admin = admin;
                if self.lie != Lie::Admin {
                    it.live.set_admin(admin);
                }
            }
            Flip::Down(number, is_down) => self.set_down(number, is_down, world),
            Flip::Listens(number, true) => world.backend(self.backends[number].address),
            Flip::Listens(number, false) => world.no_backend(self.backends[number].address),
        }
    }

    /// As control does.
    fn set_down(&mut self, number: usize, is_down: bool, world: &mut World) {
        let it = &mut self.backends[number];
        if it.is_down && !is_down {
            self.returned.push(Returned {
                backend: number,
                at: world.now(),
                turn: self.turns.len(),
            });
        }
        it.is_down = is_down;
        if self.lie != Lie::Down {
            it.live.set_down(is_down, world.now());
        }
        if !is_down {
            return;
        }
        if self.lie == Lie::Seat {
            let upstream = &self.snapshot.upstreams[usize::from(it.upstream)];
            upstream.pick(0, &[], world.now());
        }
        if it.on_down == OnDown::Close {
            self.evict(number, world);
        }
    }

    fn evict(&mut self, number: usize, world: &mut World) {
        // The program ends connections from here on; what it tells those that it refuses is whole all the same.
        world.excuse(world.now() + Duration::from_hours(24));
        let it = &self.backends[number];
        for post in self.posts.iter().filter(|_| self.lie != Lie::Evict) {
            post.post(Message::Evict {
                backend: Arc::clone(&it.live),
                over: self.over,
                cause: Cause::BackendDown,
            });
        }
        self.evicted.push(Evicted {
            backend: number,
            at: world.now(),
            over: self.over,
        });
    }
}

impl Onlooker for Watch {
    fn on_round(&mut self, world: &mut World) {
        let elapsed = world.now() - Time::default();
        while let Some((_, flip)) = self.flips.pop_front_if(|(at, _)| *at <= elapsed) {
            self.flip(flip, world);
        }
    }

    fn before_turn(&mut self, _: usize, world: &World) {
        for it in &mut self.backends {
            it.before = Before {
                open: it.live.open(),
                opened: it.live.opened(),
                ejections: it.live.ejections(),
                out_until: it
                    .live
                    .is_out()
                    .then(|| world.now() + it.live.out_for(world.now())),
            };
        }
    }

    fn after_turn(&mut self, worker: usize, world: &World) {
        let new = world.dials().len() - self.picked.len();
        self.picked
            .extend(std::iter::repeat_n(self.last[worker], new));
        let mut turn = Turn {
            worker,
            now: world.now(),
            usable: Set::default(),
            closed: Set::default(),
            away: Set::default(),
            out: Set::default(),
        };
        for (number, it) in self.backends.iter_mut().enumerate() {
            it.judge(number, &mut turn);
        }
        self.last[worker] = self.turns.len();
        self.turns.push(turn);
    }
}

impl Backend {
    /// What held of it through all of the turn that is just over, whatever came first in it.
    fn judge(&mut self, number: usize, turn: &mut Turn) {
        let Before {
            open,
            opened,
            ejections,
            out_until,
        } = self.before;
        let taken = self.live.opened() - opened;
        let left = self.live.open();
        let out_for = self.live.out_for(turn.now);
        assert!(
            out_for <= self.out_max,
            "{} is out for another {out_for:?}",
            self.address
        );
        assert!(
            self.most == 0 || left <= self.most,
            "{left} of {} seats of {} are taken",
            self.most,
            self.address
        );
        self.was_full |= self.most > 0 && left == self.most;
        let same = self.live.ejections() == ejections;
        // Whoever is first tries one whose time out is over, and others keep away meanwhile.
        let is_in = out_until.is_none_or(|until| until <= turn.now && taken == 0);
        let has_room = self.most == 0 || open + taken < self.most;
        let stayed_out = out_until.is_some() && same && self.live.is_out();
        let is_due = out_until.is_some_and(|until| until <= turn.now);
        if self.admin != AdminState::Ready {
            turn.closed.add(number);
        } else if !self.is_down && same && is_in && has_room {
            turn.usable.add(number);
        }
        if self.is_down || (stayed_out && !is_due) {
            turn.away.add(number);
        }
        if stayed_out {
            turn.out.add(number);
        }
    }
}

fn backends(snapshot: &Snapshot) -> Vec<Backend> {
    let mut all = Vec::new();
    for (upstream, place) in snapshot.upstreams.iter().zip(0..) {
        let settings = upstream.settings();
        for (backend, at) in settings.backends.iter().zip(0..) {
            all.push(Backend {
                upstream: place,
                address: backend.address.socket().expect("an address"),
                most: backend.max_connections as u64,
                is_backup: backend.backup,
                out_max: settings.fail_timeout * FLAPPING,
                live: Arc::clone(upstream.live().member(at)),
                on_down: settings.on_down,
                admin: backend.state,
                is_down: false,
                before: Before::default(),
                was_full: false,
            });
        }
    }
    all
}
