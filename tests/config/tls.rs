//! `[listener.tls]` and `[upstream.tls]`: what a file may say of them, and what it may not.

use crate::wrong::MINIMAL;
use crate::{parsed, refused};
use proptest::collection::hash_set;
use proptest::option;
use proptest::prelude::*;
use ringway::config::{Certificate, Config, ListenerTls, Mode, TlsVersion, UpstreamTls};
use std::path::PathBuf;
use std::time::Duration;

/// The smallest file whose listener has these lines, from line 5.
fn listener(lines: &str) -> String {
    MINIMAL.replacen("[[upstream]]", &format!("{lines}\n[[upstream]]"), 1)
}

/// The smallest file whose upstream has these lines, from line 7.
fn upstream(lines: &str) -> String {
    MINIMAL.replacen(
        "[[upstream.backend]]",
        &format!("{lines}\n[[upstream.backend]]"),
        1,
    )
}

const PAIR: &str = "certificates = [{ cert = \"a.pem\", key = \"a.key\" }]";

#[test]
fn a_listener_needs_only_a_certificate_and_its_key() {
    let config = parsed(&listener(&format!("[listener.tls]\n{PAIR}")));
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(
        *tls,
        ListenerTls {
            certificates: vec![Certificate {
                cert: "a.pem".into(),
                key: "a.key".into(),
                ocsp: None
            }],
            client_ca: None,
            min_version: TlsVersion::V1_2,
            alpn: vec![],
            handshake_timeout: Duration::from_secs(10),
        }
    );
    let in_tables = "[[listener.tls.certificates]]\ncert = \"a.pem\"\nkey = \"a.key\"\nocsp = \"\"";
    assert_eq!(parsed(&listener(in_tables)), config);
}

#[test]
fn an_upstream_needs_nothing() {
    let config = parsed(&upstream("[upstream.tls]"));
    let tls = config.upstreams[0].tls.as_ref().unwrap();
    let default = UpstreamTls {
        server_name: None,
        ca: None,
        verify: true,
    };
    assert_eq!(*tls, default);
    let name = |name| {
        let text = upstream(&format!("tls = {{ server_name = \"{name}\" }}"));
        parsed(&text).upstreams[0].tls.clone().unwrap().server_name
    };
    assert_eq!(name("DB.Example.com."), Some("db.example.com".to_owned()));
    assert_eq!(name("2001:DB8::1"), Some("2001:db8::1".to_owned()));
}

#[test]
fn mistakes_of_a_listener_are_placed() {
    for (tls, error) in [
        (
            "[listener.tls]",
            "5:1: listener[0].tls.certificates: is missing; write at least one [[listener.tls.certificates]]",
        ),
        (
            "tls = { certificates = [] }",
            "5:24: listener[0].tls.certificates: is empty; write at least one",
        ),
        (
            "tls = { certificates = [{ cert = \"a.pem\" }] }",
            "5:25: listener[0].tls.certificates[0].key: is missing; write the path of a PEM file with the private key",
        ),
        (
            "tls = { certificates = [{ cert = \"\", key = \"a.key\" }] }",
            "5:34: listener[0].tls.certificates[0].cert: \"\" is not a path",
        ),
        (
            "tls.certificates = [{ cert = \"a\", key = \"b\" }, { cert = \"a\", key = \"c\" }]",
            "5:57: listener[0].tls.certificates[1].cert: \"a\" is also listener[0].tls.certificates[0].cert; remove one",
        ),
        (
            "tls = { PAIR, min_version = \"1.1\" }",
            "5:75: listener[0].tls.min_version: \"1.1\" is not one of its words",
        ),
        (
            "tls = { PAIR, alpn = [\"h 2\"] }",
            "5:69: listener[0].tls.alpn[0]: \"h 2\" is not a protocol's name",
        ),
        (
            "tls = { PAIR, alpn = [\"a\", \"a\"] }",
            "5:74: listener[0].tls.alpn[1]: \"a\" is also listener[0].tls.alpn[0]",
        ),
        (
            "tls = { PAIR, handshake_timeout = \"0s\" }",
            "5:81: listener[0].tls.handshake_timeout: ",
        ),
        (
            "tls = { PAIR, ciphers = \"x\" }",
            "5:61: listener[0].tls.ciphers: unknown key",
        ),
        (
            "mode = \"tls\"\ntls = { PAIR }",
            "6:7: listener[0].tls: cannot go with mode = \"tls\"",
        ),
        (
            "mode = \"http\"\ntls = { PAIR, alpn = [\"h2\"] }",
            "6:69: listener[0].tls.alpn[0]: \"h2\" cannot go with mode = \"http\"",
        ),
    ] {
        let text = listener(&tls.replace("PAIR", PAIR));
        let errors = refused(&text);
        assert!(
            errors.starts_with(&format!("ringway.toml:{error}")),
            "{tls}: {errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn mistakes_of_an_upstream_are_placed() {
    for (tls, error) in [
        (
            "tls = { server_name = \"a b\" }",
            "7:23: upstream[0].tls.server_name: \"a b\" is not a host name",
        ),
        (
            "tls = { ca = 1 }",
            "7:14: upstream[0].tls.ca: is an integer; write a string",
        ),
        (
            "tls = { verify = \"no\" }",
            "7:18: upstream[0].tls.verify: is a string; write true or false",
        ),
        (
            "tls = { ca = \"a\", verify = false }",
            "7:14: upstream[0].tls.ca: counts for nothing with verify = false",
        ),
    ] {
        let errors = refused(&upstream(tls));
        assert!(
            errors.starts_with(&format!("ringway.toml:{error}")),
            "{tls}: {errors}"
        );
    }
}

#[test]
fn a_listener_that_ends_tls_routes_and_hashes_by_server_name_in_any_mode() {
    let of = |mode: &str| {
        let text = listener(&format!(
            "mode = \"{mode}\"\ntls = {{ {PAIR} }}\nroute = [{{ sni = \"a.example\", upstream = \"feed\" }}]"
        ));
        let hash = "[[upstream]]\nbalance = \"hash\"\nhash_key = [\"sni\"]";
        parsed(&text.replacen("[[upstream]]", hash, 1))
    };
    for mode in ["tcp", "http"] {
        let config = of(mode);
        assert!(config.listeners[0].sees(Mode::Tls));
        assert_eq!(config.warnings(), Vec::<String>::new());
    }
    assert!(!parsed(MINIMAL).listeners[0].sees(Mode::Tls));
}

#[test]
fn whoever_believes_everybody_is_warned() {
    let warnings = parsed(&upstream("tls = { verify = false }")).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("tls.verify = false"), "{warnings:?}");
}

#[test]
fn the_effective_configuration_shows_where_keys_are() {
    let config = parsed(&listener(&format!(
        "[listener.tls]\n{PAIR}\nclient_ca = \"/c.pem\""
    )));
    let printed = config.to_toml();
    assert!(
        printed.contains("{ cert = \"a.pem\", key = \"a.key\", ocsp = \"\" }"),
        "{printed}"
    );
    assert!(printed.contains("client_ca = \"/c.pem\""), "{printed}");
    assert_eq!(Config::parse(&printed, "printed"), Ok(config));
}

fn paths() -> impl Strategy<Value = PathBuf> {
    "/[^\\x00]{0,40}".prop_map(PathBuf::from)
}

pub(crate) fn listener_tls() -> impl Strategy<Value = ListenerTls> {
    let files = (paths(), paths(), option::of(paths()));
    let certificates = hash_set(files, 1..4).prop_map(|all| {
        let mut seen = Vec::new();
        let mut one = |(cert, key, ocsp)| {
            let is_new = !seen.contains(&cert);
            seen.push(PathBuf::clone(&cert));
            is_new.then_some(Certificate { cert, key, ocsp })
        };
        all.into_iter().filter_map(&mut one).collect()
    });
    let min_version = prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)];
    // None of them is HTTP/2, which one mode refuses.
    let alpn = hash_set("[!-~]{3,20}", 0..3).prop_map(|all| all.into_iter().collect());
    let timeout = (1_u64..1_000_000).prop_map(Duration::from_millis);
    (
        certificates,
        option::of(paths()),
        min_version,
        alpn,
        timeout,
    )
        .prop_map(
            |(certificates, client_ca, min_version, alpn, handshake_timeout)| ListenerTls {
                certificates,
                client_ca,
                min_version,
                alpn,
                handshake_timeout,
            },
        )
}

pub(crate) fn upstream_tls() -> impl Strategy<Value = UpstreamTls> {
    let name = option::of("[a-z]{1,9}(\\.[a-z]{1,9}){0,2}");
    (name, option::of(paths()), any::<bool>()).prop_map(|(server_name, ca, verify)| UpstreamTls {
        server_name,
        verify: verify || ca.is_some(),
        ca,
    })
}
