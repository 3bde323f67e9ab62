//! The side of TLS that clients meet: a listener's certificates, authorities and tickets as one configuration.

use super::choice::Choice;
use super::files::Named;
use super::{Expiry, Leaf, MaterialError, Stamps, pair, provider};
use crate::config::{Certificate, ListenerTls, TlsVersion};
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::path::Path;
use std::sync::Arc;

static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// Reads a listener's files and makes a configuration of them, with ticket keys of its own.
///
/// # Errors
/// The first file that cannot be used.
pub fn server(tls: &ListenerTls) -> Result<Arc<ServerConfig>, MaterialError> {
    Ok(Loaded::new(tls, None)?.config)
}

/// What a listener speaks TLS with. Workers take what is [current](Self::current) for each new connection.
#[derive(Debug)]
pub struct Server {
    settings: ListenerTls,
    loaded: ArcSwap<Loaded>,
}

impl Server {
    /// Reads a listener's files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(tls: &ListenerTls) -> Result<Self, MaterialError> {
        Self::after(tls, None)
    }

    /// One for the same listener after its configuration has changed: who has a ticket of this one may go on with it, unless
    /// other authorities are trusted now.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn successor(&self, tls: &ListenerTls) -> Result<Self, MaterialError> {
        Self::after(tls, Some(&self.loaded.load()))
    }

    fn after(tls: &ListenerTls, before: Option<&Loaded>) -> Result<Self, MaterialError> {
        let loaded = Loaded::new(tls, before)?;
        Ok(Self {
            settings: tls.clone(),
            loaded: ArcSwap::from_pointee(loaded),
        })
    }

    /// Reads the files again, and makes what they hold current for new handshakes. Tickets stay good, unless other
    /// authorities are trusted now.
    ///
    /// # Errors
    /// The first file that cannot be used; what was current stays.
    pub fn reload(&self) -> Result<(), MaterialError> {
        let loaded = Loaded::new(&self.settings, Some(&self.loaded.load()))?;
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }

    /// What a new connection begins its handshake with. Takes no lock.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.load().config)
    }

    /// What the operator wrote.
    pub fn settings(&self) -> &ListenerTls {
        &self.settings
    }

    /// The files as they are on disk now.
    pub fn stamps(&self) -> Stamps {
        stamps(&self.settings)
    }

    /// The files as they were just before they were read.
    pub fn loaded_stamps(&self) -> Stamps {
        self.loaded.load().stamps.clone()
    }

    /// What is to be known of each certificate, in the order of the configuration.
    pub fn leaves(&self) -> Vec<Leaf> {
        self.loaded.load().leaves.clone()
    }

    /// The dates of each, as `listener`'s.
    pub(super) fn expiries(&self, listener: &str) -> Vec<Expiry> {
        let files = self.settings.certificates.iter();
        let all = files.zip(self.leaves());
        all.map(|(files, leaf)| Expiry::new(listener, files.cert.clone(), leaf))
            .collect()
    }
}

/// What the files of one moment held.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    leaves: Vec<Leaf>,
    /// Who may sign clients' certificates.
    authorities: Vec<CertificateDer<'static>>,
    stamps: Stamps,
}

impl Loaded {
    fn new(tls: &ListenerTls, before: Option<&Self>) -> Result<Self, MaterialError> {
        // Before anything is read: what changes in between is then read again.
        let stamps = stamps(tls);
        let authorities = match &tls.client_ca {
            Some(path) => client_ca(path).certificates()?,
            None => Vec::new(),
        };
        let files = tls.certificates.iter().enumerate();
        let pairs = files.map(|(at, files)| Ok(Arc::new(pair::read(at, files)?)));
        let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(tls.min_version))
            .expect("the provider has suites for both versions")
            .with_client_cert_verifier(verifier(tls, &authorities)?)
            .with_cert_resolver(Arc::new(Choice::new(&pairs, Arc::new(DefaultTimeProvider))));
        let protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        // Sessions are in the tickets, so that no worker has to know what another one has seen, and nobody's memory grows.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = match before {
            Some(before) if before.authorities == authorities => {
                Arc::clone(&before.config.ticketer)
            }
            // Who was let in by the authorities of before must show a certificate again.
            Some(_) | None => ticketer(),
        };
        Ok(Self {
            config: Arc::new(config),
            leaves: pairs.iter().map(|pair| pair.leaf.clone()).collect(),
            authorities,
            stamps,
        })
    }
}

/// Every file of it.
fn stamps(tls: &ListenerTls) -> Stamps {
    let pairs = tls.certificates.iter();
    let files =
        pairs.flat_map(|Certificate { cert, key, ocsp }| [Some(cert), Some(key), ocsp.as_ref()]);
    let all = files.chain([tls.client_ca.as_ref()]).flatten();
    Stamps::of(all.map(|path| path.as_path()))
}

fn client_ca(path: &Path) -> Named<'_> {
    let key = "client_ca";
    Named { key, path }
}

/// Keys that are drawn at random and replaced every six hours; a ticket is good for twelve.
fn ticketer() -> Arc<dyn ProducesTickets> {
    Ticketer::new().expect("the system has random numbers")
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::V1_2 => rustls::ALL_VERSIONS,
        TlsVersion::V1_3 => TLS13,
    }
}

fn verifier(
    tls: &ListenerTls,
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, MaterialError> {
    let Some(path) = &tls.client_ca else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let file = client_ca(path);
    let roots = roots(file, authorities)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier.map_err(|e| {
        file.fault(format!(
            "cannot be used: {e}; write a PEM file with the authorities' certificates"
        ))
    })
}

/// The authorities of a file.
pub(super) fn roots(
    file: Named<'_>,
    authorities: &[CertificateDer<'static>],
) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for (at, der) in (1..).zip(authorities) {
        roots.add(der.clone()).map_err(|e| {
            file.fault(format!("has as certificate {at} one that cannot be an authority: {e}; issue it again, or remove it"))
        })?;
    }
    Ok(roots)
}
