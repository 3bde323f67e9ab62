//! Which of a listener's certificates a client gets: by the name it asks for, then by the signatures it can check.

use super::pair::Pair;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::collections::HashMap;
use std::sync::Arc;

/// Pairs of one name, the one to be preferred first.
type Candidates = Vec<Arc<Pair>>;

/// A listener's certificates by their names.
#[derive(Debug)]
pub(super) struct Choice {
    exact: HashMap<String, Candidates>,
    /// By what follows the `*` and its dot.
    below: HashMap<String, Candidates>,
    /// For names that nobody has, and clients that ask for none. Never empty.
    default: Candidates,
    clock: Arc<dyn TimeProvider>,
}

impl Choice {
    /// `pairs`: at least one, in the order of the configuration; the first is the default, with those others that have all of its
    /// names. `clock`: for what is good until a time.
    pub(super) fn new(pairs: &[Arc<Pair>], clock: Arc<dyn TimeProvider>) -> Self {
        let first = pairs
            .first()
            .expect("the configuration wants at least one certificate");
        let mut choice = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            default: Vec::new(),
            clock,
        };
        // Those that are cheap to sign with come first: an ECDSA signature costs a tenth of what RSA takes. Otherwise the
        // operator's order stays.
        let mut by_cost: Vec<_> = pairs.iter().enumerate().collect();
        by_cost.sort_by_key(|(_, pair)| pair.bare.key.algorithm() == SignatureAlgorithm::RSA);
        for (at, pair) in by_cost {
            choice.add(pair);
            if at == 0 || pair.has_all_names_of(first) {
                choice.default.push(Arc::clone(pair));
            }
        }
        choice
    }

    fn add(&mut self, pair: &Arc<Pair>) {
        for name in &pair.leaf.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.below, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned())
                .or_default()
                .push(Arc::clone(pair));
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
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Pair {
        let fits = |pair: &&Arc<Pair>| pair.bare.key.choose_scheme(schemes).is_some();
        self.candidates(name)
            .flatten()
            .find(fits)
            .unwrap_or(&self.default[0])
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.choose(hello.server_name(), hello.signature_schemes());
        Some(Arc::clone(pair.at(self.clock.current_time())))
    }
}
