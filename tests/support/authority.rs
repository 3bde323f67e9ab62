//! An authority of our own, made on the spot, and the files of what it signs.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Signs certificates for servers and clients alike. Its files are gone when it is dropped.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new one, whose own certificate is in [`ca`](Self::ca) and whose key is beside it, as `ca.key`.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another than rcgen gives to all: with the issuer's name for its own, openssl takes a certificate to be its own issuer's.
        let name = "authority of the tests";
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let this = Self { issuer, folder };
        this.write("ca.pem", &this.pem());
        this.write("ca.key", &this.issuer.key().serialize_pem());
        this
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of its own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The path of a file with this text. It is there at once or not at all, as careful tools have it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (draft, path) = (self.folder().join("draft"), self.folder().join(name));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, &path).unwrap();
        path
    }

    /// `NAME.pem` and `NAME.key` of a new certificate, ECDSA, for these hosts and addresses.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) -> Pair {
        self.issue_with(name, hosts, &PKCS_ECDSA_P256_SHA256)
    }

    /// The same, RSA.
    pub(crate) fn issue_rsa(&self, name: &str, hosts: &[&str]) -> Pair {
        self.issue_with(name, hosts, &PKCS_RSA_SHA256)
    }

    /// The same of a certificate that vouches for itself, as `openssl req -x509` makes them: it is marked as an authority.
    pub(crate) fn issue_alone(&self, name: &str, hosts: &[&str]) -> Pair {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        self.write_pair(name, &cert, &key)
    }

    fn issue_with(&self, name: &str, hosts: &[&str], kind: &'static SignatureAlgorithm) -> Pair {
        let key = KeyPair::generate_for(kind).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        // Not its issuer's: openssl would take it for one that vouches for itself.
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        self.write_pair(name, &cert, &key)
    }

    fn write_pair(&self, name: &str, cert: &rcgen::Certificate, key: &KeyPair) -> Pair {
        Pair {
            cert: self.write(&format!("{name}.pem"), &cert.pem()),
            key: self.write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }
}
