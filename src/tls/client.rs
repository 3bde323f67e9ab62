//! The side of TLS that backends meet: whom an upstream asks for, and whom it believes.

use super::files::Named;
use super::server::roots;
use super::trust::{Anybody, Known};
use super::{MaterialError, Stamps, provider};
use crate::config::{Address, Backend, UpstreamTls};
use arc_swap::ArcSwap;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// What an upstream's connections begin TLS with.
#[derive(Clone, Debug)]
pub struct Connector {
    /// For all of its backends. Sessions are remembered in it, by server name.
    pub config: Arc<ClientConfig>,
    /// For all of its backends, if the operator says so.
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// Whom to ask a backend for, and whose certificate to expect of it: the host that its address is one of, or the address.
    ///
    /// # Panics
    /// For SRV records without a `server_name`, which no checked configuration has.
    pub fn server_name(&self, backend: &Backend) -> ServerName<'static> {
        if let Some(name) = &self.server_name {
            return name.clone();
        }
        if let Some(host) = &backend.host {
            return named(host);
        }
        match &backend.address {
            Address::Socket(socket) => ServerName::IpAddress(socket.ip().into()),
            Address::Name { host, .. } => named(host),
            Address::Srv(_) => {
                unreachable!("the configuration wants a server_name with SRV records")
            }
        }
    }
}

/// Reads an upstream's file and makes a configuration of it.
///
/// # Errors
/// Why the file, or what the system has in its place, cannot be used.
pub fn client(tls: &UpstreamTls) -> Result<Connector, MaterialError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("the provider has suites for both versions");
    let verifier = verifier(tls)?;
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Connector {
        config: Arc::new(config),
        server_name: tls.server_name.as_deref().map(named),
    })
}

/// An upstream's [`Connector`], which may be replaced. Workers take what is [current](Self::current) for each new connection.
#[derive(Debug)]
pub struct Client {
    settings: UpstreamTls,
    loaded: ArcSwap<Loaded>,
}

/// What the file of one moment held.
#[derive(Debug)]
pub(super) struct Loaded {
    connector: Arc<Connector>,
    stamps: Stamps,
}

impl Client {
    /// Reads an upstream's file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load(tls: &UpstreamTls) -> Result<Self, MaterialError> {
        Ok(Self {
            loaded: ArcSwap::from_pointee(Loaded::new(tls)?),
            settings: tls.clone(),
        })
    }

    /// Whether it was made for this.
    pub fn is_for(&self, settings: &UpstreamTls) -> bool {
        self.settings == *settings
    }

    /// Reads the file again, and makes what it holds current for new handshakes.
    ///
    /// # Errors
    /// Why it cannot be used; what was current stays.
    pub fn reload(&self) -> Result<(), MaterialError> {
        self.replace(self.read()?);
        Ok(())
    }

    /// What is in the file now.
    pub(super) fn read(&self) -> Result<Loaded, MaterialError> {
        Loaded::new(&self.settings)
    }

    /// Makes this current for new handshakes.
    pub(super) fn replace(&self, loaded: Loaded) {
        self.loaded.store(Arc::new(loaded));
    }

    /// What a new connection begins its handshake with. Takes no lock.
    pub fn current(&self) -> Arc<Connector> {
        Arc::clone(&self.loaded.load().connector)
    }

    /// The file as it is on disk now. The system's own authorities are read at start and with a reload alone.
    pub fn stamps(&self) -> Stamps {
        stamps(&self.settings)
    }

    /// The file as it was just before it was read.
    pub fn loaded_stamps(&self) -> Stamps {
        self.loaded.load().stamps.clone()
    }
}

impl Loaded {
    fn new(tls: &UpstreamTls) -> Result<Self, MaterialError> {
        // Before anything is read: what changes in between is then read again.
        let stamps = stamps(tls);
        let connector = Arc::new(client(tls)?);
        Ok(Self { connector, stamps })
    }
}

fn stamps(tls: &UpstreamTls) -> Stamps {
    Stamps::of(tls.ca.iter().map(PathBuf::as_path))
}

fn named(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("the configuration has checked the name")
}

fn verifier(tls: &UpstreamTls) -> Result<Arc<dyn ServerCertVerifier>, MaterialError> {
    if !tls.verify {
        return Ok(Arc::new(Anybody::default()));
    }
    let Some(path) = &tls.ca else {
        return Ok(Arc::new(Known::new(system_roots()?, Vec::new())));
    };
    let file = Named { key: "ca", path };
    let named = file.certificates()?;
    let roots = roots(file, &named)?;
    Ok(Arc::new(Known::new(roots, named)))
}

/// Whom the system trusts. One that rustls cannot read is none.
fn system_roots() -> Result<RootCertStore, MaterialError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found
        .errors
        .first()
        .map(|e| format!(" ({e})"))
        .unwrap_or_default();
    Err(MaterialError {
        key: "ca".to_owned(),
        file: None,
        reason: format!(
            "is empty, and the system trusts no authority{why}; install ca-certificates, or name a PEM file with the \
             backends' authority"
        ),
    })
}
