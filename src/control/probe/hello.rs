//! The ClientHello of a probe: rustls's own, as a real client sends it. TLS 1.2 and 1.3, never anything older.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Not a name that a certificate could have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadHost(String);

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a host name", self.0)
    }
}

impl std::error::Error for BadHost {}

/// A record that begins a TLS handshake, with `host` as the server's name, or without any when it is empty or an address
/// (RFC 6066, section 3). Its random parts are drawn here; the handshake is never finished, so one hello may serve
/// for many probes.
///
/// # Errors
/// [`BadHost`].
///
/// # Panics
/// Never: rustls can make a hello of its own defaults.
pub fn client_hello(host: &str) -> Result<Vec<u8>, BadHost> {
    // An address is a name that is not sent.
    let name = if host.is_empty() {
        ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST))
    } else {
        ServerName::try_from(host.to_owned()).map_err(|_| BadHost(host.to_owned()))?
    };
    let provider = CryptoProvider {
        // Without the post-quantum group the hello fits one packet, which old servers and middleboxes expect of it.
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has suites for both")
        // Nobody is trusted, and nobody has to be: the answer is not read that far.
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name).expect("defaults agree");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory takes it");
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::client_hello::{Progress, parse};

    /// The server's name in a hello, which is a whole one.
    fn sni(hello: &[u8]) -> Option<String> {
        let Progress::Complete(hello) = parse(hello, 16 * 1024) else {
            panic!("no hello");
        };
        hello.sni.map(|name| name.to_string())
    }

    #[test]
    fn a_host_is_named_and_an_address_is_not() {
        let named = |host| sni(&client_hello(host).unwrap());
        assert_eq!(named("a.example").as_deref(), Some("a.example"));
        assert_eq!(named("192.0.2.1"), None);
        assert_eq!(named(""), None);
        let bad = client_hello("not a host").unwrap_err();
        assert_eq!(bad.to_string(), "\"not a host\" is not a host name");
    }

    #[test]
    fn no_two_hellos_are_alike() {
        assert_ne!(client_hello("a.example"), client_hello("a.example"));
    }
}
