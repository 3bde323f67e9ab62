//! What holds of any hello, and of what is nearly one.

use crate::build::*;
use crate::complete;
use crate::properties::{self, rustls_reads};
use proptest::prelude::*;
use ringway::wire::client_hello::Version;

/// A hello by rustls for `name`.
fn of_rustls(name: &str, alpn: &[&str]) -> Vec<u8> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Well-formed hellos with anything in the places that matter, in records of any size.
fn any_hello() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(0),
        Just(16),
        Just(43),
        Just(10),
        Just(13),
        Just(0xfe0d),
        any::<u16>()
    ];
    let body = prop_oneof![
        "[a-zA-Z0-9._-]{0,40}".prop_map(|name| named(name.as_bytes()).1),
        proptest::collection::vec("[a-z0-9/.]{1,9}", 1..5)
            .prop_map(|list| alpn(&list.iter().map(String::as_bytes).collect::<Vec<_>>()).1),
        proptest::collection::vec(any::<u16>(), 1..9).prop_map(|list| versions(&list).1),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let signatures = Just((13, block16(&[4, 3, 8, 4])));
    let extensions = proptest::collection::vec((kind, body), 0..6);
    (extensions, signatures, 20..400_usize).prop_map(|(mut extensions, signatures, size)| {
        extensions.push(signatures);
        records(&message(&extensions), size)
    })
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        properties::check(&bytes);
    }

    #[test]
    fn no_hello_breaks_it(hello in any_hello()) {
        properties::check(&hello);
    }

    #[test]
    fn no_damage_to_a_hello_breaks_it(mut hello in any_hello(), at in any::<prop::sample::Index>(), byte: u8) {
        *at.get_mut(&mut hello) = byte;
        properties::check(&hello);
    }

    #[test]
    fn a_hello_of_rustls_says_what_rustls_was_told(
        name in "[a-z]{1,20}(\\.[a-z0-9]{1,20}){0,3}\\.[a-z]{2,6}",
        alpn in proptest::collection::vec("[a-z0-9]{1,20}", 0..4),
    ) {
        let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
        let bytes = of_rustls(&name, &alpn);
        let hello = complete(&bytes);
        prop_assert_eq!(hello.sni.as_deref(), Some(name.as_str()));
        prop_assert!(hello.alpn().eq(alpn.iter().map(|name| name.as_bytes())));
        prop_assert_eq!(hello.version, Version::TLS13);
        prop_assert!(rustls_reads(&bytes).is_some());
        properties::check(&bytes);
    }
}
