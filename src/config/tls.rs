//! `[listener.tls]` and `[upstream.tls]`: their keys, and what must hold between them. Files are only named here: `tls`
//! reads them, because what is in them changes while the configuration does not.

use super::address::Address;
use super::document::{Once, Table};
use super::model::{Backend, Certificate, Listener, ListenerTls, Mode, TlsVersion, UpstreamTls};
use super::value::{Parsed, path, quoted, text};
use super::{host_name, quantity, value, words};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

// Bounds far above any use that is meant, so that a generated file gone wrong says so.
const CERTIFICATES_MAX: usize = 1024;
const PROTOCOLS_MAX: usize = 16;

/// RFC 7301, section 3.1: the name has a length of one byte.
const PROTOCOL_BYTES_MAX: usize = 255;

/// HTTP/2, whose requests have no head that could be looked at.
const H2: &str = "h2";

/// Reads `[listener.tls]` of a listener whose mode is known.
pub(super) fn listener_tls(table: &mut Table<'_>, listener: &Listener) -> Option<ListenerTls> {
    let mut inner = table.table("tls")?;
    if listener.mode == Mode::Tls {
        let message = "cannot go with mode = \"tls\", which leaves TLS to the backends; write mode = \"tcp\" or \"http\", \
                       or remove it";
        table.fault("tls", message.to_owned());
    }
    let mut tls = ListenerTls::new(certificates(&mut inner));
    tls.client_ca = inner.optional("client_ca", path_or_none).flatten();
    inner.set("min_version", &mut tls.min_version, |v| {
        words::TLS_VERSIONS.of(v)
    });
    tls.alpn = protocols(&mut inner, listener.mode);
    let timeout = &mut tls.handshake_timeout;
    inner.set("handshake_timeout", timeout, quantity::timeout);
    inner.finish();
    Some(tls)
}

fn certificates(table: &mut Table<'_>) -> Vec<Certificate> {
    let mut seen = Once::new();
    table
        .tables("certificates", CERTIFICATES_MAX)
        .into_iter()
        .filter_map(|inner| certificate(inner, &mut seen))
        .collect()
}

fn certificate(mut table: Table<'_>, seen: &mut Once<PathBuf>) -> Option<Certificate> {
    let cert = table.required("cert", "the path of a PEM file with the chain", path);
    let key = table.required("key", "the path of a PEM file with the private key", path);
    let ocsp = table.optional("ocsp", path_or_none).flatten();
    if let Some(cert) = &cert
        && let Some(first) = seen.repeats(cert.clone(), &table.path_of("cert"))
    {
        let cert = quoted(&cert.to_string_lossy());
        table.fault(
            "cert",
            format!("{cert} is also {first}; remove one of them"),
        );
    }
    table.finish();
    let (cert, key) = (cert?, key?);
    Some(Certificate { cert, key, ocsp })
}

fn protocols(table: &mut Table<'_>, mode: Mode) -> Vec<String> {
    let mut seen = Once::new();
    let mut protocols = Vec::new();
    for (spot, name) in table.list("alpn", PROTOCOLS_MAX, protocol) {
        if let Some(first) = seen.repeats(name.clone(), spot.path()) {
            let message = format!("\"{name}\" is also {first}; remove one of them");
            table.fault_at(&spot, message);
        } else if name == H2 && mode == Mode::Http {
            let message = "\"h2\" cannot go with mode = \"http\", which reads the heads of HTTP/1; remove it, or write \
                           mode = \"tcp\"";
            table.fault_at(&spot, message.to_owned());
        }
        protocols.push(name);
    }
    protocols
}

fn protocol(value: &DeValue) -> Parsed<String> {
    let name = text(value)?;
    let is_long = name.len() > PROTOCOL_BYTES_MAX;
    if name.is_empty() || is_long || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{} is not a protocol's name; write one such as \"http/1.1\"",
            quoted(name)
        ));
    }
    Ok(name.to_owned())
}

/// Reads `[upstream.tls]` of an upstream with these backends.
pub(super) fn upstream_tls(table: &mut Table<'_>, backends: &[Backend]) -> Option<UpstreamTls> {
    let mut inner = table.table("tls")?;
    let mut tls = UpstreamTls {
        server_name: inner.optional("server_name", server_name).flatten(),
        ca: inner.optional("ca", path_or_none).flatten(),
        ..UpstreamTls::default()
    };
    inner.set("verify", &mut tls.verify, value::flag);
    if tls.ca.is_some() && !tls.verify {
        let message = "counts for nothing with verify = false; remove one of them";
        inner.fault("ca", message.to_owned());
    }
    let is_service = |backend: &Backend| matches!(backend.address, Address::Srv(_));
    if tls.server_name.is_none() && backends.iter().any(is_service) {
        let message = "is missing, and SRV records do not say whose certificate to expect; write the backends' host name";
        inner.fault("server_name", message.to_owned());
    }
    inner.finish();
    Some(tls)
}

/// What a certificate is for: a host or an address. Nothing if it is empty.
fn server_name(value: &DeValue) -> Parsed<Option<String>> {
    let name = text(value)?;
    if name.is_empty() {
        return Ok(None);
    }
    match name.parse::<IpAddr>() {
        Ok(ip) => Ok(Some(ip.to_string())),
        Err(_) => host_name::parse(name).map(Some),
    }
}

fn path_or_none(value: &DeValue) -> Parsed<Option<PathBuf>> {
    let is_empty = text(value)?.is_empty();
    (!is_empty).then(|| path(value)).transpose()
}

impl ListenerTls {
    /// One that has the default of every optional key.
    pub fn new(certificates: Vec<Certificate>) -> Self {
        Self {
            certificates,
            client_ca: None,
            min_version: TlsVersion::V1_2,
            alpn: Vec::new(),
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            server_name: None,
            ca: None,
            verify: true,
        }
    }
}
