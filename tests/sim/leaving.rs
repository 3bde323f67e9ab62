//! Thousands of quiet clients on several workers, whose connections end for a reason of ours: evenly, so that they do not come
//! back all at once. Time is simulated and nothing fails, so that what is measured is exact.

use crate::Replay;
use crate::seats::ears;
use ringway::config::{Backend, Config, Listener, Log, Process, Relay, SlowClient, Upstream};
use ringway::conn::Cause;
use ringway::relay::LOW_WATER;
use ringway::ring::{SockRef, Time};
use ringway::sim::{Appetite, Demands, Faults, Script, SimRing, Step, World};
use ringway::upstream::{Member, Snapshot};
use ringway::worker::{
    Board, Handover, Journal, Life, Limits, Mailbox, Message, Post, Record, Setup, Stats, Worker,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const WORKERS: u16 = 3;

const SECOND: Duration = Duration::from_secs(1);

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_hours(10);

fn backend_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 80))
}

/// One listener before one backend.
fn config(change: impl FnOnce(&mut Listener)) -> Config {
    let mut listener = Listener::new("feed".into(), Vec::new(), 0);
    listener.idle_timeout = PATIENCE;
    listener.half_close_timeout = PATIENCE;
    change(&mut listener);
    Config {
        process: Process::default(),
        log: Log::default(),
        admin: None,
        listeners: vec![listener],
        upstreams: vec![Upstream::new(
            "feed".into(),
            vec![Backend::new(backend_address())],
        )],
    }
}

/// Says a word and waits for the end.
fn quiet() -> Script {
    Script {
        steps: vec![Step::Send(10), Step::AwaitEnd(PATIENCE), Step::Fin],
        appetite: Appetite::Eager,
    }
}

/// A worker and how it is told.
struct Seat {
    worker: Worker<SimRing>,
    bell: SockRef,
    post: Post,
    life: Life,
}

/// Workers in one calm world.
struct Crowd {
    world: Rc<RefCell<World>>,
    seats: Vec<Seat>,
    snapshot: Snapshot,
    limits: Arc<Limits>,
    records: Receiver<Record>,
}

impl Crowd {
    /// So many clients, who all come within a second, and another one later.
    fn of(clients: u64, client: &Script, config: Config) -> Self {
        let demands = Demands {
            held_max: u64::MAX,
            whole: false,
            turns_max: 10_000_000,
        };
        let mut world = World::new(1, Faults::none(), demands);
        world.widen();
        let listeners: Vec<_> = (0..WORKERS).map(|_| world.listen()).collect();
        world.backend_playing(backend_address(), Script::answers());
        for n in 0..clients {
            let pause = SECOND.mul_f64(n as f64 / clients as f64);
            let listener = usize::try_from(n).expect("few") % listeners.len();
            world.client_playing(listener, pause, client.clone());
        }
        let bells: Vec<_> = listeners.iter().map(|_| world.bell()).collect();
        let ends = bells.iter().map(|bell| Mailbox::simulated(*bell));
        let (posts, mailboxes): (Vec<_>, Vec<_>) = ends.unzip();
        let snapshot = Snapshot::new(Arc::new(config));
        let (journal, records) = sync_channel(usize::try_from(clients).expect("few"));
        let board = Arc::new(Board::new(usize::from(WORKERS)));
        let limits = Arc::new(Limits::new(0));
        let world = Rc::new(RefCell::new(world));
        let mut seats = Vec::new();
        for (((sock, mailbox), bell), number) in
            listeners.into_iter().zip(mailboxes).zip(bells).zip(0..)
        {
            let at = usize::from(number);
            let setup = Setup {
                worker: number,
                snapshot: snapshot.for_worker(number),
                listeners: ears(vec![(0, sock)]),
                limits: Arc::clone(&limits),
                connections_max: u32::try_from(clients).expect("few"),
                mailbox,
                handover: Handover::new(at, Arc::clone(&board), posts.clone()),
                stats: Arc::new(Stats::default()),
                journal: Journal::into(journal.clone()),
            };
            seats.push(Seat {
                worker: Worker::new(SimRing::new(Rc::clone(&world), 4096, 1024), setup),
                bell,
                post: posts[at].clone(),
                life: Life::Turning,
            });
        }
        let mut this = Self {
            world,
            seats,
            snapshot,
            limits,
            records,
        };
        while this.limits.open() < clients || this.now() < Time::default() + SECOND * 2 {
            this.turn();
        }
        this
    }

    fn now(&self) -> Time {
        self.world.borrow().now()
    }

    fn turn(&mut self) {
        for seat in &mut self.seats {
            if seat.post.take_ring() {
                self.world.borrow_mut().ring_bell(seat.bell);
            }
            if seat.life == Life::Turning {
                seat.life = seat.worker.turn().expect("a simulated ring never fails");
            }
        }
    }

    /// Until nobody is left; when each left, and why.
    fn leave(mut self, cause: Cause) -> Vec<Time> {
        while self.limits.open() > 0 {
            self.turn();
        }
        self.tell(|| Message::Drain {
            over: Duration::ZERO,
            deadline: Duration::ZERO,
        });
        while self.seats.iter().any(|seat| seat.life == Life::Turning) {
            self.turn();
        }
        self.world.borrow_mut().settle();
        let bells = self.seats.len();
        for seat in &mut self.seats {
            let last = seat.worker.turn();
            last.expect("a simulated ring never fails");
            seat.worker.ring().check_end(bells);
        }
        let records = self.records.try_iter();
        let ends = records.map(|record| (record.ended, record.summary.outcome.cause));
        let ends: Vec<_> = ends.collect();
        assert!(ends.iter().all(|(_, why)| *why == cause), "{ends:?}");
        ends.into_iter().map(|(at, _)| at).collect()
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now() + span;
        while self.now() < until {
            self.turn();
        }
    }

    fn backend(&self) -> Arc<Member> {
        Arc::clone(self.snapshot.upstreams[0].live().member(0))
    }

    /// The connections of the backend are to leave.
    fn evict(&self, over: Duration, cause: Cause) {
        self.tell(|| Message::Evict {
            backend: self.backend(),
            over,
            cause,
        });
    }

    fn tell(&self, message: impl Fn() -> Message) {
        self.seats.iter().for_each(|seat| seat.post.post(message()));
    }
}

/// In no second, wherever it begins, do more leave than 1.3 times what is even over the span; and they take nine tenths of it.
fn assert_even(mut ends: Vec<Time>, clients: u64, over: Duration) {
    assert_eq!(ends.len() as u64, clients);
    ends.sort_unstable();
    let even = clients as f64 / over.as_secs_f64();
    let most = (0..ends.len())
        .map(|at| ends.partition_point(|end| *end < ends[at] + SECOND) - at)
        .max();
    let most = most.expect("somebody") as f64;
    assert!(most <= 1.3 * even, "{most} in a second, even is {even}");
    let took = ends[ends.len() - 1].since(ends[0]);
    assert!(took >= over.mul_f64(0.9), "all within {took:?}");
}

#[test]
fn a_drain_is_no_stampede() {
    let _replay = Replay(1);
    let crowd = Crowd::of(3_000, &quiet(), config(|_| {}));
    let over = SECOND * 8;
    let deadline = SECOND * 20;
    crowd.tell(|| Message::Drain { over, deadline });
    assert_even(crowd.leave(Cause::Drain), 3_000, over);
}

#[test]
fn connections_of_a_backend_that_goes_down_are_no_stampede() {
    let _replay = Replay(1);
    let crowd = Crowd::of(3_000, &quiet(), config(|_| {}));
    let (over, backend) = (SECOND * 8, crowd.backend());
    crowd.evict(over, Cause::BackendDown);
    assert_even(crowd.leave(Cause::BackendDown), 3_000, over);
    assert_eq!(backend.open(), 0);
}

#[test]
fn who_is_about_to_leave_leaves_once_and_in_time_whatever_else_happens() {
    let _replay = Replay(1);
    let mut crowd = Crowd::of(3_000, &quiet(), config(|_| {}));
    let over = SECOND * 8;
    crowd.evict(over, Cause::BackendDown);
    crowd.pass(SECOND * 2);
    crowd.evict(over, Cause::BackendDown);
    crowd.pass(SECOND * 2);
    let deadline = SECOND * 20;
    crowd.tell(|| Message::Drain { over, deadline });
    assert_even(crowd.leave(Cause::BackendDown), 3_000, over);
}

#[test]
fn a_backend_is_drained_evenly_and_who_is_spared_stays() {
    let _replay = Replay(1);
    let mut crowd = Crowd::of(3_000, &quiet(), config(|_| {}));
    let over = SECOND * 8;
    crowd.evict(over, Cause::BackendDrain);
    crowd.pass(SECOND * 4);
    let backend = crowd.backend();
    crowd.tell(|| Message::Spare {
        backend: Arc::clone(&backend),
    });
    // Those who were just asked have a second to say the rest.
    crowd.pass(SECOND * 2);
    let stayed = backend.open();
    assert!((1_450..=1_550).contains(&stayed), "{stayed} stayed");
    crowd.pass(SECOND * 20);
    assert_eq!(backend.open(), stayed);
    // Twice as slowly as at first: another time begins anew.
    crowd.evict(over, Cause::BackendDrain);
    let mut ends = crowd.leave(Cause::BackendDrain);
    ends.sort_unstable();
    let (first, second) = ends.split_at(ends.len() - usize::try_from(stayed).expect("few"));
    assert_even(first.to_vec(), 3_000 - stayed, SECOND * 4);
    assert_even(second.to_vec(), stayed, over);
}

#[test]
fn those_who_came_together_reach_their_age_apart() {
    let _replay = Replay(1);
    let max_age = SECOND * 60;
    let crowd = Crowd::of(3_000, &quiet(), config(|feed| feed.max_age = max_age));
    let ends = crowd.leave(Cause::MaxAge);
    let from = Time::default() + max_age.mul_f64(0.9);
    assert!(ends.iter().all(|end| *end >= from));
    // Over a fifth of their age, and the second in which they came.
    assert_even(ends, 3_000, max_age / 5);
}

/// In front of clients that are given 20 seconds to take what they get.
fn looked_after() -> Config {
    config(|feed| {
        feed.slow_client = SlowClient {
            // What a worker holds of a stream that stands still is above its low water.
            unsent: LOW_WATER,
            patience: SECOND * 20,
        };
        // What is spliced waits in the kernels, of which the simulated ones have no numbers.
        feed.relay = Relay::Copy;
    })
}

/// Reads nothing for so long.
fn late(pause: Duration) -> Script {
    Script {
        steps: vec![Step::Send(400_000), Step::Fin, Step::AwaitEnd(PATIENCE)],
        appetite: Appetite::Late(pause),
    }
}

#[test]
fn a_client_that_reads_nothing_is_closed_within_five_quarters_of_its_time() {
    let _replay = Replay(1);
    let ends = Crowd::of(20, &late(PATIENCE), looked_after()).leave(Cause::SlowClient);
    assert_eq!(ends.len(), 20);
    for end in ends {
        // It comes within a second, and within another one everything that may wait does.
        let took = end.since(Time::default());
        assert!(took >= SECOND * 20 && took <= SECOND * 27, "{took:?}");
    }
}

#[test]
fn a_client_that_is_behind_for_less_than_its_time_stays() {
    let _replay = Replay(1);
    let ends = Crowd::of(20, &late(SECOND * 15), looked_after()).leave(Cause::ClientFin);
    assert_eq!(ends.len(), 20);
}
