//! The certificate that every proxy shows where clients speak TLS: ECDSA P-256, made on the spot and signed by itself, since the
//! load believes anybody.

use crate::process::Scratch;
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::io;
use std::path::PathBuf;

/// Whom clients ask for.
pub(crate) const NAME: &str = "feed.test";

/// PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one, as HAProxy wants them.
    pub(crate) both: PathBuf,
}

impl Certificate {
    pub(crate) fn make(scratch: &Scratch) -> io::Result<Self> {
        // rcgen's default is ECDSA P-256.
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new([NAME.to_owned()]).map_err(io::Error::other)?;
        let cert = params.self_signed(&key).map_err(io::Error::other)?;
        let files = Self {
            cert: scratch.file("tls.pem"),
            key: scratch.file("tls.key"),
            both: scratch.file("tls.both.pem"),
        };
        fs::write(&files.cert, cert.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        fs::write(&files.both, [cert.pem(), key.serialize_pem()].concat())?;
        Ok(files)
    }
}
