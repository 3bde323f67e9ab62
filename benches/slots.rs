//! What it costs to find a value by key, and to replace one. `cargo bench --bench slots`.

use criterion::Criterion;
use ringway::base::{Key, Slots};

const SLOTS: u32 = 100_000;

/// About the size of a connection.
type Value = [u64; 32];

fn full() -> (Slots<Value>, Vec<Key>) {
    let mut slots = Slots::with_capacity(SLOTS);
    let key = |n: u32| slots.insert([n.into(); 32]).expect("room for SLOTS");
    let keys = (0..SLOTS).map(key).collect();
    (slots, keys)
}

/// Indices in no order, as completions come.
fn shuffled() -> impl FnMut() -> usize {
    let mut n = 0_u32;
    move || {
        n = n.wrapping_add(0x9e37_79b9);
        (n % SLOTS) as usize
    }
}

fn get(c: &mut Criterion) {
    let ((mut slots, keys), mut index) = (full(), shuffled());
    c.bench_function("get_mut", |b| {
        b.iter(|| {
            let value = slots.get_mut(keys[index()]).expect("none is removed");
            value[0] += 1;
        });
    });
}

fn replace(c: &mut Criterion) {
    let ((mut slots, mut keys), mut index) = (full(), shuffled());
    c.bench_function("remove_and_insert", |b| {
        b.iter(|| {
            let key = &mut keys[index()];
            let value = slots
                .remove(*key)
                .expect("each key is replaced as it goes stale");
            *key = slots.insert(value).expect("one was removed");
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    get(&mut criterion);
    replace(&mut criterion);
    criterion.final_summary();
}
