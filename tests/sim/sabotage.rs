//! Each checker bites: a ring that breaks one rule on behalf of a relay that keeps them all.

use crate::relay::Relay;
use crate::seats::Simulated;
use crate::{HELD_MAX, backend_address};
use ringway::ring::{
    Buffers, Completion, Event, Lease, Op, Ops, Ring, SPILL_MAX, Sock, Time, Until,
};
use ringway::sim::{Appetite, Demands, Faults, Script, SimRing, Step, World};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// What the ring does to an op, or to what came back.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Op(fn(&mut Buffers, Op, &mut Ops)),
    Done(fn(&mut Buffers, &mut [Completion])),
    /// Never waits.
    Spin,
}

pub(crate) struct Sabotage {
    pub(crate) inner: SimRing,
    pub(crate) fault: Fault,
}

impl Simulated for Sabotage {
    fn sim(&self) -> &SimRing {
        &self.inner
    }
}

impl Ring for Sabotage {
    fn now(&self) -> Time {
        self.inner.now()
    }

    fn turn(&mut self, ops: &mut Ops, until: Until, done: &mut Vec<Completion>) -> io::Result<()> {
        let mut broken = Ops::default();
        for op in ops.drain() {
            match self.fault {
                Fault::Op(fault) => fault(self.inner.buffers(), op, &mut broken),
                Fault::Done(_) | Fault::Spin => broken.push(op),
            }
        }
        let until = match self.fault {
            Fault::Spin => Until::Now,
            Fault::Op(_) | Fault::Done(_) => until,
        };
        self.inner.turn(&mut broken, until, done)?;
        if let Fault::Done(fault) = self.fault {
            fault(self.inner.buffers(), done);
        }
        Ok(())
    }

    fn buffers(&mut self) -> &mut Buffers {
        self.inner.buffers()
    }

    fn overflows(&self) -> u64 {
        self.inner.overflows()
    }
}

/// Many bytes both ways over a calm network; some clients come after others have gone. Not every fault shows in every
/// world.
fn sabotage(fault: Fault, client: &Script, backend: &Script) {
    for seed in 0..40 {
        let demands = Demands {
            held_max: HELD_MAX,
            whole: true,
            turns_max: 50_000,
        };
        let mut world = World::new(seed, Faults::none(), demands);
        let listener = world.listen();
        world.backend_playing(backend_address(), backend.clone());
        for n in 0..4 {
            world.client_playing(0, Duration::from_secs(n / 2), client.clone());
        }
        let world = Rc::new(RefCell::new(world));
        let inner = SimRing::new(Rc::clone(&world), 1024, 1024);
        let ring = Sabotage { inner, fault };
        let mut relay = Relay::new(ring, listener, backend_address());
        while !(world.borrow().is_over() && relay.is_idle() && relay.ring.inner.is_idle()) {
            relay.turn();
        }
        relay.finish().inner.check_end(1);
    }
}

fn sabotage_ops(fault: fn(&mut Buffers, Op, &mut Ops)) {
    sabotage(
        Fault::Op(fault),
        &Script::sends(200_000),
        &Script::answers(),
    );
}

fn sabotage_done(fault: fn(&mut Buffers, &mut [Completion])) {
    sabotage(
        Fault::Done(fault),
        &Script::sends(200_000),
        &Script::answers(),
    );
}

fn copy(buffers: &mut Buffers, lease: &Lease) -> Lease {
    let bytes: Vec<u8> = buffers.segments(lease).flatten().copied().collect();
    buffers.write(&bytes).expect("buffers enough")
}

/// Does to each send's bytes what `change` does, and passes on the rest.
pub(crate) fn change_sends(
    buffers: &mut Buffers,
    op: Op,
    ops: &mut Ops,
    change: fn(&mut Buffers, &mut Lease),
) {
    match op {
        Op::Send {
            tag,
            sock,
            mut lease,
            poll_first,
        } => {
            change(buffers, &mut lease);
            ops.push(Op::Send {
                tag,
                sock,
                lease,
                poll_first,
            });
        }
        other => ops.push(other),
    }
}

#[test]
fn without_sabotage_nothing_is_caught() {
    sabotage_ops(|_, op, ops| ops.push(op));
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn a_byte_that_is_lost_is_caught() {
    sabotage_ops(|buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            if lease.len() > 1 {
                buffers.consume(lease, 1);
            }
        });
    });
}

#[test]
fn sends_that_are_spilled_before_they_go_out_are_like_any_other() {
    sabotage_ops(|buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            buffers.limit_spill(SPILL_MAX);
            assert!(buffers.spill(lease), "far below the bound");
        });
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn a_spill_that_loses_the_order_is_caught() {
    sabotage_ops(|buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let mut links: Vec<_> = buffers.segments(lease).map(<[u8]>::to_vec).collect();
            links.reverse();
            buffers.release(lease.take());
            *lease = buffers.write(&links.concat()).expect("as many as before");
            buffers.limit_spill(SPILL_MAX);
            assert!(buffers.spill(lease), "far below the bound");
        });
    });
}

#[test]
#[should_panic(expected = "spilled bytes outlive their connections")]
fn a_segment_that_nobody_frees_is_caught() {
    sabotage_ops(|buffers, op, ops| {
        if let Op::Close { .. } = op {
            let mut lease = buffers.write(b"kept").expect("buffers enough");
            buffers.limit_spill(SPILL_MAX);
            assert!(buffers.spill(&mut lease), "far below the bound");
            std::mem::forget(lease);
        }
        ops.push(op);
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn bytes_that_go_out_twice_are_caught() {
    sabotage_ops(|buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let again = copy(buffers, lease);
            buffers.append(lease, again);
        });
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn bytes_of_another_connection_are_caught() {
    sabotage_done(|_, done| {
        let mut others: Vec<(u32, &mut Lease)> = Vec::new();
        for completion in done {
            let slot = completion.tag.slot;
            if let Event::Received {
                result: Ok(lease), ..
            } = &mut completion.event
            {
                if let Some((_, other)) = others.iter_mut().find(|(other, _)| *other != slot) {
                    std::mem::swap(*other, lease);
                }
                others.push((slot, lease));
            }
        }
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn what_a_short_send_left_and_nobody_sent_is_caught() {
    sabotage_done(|buffers, done| {
        for completion in done {
            if let Event::Sent {
                result: Ok(_),
                rest,
            } = &mut completion.event
            {
                buffers.release(rest.take());
            }
        }
    });
}

#[test]
#[should_panic(expected = "stuck: the program waits for ever")]
fn an_end_that_is_never_passed_on_is_caught() {
    sabotage_ops(|_, op, ops| match op {
        Op::Shutdown { both: false, .. } => {}
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "has not ended")]
fn an_end_before_the_source_ended_is_caught() {
    sabotage_ops(|_, op, ops| match op {
        Op::Send { sock, .. } => {
            ops.push(op);
            ops.push(Op::Shutdown { sock, both: false });
        }
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "FIN to connection")]
fn an_end_ahead_of_bytes_is_caught() {
    sabotage_done(|buffers, done| {
        for completion in done {
            if let Event::Received {
                result: Ok(lease),
                more: false,
                ..
            } = &mut completion.event
            {
                buffers.release(lease.take()); // the last bytes look like the end
            }
        }
    });
}

#[test]
#[should_panic(expected = "was reset")]
fn a_reset_that_arrives_as_an_orderly_end_is_caught() {
    let resetting = Script {
        steps: vec![
            Step::Send(5_000),
            Step::Pause(Duration::from_secs(1)),
            Step::Reset,
        ],
        appetite: Appetite::Eager,
    };
    let soften = |_: &mut Buffers, op, ops: &mut Ops| match op {
        Op::Close { sock, .. } => ops.push(Op::Close { sock, reset: false }),
        other => ops.push(other),
    };
    sabotage(Fault::Op(soften), &resetting, &Script::answers());
}

#[test]
#[should_panic(expected = "the program holds")]
fn reading_on_while_the_other_side_does_not_is_caught() {
    let late = Script {
        appetite: Appetite::Late(Duration::from_secs(5)),
        ..Script::answers()
    };
    let greedy = |_: &mut Buffers, op, ops: &mut Ops| match op {
        Op::Recv {
            tag,
            sock,
            poll_first,
            ..
        } => {
            ops.push(Op::Recv {
                tag,
                sock,
                budget: u32::MAX,
                poll_first,
            });
        }
        other => ops.push(other),
    };
    sabotage(Fault::Op(greedy), &Script::sends(900_000), &late);
}

#[test]
#[should_panic(expected = "buffers outlive their connections")]
fn a_buffer_that_nobody_gives_back_is_caught() {
    sabotage_ops(|buffers, op, ops| {
        if let Op::Close { .. } = op {
            std::mem::forget(buffers.write(b"kept"));
        }
        ops.push(op);
    });
}

#[test]
#[should_panic(expected = "descriptors are open, 1 should be")]
fn a_socket_that_nobody_closes_is_caught() {
    sabotage_ops(|_, op, ops| match op {
        Op::Close { sock, .. } => drop(sock.into_simulated()),
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "closed twice?")]
fn a_socket_that_is_closed_twice_is_caught() {
    sabotage_ops(|_, op, ops| match op {
        Op::Close { sock, reset } => {
            let again = Sock::simulated(sock.as_ref().number());
            ops.push(Op::Close { sock, reset });
            ops.push(Op::Close { sock: again, reset });
        }
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "with a Recv in flight on it")]
fn a_socket_that_is_closed_under_a_receive_is_caught() {
    sabotage_ops(|_, op, ops| match op {
        Op::Recv { sock, .. } => {
            ops.push(op);
            let sock = Sock::simulated(sock.number());
            ops.push(Op::Close { sock, reset: false });
        }
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "two sends in flight")]
fn a_second_send_beside_the_first_is_caught() {
    sabotage_ops(|buffers, op, ops| match op {
        Op::Send {
            tag,
            sock,
            lease,
            poll_first,
        } => {
            let again = copy(buffers, &lease);
            ops.push(Op::Send {
                tag,
                sock,
                lease,
                poll_first,
            });
            ops.push(Op::Send {
                tag,
                sock,
                lease: again,
                poll_first,
            });
        }
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "a generation came twice")]
fn a_slot_that_is_used_again_under_its_old_generation_is_caught() {
    sabotage_ops(|_, op, ops| match op {
        Op::Recv {
            mut tag,
            sock,
            budget,
            poll_first,
        } => {
            tag.generation = 1;
            ops.push(Op::Recv {
                tag,
                sock,
                budget,
                poll_first,
            });
        }
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "no end after 50001 turns")]
fn a_program_that_spins_is_caught() {
    sabotage(Fault::Spin, &Script::sends(200_000), &Script::answers());
}
