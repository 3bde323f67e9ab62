//! Workers in one world: turned in any order, told to drain, counted after every turn. What the world is furnished with,
//! and what must hold of each record, is the caller's.

use ringway::config::Config;
use ringway::ring::{Lane, Ring, Sock, SockRef, Time};
use ringway::sim::{SimRing, World};
use ringway::tls::Material;
use ringway::upstream::Snapshot;
use ringway::worker::{
    self, Board, Ear, Handover, Journal, Life, Limits, Mailbox, Message, Post, Setup, Stats, Worker,
};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// How much later than its deadline a drain may be over: what the kernel still holds comes back late.
const SLACK: Duration = Duration::from_millis(200);

/// Records wait here until the end: more than any world has clients.
const RECORDS_MAX: usize = 64;

/// A worker's listening sockets.
pub(crate) type Listeners = Vec<(u16, Sock)>;

/// What a world is played with.
pub(crate) struct Furnished {
    pub(crate) config: Config,
    /// Of each worker.
    pub(crate) listeners: Vec<Listeners>,
    pub(crate) limits: Arc<Limits>,
    /// How many buffers a worker has at least and at most, as powers of two.
    pub(crate) buffers: (u64, u64),
    /// The size of the smallest and the largest, so too: small ones make bulk slow to play.
    pub(crate) sizes: (u64, u64),
}

/// What was told of a connection, and what it was told under.
#[derive(Debug)]
pub(crate) struct Record {
    told: worker::Record,
    pub(crate) config: Arc<Config>,
}

impl Deref for Record {
    type Target = worker::Record;

    fn deref(&self) -> &worker::Record {
        &self.told
    }
}

impl Record {
    /// The number of its listener, which is its place in a configuration that never changes.
    pub(crate) fn number(&self) -> u16 {
        let mut numbers = self.config.listeners.iter().zip(0..);
        let its = numbers.find(|(rules, _)| rules.name == self.told.listener.name);
        its.expect("one of the configuration").1
    }

    /// Where it went, if that was ever known.
    pub(crate) fn upstream(&self) -> Option<usize> {
        let name = self.told.upstream.as_deref()?;
        let mut all = self.config.upstreams.iter();
        all.position(|upstream| upstream.name == name)
    }
}

/// A ring in a simulated world, perhaps behind one that does something to it.
pub(crate) trait Simulated: Ring {
    fn sim(&self) -> &SimRing;
}

impl Simulated for SimRing {
    fn sim(&self) -> &SimRing {
        self
    }
}

/// Somebody who looks on, and may change between turns what others than workers change.
pub(crate) trait Onlooker {
    /// A round of turns begins: each worker that has not finished will have one.
    fn on_round(&mut self, world: &mut World);
    /// A worker's turn begins.
    fn before_turn(&mut self, worker: usize, world: &World);
    /// And is over.
    fn after_turn(&mut self, worker: usize, world: &World);
    /// A worker is about to be told to drain and end.
    fn before_drain(&mut self, _now: Time) {}
    /// How much later than its deadline that may be over, for what was told before.
    fn late(&self) -> Duration {
        Duration::ZERO
    }
}

/// Nobody looks on.
impl Onlooker for () {
    fn on_round(&mut self, _: &mut World) {}
    fn before_turn(&mut self, _: usize, _: &World) {}
    fn after_turn(&mut self, _: usize, _: &World) {}
}

/// Each listening socket is a door of its own.
pub(crate) fn ears(listeners: Listeners) -> Vec<Ear> {
    let doors = listeners.into_iter().enumerate();
    doors
        .map(|(door, (listener, sock))| Ear {
            door,
            listener,
            sock,
        })
        .collect()
}

/// A worker and the ways to it.
struct Seat<R> {
    worker: Worker<R>,
    bell: SockRef,
    post: Post,
    stats: Arc<Stats>,
    life: Life,
}

/// Workers in their world, and what they tell.
pub(crate) struct Play<R> {
    pub(crate) world: Rc<RefCell<World>>,
    seats: Vec<Seat<R>>,
    snapshot: Snapshot,
    board: Arc<Board>,
    limits: Arc<Limits>,
    records: Receiver<worker::Record>,
    /// The most that was spilled at any time.
    spilled: u64,
}

impl Play<SimRing> {
    pub(crate) fn new(world: World, furnished: Furnished) -> Self {
        Self::behind(|ring| ring, world, furnished)
    }
}

impl<R: Simulated> Play<R> {
    /// Each worker gets what `wrap` makes of its ring.
    pub(crate) fn behind(
        wrap: impl Fn(SimRing) -> R,
        mut world: World,
        furnished: Furnished,
    ) -> Self {
        let Furnished {
            config,
            listeners,
            limits,
            buffers,
            sizes,
        } = furnished;
        let workers = listeners.len();
        let tls = Material::load(&config).expect("files of ours");
        let snapshot = Snapshot::with_tls(Arc::new(config), tls);
        let (journal, records) = sync_channel(RECORDS_MAX);
        let board = Arc::new(Board::new(workers));
        let bells: Vec<_> = (0..workers).map(|_| world.bell()).collect();
        let ends = bells.iter().map(|bell| Mailbox::simulated(*bell));
        let (posts, mailboxes): (Vec<_>, Vec<_>) = ends.unzip();
        let world = Rc::new(RefCell::new(world));
        let mut play = Self {
            world,
            seats: Vec::new(),
            snapshot,
            board: Arc::clone(&board),
            limits: Arc::clone(&limits),
            records,
            spilled: 0,
        };
        for ((listeners, mailbox), number) in listeners.into_iter().zip(mailboxes).zip(0..) {
            let at = usize::from(number);
            let setup = Setup {
                worker: number,
                limits: Arc::clone(&limits),
                snapshot: play.snapshot.for_worker(number),
                listeners: ears(listeners),
                connections_max: play.draw(1, 32),
                mailbox,
                handover: Handover::new(at, Arc::clone(&board), posts.clone()),
                stats: Arc::default(),
                journal: Journal::into(journal.clone()),
            };
            board.set_busy(at, play.draw(0, 1000));
            let ring = wrap(play.ring(buffers, sizes));
            play.seat(ring, setup, bells[at], posts[at].clone());
        }
        play
    }

    /// What workers know, and share of it.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Each worker's numbers.
    pub(crate) fn stats(&self) -> Vec<Arc<Stats>> {
        self.seats
            .iter()
            .map(|seat| Arc::clone(&seat.stats))
            .collect()
    }

    /// The ways to all workers.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.seats.iter().map(|seat| seat.post.clone()).collect()
    }

    fn draw(&self, min: u64, max: u64) -> u32 {
        let drawn = self.world.borrow_mut().chance().within(min, max);
        u32::try_from(drawn).expect("small numbers")
    }

    fn ring(&self, buffers: (u64, u64), sizes: (u64, u64)) -> SimRing {
        let power = |(least, most)| 1 << self.draw(least, most);
        let count = u16::try_from(power(buffers)).expect("at most 32,768");
        let size = u16::try_from(power(sizes)).expect("at most 32,768");
        SimRing::new(Rc::clone(&self.world), count, size)
    }

    fn seat(&mut self, ring: R, setup: Setup, bell: SockRef, post: Post) {
        let stats = Arc::clone(&setup.stats);
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
        let deadline = world.chance().pause(Duration::from_secs(20));
        let hasty = world.now() + deadline;
        world.excuse(hasty);
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
    pub(crate) fn run(&mut self, turns: u64) {
        self.run_before(turns, &mut ());
    }

    /// The same while somebody looks on.
    pub(crate) fn run_before(&mut self, turns: u64, onlooker: &mut impl Onlooker) {
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
                    onlooker.before_drain(self.world.borrow().now());
                    drained_by = drained_by.max(Some(self.drain(at)));
                }
            }
            turn += 1;
            self.turn(onlooker);
            self.check_counts();
        }
        let now = self.world.borrow().now();
        assert!(
            drained_by.is_some_and(|by| now <= by + onlooker.late()),
            "drained only at {now}"
        );
        self.finish();
        self.world.borrow_mut().settle();
        self.check_counts();
    }

    /// After the end: what was told of each connection, once.
    ///
    /// # Panics
    /// When anything outlives its connection.
    pub(crate) fn records(&mut self) -> Vec<Record> {
        let told = self.records.try_iter().map(|told| Record {
            told,
            config: Arc::clone(&self.snapshot.config),
        });
        let records: Vec<_> = told.collect();
        let ids: HashSet<_> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), records.len(), "an id came twice");
        let bells = self.seats.len();
        for seat in &mut self.seats {
            let dropped = seat.stats.records_dropped.get();
            assert_eq!(dropped, 0, "the journal has room for all");
            seat.worker.ring().sim().check_end(bells);
        }
        records
    }

    /// What came of it.
    pub(crate) fn played(&self) -> Played {
        let stats = self.seats.iter().map(|seat| Arc::clone(&seat.stats));
        Played {
            hash: self.world.borrow().trace_hash(),
            stats: stats.collect(),
            spilled: self.spilled,
        }
    }

    /// Lets the last closes go out, and what comes late come.
    fn finish(&mut self) {
        // What comes may be answered with an op, and that with a completion: quiet is two turns without either.
        let mut quiet = 0;
        while quiet < 2 {
            for seat in &mut self.seats {
                seat.turn();
            }
            let idle = self
                .seats
                .iter_mut()
                .all(|s| s.worker.ring().sim().is_idle());
            quiet = if idle { quiet + 1 } else { 0 };
        }
    }

    /// A turn of each worker that has not finished, in any order.
    fn turn(&mut self, onlooker: &mut impl Onlooker) {
        let mut order: Vec<usize> = (0..self.seats.len()).collect();
        self.world.borrow_mut().chance().shuffle(&mut order);
        onlooker.on_round(&mut self.world.borrow_mut());
        for at in order {
            self.ring_bells();
            let seat = &mut self.seats[at];
            if seat.life == Life::Turning {
                onlooker.before_turn(at, &self.world.borrow());
                seat.life = seat.turn();
                onlooker.after_turn(at, &self.world.borrow());
            }
        }
    }

    /// Accepted is open and ended, on each worker; each open one, and each on its way between two, has one place and is
    /// counted once on the board.
    fn check_counts(&mut self) {
        let mut open = 0;
        for seat in &self.seats {
            self.spilled = self.spilled.max(seat.stats.spilled_bytes.get());
            let ended = seat.stats.closed_total();
            let its = seat.worker.connections() as u64;
            assert_eq!(
                seat.stats.accepted.get(),
                its + ended,
                "accepted = open + ended"
            );
            if its == 0 {
                let held = [Lane::A, Lane::B].map(|lane| seat.stats.pressure.held(lane));
                assert_eq!(held, [0, 0], "nobody is left to wait for a reader");
            }
            open += its;
        }
        let placed: u64 = (0..self.seats.len())
            .map(|at| self.board.connections(at))
            .sum();
        assert_eq!(self.limits.open(), placed, "places taken, and on the board");
        assert!(placed >= open, "{open} open in {placed} places");
        let counted = self.limits.households().open();
        assert!(
            counted <= placed,
            "{counted} at home in {placed} places: a household was not given back"
        );
        let alone = self.seats.len() == 1;
        let finished = self.seats.iter().all(|seat| seat.life == Life::Finished);
        if alone || finished {
            assert_eq!(placed, open, "nobody is on the way");
        }
    }
}

impl<R: Ring> Seat<R> {
    fn turn(&mut self) -> Life {
        self.worker.turn().expect("a simulated ring never fails")
    }
}

/// What came of a world.
pub(crate) struct Played {
    /// Of its trace.
    pub(crate) hash: u64,
    /// Each worker's numbers.
    pub(crate) stats: Vec<Arc<Stats>>,
    /// The most that was spilled.
    pub(crate) spilled: u64,
}
