//! The kernel keeps the promises of `Op::Splice`: bytes from socket to socket, on loopback.
#![expect(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other event is the failure"
)]

mod bench;

use bench::{A, B, Bench, pair};
use ringway_ring::{
    Errno, Event, Lane, Op, OpKind, Readiness, RecvMode, Ring, Sock, Stop, Tag, Time, Until,
};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

const BUDGET: u32 = 256 << 10;

/// What a splice came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spliced {
    taken: u32,
    given: u32,
    held: u32,
    stop: Stop,
}

/// Two connections, to be spliced from the first into the second. What lies in the middle is the ring's.
struct Way {
    tag: Tag,
    near: TcpStream,
    from: Sock,
    to: Sock,
    far: TcpStream,
}

impl Way {
    fn new() -> Self {
        let ((near, from), (far, to)) = (pair(), pair());
        Self {
            tag: A,
            near,
            from,
            to,
            far,
        }
    }

    /// One whose sink is soon full.
    fn narrow() -> Self {
        let ((near, from), (far, to)) = (pair(), narrow_pair());
        Self {
            tag: A,
            near,
            from,
            to,
            far,
        }
    }

    fn op(&self, budget: u32, wait: Option<Readiness>) -> Op {
        Op::Splice {
            tag: self.tag,
            from: self.from.as_ref(),
            to: self.to.as_ref(),
            budget,
            wait,
        }
    }

    /// Sends so many bytes in a thread, then FIN.
    fn feed(&self, bytes: usize) -> JoinHandle<()> {
        feed(&self.near, bytes)
    }

    /// Reads to the end in a thread.
    fn drain(&self) -> JoinHandle<Vec<u8>> {
        drain(&self.far)
    }

    fn close(self, bench: &mut Bench) {
        bench.close(self.from, false);
        bench.close(self.to, false);
    }
}

/// As [`pair`], with buffers so small that a reader who stands still stops its sender soon.
fn narrow_pair() -> (TcpStream, Sock) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener)
        .set_send_buffer_size(4096)
        .unwrap();
    let near = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    near.set_recv_buffer_size(4096).unwrap();
    near.connect(&listener.local_addr().unwrap().into())
        .unwrap();
    near.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_nonblocking(true).unwrap();
    (near.into(), Sock::from(OwnedFd::from(far)))
}

fn pattern(bytes: usize) -> Vec<u8> {
    let word = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (1..).flat_map(word).take(bytes).collect()
}

fn feed(stream: &TcpStream, bytes: usize) -> JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        // The test may be over before all of it is out.
        let _ = stream.write_all(&pattern(bytes));
        let _ = stream.shutdown(Shutdown::Write);
    })
}

fn drain(stream: &TcpStream) -> JoinHandle<Vec<u8>> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    })
}

/// Resets this connection; another, of no meaning, takes its place.
fn reset(stream: &mut TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = std::mem::replace(stream, other);
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
}

fn bench() -> Bench {
    Bench::new(RecvMode::SingleShot)
}

/// The next completion, which must be a splice's.
fn next(bench: &mut Bench) -> (Tag, Spliced) {
    let completion = bench.next();
    match completion.event {
        Event::Spliced {
            taken,
            given,
            held,
            stop,
        } => {
            let spliced = Spliced {
                taken,
                given,
                held,
                stop,
            };
            (completion.tag, spliced)
        }
        other => panic!("not a splice: {other:?}"),
    }
}

fn splice(bench: &mut Bench, way: &Way, budget: u32, wait: Option<Readiness>) -> Spliced {
    bench.ops.push(way.op(budget, wait));
    next(bench).1
}

/// Nothing may come for a while; how many turns that took.
fn expect_nothing(bench: &mut Bench) -> usize {
    let end = Time::read_clock() + Duration::from_millis(200);
    let mut turns = 0;
    while Time::read_clock() < end {
        let until = Until::Time(end);
        bench
            .ring
            .turn(&mut bench.ops, until, &mut bench.done)
            .unwrap();
        assert!(bench.done.is_empty(), "{:?}", bench.done);
        turns += 1;
    }
    turns
}

/// Asks again for as long as it goes on; the last answer, and what was given in all.
fn run(bench: &mut Bench, way: &Way) -> (Spliced, usize) {
    let (mut wait, mut given) = (None, 0);
    loop {
        let it = splice(bench, way, BUDGET, wait);
        given += it.given as usize;
        wait = match it.stop {
            Stop::Budget => None,
            Stop::Empty => Some(Readiness::Readable),
            Stop::Full => Some(Readiness::Room),
            _ => return (it, given),
        };
    }
}

/// Splices until the sink is full, and leaves an op that waits for room in it. What was given.
fn fill(bench: &mut Bench, way: &Way) -> usize {
    let (mut wait, mut given) = (None, 0);
    loop {
        bench.ops.push(way.op(BUDGET, wait));
        let soon = Time::read_clock() + Duration::from_millis(100);
        while bench.done.is_empty() {
            let until = Until::Time(soon);
            bench
                .ring
                .turn(&mut bench.ops, until, &mut bench.done)
                .unwrap();
            if Time::read_clock() > soon && wait == Some(Readiness::Room) {
                return given;
            }
        }
        let it = next(bench).1;
        given += it.given as usize;
        wait = (it.stop == Stop::Full).then_some(Readiness::Room);
        assert!(given < 64 << 20, "a sink that never fills");
    }
}

#[test]
fn bytes_go_through_in_order_and_the_end_comes_after_the_last() {
    let mut bench = bench();
    let way = Way::new();
    let (_feed, drain) = (way.feed(8 << 20), way.drain());
    let (last, given) = run(&mut bench, &way);
    assert_eq!((last.stop, last.held), (Stop::End, 0));
    assert_eq!(given, 8 << 20);
    way.close(&mut bench);
    assert!(drain.join().unwrap() == pattern(8 << 20), "other bytes");
}

#[test]
fn an_empty_source_is_waited_for() {
    let mut bench = bench();
    let mut way = Way::new();
    for wait in [None, Some(Readiness::Readable)] {
        bench.ops.push(way.op(BUDGET, wait));
        assert!(expect_nothing(&mut bench) <= 3, "it spins");
        way.near.write_all(b"hello").unwrap();
        let (tag, it) = next(&mut bench);
        let five = Spliced {
            taken: 5,
            given: 5,
            held: 0,
            stop: Stop::Empty,
        };
        assert_eq!((tag, it), (A, five));
        let mut got = [0; 5];
        way.far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
    }
    way.close(&mut bench);
}

/// A sink that is full is waited for without a spin, and gets every byte once its reader reads.
fn wait_for_a_full_sink(bench: &mut Bench, way: Way) {
    let _feed = way.feed(1 << 20);
    let before = fill(bench, &way);
    assert!(expect_nothing(bench) <= 3, "it spins");
    assert_eq!(kernel_workers(), 0);
    let drain = way.drain();
    let (_, first) = next(bench);
    assert_eq!(first.taken == 0, first.stop == Stop::Full, "{first:?}");
    let (last, rest) = run(bench, &way);
    assert_eq!(last.stop, Stop::End);
    assert_eq!(before + first.given as usize + rest, 1 << 20);
    way.close(bench);
    assert!(drain.join().unwrap() == pattern(1 << 20), "other bytes");
}

/// Threads of this process that the kernel made for io_uring.
fn kernel_workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with("iou-wrk"))
        .count()
}

#[test]
fn a_full_sink_is_waited_for_and_gets_every_byte() {
    wait_for_a_full_sink(&mut bench(), Way::narrow());
}

#[test]
fn a_full_sink_whose_peer_has_sent_fin_is_waited_for_without_a_spin() {
    let way = Way::narrow();
    way.far.shutdown(Shutdown::Write).unwrap();
    wait_for_a_full_sink(&mut bench(), way);
}

#[test]
fn a_budget_of_nothing_gives_what_is_in_the_pipe_and_takes_nothing() {
    let mut bench = bench();
    let way = Way::narrow();
    let _feed = way.feed(1 << 20);
    let before = fill(&mut bench, &way);
    let held = cancel(&mut bench).held;
    assert!(held > 0);
    let drain = way.drain();
    let mut left = held;
    while left > 0 {
        let it = splice(&mut bench, &way, 0, Some(Readiness::Room));
        assert_eq!((it.taken, it.held), (0, left - it.given));
        left = it.held;
        let whole = if left > 0 { Stop::Full } else { Stop::Budget };
        assert_eq!(it.stop, whole);
    }
    way.close(&mut bench);
    let got = drain.join().unwrap();
    assert!(got == pattern(before + held as usize), "other bytes");
}

/// Cancels the splice in flight.
fn cancel(bench: &mut Bench) -> Spliced {
    let what = OpKind::Splice;
    bench.ops.push(Op::Cancel { tag: A, what });
    let (_, it) = next(bench);
    assert_eq!((it.taken, it.given, it.stop), (0, 0, Stop::Cancelled));
    it
}

#[test]
fn a_cancel_ends_a_splice_that_was_not_tried_yet() {
    let mut bench = bench();
    let mut way = Way::new();
    way.near.write_all(b"later").unwrap();
    bench.ops.push(way.op(BUDGET, None));
    assert_eq!(cancel(&mut bench).held, 0);
    assert_eq!(splice(&mut bench, &way, BUDGET, None).given, 5);
    way.close(&mut bench);
}

#[test]
fn a_cancel_ends_a_splice_that_waits_for_its_source() {
    let mut bench = bench();
    let mut way = Way::new();
    bench.ops.push(way.op(BUDGET, None));
    bench.poke();
    bench.poke();
    assert_eq!(cancel(&mut bench).held, 0);
    way.near.write_all(b"later").unwrap();
    assert_eq!(splice(&mut bench, &way, BUDGET, None).given, 5);
    way.close(&mut bench);
}

#[test]
fn a_cancel_ends_a_splice_that_waits_for_room_and_loses_no_byte() {
    let mut bench = bench();
    let way = Way::narrow();
    let _feed = way.feed(1 << 20);
    let before = fill(&mut bench, &way);
    assert!(cancel(&mut bench).held > 0);
    let drain = way.drain();
    let (last, rest) = run(&mut bench, &way);
    assert_eq!((last.stop, before + rest), (Stop::End, 1 << 20));
    way.close(&mut bench);
    assert!(drain.join().unwrap() == pattern(1 << 20), "other bytes");
}

#[test]
fn a_cancel_that_finds_no_splice_is_harmless() {
    let mut bench = bench();
    let what = OpKind::Splice;
    bench.ops.push(Op::Cancel { tag: A, what });
    bench.ops.push(Op::Discard { tag: A });
    assert_eq!(expect_nothing(&mut bench), 1);
}

#[test]
fn what_is_thrown_away_never_reaches_the_sink() {
    let mut bench = bench();
    let way = Way::narrow();
    let _feed = way.feed(1 << 20);
    let before = fill(&mut bench, &way);
    let held = cancel(&mut bench).held as usize;
    bench.ops.push(Op::Discard { tag: A });
    let drain = way.drain();
    let (last, rest) = run(&mut bench, &way);
    assert_eq!((last.stop, before + held + rest), (Stop::End, 1 << 20));
    way.close(&mut bench);
    let mut whole = pattern(1 << 20);
    whole.drain(before..before + held);
    assert!(drain.join().unwrap() == whole, "other bytes");
}

#[test]
fn a_source_that_resets_while_it_is_waited_for_has_failed() {
    let mut bench = bench();
    let mut way = Way::new();
    bench.ops.push(way.op(BUDGET, None));
    bench.poke();
    reset(&mut way.near);
    let (_, it) = next(&mut bench);
    let failed = Stop::SourceFailed(Errno::ECONNRESET);
    assert_eq!((it.taken, it.held, it.stop), (0, 0, failed));
    way.close(&mut bench);
}

#[test]
fn a_source_that_resets_while_its_sink_is_full_fails_after_its_bytes_are_out() {
    let mut bench = bench();
    let mut way = Way::narrow();
    // Fits the source's socket and not the sink's: its feeder is done before the reset.
    way.feed(200 << 10).join().unwrap();
    let before = fill(&mut bench, &way);
    reset(&mut way.near);
    assert!(expect_nothing(&mut bench) <= 3, "nobody watches the source");
    let drain = way.drain();
    let (_, first) = next(&mut bench);
    let (last, rest) = run(&mut bench, &way);
    assert_eq!(last.held, 0);
    let given = before + first.given as usize + rest;
    way.close(&mut bench);
    assert!(drain.join().unwrap() == pattern(given), "other bytes");
    assert!(
        matches!(last.stop, Stop::SourceFailed(_) | Stop::End),
        "{last:?}"
    );
}

#[test]
fn a_sink_that_resets_while_it_is_full_has_failed_and_its_pipe_is_back() {
    let mut bench = bench();
    let mut way = Way::narrow();
    let _feed = way.feed(1 << 20);
    fill(&mut bench, &way);
    reset(&mut way.far);
    let (_, it) = next(&mut bench);
    let failed = Stop::SinkFailed(Errno::ECONNRESET);
    assert_eq!((it.given, it.held, it.stop), (0, 0, failed));
    way.close(&mut bench);
}

#[test]
fn a_sink_that_resets_while_its_source_is_waited_for_fails_with_the_next_byte() {
    let mut bench = bench();
    let mut way = Way::new();
    bench.ops.push(way.op(BUDGET, None));
    bench.poke();
    reset(&mut way.far);
    assert!(expect_nothing(&mut bench) <= 3, "nobody watches the sink");
    way.near.write_all(b"too late").unwrap();
    let (_, it) = next(&mut bench);
    let failed = Stop::SinkFailed(Errno::ECONNRESET);
    assert_eq!((it.taken, it.given, it.held), (8, 0, 0));
    assert_eq!(it.stop, failed);
    way.close(&mut bench);
}

/// A socket tells of its failure once: to the send, which is placed first. What a splice finds afterwards looks like
/// an orderly end, and may only be told after the failure.
#[test]
fn a_reset_that_a_send_meets_is_told_before_what_a_splice_makes_of_it() {
    let mut bench = bench();
    let mut way = Way::new();
    let lease = bench.ring.buffers().write(b"never read").unwrap();
    bench.ops.push(way.op(BUDGET, None));
    bench.poke();
    reset(&mut way.near);
    // The poll is answered in the turn that the test makes here; the splice is tried in the next.
    bench.poke();
    assert!(bench.done.is_empty(), "{:?}", bench.done);
    bench.ops.push(Op::Send {
        tag: A,
        sock: way.from.as_ref(),
        lease,
        poll_first: false,
    });
    let Event::Sent { result, rest } = bench.next().event else {
        panic!("the splice came first")
    };
    assert_eq!(result, Err(Errno::ECONNRESET));
    bench.ring.buffers().release(rest);
    let (_, it) = next(&mut bench);
    assert!(
        matches!(it.stop, Stop::End | Stop::SourceFailed(_)),
        "{it:?}"
    );
    way.close(&mut bench);
}

#[test]
fn without_a_free_pipe_a_splice_says_so_and_pipes_come_back() {
    let mut bench = bench();
    let mut ways = Vec::new();
    let refused = loop {
        let slot = u32::try_from(ways.len()).unwrap();
        let way = Way {
            tag: Tag { slot, ..A },
            ..Way::narrow()
        };
        way.feed(128 << 10).join().unwrap();
        let it = splice(&mut bench, &way, BUDGET, None);
        if it.stop == Stop::NoPipe {
            assert_eq!((it.taken, it.given, it.held), (0, 0, 0));
            break way;
        }
        assert_eq!(it.stop, Stop::Full);
        ways.push(way);
        assert!(ways.len() < 1000, "pipes without end");
    };
    let first = ways.remove(0);
    bench.ops.push(Op::Discard { tag: first.tag });
    assert!(splice(&mut bench, &refused, BUDGET, None).held > 0);
    let second = ways.remove(0);
    let drain = second.drain();
    assert_eq!(run(&mut bench, &second).0.stop, Stop::End);
    second.close(&mut bench);
    assert_eq!(drain.join().unwrap().len(), 128 << 10);
    assert!(splice(&mut bench, &first, BUDGET, None).stop != Stop::NoPipe);
    for way in ways.into_iter().chain([first, refused]) {
        way.close(&mut bench);
    }
}

#[test]
fn both_directions_of_a_pair_go_at_once() {
    const BYTES: usize = 4 << 20;
    let mut bench = bench();
    let way = Way::new();
    let drains = [way.drain(), drain(&way.near)];
    let _feeds = [way.feed(BYTES), feed(&way.far, BYTES)];
    let op = |tag: Tag, wait| {
        let (from, to) = match tag.lane {
            Lane::A => (way.from.as_ref(), way.to.as_ref()),
            Lane::B => (way.to.as_ref(), way.from.as_ref()),
        };
        Op::Splice {
            tag,
            from,
            to,
            budget: BUDGET,
            wait,
        }
    };
    bench.ops.push(op(A, None));
    bench.ops.push(op(B, None));
    let mut ended = 0;
    while ended < 2 {
        let (tag, it) = next(&mut bench);
        let wait = match it.stop {
            Stop::Budget => None,
            Stop::Empty => Some(Readiness::Readable),
            Stop::Full => Some(Readiness::Room),
            Stop::End => {
                ended += 1;
                let sock = if tag == A { &way.to } else { &way.from };
                let sock = sock.as_ref();
                bench.ops.push(Op::Shutdown { sock, both: false });
                continue;
            }
            other => panic!("{other:?}"),
        };
        bench.ops.push(op(tag, wait));
    }
    bench.poke();
    for drain in drains {
        assert!(drain.join().unwrap() == pattern(BYTES), "other bytes");
    }
    way.close(&mut bench);
}

#[test]
fn a_source_is_sent_to_while_it_is_spliced_from() {
    let mut bench = bench();
    let mut way = Way::new();
    let written = std::iter::from_fn(|| bench.ring.buffers().write(b"down"));
    let leases: Vec<_> = written.collect();
    let rounds = leases.len();
    for (round, lease) in leases.into_iter().enumerate() {
        if round % 2 == 0 {
            way.near.write_all(b"up").unwrap();
        }
        bench.ops.push(way.op(BUDGET, None));
        bench.ops.push(Op::Send {
            tag: A,
            sock: way.from.as_ref(),
            lease,
            poll_first: false,
        });
        if round % 2 == 1 {
            way.near.write_all(b"up").unwrap();
        }
        let (mut sent, mut given) = (0, 0);
        while (sent, given) != (4, 2) {
            match bench.next().event {
                Event::Sent {
                    result: Ok(count), ..
                } => sent += count,
                Event::Spliced { given: count, .. } => given += count,
                other => panic!("{other:?}"),
            }
        }
    }
    bench.close(way.to, false);
    let (mut up, mut down) = (String::new(), vec![0; 4 * rounds]);
    way.far.read_to_string(&mut up).unwrap();
    way.near.read_exact(&mut down).unwrap();
    assert_eq!(up, "up".repeat(rounds));
    assert!(down == "down".repeat(rounds).as_bytes(), "other bytes");
    bench.close(way.from, false);
}
