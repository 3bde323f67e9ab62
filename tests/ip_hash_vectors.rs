//! `ip_hash` sends every client where the checked-in answers say. They were computed by an implementation apart from
//! this one (`tests/vectors/ip_hash.py`); a failure here means that an upgrade would move clients.

use ringway::balance::ip_hash::{Entry, HashPrefix, Maglev, client_key};
use serde::Deserialize;
use std::collections::BTreeMap;
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
    walks: BTreeMap<IpAddr, Vec<String>>,
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
    assert_eq!(vectors.cases.len(), 6);
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

#[test]
fn every_client_walks_the_backends_in_the_recorded_order() {
    for case in cases() {
        let (maglev, Prefix { v4, v6 }) = (build(&case), case.prefix);
        assert!(case.walks.len() >= 8);
        for (client, recorded) in &case.walks {
            let key = client_key(*client, HashPrefix { v4, v6 });
            let walk = maglev.walk(key).take(recorded.len());
            let names: Vec<&str> = walk.map(|n| case.backends[n].name.as_str()).collect();
            assert_eq!(
                &names,
                recorded,
                "{client} with {} backends",
                case.backends.len()
            );
        }
    }
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
