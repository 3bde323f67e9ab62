//! What callers of a ring promised, held by the simulated one; and what kernels promise, kept by it.

use crate::backend_address;
use ringway::ring::{
    Completion, DialOptions, Errno, Event, Lane, Op, OpKind, Ops, Ring, Sock, SockRef, Tag, Until,
};
use ringway::sim::{Appetite, Demands, Faults, Odds, Script, SimRing, Step, World};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub(crate) const A: Tag = Tag {
    lane: Lane::A,
    slot: 1,
    generation: 1,
};

/// A ring, a listener and a client that sends a few bytes and then waits.
pub(crate) struct Bench {
    pub(crate) ring: SimRing,
    pub(crate) listener: Sock,
    ops: Ops,
}

impl Bench {
    fn new(seed: u64, faults: Faults) -> Self {
        Self::sending(seed, faults, 5)
    }

    pub(crate) fn sending(seed: u64, faults: Faults, count: u64) -> Self {
        let patient = Script {
            steps: vec![Step::Send(count), Step::AwaitEnd(Duration::from_secs(60))],
            appetite: Appetite::Eager,
        };
        let mut world = World::new(seed, faults, Demands::default());
        let listener = world.listen();
        world.client_playing(0, Duration::ZERO, patient);
        world.backend(backend_address());
        let ring = SimRing::new(Rc::new(RefCell::new(world)), 4, 64);
        let ops = Ops::default();
        Self {
            ring,
            listener,
            ops,
        }
    }

    pub(crate) fn calm() -> Self {
        Self::new(1, Faults::none())
    }

    pub(crate) fn turn(
        &mut self,
        ops: impl IntoIterator<Item = Op>,
        until: Until,
    ) -> Vec<Completion> {
        let mut done = Vec::new();
        ops.into_iter().for_each(|op| self.ops.push(op));
        self.ring
            .turn(&mut self.ops, until, &mut done)
            .expect("a simulated ring never fails");
        done
    }

    /// Lets a second pass.
    pub(crate) fn pass(&mut self, ops: impl IntoIterator<Item = Op>) -> Vec<Completion> {
        let until = self.ring.now() + Duration::from_secs(1);
        let mut done = self.turn(ops, Until::Time(until));
        while self.ring.now() < until {
            done.extend(self.turn([], Until::Time(until)));
        }
        done
    }

    /// The client's socket, its bytes arrived.
    pub(crate) fn accept(&mut self) -> Sock {
        let tag = Tag { slot: 0, ..A };
        let accept = Op::Accept {
            tag,
            listener: self.listener.as_ref(),
        };
        let mut done = self.pass([accept]);
        let Some(Event::Accepted {
            result: Ok((sock, _)),
            more: true,
        }) = done.pop().map(|c| c.event)
        else {
            panic!("nobody came");
        };
        sock
    }
}

pub(crate) fn recv(tag: Tag, sock: SockRef) -> Op {
    Op::Recv {
        tag,
        sock,
        budget: 1000,
        poll_first: true,
    }
}

pub(crate) fn dial(tag: Tag) -> Op {
    Op::Dial {
        tag,
        peer: backend_address(),
        options: DialOptions::default(),
        asking: None,
    }
}

/// Forgets a bench whose turn is expected to panic: its socket is nobody's to close.
pub(crate) fn expect_panic(mut bench: Bench, ops: impl IntoIterator<Item = Op>) {
    let ops: Vec<Op> = ops.into_iter().collect();
    bench.turn(ops, Until::Now);
}

#[test]
#[should_panic(expected = "two receives in flight on slot 1 lane A")]
fn a_second_receive_of_a_lane_is_caught() {
    let mut bench = Bench::calm();
    let sock = bench.accept().into_simulated();
    let sock = SockRef::simulated(sock);
    expect_panic(bench, [recv(A, sock), recv(A, sock)]);
}

#[test]
#[should_panic(expected = "two receives in flight on socket")]
fn a_second_receive_of_a_socket_under_another_tag_is_caught() {
    let mut bench = Bench::calm();
    let sock = SockRef::simulated(bench.accept().into_simulated());
    expect_panic(bench, [recv(A, sock), recv(Tag { slot: 2, ..A }, sock)]);
}

#[test]
#[should_panic(expected = "two accepts in flight")]
fn a_second_accept_is_caught() {
    let mut bench = Bench::calm();
    bench.accept().into_simulated();
    let listener = bench.listener.as_ref();
    let tag = Tag { slot: 0, ..A };
    expect_panic(bench, [Op::Accept { tag, listener }]);
}

#[test]
#[should_panic(expected = "two dials in flight")]
fn a_second_dial_is_caught() {
    expect_panic(Bench::calm(), [dial(A), dial(A)]);
}

#[test]
#[should_panic(expected = "Recv beside Dial")]
fn a_receive_beside_a_dial_is_caught() {
    let mut bench = Bench::calm();
    let sock = SockRef::simulated(bench.accept().into_simulated());
    expect_panic(bench, [dial(A), recv(A, sock)]);
}

#[test]
#[should_panic(expected = "does not fit 24 bits")]
fn a_slot_that_user_data_cannot_hold_is_caught() {
    expect_panic(Bench::calm(), [dial(Tag { slot: 1 << 24, ..A })]);
}

#[test]
#[should_panic(expected = "which is not open")]
fn an_op_on_a_closed_socket_is_caught() {
    let mut bench = Bench::calm();
    let sock = bench.accept();
    let number = sock.as_ref();
    expect_panic(bench, [Op::Close { sock, reset: true }, recv(A, number)]);
}

#[test]
#[should_panic(expected = "stuck: the program waits for ever")]
fn a_program_that_waits_for_nothing_is_caught() {
    let mut bench = Bench::calm();
    let world = bench.ring.world();
    let waiting = Script::answers();
    world
        .borrow_mut()
        .client_playing(0, Duration::ZERO, waiting);
    bench.turn([], Until::Forever);
}

/// Takes a bench apart whose sockets are closed.
pub(crate) fn end(bench: Bench) {
    bench.listener.into_simulated();
}

#[test]
fn a_cancelled_receive_leaves_the_bytes_in_the_socket() {
    let mut bench = Bench::calm();
    let sock = bench.accept();
    let what = OpKind::Recv;
    let cancelled = bench.pass([recv(A, sock.as_ref()), Op::Cancel { tag: A, what }]);
    let [
        Completion {
            event: Event::Received { result, more, .. },
            ..
        },
    ] = &cancelled[..]
    else {
        panic!("one completion, not {cancelled:?}");
    };
    assert_eq!((result, more), (&Err(Errno::ECANCELED), &false));
    let done = bench.turn([recv(A, sock.as_ref())], Until::Forever);
    let Some(Event::Received {
        result: Ok(lease), ..
    }) = done.into_iter().next().map(|c| c.event)
    else {
        panic!("the bytes are still there");
    };
    assert_eq!(lease.len(), 5);
    bench.ring.buffers().release(lease);
    bench.turn([Op::Cancel { tag: A, what }], Until::Now);
    bench.turn([Op::Close { sock, reset: false }], Until::Now);
    end(bench);
}

#[test]
fn a_cancel_wins_or_loses_its_race() {
    let mut won = 0;
    let mut lost = 0;
    for seed in 0..64 {
        let faults = Faults {
            cancel_loses: Odds::of_1024(512),
            ..Faults::none()
        };
        let mut bench = Bench::new(seed, faults);
        let sock = bench.accept();
        let cancel = Op::Cancel {
            tag: A,
            what: OpKind::Recv,
        };
        for completion in bench.pass([recv(A, sock.as_ref()), cancel]) {
            match completion.event {
                Event::Received {
                    result: Ok(lease), ..
                } => {
                    lost += 1;
                    bench.ring.buffers().release(lease);
                }
                // The four buffers were used up before the cancel came.
                Event::Received {
                    result: Err(Errno::ENOBUFS),
                    more: false,
                    ..
                } => {}
                Event::Received {
                    result: Err(errno),
                    more,
                    ..
                } => {
                    assert_eq!((errno, more), (Errno::ECANCELED, false));
                    won += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        bench.turn([Op::Close { sock, reset: true }], Until::Now);
        end(bench);
    }
    assert!(won > 8 && lost > 8, "{won} won, {lost} lost");
}

#[test]
fn without_a_free_buffer_the_receive_ends_and_nothing_is_lost() {
    let mut bench = Bench::sending(1, Faults::none(), 1000);
    let sock = bench.accept();
    let (mut got, mut starved) = (0, 0);
    let mut held = Vec::new();
    while got < 1000 {
        for completion in bench.pass([recv(A, sock.as_ref())]) {
            match completion.event {
                Event::Received {
                    result: Ok(lease), ..
                } => {
                    got += lease.len();
                    held.push(lease);
                }
                Event::Received {
                    result: Err(Errno::ENOBUFS),
                    more,
                    ..
                } => {
                    assert!(!more);
                    starved += 1;
                    let leases = held.drain(..);
                    leases.for_each(|lease| bench.ring.buffers().release(lease));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(got, 1000);
    assert!(starved > 0, "four buffers of 64 bytes do not hold 1,000");
    held.drain(..)
        .for_each(|lease| bench.ring.buffers().release(lease));
    let what = OpKind::Recv;
    bench.pass([Op::Cancel { tag: A, what }]);
    bench.turn([Op::Close { sock, reset: true }], Until::Now);
    end(bench);
}

#[test]
fn a_client_turned_away_is_reset_and_an_empty_queue_does_not_matter() {
    let mut bench = Bench::calm();
    let listener = bench.listener.as_ref();
    bench.pass([]);
    bench.turn(
        [Op::TurnAway { listener }, Op::TurnAway { listener }],
        Until::Now,
    );
    bench.pass([]);
    assert!(
        bench.ring.world().borrow().is_over(),
        "the client knows at once"
    );
    end(bench);
}

#[test]
fn a_bell_is_heard_each_time_it_rings() {
    let mut bench = Bench::calm();
    let world = bench.ring.world();
    let bell = world.borrow_mut().bell();
    assert!(bench.pass([Op::Poll { tag: A, sock: bell }]).is_empty());
    for _ in 0..3 {
        world.borrow_mut().ring_bell(bell);
        let heard = bench.turn([], Until::Forever);
        let [
            Completion {
                event:
                    Event::Polled {
                        result: Ok(()),
                        more: true,
                    },
                ..
            },
        ] = heard[..]
        else {
            panic!("heard {heard:?}");
        };
    }
    end(bench);
}
