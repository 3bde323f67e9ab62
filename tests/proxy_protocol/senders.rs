//! What senders of today say: the corpus of the fuzzer, which `fuzz/capture.py` recorded.

use crate::complete;
use crate::properties;
use ringway::wire::proxy_protocol::{Progress, Refusal, parse};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_checksum_covers_addresses_values_and_itself() {
    let good = seed("haproxy-v2-crc32c");
    let len = complete(&good).len;
    let (addresses, checksum, unique_id) = (16..28, 31..35, 38..len);
    assert_eq!(
        [good[28], good[35]],
        [0x03, 0x05],
        "the TLVs are where they are thought to be"
    );
    for at in addresses.chain(checksum).chain(unique_id) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(parse(&bad), Progress::Refused(Refusal::Checksum), "{at}");
    }
}

#[test]
fn senders_of_today_are_understood() {
    for (sender, behind) in [
        ("haproxy-v1", b"hello".as_slice()),
        ("haproxy-v2", b"hello"),
        ("haproxy-v2-crc32c", b"hello"),
        ("haproxy-v2-ssl", b"hello"),
        ("curl-v1", b"GET / HTTP/1.1\r\n"),
    ] {
        let bytes = seed(sender);
        let header = complete(&bytes);
        let source = header.origin.source().unwrap();
        assert!(
            source.ip().is_loopback() && source.port() > 1024,
            "{sender}: {source}"
        );
        assert!(bytes[header.len..].starts_with(behind), "{sender}");
    }
}

#[test]
fn all_that_haproxy_can_tell_of_tls_is_understood() {
    let bytes = seed("haproxy-v2-ssl");
    let header = complete(&bytes);
    let ssl = header.tlvs.ssl.unwrap();
    assert_eq!(header.tlvs.alpn, Some(b"h2".as_slice()));
    assert_eq!(header.tlvs.authority, Some("feed.example.com"));
    assert!(header.tlvs.unique_id.unwrap().starts_with(b"id-127.0.0.1-"));
    assert!(ssl.client_is_verified());
    assert_eq!(ssl.version, Some("TLSv1.3"));
    assert_eq!(ssl.cipher, Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(ssl.common_name, Some("feed.example.com"));
    assert_eq!(ssl.key_algorithm, Some("RSA2048"));
    assert_eq!(ssl.signature_algorithm, Some("RSA-SHA256"));
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/proxy_protocol")
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
    assert!(count >= 5);
}
