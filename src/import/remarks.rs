//! What is told about directives that become nothing, or something else.

use super::syntax::{Directive, Place, one_line};
use std::fmt;

/// What became of a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is not in the output, and its effect will be missed.
    Lost,
    /// Nothing is missed, but not all is as before.
    Note,
}

/// One directive and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Where it stands.
    pub at: Place,
    /// Itself.
    pub directive: String,
    /// How bad that is.
    pub kind: Kind,
    /// Why, and what to do.
    pub text: String,
}

impl Remark {
    pub(super) fn new(directive: &Directive, kind: Kind, text: impl Into<String>) -> Self {
        Self {
            at: directive.at.clone(),
            directive: directive.to_string(),
            kind,
            text: one_line(&text.into()),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Lost => "not carried over",
            Kind::Note => "note",
        };
        write!(
            f,
            "{}: `{}`: {kind}: {}",
            self.at, self.directive, self.text
        )
    }
}

/// Directives without a counterpart that nobody will miss: what they ask for is so anyhow, or has no meaning here.
const NEEDLESS: &[&str] = &[
    "check_shm_size",
    "daemon",
    "env",
    "events",
    "load_module",
    "lock_file",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "master_process",
    "open_log_file_cache",
    "pcre_jit",
    "pid",
    "proxy_buffer_size",
    "proxy_downstream_buffer",
    "proxy_upstream_buffer",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "ssl_session_cache",
    "ssl_session_timeout",
    "user",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
    "websocket_buffer",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_rlimit_core",
    "worker_rlimit_nofile",
    "working_directory",
    "zone",
];

/// What to say of directives without a counterpart.
const ADVICE: &[(&str, Kind, &str)] = &[
    (
        "access_log",
        Kind::Lost,
        "one access log for the whole process: log.access; its fields are fixed",
    ),
    (
        "check_keepalive_requests",
        Kind::Note,
        "each probe is a connection of its own",
    ),
    (
        "check_smtp_expect_alive",
        Kind::Lost,
        "a greeting of 2xx passes, as by default",
    ),
    (
        "check_smtp_send",
        Kind::Lost,
        "the greeting is what counts; nothing else is sent",
    ),
    (
        "check_status",
        Kind::Lost,
        "see `GET /upstreams` of [admin], which has the same shapes",
    ),
    (
        "geoip2",
        Kind::Lost,
        "there is no database of places; routes take networks (`client`)",
    ),
    (
        "health_check_timeout",
        Kind::Lost,
        "set upstream.probe.timeout",
    ),
    (
        "http",
        Kind::Note,
        "ringway relays TCP; leave this to nginx, without the blocks that ringway serves",
    ),
    (
        "js_access",
        Kind::Lost,
        "there is no scripting; what it decides may be routes, `allow` and `deny`",
    ),
    (
        "js_filter",
        Kind::Lost,
        "there is no scripting; bytes are relayed as they are",
    ),
    ("js_import", Kind::Lost, "there is no scripting"),
    (
        "js_preread",
        Kind::Lost,
        "there is no scripting; routes see host, path, upgrade, sni and client",
    ),
    ("js_set", Kind::Lost, "there is no scripting"),
    (
        "limit_conn_dry_run",
        Kind::Note,
        "try limits in a test first",
    ),
    (
        "limit_conn_log_level",
        Kind::Note,
        "each refused client has its line in the access log",
    ),
    (
        "log_format",
        Kind::Note,
        "the access log's fields are fixed; log.format chooses text or JSON",
    ),
    (
        "mail",
        Kind::Note,
        "ringway relays TCP; leave this to nginx, without the blocks that ringway serves",
    ),
    (
        "pass",
        Kind::Lost,
        "there is no inner listener; name its address as a backend",
    ),
    (
        "proxy_download_rate",
        Kind::Lost,
        "there are no bandwidth limits; shape with tc(8)",
    ),
    (
        "proxy_next_upstream_timeout",
        Kind::Note,
        "bounded by connect_timeout times connect_tries",
    ),
    (
        "proxy_socket_keepalive",
        Kind::Note,
        "backends are watched by upstream.user_timeout",
    ),
    (
        "proxy_ssl_certificate",
        Kind::Lost,
        "no certificate of the proxy's own is shown to backends",
    ),
    (
        "proxy_upload_rate",
        Kind::Lost,
        "there are no bandwidth limits; shape with tc(8)",
    ),
    (
        "resolver_timeout",
        Kind::Note,
        "the system's resolver has its own (resolv.conf, options timeout)",
    ),
    (
        "return",
        Kind::Lost,
        "nothing is answered by the proxy itself in mode tcp",
    ),
    (
        "set",
        Kind::Lost,
        "there are no variables; routes see host, path, upgrade, sni and client",
    ),
    (
        "split_clients",
        Kind::Lost,
        "use backends with weights in one upstream",
    ),
    (
        "ssl_ciphers",
        Kind::Note,
        "the TLS library's suites are used, all of them strong",
    ),
    (
        "ssl_conf_command",
        Kind::Lost,
        "the TLS library is not OpenSSL",
    ),
    (
        "ssl_crl",
        Kind::Lost,
        "revocation lists are not read; issue short-lived client certificates",
    ),
    ("ssl_dhparam", Kind::Note, "only elliptic curves are used"),
    (
        "ssl_ecdh_curve",
        Kind::Note,
        "the TLS library's curves are used",
    ),
    (
        "ssl_password_file",
        Kind::Lost,
        "keys are read as they are; protect the file instead",
    ),
    (
        "ssl_prefer_server_ciphers",
        Kind::Note,
        "the TLS library decides",
    ),
    (
        "ssl_session_ticket_key",
        Kind::Note,
        "tickets have keys of their own",
    ),
    ("ssl_session_tickets", Kind::Note, "the TLS library decides"),
    ("ssl_stapling", Kind::Lost, "OCSP is not stapled"),
    (
        "tcp_check_status",
        Kind::Lost,
        "see `GET /upstreams` of [admin], which has the same shapes",
    ),
    ("upstream", Kind::Note, "no server passes to it"),
];

/// What to say of a directive that nobody took; none when there is nothing to say.
pub(super) fn left_over(directive: &Directive) -> Option<Remark> {
    let name = directive.name.as_str();
    if NEEDLESS.contains(&name) {
        return None;
    }
    let known = ADVICE.iter().find(|(known, ..)| *known == name);
    let unknown = (Kind::Lost, "ringway has nothing of that kind");
    let (kind, text) = known.map_or(unknown, |(_, kind, text)| (*kind, text));
    Some(Remark::new(directive, kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_is_in_one_list_and_each_list_in_order() {
        let advised: Vec<_> = ADVICE.iter().map(|(name, ..)| *name).collect();
        assert!(advised.is_sorted() && NEEDLESS.is_sorted());
        assert!(!advised.iter().any(|name| NEEDLESS.contains(name)));
    }
}
