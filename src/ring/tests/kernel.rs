//! The kernel keeps the seam's promises: every op and its completions, in both receive modes, on loopback.
#![expect(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod bench;

use bench::{A, B, Bench, pair};
use ringway_ring::{DialOptions, Errno, Event, Op, OpKind, RecvMode, Ring, Sock, Time, Until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

fn both_modes(test: impl Fn(Bench)) {
    test(Bench::new(RecvMode::SingleShot));
    match ringway_ring::recv_mode().expect("a kernel with io_uring") {
        RecvMode::Multishot => test(Bench::new(RecvMode::Multishot)),
        RecvMode::SingleShot => {
            eprintln!("SKIP multishot half: this kernel has no budgeted multishot receive");
        }
    }
}

#[test]
fn bytes_arrive_in_order_and_the_end_is_an_empty_lease() {
    both_modes(|mut bench| {
        let (mut near, sock) = pair();
        near.write_all(b"hello ").unwrap();
        near.write_all(b"there").unwrap();
        assert_eq!(bench.receive_exactly(&sock, 11), b"hello there");
        drop(near);
        let mut end = bench.ring.turn(&mut bench.ops, Until::Now, &mut bench.done);
        if bench.done.is_empty() {
            bench.recv(&sock, 65_536);
            end = bench.ring.turn(&mut bench.ops, Until::Now, &mut bench.done);
        }
        end.unwrap();
        let (bytes, more) = bench.received();
        assert_eq!((bytes, more), (Ok(Vec::new()), false));
        bench.close(sock, false);
        assert_eq!(bench.ring.buffers().free(), 16);
    });
}

#[test]
fn a_receive_stops_at_its_budget() {
    let mut bench = match ringway_ring::recv_mode().unwrap() {
        RecvMode::Multishot => Bench::new(RecvMode::Multishot),
        RecvMode::SingleShot => {
            return eprintln!("SKIP: this kernel has no budgeted multishot receive");
        }
    };
    let (mut near, sock) = pair();
    near.write_all(&[1; 8192]).unwrap();
    bench.recv(&sock, 2048);
    let (mut got, mut more) = (0, true);
    while more {
        let (bytes, armed) = bench.received();
        got += bytes.unwrap().len();
        more = armed;
    }
    assert!(
        (2048..=3072).contains(&got),
        "{got} bytes for a budget of 2048"
    );
    bench.poke();
    assert!(
        bench.done.is_empty(),
        "nothing comes unasked: {:?}",
        bench.done
    );
    bench.close(sock, false);
}

#[test]
fn bytes_before_a_reset_are_delivered_before_it() {
    both_modes(|mut bench| {
        let (mut near, sock) = pair();
        near.write_all(b"last words").unwrap();
        assert_eq!(bench.receive_exactly(&sock, 10), b"last words");
        socket2::SockRef::from(&near)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(near);
        if bench.ring.recv_mode() == RecvMode::SingleShot {
            bench.recv(&sock, 65_536);
        }
        assert_eq!(bench.received(), (Err(Errno::ECONNRESET), false));
        bench.close(sock, false);
    });
}

#[test]
fn bytes_and_an_end_that_come_together_are_both_told() {
    both_modes(|mut bench| {
        for end in [End::Fin, End::Reset, End::OurShutdown] {
            for order in [Order::ArmedBefore, Order::ArmedAfter] {
                tells_bytes_and(end, order, &mut bench);
            }
        }
    });
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Fin,
    Reset,
    OurShutdown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    ArmedBefore,
    ArmedAfter,
}

fn tells_bytes_and(end: End, order: Order, bench: &mut Bench) {
    let (mut near, sock) = pair();
    if order == Order::ArmedBefore {
        bench.recv(&sock, 65_536);
        bench.poke();
    }
    near.write_all(b"last words").unwrap();
    let mut held = Some(near);
    match end {
        End::Fin => drop(held.take()),
        End::Reset => {
            let near = held.take().unwrap();
            let socket = socket2::SockRef::from(&near);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        End::OurShutdown => bench.ops.push(Op::Shutdown {
            sock: sock.as_ref(),
            both: true,
        }),
    }
    if order == Order::ArmedAfter {
        bench.recv(&sock, 65_536);
    }
    let (mut told, mut armed) = (Vec::new(), true);
    while told.len() < 2 {
        if !armed {
            bench.recv(&sock, 65_536);
        }
        let (bytes, more) = bench.received();
        told.push(bytes);
        armed = more;
    }
    let last = match end {
        End::Fin | End::OurShutdown => Ok(Vec::new()),
        End::Reset => Err(Errno::ECONNRESET),
    };
    assert_eq!(
        told,
        [Ok(b"last words".to_vec()), last],
        "{end:?} {order:?}"
    );
    assert!(!armed, "{end:?} {order:?}");
    bench.close(sock, false);
}

#[test]
fn without_a_free_buffer_nothing_is_lost_and_the_receive_ends() {
    both_modes(|mut bench| {
        let (mut near, sock) = pair();
        let hoard = bench
            .ring
            .buffers()
            .write(&[0; 16 * 1024])
            .expect("all sixteen");
        near.write_all(b"patience").unwrap();
        bench.recv(&sock, 65_536);
        assert_eq!(bench.received(), (Err(Errno::ENOBUFS), false));
        bench.ring.buffers().release(hoard);
        assert_eq!(bench.receive_exactly(&sock, 8), b"patience");
        bench.close(sock, false);
    });
}

#[test]
fn a_chain_of_many_buffers_goes_out_whole_and_in_order() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (mut near, sock) = pair();
    let sent: Vec<u8> = (0..9000).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let lease = bench.ring.buffers().write(&sent).unwrap();
    bench.ops.push(Op::Send {
        tag: A,
        sock: sock.as_ref(),
        lease,
        poll_first: false,
    });
    let Event::Sent {
        result: Ok(9000),
        rest,
    } = bench.next().event
    else {
        panic!("a short send")
    };
    assert!(rest.is_empty());
    let mut got = vec![0; 9000];
    near.read_exact(&mut got).unwrap();
    assert_eq!(got, sent);
    bench.close(sock, false);
}

#[test]
fn a_full_socket_takes_part_and_hands_back_the_rest() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (mut near, sock) = pair();
    let (mut sent, mut blocked) = (0, false);
    while !blocked {
        let lease = bench.ring.buffers().write(&[3; 8192]).unwrap();
        bench.ops.push(Op::Send {
            tag: A,
            sock: sock.as_ref(),
            lease,
            poll_first: false,
        });
        bench.poke();
        match bench.done.pop().map(|c| c.event) {
            Some(Event::Sent { result, rest }) => {
                sent += result.unwrap() as usize;
                bench.ring.buffers().release(rest);
            }
            Some(other) => panic!("not a send: {other:?}"),
            None => blocked = true,
        }
        assert!(sent < 64 << 20, "a socket that never fills");
    }
    bench.ops.push(Op::Cancel {
        tag: A,
        what: OpKind::Send,
    });
    let Event::Sent { result, rest } = bench.next().event else {
        panic!("not a send")
    };
    sent += result.unwrap_or(0) as usize;
    assert_eq!(rest.len() as usize + result.unwrap_or(0) as usize, 8192);
    bench.ring.buffers().release(rest);
    bench.close(sock, false);
    let mut got = Vec::new();
    near.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent);
}

#[test]
fn a_send_that_waits_is_shed_and_delivers_every_byte_in_order() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (near, sock) = pair();
    let handed = bench.fill(&sock, 8192);
    assert!(bench.ring.buffers().free() < 16);
    bench.ops.push(Op::Shed { tag: A });
    bench.poke();
    let held = (
        bench.ring.buffers().free(),
        bench.ring.buffers().spilled() > 0,
    );
    assert_eq!(held, (16, true));
    bench.drain(&sock, near, handed);
    assert_eq!(bench.ring.buffers().spilled(), 0);
    bench.close(sock, false);
}

#[test]
fn a_send_that_finds_no_room_while_buffers_are_scarce_is_shed_at_once() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (near, sock) = pair();
    // Of sixteen only four are left: whatever a send holds of them, fewer than a quarter are free.
    let others = bench.ring.buffers().write(&[0; 12 * 1024]).unwrap();
    let handed = bench.fill(&sock, 4096);
    assert_eq!(bench.ring.buffers().free(), 4);
    assert!(bench.ring.buffers().spilled() > 0);
    bench.drain(&sock, near, handed);
    bench.ring.buffers().release(others);
    bench.close(sock, false);
}

#[test]
fn shedding_touches_nothing_but_a_send_that_waits() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (mut near, sock) = pair();
    let lease = bench.ring.buffers().write(b"in hand").unwrap();
    bench.ops.push(Op::Shed { tag: A });
    bench.send(&sock, lease, false);
    bench.ops.push(Op::Shed { tag: A });
    bench.ops.push(Op::Shed { tag: B });
    let (result, rest) = bench.sent();
    assert_eq!((result, rest.is_empty()), (Ok(7), true));
    assert_eq!(bench.ring.buffers().spilled(), 0);
    let mut got = [0; 7];
    near.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"in hand");
    bench.close(sock, false);
}

#[test]
fn a_shed_send_is_cancelled_like_any_other() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (near, sock) = pair();
    bench.fill(&sock, 8192);
    bench.ops.push(Op::Shed { tag: A });
    bench.ops.push(Op::Cancel {
        tag: A,
        what: OpKind::Send,
    });
    let (result, rest) = bench.sent();
    assert_eq!(result, Err(Errno::ECANCELED));
    assert_eq!(bench.ring.buffers().spilled(), rest.len() as usize);
    bench.ring.buffers().release(rest);
    assert_eq!(bench.ring.buffers().spilled(), 0);
    bench.close(sock, false);
    drop(near);
}

#[test]
fn a_dial_gives_a_socket_or_a_reason() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let source: SocketAddr = "127.0.0.9:0".parse().unwrap();
    let options = DialOptions {
        nodelay: true,
        user_timeout: Some(Duration::from_secs(10)),
        source: Some(source),
        ..DialOptions::default()
    };
    bench.ops.push(Op::Dial {
        tag: B,
        peer,
        options,
        asking: None,
    });
    let Event::Dialed { result, .. } = bench.next().event else {
        panic!("not a dial")
    };
    let sock = result.unwrap();
    let (far, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), source.ip());
    bench.close(sock, false);
    drop((far, listener));
    bench.ops.push(Op::Dial {
        tag: B,
        peer,
        options: DialOptions::default(),
        asking: None,
    });
    let Event::Dialed { result, .. } = bench.next().event else {
        panic!("not a dial")
    };
    assert_eq!(result, Err(Errno::ECONNREFUSED));
}

#[test]
fn accepting_goes_on_until_cancelled() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Sock::from(OwnedFd::from(listener));
    bench.ops.push(Op::Accept {
        tag: A,
        listener: listener.as_ref(),
    });
    bench.poke();
    for _ in 0..3 {
        let client = TcpStream::connect(address).unwrap();
        let Event::Accepted {
            result: Ok((sock, peer)),
            more: true,
        } = bench.next().event
        else {
            panic!("not accepted");
        };
        assert_eq!(peer, client.local_addr().unwrap());
        bench.close(sock, true);
    }
    bench.ops.push(Op::Cancel {
        tag: A,
        what: OpKind::Accept,
    });
    let Event::Accepted { result, more } = bench.next().event else {
        panic!("not an accept")
    };
    assert_eq!((result.unwrap_err(), more), (Errno::ECANCELED, false));
    bench.close(listener, false);
}

#[test]
fn a_client_turned_away_is_reset_and_an_empty_queue_does_not_block() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let listener = Sock::from(OwnedFd::from(listener));
    for _ in 0..2 {
        bench.ops.push(Op::TurnAway {
            listener: listener.as_ref(),
        });
        bench.poke();
    }
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ECONNRESET as i32));
    bench.close(listener, false);
}

#[test]
fn a_cancelled_receive_leaves_the_bytes_in_the_socket() {
    both_modes(|mut bench| {
        let (mut near, sock) = pair();
        bench.recv(&sock, 65_536);
        bench.poke();
        bench.ops.push(Op::Cancel {
            tag: A,
            what: OpKind::Recv,
        });
        assert_eq!(bench.received(), (Err(Errno::ECANCELED), false));
        near.write_all(b"still here").unwrap();
        assert_eq!(bench.receive_exactly(&sock, 10), b"still here");
        bench.close(sock, false);
    });
}

#[test]
fn closing_with_reset_is_seen_as_a_reset() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (mut near, sock) = pair();
    bench.close(sock, true);
    let error = near.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ECONNRESET as i32));
}

#[test]
fn shutting_down_sends_fin_and_the_other_direction_goes_on() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let (mut near, sock) = pair();
    bench.ops.push(Op::Shutdown {
        sock: sock.as_ref(),
        both: false,
    });
    bench.poke();
    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0);
    near.write_all(b"after your fin").unwrap();
    assert_eq!(bench.receive_exactly(&sock, 14), b"after your fin");
    bench.close(sock, false);
}

#[test]
fn a_poll_reports_each_wake_of_an_eventfd() {
    let mut bench = Bench::new(RecvMode::SingleShot);
    let bell = nix::sys::eventfd::EventFd::new().unwrap();
    let ear = Sock::from(
        std::os::fd::AsFd::as_fd(&bell)
            .try_clone_to_owned()
            .unwrap(),
    );
    bench.ops.push(Op::Poll {
        tag: A,
        sock: ear.as_ref(),
    });
    bench.poke();
    for _ in 0..3 {
        bell.write(1).unwrap();
        let Event::Polled {
            result: Ok(()),
            more: true,
        } = bench.next().event
        else {
            panic!("no wake")
        };
    }
    bench.ops.push(Op::Cancel {
        tag: A,
        what: OpKind::Poll,
    });
    let Event::Polled { result, more } = bench.next().event else {
        panic!("not a poll")
    };
    assert_eq!((result, more), (Err(Errno::ECANCELED), false));
    bench.close(ear, false);
}

#[test]
fn a_ring_that_goes_away_with_ops_in_flight_closes_what_it_held() {
    both_modes(|mut bench| {
        let (near, sock) = pair();
        bench.recv(&sock, 65_536);
        bench.poke();
        drop(bench);
        drop(near);
        drop(sock.into_fd());
    });
}

/// How often this thread has slept (proc(5)).
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// The time that a thread of ours has run (Documentation/scheduler/sched-stats.rst).
fn run_time(thread: nix::unistd::Pid) -> Duration {
    let path = format!("/proc/self/task/{thread}/schedstat");
    let text = std::fs::read_to_string(path).unwrap();
    let nanos = text.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// Waits, five seconds at most, until `thread` has run for two milliseconds more; whether it did.
fn runs_on(thread: nix::unistd::Pid) -> bool {
    let enough = run_time(thread) + Duration::from_millis(2);
    let deadline = Time::read_clock() + Duration::from_secs(5);
    while run_time(thread) < enough {
        if Time::read_clock() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn bytes_that_come_while_a_ring_spins_are_taken_without_a_sleep() {
    both_modes(|bench| {
        let mut bench = Bench::spinning(bench.ring.recv_mode(), Duration::from_secs(60));
        let (mut near, sock) = pair();
        bench.recv(&sock, 65_536);
        bench.poke();
        let me = nix::unistd::gettid();
        let sender = std::thread::spawn(move || {
            let spins = runs_on(me);
            near.write_all(b"awake").unwrap();
            (near, spins)
        });
        let before = sleeps();
        assert_eq!(bench.received().0, Ok(b"awake".to_vec()));
        assert_eq!(sleeps(), before, "it slept");
        let (near, spins) = sender.join().unwrap();
        assert!(spins, "it did not run while it waited");
        drop(near);
        bench.close(sock, false);
    });
}

#[test]
fn a_ring_that_has_spun_in_vain_sleeps_and_still_wakes() {
    both_modes(|bench| {
        let mut bench = Bench::spinning(bench.ring.recv_mode(), Duration::from_micros(500));
        let (mut near, sock) = pair();
        bench.recv(&sock, 65_536);
        let me = nix::unistd::gettid();
        let (slept, ran) = (sleeps(), run_time(me));
        let end = Time::read_clock() + Duration::from_millis(300);
        bench
            .ring
            .turn(&mut bench.ops, Until::Time(end), &mut bench.done)
            .unwrap();
        assert!(Time::read_clock() >= end, "the turn ended early");
        assert!(sleeps() > slept, "it never slept");
        let ran = run_time(me) - ran;
        assert!(ran < Duration::from_millis(150), "it ran for {ran:?}");
        near.write_all(b"asleep").unwrap();
        assert_eq!(bench.received().0, Ok(b"asleep".to_vec()));
        bench.close(sock, false);
    });
}

#[test]
fn a_turn_that_is_due_ends_although_the_ring_would_spin_on() {
    let mut bench = Bench::spinning(RecvMode::SingleShot, Duration::from_secs(60));
    let began = Time::read_clock();
    let due = began + Duration::from_millis(20);
    bench
        .ring
        .turn(&mut bench.ops, Until::Time(due), &mut bench.done)
        .unwrap();
    let ended = Time::read_clock();
    assert!(ended >= due, "early by {:?}", due - ended);
    assert!(
        ended - began < Duration::from_secs(5),
        "{:?}",
        ended - began
    );
}
