//! Clients that speak TLS with the counted worker, and the certificate that it shows them. What they do themselves is not counted.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ringway::config::{Certificate, Config, ListenerTls, TlsVersion};
use ringway::tls::Material;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, version};
use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "feed.test";

/// Whether clients come back with a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tickets {
    Unused,
    Used,
}

/// What all clients believe and offer: X25519 and TLS_AES_128_GCM_SHA256, as in the side-by-side figures.
pub(crate) struct Clients(Arc<ClientConfig>);

/// One of them.
pub(crate) struct Client {
    pub(crate) slot: u32,
    tls: ClientConnection,
}

/// Lets the listener of `config` end TLS: with an ECDSA P-256 certificate made on the spot.
pub(crate) fn secured(config: &mut Config, tickets: Tickets) -> io::Result<(Material, Clients)> {
    let issuer = issuer().map_err(io::Error::other)?;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let params = CertificateParams::new([NAME.to_owned()]).map_err(io::Error::other)?;
    let cert = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
    let folder = tempfile::tempdir()?;
    let files = Certificate {
        cert: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
        ocsp: None,
    };
    fs::write(&files.cert, cert.pem())?;
    fs::write(&files.key, key.serialize_pem())?;
    config.listeners[0].tls = Some(ListenerTls {
        certificates: vec![files],
        client_ca: None,
        min_version: TlsVersion::V1_3,
        alpn: Vec::new(),
        handshake_timeout: Duration::from_secs(10),
    });
    let material = Material::load(config);
    let material = material.map_err(|_| io::Error::other("the certificate cannot be used"))?;
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).map_err(io::Error::other)?;
    Ok((material, Clients::new(roots, tickets)))
}

fn issuer() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

impl Clients {
    fn new(roots: RootCertStore, tickets: Tickets) -> Self {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider has a suite for TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        if tickets == Tickets::Unused {
            config.resumption = Resumption::disabled();
        }
        Self(Arc::new(config))
    }

    /// The client behind this slot, about to say its hello.
    pub(crate) fn client(&self, slot: u32) -> Client {
        let name = ServerName::try_from(NAME).expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.0), name);
        Client {
            slot,
            tls: tls.expect("a configuration with a suite, and random numbers"),
        }
    }
}

impl Client {
    /// What the worker has sent.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes)?;
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// What it has to say by itself; none if nothing.
    pub(crate) fn words(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut words = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut words)?;
        }
        Ok((!words.is_empty()).then_some(words))
    }

    /// These bytes, sealed.
    pub(crate) fn say(&mut self, text: &[u8]) -> io::Result<Vec<u8>> {
        self.tls.writer().write_all(text)?;
        Ok(self.words()?.unwrap_or_default())
    }

    pub(crate) fn is_shaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether it went on with a session that had been before.
    pub(crate) fn is_back(&self) -> bool {
        self.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }
}
