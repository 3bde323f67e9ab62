//! The effective configuration as TOML: every supported key with its value, defaults included. Reads back as the
//! same configuration.

use super::admin::Admin;
use super::escapes::escaped;
use super::model::{
    Access, Backend, Certificate, Config, Listener, ListenerTls, Log, Process, Route, Upstream,
    UpstreamTls, Workers,
};
use super::probe::{Exchange, HttpRequest, Probe};
use super::quantity::{duration_text, rate_text, size_text};
use super::ratio::Ratio;
use super::words::{
    ACCEPT_PROXY, ADMIN_STATES, ALL_DOWN, BALANCES, FORMATS, FORWARDED, INITIAL_HEALTHS, LEVELS,
    MODES, ON_DOWN, PROBE_TYPES, RELAYS, SEND_PROXY, TLS_VERSIONS,
};
use super::workers::cpus_text;
use std::fmt::{Display, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

impl Config {
    /// The whole configuration as TOML, for [`Config::parse`] to read back as the same.
    ///
    /// # Panics
    /// When a listener's upstream is none of ours, which no checked configuration has.
    pub fn to_toml(&self) -> String {
        let mut out = Page::default();
        process(&mut out, &self.process);
        log(&mut out, &self.log);
        if let Some(admin) = &self.admin {
            self::admin(&mut out, admin);
        }
        for listener in &self.listeners {
            self.listener(&mut out, listener);
        }
        for upstream in &self.upstreams {
            self::upstream(&mut out, upstream);
        }
        out.0
    }

    fn listener(&self, out: &mut Page, listener: &Listener) {
        out.table("[[listener]]");
        out.key("name", string(&listener.name));
        out.key("listen", list(&listener.listen));
        if let Some(upstream) = listener.upstream {
            out.key("upstream", string(&self.upstreams[upstream].name));
        }
        first_bytes(out, listener);
        sockets(out, listener);
        admission(out, listener);
        if let Some(tls) = &listener.tls {
            listener_tls(out, tls);
        }
        for route in &listener.routes {
            self.route(out, route);
        }
    }

    fn route(&self, out: &mut Page, route: &Route) {
        out.table("[[listener.route]]");
        out.key("host", condition(route.host.as_ref()));
        out.key("path_prefix", condition(route.path_prefix.as_ref()));
        out.key("upgrade", condition(route.upgrade.as_ref()));
        out.key("sni", condition(route.sni.as_ref()));
        out.key("client", list(route.client.iter()));
        out.key("upstream", string(&self.upstreams[route.upstream].name));
    }
}

fn first_bytes(out: &mut Page, listener: &Listener) {
    let proxy_protocol = ACCEPT_PROXY.name(listener.proxy_protocol);
    out.key("mode", string(MODES.name(listener.mode)));
    out.key(
        "peek_max_bytes",
        string(&size_text(listener.peek_max_bytes)),
    );
    out.key("peek_timeout", duration(listener.peek_timeout));
    out.key("proxy_protocol", string(proxy_protocol));
    out.key(
        "proxy_protocol_from",
        list(listener.proxy_protocol_from.iter()),
    );
    out.key("forwarded", string(FORWARDED.name(listener.forwarded)));
}

fn sockets(out: &mut Page, listener: &Listener) {
    let keepalive = &listener.keepalive;
    out.key("relay", string(RELAYS.name(listener.relay)));
    out.key("backlog", listener.backlog);
    out.key("incoming_cpu", listener.incoming_cpu);
    out.key("nodelay", listener.nodelay);
    out.key("idle_timeout", duration(listener.idle_timeout));
    out.key("half_close_timeout", duration(listener.half_close_timeout));
    out.key("max_age", duration(listener.max_age));
    out.key("user_timeout", duration(listener.user_timeout));
    let (idle, interval) = (duration(keepalive.idle), duration(keepalive.interval));
    let count = keepalive.count;
    out.key(
        "keepalive",
        format!("{{ idle = {idle}, interval = {interval}, count = {count} }}"),
    );
    out.key("notsent_lowat", string(&size_text(listener.notsent_lowat)));
    let slow = &listener.slow_client;
    let (unsent, patience) = (string(&size_text(slow.unsent)), duration(slow.patience));
    out.key(
        "slow_client",
        format!("{{ unsent = {unsent}, for = {patience} }}"),
    );
}

fn admission(out: &mut Page, listener: &Listener) {
    let rate = rate_text(listener.connect_rate_per_ip);
    out.key("allow", list(listener.allow.iter()));
    out.key("deny", list(listener.deny.iter()));
    out.key("max_connections", listener.max_connections);
    out.key("max_connections_per_ip", listener.max_connections_per_ip);
    out.key("connect_rate_per_ip", string(&rate));
}

/// Where keys are, never what they are.
fn listener_tls(out: &mut Page, tls: &ListenerTls) {
    out.table("[listener.tls]");
    let certificates: Vec<_> = tls.certificates.iter().map(certificate).collect();
    out.key("certificates", format!("[{}]", certificates.join(", ")));
    out.key("client_ca", path(tls.client_ca.as_ref()));
    let min_version = TLS_VERSIONS.name(tls.min_version);
    out.key("min_version", string(min_version));
    out.key("alpn", list(&tls.alpn));
    out.key("handshake_timeout", duration(tls.handshake_timeout));
}

fn certificate(files: &Certificate) -> String {
    let [cert, key] = [&files.cert, &files.key].map(|file| path(Some(file)));
    let ocsp = path(files.ocsp.as_ref());
    format!("{{ cert = {cert}, key = {key}, ocsp = {ocsp} }}")
}

fn process(out: &mut Page, process: &Process) {
    out.table("[process]");
    out.key("workers", workers(&process.workers));
    out.key("max_connections", process.max_connections);
    out.key("spin", duration(process.spin));
    out.key("drain_delay", duration(process.drain_delay));
    out.key("drain_over", duration(process.drain_over));
    out.key("drain_deadline", duration(process.drain_deadline));
    out.key("resolvers", list(&process.resolvers));
}

fn log(out: &mut Page, log: &Log) {
    out.table("[log]");
    out.key("level", string(LEVELS.name(log.level)));
    out.key("format", string(FORMATS.name(log.format)));
    out.key("access", access(&log.access));
    out.key("still_open", duration(log.still_open));
}

fn admin(out: &mut Page, admin: &Admin) {
    let token_file = admin.token_file.as_ref().map(|path| path.display());
    out.table("[admin]");
    out.key("listen", string(&admin.listen.to_string()));
    out.key("token_file", condition(token_file.as_ref()));
}

fn upstream(out: &mut Page, upstream: &Upstream) {
    let prefix = upstream.hash_prefix;
    out.table("[[upstream]]");
    out.key("name", string(&upstream.name));
    out.key("balance", string(BALANCES.name(upstream.balance)));
    out.key("hash_key", list(&upstream.hash_key));
    out.key(
        "hash_prefix",
        format!("{{ v4 = {}, v6 = {} }}", prefix.v4, prefix.v6),
    );
    let load_factor = upstream.hash_load_factor.unwrap_or(Ratio::new(0.0));
    out.key("hash_load_factor", load_factor);
    connecting(out, upstream);
    failing(out, upstream);
    if let Some(probe) = &upstream.probe {
        self::probe(out, probe);
    }
    if let Some(tls) = &upstream.tls {
        upstream_tls(out, tls);
    }
    for backend in &upstream.backends {
        self::backend(out, backend);
    }
}

fn connecting(out: &mut Page, upstream: &Upstream) {
    out.key("connect_timeout", duration(upstream.connect_timeout));
    out.key("connect_tries", upstream.connect_tries);
    let proxy_protocol = SEND_PROXY.name(upstream.proxy_protocol);
    out.key("proxy_protocol", string(proxy_protocol));
    out.key("user_timeout", duration(upstream.user_timeout));
    out.key("source_addresses", list(&upstream.source_addresses));
    out.key("resolve_interval", duration(upstream.resolve_interval));
}

fn failing(out: &mut Page, upstream: &Upstream) {
    out.key("max_fails", upstream.max_fails);
    out.key("fail_timeout", duration(upstream.fail_timeout));
    out.key("all_down", string(ALL_DOWN.name(upstream.all_down)));
    out.key("on_down", string(ON_DOWN.name(upstream.on_down)));
    out.key("slow_start", duration(upstream.slow_start));
}

fn upstream_tls(out: &mut Page, tls: &UpstreamTls) {
    out.table("[upstream.tls]");
    out.key("server_name", condition(tls.server_name.as_ref()));
    out.key("ca", path(tls.ca.as_ref()));
    out.key("verify", tls.verify);
}

fn probe(out: &mut Page, probe: &Probe) {
    out.table("[upstream.probe]");
    let probe_type = probe.exchange.probe_type();
    out.key("type", string(PROBE_TYPES.name(probe_type)));
    out.key("interval", duration(probe.interval));
    out.key("timeout", duration(probe.timeout));
    out.key("rise", probe.rise);
    out.key("fall", probe.fall);
    out.key("port", probe.port.map_or(0, NonZeroU16::get));
    exchange(out, &probe.exchange);
    out.key("initial", string(INITIAL_HEALTHS.name(probe.initial)));
    out.key("jitter", probe.jitter);
}

/// The keys that only some types have; those that the type has not would be mistakes.
fn exchange(out: &mut Page, exchange: &Exchange) {
    match exchange {
        Exchange::Tcp
        | Exchange::Smtp
        | Exchange::Mysql
        | Exchange::Pop3
        | Exchange::Imap
        | Exchange::Pgsql
        | Exchange::Redis => {}
        Exchange::Http {
            request,
            expect_status,
        } => {
            match request {
                HttpRequest::Get { path, host } => asked(out, path, host.as_ref()),
                HttpRequest::Raw(bytes) => out.key("send", string(&escaped(bytes))),
            }
            out.key("expect_status", list(expect_status));
        }
        Exchange::SslHello { host } => out.key("host", condition(host.as_ref())),
        Exchange::Websocket { path, host, expect } => {
            asked(out, path, host.as_ref());
            out.key("expect", string(&escaped(expect)));
        }
        Exchange::SendExpect { send, expect } => exchanged(out, send, expect),
    }
}

fn asked(out: &mut Page, path: &str, host: Option<&String>) {
    out.key("path", string(path));
    out.key("host", condition(host));
}

fn exchanged(out: &mut Page, send: &[u8], expect: &[u8]) {
    out.key("send", string(&escaped(send)));
    out.key("expect", string(&escaped(expect)));
}

fn backend(out: &mut Page, backend: &Backend) {
    out.table("[[upstream.backend]]");
    out.key("address", string(&backend.address.to_string()));
    out.key("name", string(&backend.name));
    out.key("weight", backend.weight);
    out.key("backup", backend.backup);
    out.key("max_connections", backend.max_connections);
    out.key("state", string(ADMIN_STATES.name(backend.state)));
}

/// What was written so far.
#[derive(Default)]
struct Page(String);

impl Page {
    fn table(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        writeln!(self.0, "{gap}{header}").expect("a String takes all");
    }

    fn key(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key} = {value}").expect("a String takes all");
    }
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| string(&item.to_string()))
        .collect();
    format!("[{}]", items.join(", "))
}

/// What may not be there; the empty string if it is not.
fn condition(text: Option<&impl ToString>) -> String {
    string(&text.map(ToString::to_string).unwrap_or_default())
}

/// The same of a path.
fn path(path: Option<&PathBuf>) -> String {
    condition(path.map(|path| path.to_string_lossy()).as_ref())
}

fn duration(duration: Duration) -> String {
    string(&duration_text(duration))
}

fn workers(workers: &Workers) -> String {
    match workers {
        Workers::Auto => string("auto"),
        Workers::Count(count) => count.to_string(),
        Workers::Cpus(cpus) => string(&cpus_text(cpus)),
    }
}

fn access(access: &Access) -> String {
    match access {
        Access::Stderr => string("stderr"),
        Access::Stdout => string("stdout"),
        Access::Off => string("off"),
        Access::File(path) => string(&path.to_string_lossy()),
    }
}
