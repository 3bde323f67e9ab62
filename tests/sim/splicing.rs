//! Splices in a simulated world: what their callers promised, and what a relay may get wrong with them, is caught.

use crate::backend_address;
use crate::rules::{A, Bench, dial, end, expect_panic, recv};
use ringway::ring::{Completion, Event, Lane, Op, OpKind, Sock, SockRef, Stop, Tag, Until};
use ringway::sim::{Appetite, Faults, Script};
use std::time::Duration;

const B: Tag = Tag { lane: Lane::B, ..A };

/// A bench whose client is relayed to the backend: their sockets' numbers.
fn relayed(bench: &mut Bench) -> (SockRef, SockRef) {
    let client = SockRef::simulated(bench.accept().into_simulated());
    let mut done = bench.pass([dial(B)]);
    let Some(Event::Dialed {
        result: Ok(sock), ..
    }) = done.pop().map(|c| c.event)
    else {
        panic!("nobody answered");
    };
    let backend = SockRef::simulated(sock.into_simulated());
    // Each is known by its first op.
    let what = OpKind::Recv;
    for (tag, sock) in [(A, client), (B, backend)] {
        let done = bench.pass([recv(tag, sock), Op::Cancel { tag, what }]);
        assert_eq!(done.len(), 1);
    }
    (client, backend)
}

/// From the client to the backend.
fn splice((from, to): (SockRef, SockRef)) -> Op {
    Op::Splice {
        tag: A,
        from,
        to,
        budget: 1 << 20,
        wait: None,
    }
}

#[test]
#[should_panic(expected = "two splices in flight on slot 1 lane A")]
fn a_second_splice_of_a_lane_is_caught() {
    let mut bench = Bench::calm();
    let ends = relayed(&mut bench);
    expect_panic(bench, [splice(ends), splice(ends)]);
}

#[test]
#[should_panic(expected = "Splice beside Recv on slot 1 lane A")]
fn a_splice_beside_a_receive_is_caught() {
    let mut bench = Bench::calm();
    let ends = relayed(&mut bench);
    expect_panic(bench, [recv(A, ends.0), splice(ends)]);
}

#[test]
#[should_panic(expected = "Recv beside Splice on slot 1 lane A")]
fn a_receive_beside_a_splice_is_caught() {
    let mut bench = Bench::calm();
    let ends = relayed(&mut bench);
    expect_panic(bench, [splice(ends), recv(A, ends.0)]);
}

#[test]
#[should_panic(expected = "into 1, a stranger")]
fn a_splice_to_a_stranger_is_caught() {
    let mut bench = Bench::calm();
    let client = SockRef::simulated(bench.accept().into_simulated());
    let mut done = bench.pass([dial(Tag { slot: 2, ..B })]);
    let Some(Event::Dialed {
        result: Ok(sock), ..
    }) = done.pop().map(|c| c.event)
    else {
        panic!("nobody answered");
    };
    let stranger = SockRef::simulated(sock.into_simulated());
    expect_panic(bench, [splice((client, stranger))]);
}

#[test]
#[should_panic(expected = "with its splice in flight")]
fn a_discard_under_a_splice_is_caught() {
    let mut bench = Bench::calm();
    let ends = relayed(&mut bench);
    expect_panic(bench, [splice(ends), Op::Discard { tag: A }]);
}

#[test]
#[should_panic(expected = "with a Splice in flight on it")]
fn a_sink_that_is_closed_under_a_splice_is_caught() {
    let mut bench = Bench::calm();
    let ends = relayed(&mut bench);
    let sock = Sock::simulated(ends.1.number());
    expect_panic(bench, [splice(ends), Op::Close { sock, reset: true }]);
}

/// A backend that reads nothing for a minute, and a client whose bytes fill it: what is left in the pipe.
fn filled() -> (Bench, (SockRef, SockRef), u32) {
    let mut bench = Bench::sending(1, Faults::none(), 1 << 20);
    bench.ring.world().borrow_mut().backend_playing(
        backend_address(),
        Script {
            appetite: Appetite::Late(Duration::from_secs(60)),
            ..Script::answers()
        },
    );
    let ends = relayed(&mut bench);
    for _ in 0..1000 {
        let done = bench.pass([splice(ends)]);
        if let Some(Event::Spliced {
            held: held @ 1.., ..
        }) = done.last().map(|c| &c.event)
        {
            let held = *held;
            return (bench, ends, held);
        }
    }
    panic!("the backend takes everything");
}

#[test]
#[should_panic(expected = "bytes of it in a pipe")]
fn a_socket_that_is_closed_with_its_bytes_in_a_pipe_is_caught() {
    let (bench, ends, _) = filled();
    let sock = Sock::simulated(ends.0.number());
    expect_panic(bench, [Op::Close { sock, reset: true }]);
}

#[test]
fn a_cancelled_splice_keeps_its_pipe_and_the_next_one_gives_it_first() {
    let (mut bench, ends, held) = filled();
    let what = OpKind::Splice;
    let done = bench.turn([splice(ends), Op::Cancel { tag: A, what }], Until::Forever);
    let [
        Completion {
            event:
                Event::Spliced {
                    taken: 0,
                    given: 0,
                    held: kept,
                    stop: Stop::Cancelled,
                },
            ..
        },
    ] = done[..]
    else {
        panic!("{done:?}");
    };
    assert_eq!(kept, held);
    let done = bench.turn([splice(ends)], Until::Forever);
    let Some(Event::Spliced { taken, given, .. }) = done.first().map(|c| &c.event) else {
        panic!("{done:?}");
    };
    assert!(*given > 0 && (*taken == 0 || *given >= held), "{done:?}");
    end_relayed(bench, ends);
}

/// Resets both and takes the bench apart.
fn end_relayed(mut bench: Bench, (client, backend): (SockRef, SockRef)) {
    bench.turn([Op::Discard { tag: A }], Until::Now);
    for sock in [client, backend] {
        let sock = Sock::simulated(sock.number());
        bench.turn([Op::Close { sock, reset: true }], Until::Now);
    }
    end(bench);
}

#[test]
#[should_panic(expected = "was spliced the byte at")]
fn bytes_that_are_lost_with_their_pipe_are_caught() {
    let (mut bench, ends, _) = filled();
    bench.turn([Op::Discard { tag: A }], Until::Now);
    for _ in 0..2 {
        bench.turn([splice(ends)], Until::Forever);
    }
}

#[test]
#[should_panic(expected = "a pipe outlives its connections")]
fn a_pipe_that_nobody_empties_is_caught() {
    let (bench, _, _) = filled();
    std::mem::forget(bench.listener);
    bench.ring.check_end(3);
}

#[test]
#[should_panic(expected = "was spliced the byte at")]
fn bytes_that_are_spliced_ahead_of_what_was_received_are_caught() {
    let mut bench = Bench::sending(1, Faults::none(), 1000);
    let ends = relayed(&mut bench);
    let tag = A;
    let mut done = bench.pass([Op::Recv {
        tag,
        sock: ends.0,
        budget: 64,
        poll_first: false,
    }]);
    let Some(Event::Received {
        result: Ok(lease), ..
    }) = done.pop().map(|c| c.event)
    else {
        panic!("nothing came");
    };
    let sending = Op::Send {
        tag: B,
        sock: ends.1,
        lease,
        poll_first: false,
    };
    // A turn too early: the send may come last.
    bench.turn([splice(ends), sending], Until::Forever);
}
