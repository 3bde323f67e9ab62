//! What probes make of a backend's bytes keeps its properties (`tests/properties/banner.rs`) on the fuzzer's corpus, on
//! replies broken by chance, and on any bytes.

use proptest::prelude::*;
use std::fs;
use std::path::Path;

#[path = "properties/banner.rs"]
mod properties;

/// The corpus of the fuzz target: what real servers say, each named after its server.
fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/banner");
    let files = fs::read_dir(folder).expect("the corpus is in the repository");
    let seeds: Vec<_> = files
        .map(|file| fs::read(file.expect("a file").path()).expect("a seed"))
        .collect();
    assert!(seeds.len() > 10, "{}", seeds.len());
    seeds
}

#[test]
fn replies_of_real_servers_keep_the_properties() {
    seeds().iter().for_each(|seed| properties::check(seed));
}

#[test]
fn what_goes_on_for_ever_is_given_up() {
    for byte in [b'a', b'2', b'+', 0, 0xff] {
        properties::check(&vec![byte; 70_000]);
    }
    // A reply of endlessly many lines, and a WebSocket with endlessly many pings.
    properties::check(&b"220-welcome\r\n".repeat(6000));
    let pings = seeds()
        .into_iter()
        .find(|seed| seed.starts_with(b"HTTP/1.1 101"));
    let mut pings = pings.expect("a seed shakes hands");
    pings.extend(b"\x89\x00".repeat(40_000));
    properties::check(&pings);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_keep_the_properties(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        properties::check(&bytes);
    }

    #[test]
    fn broken_replies_keep_the_properties(
        which: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let mut bytes = which.get(&seeds()).clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        properties::check(&bytes);
    }
}
