//! The checkers of first bytes bite: one rule broken in each, by a ring on behalf of a worker that keeps them all, or by
//! what the worker is told.

use super::check::check_households;
use crate::HELD_MAX;
use crate::sabotage::{Fault, Sabotage, change_sends};
use crate::seats::{Furnished, Play, Record};
use ringway::base::Terms;
use ringway::config::{Config, SendProxy};
use ringway::conn::Household;
use ringway::ring::{Buffers, Completion, Event, Lease, Op, Ops, Time};
use ringway::sim::{Demands, Faults, Opening, Script, Step, World};
use ringway::wire::http_head::Status;
use ringway::worker::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const HEADER: &[u8] = b"PROXY TCP4 203.0.113.1 192.0.2.99 20000 443\r\n";
const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: feed.example.com\r\n\r\n";
const BAD_HEAD: &[u8] = b"GET / HTTP/9.9\r\nHost: feed.example.com\r\n\r\n";

/// A listener that takes headers and heads, two workers if it is asked for, and a backend that is told of clients.
const CONFIG: &str = "
[[listener]]
name = 'l'
listen = '198.51.100.1:80'
mode = 'http'
proxy_protocol = 'optional'
max_connections_per_ip = 3
upstream = 'u'
[[upstream]]
name = 'u'
proxy_protocol = 'v1'
[[upstream.backend]]
address = '192.0.2.10:80'
";

/// A client with a header and a head, whose stream goes on in the same segment and later.
fn served() -> (Opening, Script) {
    let ends = ("203.0.113.1:20000", "192.0.2.99:443");
    let ends = (
        ends.0.parse().expect("an address"),
        ends.1.parse().expect("an address"),
    );
    let opening = Opening {
        says: [HEADER, HEAD].concat(),
        kept: HEADER.len(),
        announced: super::says::announced(SendProxy::V1, ends, None),
        ..Opening::default()
    };
    let says = opening.says.len() as u64;
    (opening, script(says))
}

/// A client that sends on after a head that is none.
fn refused() -> (Opening, Script) {
    let opening = Opening {
        says: BAD_HEAD.to_vec(),
        unwanted: true,
        replies: vec![Status::BadRequest.reply()],
        ..Opening::default()
    };
    (opening, script(BAD_HEAD.len() as u64))
}

fn script(says: u64) -> Script {
    let steps = vec![
        Step::Send(says + 1000),
        Step::Pause(Duration::from_millis(100)),
        Step::Send(3000),
        Step::Pause(Duration::from_millis(100)),
        Step::Send(3000),
        Step::Fin,
        Step::AwaitEnd(Duration::from_mins(10)),
    ];
    Script {
        steps,
        ..Script::sends(0)
    }
}

/// Six clients of one address, some at once, in front of two workers, in a few calm worlds.
fn sabotage(
    fault: Fault,
    (opening, script): &(Opening, Script),
    limits: fn() -> Arc<Limits>,
) -> Vec<Record> {
    let mut records = Vec::new();
    for seed in 0..10 {
        let demands = Demands {
            held_max: HELD_MAX,
            whole: true,
            turns_max: 50_000,
        };
        let mut world = World::new(seed, Faults::none(), demands);
        let config = Config::parse(CONFIG, "CONFIG").expect("a valid configuration");
        let address = config.listeners[0].listen[0];
        let backend = config.upstreams[0].backends[0].address.socket();
        world.backend_playing(backend.expect("an address"), Script::answers());
        let listeners = (0..2)
            .map(|_| vec![(0, world.listen_at(address))])
            .collect();
        for n in 0..6 {
            let peer = SocketAddr::from(([10, 1, 0, 1], 40_000 + n));
            let pause = Duration::from_millis(u64::from(n / 2) * 150);
            let listener = usize::from(n % 2);
            world.client_saying(listener, pause, peer, script.clone(), opening.clone());
        }
        let furnished = Furnished {
            config,
            listeners,
            limits: limits(),
            buffers: (10, 10),
            sizes: (12, 12),
        };
        let mut play = Play::behind(|inner| Sabotage { inner, fault }, world, furnished);
        play.run(u64::MAX);
        records.extend(play.records());
    }
    records
}

fn unlimited() -> Arc<Limits> {
    Arc::new(Limits::new(0))
}

fn sabotage_ops(client: &(Opening, Script), fault: fn(&mut Buffers, Op, &mut Ops)) {
    sabotage(Fault::Op(fault), client, unlimited);
}

fn bytes(buffers: &Buffers, lease: &Lease) -> Vec<u8> {
    buffers.segments(lease).flatten().copied().collect()
}

/// Puts other bytes in a lease.
fn rewrite(buffers: &mut Buffers, lease: &mut Lease, bytes: &[u8]) {
    buffers.release(lease.take());
    *lease = buffers.write(bytes).expect("buffers enough");
}

/// Where the head begins in what a backend is sent first.
fn head_at(bytes: &[u8]) -> Option<usize> {
    bytes.windows(HEAD.len()).position(|it| it == HEAD)
}

#[test]
fn without_sabotage_nothing_is_caught() {
    sabotage_ops(&served(), |_, op, ops| ops.push(op));
    sabotage_ops(&refused(), |_, op, ops| ops.push(op));
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn a_header_that_is_passed_on_is_caught() {
    sabotage_ops(&served(), |buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let sent = bytes(buffers, lease);
            if let Some(at) = head_at(&sent) {
                let both = [&sent[..at], HEADER, &sent[at..]].concat();
                rewrite(buffers, lease, &both);
            }
        });
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn an_announcement_of_somebody_else_is_caught() {
    sabotage_ops(&served(), |buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let mut sent = bytes(buffers, lease);
            if head_at(&sent).is_some() {
                sent[b"PROXY TCP4 ".len()] ^= 1;
                rewrite(buffers, lease, &sent);
            }
        });
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn a_stream_behind_the_head_that_is_dropped_is_caught() {
    sabotage_ops(&served(), |buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let sent = bytes(buffers, lease);
            if let Some(at) = head_at(&sent) {
                rewrite(buffers, lease, &sent[..at + HEAD.len()]);
            }
        });
    });
}

#[test]
#[should_panic(expected = "gets a backend and should be refused")]
fn a_refused_client_that_reaches_a_backend_is_caught() {
    let forgive = |buffers: &mut Buffers, done: &mut [Completion]| {
        for completion in done {
            let Event::Received {
                result: Ok(lease), ..
            } = &mut completion.event
            else {
                continue;
            };
            let mut got = bytes(buffers, lease);
            if got.starts_with(BAD_HEAD) {
                got[..HEAD.len()].copy_from_slice(HEAD);
                rewrite(buffers, lease, &got);
            }
        }
    };
    sabotage(Fault::Done(forgive), &refused(), unlimited);
}

#[test]
#[should_panic(expected = "bytes of a reply, and no more")]
fn half_a_reply_is_caught() {
    sabotage_ops(&refused(), |buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let reply = bytes(buffers, lease);
            rewrite(buffers, lease, &reply[..reply.len() / 2]);
        });
    });
}

#[test]
#[should_panic(expected = "was told what is no reply")]
fn a_reply_that_is_sent_twice_is_caught() {
    sabotage_ops(&refused(), |buffers, op, ops| {
        change_sends(buffers, op, ops, |buffers, lease| {
            let reply = bytes(buffers, lease);
            rewrite(buffers, lease, &reply.repeat(2));
        });
    });
}

#[test]
#[should_panic(expected = "was reset right after its reply")]
fn a_reply_whose_client_is_not_read_out_is_caught() {
    sabotage_ops(&refused(), |_, op, ops| match op {
        Op::Shutdown { sock, .. } => ops.push(Op::Shutdown { sock, both: true }),
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "a household was not given back")]
fn a_household_that_is_not_given_back_is_caught() {
    let haunted = || {
        let limits = unlimited();
        let ghost = Household::of(0, [203, 0, 113, 9].into());
        let entered = limits
            .households()
            .enter(ghost, Terms::default(), Time::default());
        entered.expect("no terms");
        limits
    };
    sabotage(Fault::Op(|_, op, ops| ops.push(op)), &served(), haunted);
}

#[test]
fn three_of_a_household_are_let_in_whichever_worker_they_come_to_and_the_check_can_count() {
    let records = sabotage(Fault::Op(|_, op, ops| ops.push(op)), &served(), unlimited);
    let most = records.chunk_by(|a, b| Arc::ptr_eq(&a.config, &b.config));
    for world in most {
        check_households(world, |rules| rules.max_connections_per_ip);
    }
}

#[test]
#[should_panic(expected = "3 open of Household")]
fn more_of_a_household_than_may_be_is_caught() {
    let records = sabotage(Fault::Op(|_, op, ops| ops.push(op)), &served(), unlimited);
    let first = records
        .chunk_by(|a, b| Arc::ptr_eq(&a.config, &b.config))
        .next();
    check_households(first.expect("a world"), |_| 2);
}
