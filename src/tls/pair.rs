//! A certificate and its key: read together, and refused together if they are not each other's.

use super::files::Named;
use super::staple::Staple;
use super::{Leaf, MaterialError, provider};
use crate::config::Certificate;
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A chain has to fit a message of the handshake, whose length peers bound to 64 KiB; this leaves room for the rest of it.
const CHAIN_BYTES_MAX: usize = 60 << 10;

/// What a client may get.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) leaf: Leaf,
    /// The chain and its key.
    pub(super) bare: Arc<CertifiedKey>,
    /// The same with what the authority says of it.
    stapled: Option<Arc<CertifiedKey>>,
}

impl Pair {
    /// With the staple as long as it is good: clients refuse a certificate for one that is not, and do without.
    pub(super) fn at(&self, now: Option<UnixTime>) -> &Arc<CertifiedKey> {
        let now = now.map_or(i64::MAX, |now| {
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
        });
        let is_good = self.leaf.staple_until.is_none_or(|until| now < until);
        let stapled = self.stapled.as_ref().filter(|_| is_good);
        stapled.unwrap_or(&self.bare)
    }

    /// Whether it can stand in for `other` whoever is asked for. One that is for nobody can not be stood in for.
    pub(super) fn has_all_names_of(&self, other: &Self) -> bool {
        let names = &other.leaf.names;
        !names.is_empty() && names.iter().all(|name| self.leaf.names.contains(name))
    }
}

/// Reads one certificate with its key and its staple; `at` is its place in the list.
pub(super) fn read(at: usize, files: &Certificate) -> Result<Pair, MaterialError> {
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
    let Some(path) = &files.ocsp else {
        return Ok(Pair {
            leaf,
            bare: Arc::new(certified),
            stapled: None,
        });
    };
    let ocsp = Named {
        key: &ocsp_key,
        path,
    };
    let staple = Staple::read(ocsp.read()?, &leaf.serial).map_err(|reason| ocsp.fault(reason))?;
    let bare = Arc::new(certified.clone());
    certified.ocsp = Some(staple.der);
    Ok(Pair {
        leaf: Leaf {
            staple_until: staple.until,
            ..leaf
        },
        bare,
        stapled: Some(Arc::new(certified)),
    })
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
