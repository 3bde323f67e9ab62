//! What clients of today send: the corpus of the fuzzer, which `fuzz/capture.py` recorded.

use crate::build::*;
use crate::complete;
use crate::properties::{self, rustls_reads};
use ringway::wire::client_hello::Version;
use std::fs;
use std::path::{Path, PathBuf};

/// A client, and the name, protocols and version it says.
type Case<'a> = (&'a str, Option<&'a str>, &'a [&'a [u8]], Version);

#[test]
fn clients_of_today_are_understood() {
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    let cases: &[Case] = &[
        ("chrome-150", Some(NAME), both, Version::TLS13),
        ("chrome-99-android", Some(NAME), both, Version::TLS13),
        ("firefox-147", Some(NAME), both, Version::TLS13),
        ("safari-26", Some(NAME), both, Version::TLS13),
        ("curl", Some(NAME), both, Version::TLS13),
        ("curl-tls12", Some(NAME), both, Version::TLS12),
        ("curl-address", None, both, Version::TLS13),
        ("node", Some(NAME), both, Version::TLS13),
        ("openssl", Some(NAME), both, Version::TLS13),
        ("openssl-noname", None, &[], Version::TLS13),
        ("openssl-tls12", Some(NAME), &[], Version::TLS12),
        ("python", Some(NAME), &[b"h2"], Version::TLS13),
        ("python-trailing-dot", Some(NAME), &[], Version::TLS13),
    ];
    for (client, sni, alpn, version) in cases {
        let bytes = seed(client);
        let hello = complete(&bytes);
        assert_eq!(hello.sni.as_deref(), *sni, "{client}");
        assert!(hello.alpn().eq(alpn.iter().copied()), "{client}");
        assert_eq!(hello.version, *version, "{client}");
        assert_eq!(hello.len, bytes.len(), "{client}");
        assert!(
            rustls_reads(&bytes).is_some(),
            "{client}: compared with nothing"
        );
    }
}

#[test]
fn hellos_longer_than_a_segment_or_a_record_are_understood() {
    assert!(seed("chrome-150").len() > 1500 && complete(&seed("chrome-150")).ech);
    let bytes = seed("openssl-fragments");
    assert_eq!(
        bytes[RECORD_LENGTH..MESSAGE_LENGTH],
        [2, 0, 1],
        "a record of 512 bytes"
    );
    let hello = complete(&bytes);
    assert_eq!(hello.sni.as_deref(), Some(NAME));
    assert_eq!(hello.alpn().count(), 60);
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/client_hello")
}

fn seed(name: &str) -> Vec<u8> {
    fs::read(corpus().join(name).with_extension("bin")).unwrap()
}

#[test]
fn the_corpus_holds() {
    let mut count = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        properties::check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 10);
}
