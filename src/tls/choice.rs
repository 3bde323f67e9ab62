//! Which of a listener's certificates a client gets: by the name it asks for, then by the signatures it can check.

use super::leaf::Leaf;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::collections::HashMap;
use std::sync::Arc;

/// Certificates of one name, the one to be preferred first.
type Candidates = Vec<Arc<CertifiedKey>>;

/// A listener's certificates by their names.
#[derive(Debug)]
pub(super) struct Choice {
    exact: HashMap<String, Candidates>,
    /// By what follows the `*` and its dot.
    below: HashMap<String, Candidates>,
    /// For names that nobody has, and clients that ask for none. Never empty.
    default: Candidates,
}

impl Choice {
    /// `certificates`: at least one, in the order of the configuration; the first is the default, with those others that have
    /// all of its names.
    pub(super) fn new(certificates: &[(Arc<CertifiedKey>, Leaf)]) -> Self {
        let (_, first) = certificates
            .first()
            .expect("the configuration wants at least one");
        let mut choice = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            default: Vec::new(),
        };
        // Those that are cheap to sign with come first: an ECDSA signature costs a tenth of what RSA takes. Otherwise the
        // operator's order stays.
        let mut by_cost: Vec<_> = certificates.iter().enumerate().collect();
        by_cost.sort_by_key(|(_, (key, _))| key.key.algorithm() == SignatureAlgorithm::RSA);
        for (at, (key, leaf)) in by_cost {
            choice.add(key, leaf);
            let has_all =
                !first.names.is_empty() && first.names.iter().all(|name| leaf.names.contains(name));
            if at == 0 || has_all {
                choice.default.push(Arc::clone(key));
            }
        }
        choice
    }

    fn add(&mut self, key: &Arc<CertifiedKey>, leaf: &Leaf) {
        for name in &leaf.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.below, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned())
                .or_default()
                .push(Arc::clone(key));
        }
    }

    /// Those for a server's name: by the name itself, by its wildcard (which stands for one label: RFC 9525, section 6.3),
    /// by default.
    fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &Candidates> {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.exact.get(name));
        let parent = name.as_ref().and_then(|name| Some(name.split_once('.')?.1));
        let below = parent.and_then(|parent| self.below.get(parent));
        exact.into_iter().chain(below).chain([&self.default])
    }

    /// The first candidate whose signature the client can check; else the very first, with which rustls then ends the
    /// handshake by the alert that fits.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Arc<CertifiedKey> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.candidates(name)
            .flatten()
            .find(fits)
            .unwrap_or(&self.default[0])
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.choose(hello.server_name(), hello.signature_schemes());
        Some(Arc::clone(key))
    }
}
