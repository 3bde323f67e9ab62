//! TLS of clients: whom they believe, what they offer, and one connection's session. rustls holds the keys and judges the
//! server; sockets are `link`'s.
//!
//! Version 1.3 with one key exchange and one suite ([`Tls::new`]), so that servers that prefer different ones are asked for the
//! same work.

mod session;
mod tickets;
mod trust;

pub(crate) use session::{Opened, Session};

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, version};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tickets::Tickets;

/// Whom clients believe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Certificates of the authorities in this PEM file.
    Authorities(PathBuf),
    /// Whoever has the key of the certificate that it shows.
    Anybody,
}

/// Whether a client comes back with a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comeback {
    /// Never: each handshake is whole.
    Never,
    /// With a ticket of an earlier connection, as soon as there is one.
    Resumed,
}

/// How clients speak TLS.
#[derive(Clone)]
pub struct Tls {
    verifier: Arc<dyn ServerCertVerifier>,
    name: Option<ServerName<'static>>,
    comeback: Comeback,
}

impl Tls {
    /// TLS 1.3 with X25519 and TLS_AES_128_GCM_SHA256, what every server has. `name` is whom to ask for and to expect; without one it is
    /// the target's address, for which no SNI is sent (RFC 6066, section 3).
    ///
    /// # Errors
    /// When `name` is no name, or the file of authorities cannot be used; says why.
    pub fn new(trust: &Trust, name: Option<&str>, comeback: Comeback) -> Result<Self, String> {
        let parse = |name: &str| {
            let parsed = ServerName::try_from(name.to_owned());
            parsed.map_err(|_| format!("`{name}` is neither a host name nor an address"))
        };
        Ok(Self {
            verifier: trust::verifier(trust)?,
            name: name.map(parse).transpose()?,
            comeback,
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?}, {:?})", self.name, self.comeback)
    }
}

/// One cheap, ubiquitous way through the handshake and one suite.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    }
}

/// What the clients of one engine begin TLS with. Their tickets are in it.
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Connector {
    pub(crate) fn new(tls: &Tls) -> Self {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider has a suite for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&tls.verifier))
            .with_no_client_auth();
        config.resumption = match tls.comeback {
            Comeback::Never => Resumption::disabled(),
            Comeback::Resumed => Resumption::store(Arc::new(Tickets::default())),
        };
        Self {
            config: Arc::new(config),
            name: tls.name.clone(),
        }
    }

    /// For a connection to `peer`.
    pub(crate) fn session(&self, peer: SocketAddr) -> Session {
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::IpAddress(peer.ip().into()));
        Session::new(Arc::clone(&self.config), name)
    }
}
