//! What a timer costs among 100,000 others. `cargo bench --bench wheel`.

use criterion::Criterion;
use ringway::base::{TICK, Wheel};
use ringway::ring::Time;
use std::time::Duration;

const TIMERS: u32 = 100_000;
const START: Time = Time::from_nanos(0);

/// The slots in no order, as events come.
fn shuffled_slots() -> impl Iterator<Item = u32> {
    let mut n = 0_u32;
    std::iter::repeat_with(move || {
        n = n.wrapping_add(0x9e37_79b9);
        n % TIMERS
    })
}

/// Idle timeouts, spread over ten minutes.
fn full() -> Wheel {
    let mut wheel = Wheel::with_capacity(START, TIMERS);
    (0..TIMERS)
        .for_each(|slot| wheel.set(slot, START + Duration::from_millis(u64::from(slot) * 6)));
    wheel
}

fn move_one(c: &mut Criterion) {
    let (mut wheel, mut slots) = (full(), shuffled_slots());
    c.bench_function("move", |b| {
        b.iter(|| {
            let slot = slots.next().expect("endless");
            wheel.set(slot, START + Duration::from_millis(u64::from(slot) * 7));
        });
    });
}

fn set_and_cancel(c: &mut Criterion) {
    let (mut wheel, mut slots) = (full(), shuffled_slots());
    c.bench_function("set_and_cancel", |b| {
        b.iter(|| {
            let slot = slots.next().expect("endless");
            wheel.set(slot, START + Duration::from_secs(2));
            wheel.cancel(slot);
        });
    });
}

/// A turn in which time passes: about one timer fires every tick, and is set again ten minutes on.
fn expire_a_tick(c: &mut Criterion) {
    let mut wheel = full();
    let (mut now, mut fired) = (START, Vec::new());
    c.bench_function("expire_a_tick", |b| {
        b.iter(|| {
            now = now + TICK;
            wheel.expire(now, &mut fired);
            for slot in fired.drain(..) {
                wheel.set(slot, now + Duration::from_secs(600));
            }
        });
    });
}

fn next(c: &mut Criterion) {
    let wheel = full();
    c.bench_function("next", |b| b.iter(|| std::hint::black_box(&wheel).next()));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    move_one(&mut criterion);
    set_and_cancel(&mut criterion);
    expire_a_tick(&mut criterion);
    next(&mut criterion);
    criterion.final_summary();
}
