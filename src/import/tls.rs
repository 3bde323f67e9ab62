//! TLS: `ssl_…` of a server becomes `[listener.tls]`, `proxy_ssl_…` becomes `[upstream.tls]`.

use super::draft::Item;
use super::remarks::{Kind, Remark};
use super::scope::Scope;
use super::values::{duration, list, string};

/// The lines of `[listener.tls]` for a server that terminates TLS.
pub(super) fn listener<'a>(scope: Scope<'a>, remarks: &mut Vec<Remark>) -> Vec<Item<'a>> {
    let mut lines = Vec::new();
    let (certs, keys) = (
        scope.all(&["ssl_certificate"]),
        scope.all(&["ssl_certificate_key"]),
    );
    let pairs = certs.iter().zip(&keys).map(|(cert, key)| {
        let (cert, key) = (string(cert.word()), string(key.word()));
        format!("{{ cert = {cert}, key = {key} }}")
    });
    let pairs: Vec<_> = pairs.collect();
    if let Some(first) = certs.first() {
        lines.push(Item::key(
            "certificates",
            format!("[{}]", pairs.join(", ")),
            first,
        ));
    }
    let verifies = scope.one("ssl_verify_client");
    let ca = scope.all(&["ssl_client_certificate", "ssl_trusted_certificate"]);
    match (verifies.map(|it| (it, it.word())), ca.first()) {
        (Some((_, "on")), Some(ca)) => lines.push(Item::key("client_ca", string(ca.word()), ca)),
        (Some((verifies, "optional" | "optional_no_ca")), _) => {
            let text = "client certificates are required of everyone or of nobody";
            remarks.push(Remark::new(verifies, Kind::Lost, text));
        }
        _ => {}
    }
    if let Some(protocols) = scope.one("ssl_protocols") {
        let has = |version: &str| protocols.words.iter().any(|word| word == version);
        let only_newest = has("TLSv1.3") && !has("TLSv1.2");
        lines.push(Item::key(
            "min_version",
            if only_newest { "\"1.3\"" } else { "\"1.2\"" },
            protocols,
        ));
        if has("TLSv1") || has("TLSv1.1") || has("SSLv3") {
            let text = "versions below 1.2 are not spoken";
            remarks.push(Remark::new(protocols, Kind::Lost, text));
        }
    }
    if let Some(alpn) = scope.one("ssl_alpn") {
        lines.push(Item::key("alpn", list(&alpn.words), alpn));
    }
    if let Some((time, from)) = scope.longest(&["ssl_handshake_timeout"], remarks) {
        lines.push(Item::key("handshake_timeout", duration(time), from));
    }
    lines
}

/// The lines of `[upstream.tls]` for a server that speaks TLS to its backends.
pub(super) fn upstream<'a>(scope: Scope<'a>, target: &str) -> Vec<Item<'a>> {
    let Some(on) = scope.is_on("proxy_ssl") else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let name = scope.one("proxy_ssl_name");
    if let Some(sends) = scope.is_on("proxy_ssl_server_name") {
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        let name = name.map_or(host, |it| it.word());
        lines.push(Item::key("server_name", string(name), sends));
    } else if let Some(name) = name {
        lines.push(Item::key("server_name", string(name.word()), name));
    }
    if let Some(ca) = scope.one("proxy_ssl_trusted_certificate") {
        lines.push(Item::key("ca", string(ca.word()), ca));
    }
    let verifies = scope.is_on("proxy_ssl_verify");
    // nginx does not look unless it is told to.
    lines.push(Item::key(
        "verify",
        verifies.is_some(),
        verifies.unwrap_or(on),
    ));
    lines
}
