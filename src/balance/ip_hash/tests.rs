//! What the table promises, in numbers. That it is the same table everywhere is `tests/ip_hash_vectors.rs`.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("10.0.{}.{}:8080", n / 256, n % 256))
        .collect()
}

fn table(names: &[String], weight: impl Fn(usize) -> u16) -> Maglev {
    let mut entries = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let weight = weight(n);
        entries.push(Entry { name, weight });
    }
    Maglev::build(&entries)
}

fn equal(count: usize) -> Maglev {
    table(&names(count), |_| 1)
}

/// Keys of `count` neighbouring clients.
fn keys(count: u32) -> impl Iterator<Item = u64> {
    (0..count).map(|n| {
        client_key(
            Ipv4Addr::from_bits(0x0a00_0000 + n).into(),
            HashPrefix::default(),
        )
    })
}

fn slots_owned(maglev: &Maglev) -> Vec<u32> {
    let mut owned = vec![0; maglev.backends()];
    maglev
        .slots
        .iter()
        .for_each(|&owner| owned[usize::from(owner)] += 1);
    owned
}

fn off_by(got: f64, fair: f64) -> f64 {
    (got / fair - 1.0).abs()
}

#[test]
fn equal_backends_own_the_same_number_of_slots_give_or_take_one() {
    for count in [1, 2, 3, 16, 1000] {
        let owned = slots_owned(&equal(count));
        let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
        assert!(
            most - least <= 1,
            "{count} backends own {least} to {most} slots"
        );
    }
}

#[test]
fn neighbouring_clients_spread_evenly() {
    // Four standard deviations of pure chance with that many clients a backend, rounded up.
    for (count, within) in [(2, 0.01), (3, 0.015), (16, 0.04), (1000, 0.30)] {
        let maglev = equal(count);
        let mut clients = vec![0.0; count];
        keys(200_000).for_each(|key| clients[maglev.walk(key).next().unwrap()] += 1.0);
        let fair = 200_000.0 / f64::from(u32::try_from(count).unwrap());
        let worst = clients
            .iter()
            .map(|&got| off_by(got, fair))
            .fold(0.0, f64::max);
        assert!(worst < within, "{count} backends: off by {worst}");
    }
}

#[test]
fn slots_follow_weights() {
    for count in [2, 3, 16, 100] {
        let weight = |n: usize| [1, 2, 5, 256][n % 4];
        let owned = slots_owned(&table(&names(count), weight));
        let total: f64 = (0..count).map(|n| f64::from(weight(n))).sum();
        for (n, &got) in owned.iter().enumerate() {
            let fair = f64::from(SLOTS) * f64::from(weight(n)) / total;
            // Two slots of rounding, and its share of the first turns that everyone is given (one a backend).
            let slack = 2.0 + fair * f64::from(u32::try_from(count).unwrap()) / f64::from(SLOTS);
            assert!(
                (f64::from(got) - fair).abs() <= slack,
                "{count}: {n} owns {got} of {fair}"
            );
        }
    }
}

#[test]
fn clients_follow_the_weights_of_those_left_while_every_third_is_down() {
    for count in [2, 3, 16, 1000] {
        let weight = |n: usize| [5, 2, 3, 16][n % 4];
        let is_up = |n: &usize| n % 3 != 1;
        let maglev = table(&names(count), weight);
        let mut clients = vec![0.0; count];
        for key in keys(200_000) {
            clients[maglev.walk(key).find(is_up).unwrap()] += 1.0;
        }
        let total: f64 = (0..count).filter(is_up).map(|n| f64::from(weight(n))).sum();
        for n in (0..count).filter(is_up) {
            let fair = 200_000.0 * f64::from(weight(n)) / total;
            // Five standard deviations of chance, and the table's own unevenness.
            let slack = 5.0 * fair.sqrt() + 0.05 * fair;
            assert!(
                (clients[n] - fair).abs() <= slack,
                "{count}: {n} has {} of {fair}",
                clients[n]
            );
        }
        assert!((0..count).all(|n| is_up(&n) || clients[n] == 0.0));
    }
}

#[test]
fn the_lightest_of_a_thousand_owns_a_slot() {
    let owned = slots_owned(&table(&names(1000), |n| if n == 500 { 1 } else { 256 }));
    assert!(owned[500] >= 1);
    assert!(owned.iter().all(|&slots| slots <= 66));
}

/// Of the slots that others than `victim` own: the share that changes hands when it leaves the list.
fn moved_without(names: &[String], victim: usize) -> f64 {
    let mut fewer = names.to_vec();
    fewer.remove(victim);
    let (before, after) = (table(names, |_| 1), table(&fewer, |_| 1));
    let owners = before.slots.iter().zip(&after.slots);
    let others: Vec<_> = owners
        .filter(|(owner, _)| usize::from(**owner) != victim)
        .collect();
    let stays = |(a, b): &&(&u16, &u16)| names[usize::from(**a)] == fewer[usize::from(**b)];
    let moved = others.len() - others.iter().filter(stays).count();
    f64::from(u32::try_from(moved).unwrap()) / f64::from(u32::try_from(others.len()).unwrap())
}

#[test]
fn taking_a_backend_out_of_the_list_moves_few_clients_of_the_others() {
    // Seen: 0, 0.02, 0.4 and 0.6 %. Some move at all because the others claim in another order then. Draining moves none: `walk` goes around.
    for (count, bound) in [(2, 0.0), (3, 0.001), (16, 0.01), (1000, 0.01)] {
        let names = names(count);
        for victim in (0..count).step_by(count.div_ceil(16)) {
            let moved = moved_without(&names, victim);
            assert!(
                moved <= bound,
                "{moved} of the slots moved without {victim} of {count}"
            );
        }
    }
}

#[test]
fn skipping_a_backend_moves_its_clients_alone_and_evenly() {
    const DOWN: usize = 7;
    let maglev = equal(16);
    let mut inherited = vec![0.0; 16];
    for key in keys(200_000) {
        let home = maglev.walk(key).next().unwrap();
        let usable = maglev.walk(key).find(|&backend| backend != DOWN).unwrap();
        if home == DOWN {
            inherited[usable] += 1.0;
        } else {
            assert_eq!(usable, home);
        }
    }
    let orphans: f64 = inherited.iter().sum();
    inherited.remove(DOWN);
    let worst = inherited
        .iter()
        .map(|&got| off_by(got, orphans / 15.0))
        .fold(0.0, f64::max);
    assert!(worst < 0.15, "an heir is off by {worst}");
}

#[test]
fn ten_survivors_of_a_thousand_share_the_load() {
    let maglev = equal(1000);
    let mut clients = [0.0; 10];
    for key in keys(20_000) {
        let survivor = maglev
            .walk(key)
            .find(|&backend| backend % 100 == 3)
            .unwrap();
        clients[survivor / 100] += 1.0;
    }
    let worst = clients
        .iter()
        .map(|&got| off_by(got, 2000.0))
        .fold(0.0, f64::max);
    assert!(worst < 0.1, "a survivor is off by {worst}");
}

#[test]
fn an_empty_table_has_nobody_for_any_key() {
    let maglev = Maglev::build(&[]);
    assert_eq!((maglev.backends(), maglev.walk(42).next()), (0, None));
}

#[test]
fn a_lone_backend_gets_every_key_once() {
    let maglev = equal(1);
    assert!(keys(100).all(|key| maglev.walk(key).eq([0])));
}

#[test]
#[should_panic(expected = "two backends are named Some(\"10.0.0.0:8080\")")]
fn two_backends_of_one_name_are_caught() {
    let twice = [names(1), names(1)].concat();
    table(&twice, |_| 1);
}

#[test]
#[should_panic(expected = "a weight of 257")]
fn a_weight_out_of_range_is_caught() {
    table(&names(2), |_| 257);
}

#[test]
fn other_names_or_weights_have_another_fingerprint() {
    let fingerprints = [
        Maglev::build(&[]),
        equal(1),
        equal(2),
        equal(3),
        table(&names(3), |n| if n == 0 { 2 } else { 1 }),
        table(&["a".into(), "bc".into()], |_| 1),
        table(&["ab".into(), "c".into()], |_| 1),
    ]
    .map(|maglev| maglev.fingerprint());
    assert_eq!(HashSet::from(fingerprints).len(), 7);
}

#[test]
fn weights_in_the_same_proportion_make_the_same_table() {
    assert_eq!(table(&names(5), |_| 1), table(&names(5), |_| 200));
}

fn key_of(ip: &str, v4: u8, v6: u8) -> u64 {
    client_key(ip.parse().unwrap(), HashPrefix { v4, v6 })
}

#[test]
fn clients_that_share_the_prefix_share_the_key() {
    assert_eq!(key_of("192.0.2.1", 24, 64), key_of("192.0.2.254", 24, 64));
    assert_ne!(key_of("192.0.2.1", 24, 64), key_of("192.0.3.1", 24, 64));
    assert_ne!(key_of("192.0.2.1", 32, 64), key_of("192.0.2.0", 32, 64));
    assert_eq!(
        key_of("2001:db8::1", 32, 64),
        key_of("2001:db8::ffff:1", 32, 64)
    );
    assert_ne!(
        key_of("2001:db8::1", 32, 64),
        key_of("2001:db8:0:1::1", 32, 64)
    );
    assert_ne!(
        key_of("2001:db8::1", 32, 128),
        key_of("2001:db8::2", 32, 128)
    );
}

#[test]
fn an_ipv4_client_is_the_same_through_an_ipv6_socket() {
    assert_eq!(
        key_of("::ffff:192.0.2.1", 24, 64),
        key_of("192.0.2.77", 24, 0)
    );
}

#[test]
fn prefixes_of_nothing_and_of_more_than_everything_are_taken_at_their_word() {
    assert_eq!(key_of("192.0.2.1", 0, 0), key_of("203.0.113.9", 0, 0));
    assert_eq!(key_of("2001:db8::1", 0, 0), key_of("fe80::1", 0, 0));
    assert_eq!(key_of("192.0.2.1", 255, 0), key_of("192.0.2.1", 32, 0));
    assert_eq!(key_of("2001:db8::1", 0, 255), key_of("2001:db8::1", 0, 128));
}

/// Names and weights.
type List = Vec<(String, u16)>;

/// The same backends in two orders.
fn backends() -> impl Strategy<Value = (List, List)> {
    prop::collection::btree_map("[a-z]{1,8}", 1..=WEIGHT_MAX, 1..60).prop_flat_map(|map| {
        let list: List = map.into_iter().collect();
        (Just(list.clone()).prop_shuffle(), Just(list).prop_shuffle())
    })
}

fn build(list: &[(String, u16)]) -> Maglev {
    let weights: Vec<u16> = list.iter().map(|(_, weight)| *weight).collect();
    let names: Vec<String> = list.iter().map(|(name, _)| name.clone()).collect();
    table(&names, |n| weights[n])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_the_list_changes_no_walk((one, other) in backends(), key: u64) {
        let (a, b) = (build(&one), build(&other));
        prop_assert_eq!(a.fingerprint(), b.fingerprint());
        let by_a: Vec<&str> = a.walk(key).map(|n| one[n].0.as_str()).collect();
        let by_b: Vec<&str> = b.walk(key).map(|n| other[n].0.as_str()).collect();
        prop_assert_eq!(by_a, by_b);
    }

    #[test]
    fn a_walk_meets_every_backend_exactly_once((list, _) in backends(), key: u64) {
        let mut met: Vec<usize> = build(&list).walk(key).collect();
        met.sort_unstable();
        prop_assert!(met.into_iter().eq(0..list.len()));
    }

    #[test]
    fn every_backend_owns_a_slot((list, _) in backends()) {
        prop_assert!(slots_owned(&build(&list)).iter().all(|&slots| slots > 0));
    }

    #[test]
    fn ranks_are_walked_modulo_the_next_prime(count in 0..=BACKENDS_MAX) {
        let prime = prime_from(count);
        let count = u32::try_from(count).unwrap();
        prop_assert!(prime >= count.max(2));
        let divisible = |n: u32| (2..n).any(|d| n.is_multiple_of(d));
        prop_assert!(!divisible(prime));
        prop_assert!((count.max(2)..prime).all(divisible));
    }
}
