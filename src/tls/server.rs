//! The side of TLS that clients meet: a listener's certificates, authorities and tickets as one configuration.

use super::choice::Choice;
use super::files::Named;
use super::leaf::Leaf;
use super::{MaterialError, provider};
use crate::config::{Certificate, ListenerTls, TlsVersion};
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::sync::Arc;

static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// A chain has to fit a message of the handshake, whose length peers bound to 64 KiB; this leaves room for the rest of it.
const CHAIN_BYTES_MAX: usize = 60 << 10;

/// Reads a listener's files and makes a configuration of them, with ticket keys of its own.
///
/// # Errors
/// The first file that cannot be used.
pub fn server(tls: &ListenerTls) -> Result<Arc<ServerConfig>, MaterialError> {
    Ok(Material::load(tls, None)?.config)
}

/// What a listener speaks TLS with. Workers take what is [current](Self::current) for each new connection.
#[derive(Debug)]
pub struct Server(ArcSwap<Material>);

impl Server {
    /// Reads a listener's files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(tls: &ListenerTls) -> Result<Self, MaterialError> {
        let material = Material::load(tls, None)?;
        Ok(Self(ArcSwap::from_pointee(material)))
    }

    /// One for the same listener after its configuration has changed: who has a ticket of this one may go on with it, unless
    /// other authorities are trusted now.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn successor(&self, tls: &ListenerTls) -> Result<Self, MaterialError> {
        let material = Material::load(tls, Some(&self.0.load()))?;
        Ok(Self(ArcSwap::from_pointee(material)))
    }

    /// Reads the files again, and makes what they hold current for new handshakes. Tickets stay good, unless other
    /// authorities are trusted now.
    ///
    /// # Errors
    /// The first file that cannot be used; what was current stays.
    pub fn reload(&self, tls: &ListenerTls) -> Result<(), MaterialError> {
        let material = Material::load(tls, Some(&self.0.load()))?;
        self.0.store(Arc::new(material));
        Ok(())
    }

    /// What a new connection begins its handshake with. Takes no lock.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().config)
    }

    /// What is to be known of each certificate, in the order of the configuration.
    pub fn leaves(&self) -> Vec<Leaf> {
        self.0.load().leaves.clone()
    }
}

/// What the files of one moment held.
#[derive(Debug)]
struct Material {
    config: Arc<ServerConfig>,
    leaves: Vec<Leaf>,
    /// Who may sign clients' certificates.
    authorities: Vec<CertificateDer<'static>>,
}

impl Material {
    fn load(tls: &ListenerTls, before: Option<&Self>) -> Result<Self, MaterialError> {
        let authorities = match &tls.client_ca {
            Some(path) => Named {
                key: "client_ca",
                path,
            }
            .certificates()?,
            None => Vec::new(),
        };
        let certificates: Result<Vec<_>, _> = (0..)
            .zip(&tls.certificates)
            .map(|(at, files)| certificate(at, files))
            .collect();
        let certificates = certificates?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(tls.min_version))
            .expect("the provider has suites for both versions")
            .with_client_cert_verifier(verifier(tls, &authorities)?);
        let mut config = builder.with_cert_resolver(Arc::new(Choice::new(&certificates)));
        config.alpn_protocols = tls
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
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
            leaves: certificates.into_iter().map(|(_, leaf)| leaf).collect(),
            authorities,
        })
    }
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

/// Reads one certificate with its key and its staple; `at` is its place in the list.
fn certificate(at: usize, files: &Certificate) -> Result<(Arc<CertifiedKey>, Leaf), MaterialError> {
    let [cert_key, key_key, ocsp_key] =
        ["cert", "key", "ocsp"].map(|name| format!("certificates[{at}].{name}"));
    let cert = Named {
        key: &cert_key,
        path: &files.cert,
    };
    let key = Named {
        key: &key_key,
        path: &files.key,
    };
    let chain = cert.certificates()?;
    let bytes: usize = chain.iter().map(|der| der.len()).sum();
    if bytes > CHAIN_BYTES_MAX {
        let count = chain.len();
        return Err(cert.fault(format!(
            "has {count} certificates of {bytes} bytes, more than a handshake takes; write the server's certificate \
             and those that lead from it to a root, and no others"
        )));
    }
    let leaf = Leaf::read(&chain[0]).map_err(|reason| cert.fault(reason))?;
    let private = provider().key_provider.load_private_key(key.private_key()?);
    let private = private.map_err(|_| {
        key.fault("has a key that is not supported; make an ECDSA key (P-256, P-384), an Ed25519 key or an RSA key of 2048 to 8192 bits")
    })?;
    let mut certified = CertifiedKey::new(chain, private);
    if certified.keys_match().is_err() {
        return Err(key.fault(mismatch(&certified, files)));
    }
    if let Some(path) = &files.ocsp {
        certified.ocsp = Some(
            Named {
                key: &ocsp_key,
                path,
            }
            .read()?,
        );
    }
    Ok((Arc::new(certified), leaf))
}

/// What to say of a key that is not the first certificate's.
fn mismatch(certified: &CertifiedKey, files: &Certificate) -> String {
    let cert = &files.cert;
    let belongs = |at: &usize| {
        let one = vec![certified.cert[*at].clone()];
        CertifiedKey::new(one, Arc::clone(&certified.key))
            .keys_match()
            .is_ok()
    };
    match (1..certified.cert.len()).find(belongs) {
        Some(at) => format!(
            "belongs to certificate {} of {cert:?}; put that one first, and those that lead from it to a root after it",
            at + 1
        ),
        None => format!(
            "does not belong to the certificate of {cert:?}; write the key that it was issued for"
        ),
    }
}

fn verifier(
    tls: &ListenerTls,
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, MaterialError> {
    let Some(path) = &tls.client_ca else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let file = Named {
        key: "client_ca",
        path,
    };
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
