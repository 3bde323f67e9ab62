//! Certificates of our own, made by openssl and good for two days.

use crate::programs::{client, output};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A certificate that vouches for itself, and its key, in one file.
pub(crate) struct Certificate(TempDir);

impl Certificate {
    /// One of that name. `for_whom` is what openssl calls subjectAltName: `DNS:a.example.com,IP:127.0.0.1`.
    #[track_caller]
    pub(crate) fn of(name: &str, for_whom: &str) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let parts = ["cert", "key"].map(|part| this.0.path().join(part));
        let mut request = client("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]);
        request.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        request.args(["-subj", &format!("/CN={name}")]);
        request.args(["-addext", &format!("subjectAltName={for_whom}")]);
        request.arg("-out").arg(&parts[0]);
        output(request.arg("-keyout").arg(&parts[1]));
        let whole = parts.map(|part| fs::read(part).unwrap()).concat();
        fs::write(this.file(), whole).unwrap();
        this
    }

    /// Certificate and key, as PEM.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("whole.pem")
    }
}
