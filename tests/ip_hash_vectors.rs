//! `ip_hash` and `hash` send every client where the checked-in answers say. They were computed by an implementation apart from
//! this one (`tests/vectors/ip_hash.py`); a failure here means that an upgrade would move clients.

use ringway::balance::ip_hash::{Entry, HashPrefix, Maglev, client_key, name_key, value_key};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prefix: Prefix,
    fingerprint: String,
    backends: Vec<Backend>,
    #[serde(default)]
    walks: BTreeMap<IpAddr, Vec<String>>,
    #[serde(default)]
    values: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    names: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Prefix {
    v4: u8,
    v6: u8,
}

#[derive(Deserialize)]
struct Backend {
    name: String,
    weight: u16,
}

fn cases() -> Vec<Case> {
    let vectors: Vectors =
        serde_json::from_str(include_str!("vectors/ip_hash.json")).expect("the file is checked in");
    assert_eq!(vectors.cases.len(), 8);
    vectors.cases
}

fn build(case: &Case) -> Maglev {
    let mut entries = Vec::new();
    for Backend { name, weight } in &case.backends {
        entries.push(Entry {
            name,
            weight: *weight,
        });
    }
    Maglev::build(&entries)
}

/// Holds each key's walk against the recorded one; how many keys that were.
fn check<K: Display>(
    case: &Case,
    recorded: &BTreeMap<K, Vec<String>>,
    key: impl Fn(&K) -> u64,
) -> usize {
    let maglev = build(case);
    for (text, names) in recorded {
        let walk = maglev.walk(key(text)).take(names.len());
        let walked: Vec<&str> = walk.map(|n| case.backends[n].name.as_str()).collect();
        assert_eq!(
            &walked,
            names,
            "{text} with {} backends",
            case.backends.len()
        );
    }
    recorded.len()
}

#[test]
fn every_client_walks_the_backends_in_the_recorded_order() {
    let mut checked = 0;
    for case in cases() {
        let prefix = HashPrefix {
            v4: case.prefix.v4,
            v6: case.prefix.v6,
        };
        checked += check(&case, &case.walks, |client| client_key(*client, prefix));
    }
    assert_eq!(checked, 5 * 16 + 8);
}

#[test]
fn every_value_walks_the_backends_in_the_recorded_order() {
    let mut checked = 0;
    for case in cases() {
        checked += check(&case, &case.values, |value| value_key(value.as_bytes()));
    }
    assert_eq!(checked, 2 * 16);
}

#[test]
fn every_name_walks_the_backends_in_the_recorded_order_in_any_case() {
    let mut checked = 0;
    for case in cases() {
        checked += check(&case, &case.names, |name| name_key(name));
        checked += check(&case, &case.names, |name| {
            name_key(&name.to_ascii_uppercase())
        });
    }
    assert_eq!(checked, 2 * 2 * 5);
}

#[test]
fn tables_have_the_recorded_fingerprints() {
    for case in cases() {
        let fingerprint = format!("{:016x}", build(&case).fingerprint());
        assert_eq!(
            fingerprint,
            case.fingerprint,
            "{} backends",
            case.backends.len()
        );
    }
}
