//! The checkers of TLS bite: a ring that breaks one rule on behalf of a worker that keeps them all.

use super::{CLIENTS, file};
use crate::HELD_MAX;
use crate::sabotage::{Fault, Sabotage, change_sends};
use crate::seats::{Furnished, Play};
use ringway::config::Config;
use ringway::ring::{Buffers, Lane, Lease, Op, Ops};
use ringway::sim::{Demands, Faults, Manners, Script, World};
use ringway::worker::Limits;
use std::sync::Arc;
use std::time::Duration;

/// A record of TLS 1.3 that holds an alert: header, level, description, type, tag (RFC 8446, sections 5.2 and 6).
const CLOSE_NOTIFY: u32 = 5 + 1 + 1 + 1 + 16;

/// A polite client of a listener that ends TLS, and a backend that answers in plain.
fn sabotage(fault: fn(&mut Buffers, Op, &mut Ops)) {
    let demands = Demands {
        held_max: HELD_MAX,
        whole: true,
        turns_max: 50_000,
    };
    let mut world = World::new(1, Faults::none(), demands);
    let text = format!(
        "[[listener]]\nname = 'l'\nlisten = '198.51.100.1:443'\nupstream = 'u'\n\
         tls = {{ certificates = [{{ cert = {:?}, key = {:?} }}] }}\n\
         [[upstream]]\nname = 'u'\nbackend = [{{ address = '192.0.2.10:80' }}]\n",
        file("feed.pem"),
        file("feed.key")
    );
    let config = Config::parse(&text, "of a sabotage").expect("a valid configuration");
    let backend = config.upstreams[0].backends[0].address.socket();
    world.backend_playing(backend.expect("an address"), Script::answers());
    let listeners = vec![vec![(0, world.listen_at(config.listeners[0].listen[0]))]];
    let script = Script::sends(20_000);
    world.client_in_tls(0, Duration::ZERO, script, &CLIENTS[0], Manners::Polite);
    let furnished = Furnished {
        config,
        listeners,
        limits: Arc::new(Limits::new(0)),
        buffers: (10, 10),
        sizes: (12, 12),
    };
    let fault = Fault::Op(fault);
    let mut play = Play::behind(|inner| Sabotage { inner, fault }, world, furnished);
    play.run(u64::MAX);
    play.records();
}

fn flip_last(buffers: &mut Buffers, lease: &mut Lease) {
    let mut bytes: Vec<u8> = buffers.segments(lease).flatten().copied().collect();
    *bytes.last_mut().expect("a send has bytes") ^= 1;
    buffers.release(lease.take());
    *lease = buffers.write(&bytes).expect("buffers enough");
}

/// A send that can only be close_notify to the client.
fn is_farewell(op: &Op) -> bool {
    matches!(op, Op::Send { tag, lease, .. } if tag.lane == Lane::A && lease.len() == CLOSE_NOTIFY)
}

#[test]
fn without_sabotage_nothing_of_tls_is_caught() {
    sabotage(|_, op, ops| ops.push(op));
}

#[test]
#[should_panic(expected = "was sent what is no TLS")]
fn a_record_with_a_wrong_bit_is_caught() {
    sabotage(|buffers, op, ops| match op {
        Op::Send { tag, .. } if tag.lane == Lane::A => change_sends(buffers, op, ops, flip_last),
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "was sent a wrong byte")]
fn text_with_a_wrong_bit_is_caught() {
    sabotage(|buffers, op, ops| match op {
        Op::Send { tag, .. } if tag.lane == Lane::B => change_sends(buffers, op, ops, flip_last),
        other => ops.push(other),
    });
}

#[test]
#[should_panic(expected = "without close_notify")]
fn fin_that_overtakes_close_notify_is_caught() {
    sabotage(|_, op, ops| {
        if is_farewell(&op)
            && let Op::Send { sock, .. } = &op
        {
            let sock = *sock;
            ops.push(Op::Shutdown { sock, both: false });
        }
        ops.push(op);
    });
}
