//! The effective configuration as TOML: every supported key with its value, defaults included. Reads back as the
//! same configuration.

use super::model::{Access, Backend, Config, Listener, Log, Process, Upstream, Workers};
use super::quantity::{duration_text, size_text};
use super::words::{BALANCES, FORMATS, LEVELS, MODES, RELAYS};
use super::workers::cpus_text;
use std::fmt::{Display, Write};
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
        for listener in &self.listeners {
            self.listener(&mut out, listener);
        }
        for upstream in &self.upstreams {
            self::upstream(&mut out, upstream);
        }
        out.0
    }

    fn listener(&self, out: &mut Page, listener: &Listener) {
        let keepalive = &listener.keepalive;
        let addresses: Vec<String> = listener
            .listen
            .iter()
            .map(|a| string(&a.to_string()))
            .collect();
        out.table("[[listener]]");
        out.key("name", string(&listener.name));
        out.key("listen", format!("[{}]", addresses.join(", ")));
        out.key("upstream", string(&self.upstreams[listener.upstream].name));
        out.key("mode", string(MODES.name(listener.mode)));
        out.key("relay", string(RELAYS.name(listener.relay)));
        out.key("backlog", listener.backlog);
        out.key("incoming_cpu", listener.incoming_cpu);
        out.key("nodelay", listener.nodelay);
        out.key("idle_timeout", duration(listener.idle_timeout));
        out.key("half_close_timeout", duration(listener.half_close_timeout));
        out.key("user_timeout", duration(listener.user_timeout));
        let (idle, interval) = (duration(keepalive.idle), duration(keepalive.interval));
        let count = keepalive.count;
        out.key(
            "keepalive",
            format!("{{ idle = {idle}, interval = {interval}, count = {count} }}"),
        );
        out.key("notsent_lowat", string(&size_text(listener.notsent_lowat)));
        out.key("max_connections", listener.max_connections);
    }
}

fn process(out: &mut Page, process: &Process) {
    out.table("[process]");
    out.key("workers", workers(&process.workers));
    out.key("max_connections", process.max_connections);
    out.key("spin", duration(process.spin));
    out.key("drain_delay", duration(process.drain_delay));
    out.key("drain_over", duration(process.drain_over));
    out.key("drain_deadline", duration(process.drain_deadline));
}

fn log(out: &mut Page, log: &Log) {
    out.table("[log]");
    out.key("level", string(LEVELS.name(log.level)));
    out.key("format", string(FORMATS.name(log.format)));
    out.key("access", access(&log.access));
}

fn upstream(out: &mut Page, upstream: &Upstream) {
    let prefix = upstream.hash_prefix;
    out.table("[[upstream]]");
    out.key("name", string(&upstream.name));
    out.key("balance", string(BALANCES.name(upstream.balance)));
    out.key(
        "hash_prefix",
        format!("{{ v4 = {}, v6 = {} }}", prefix.v4, prefix.v6),
    );
    out.key("connect_timeout", duration(upstream.connect_timeout));
    out.key("connect_tries", upstream.connect_tries);
    out.key("user_timeout", duration(upstream.user_timeout));
    for backend in &upstream.backends {
        self::backend(out, backend);
    }
}

fn backend(out: &mut Page, backend: &Backend) {
    out.table("[[upstream.backend]]");
    out.key("address", string(&backend.address.to_string()));
    out.key("name", string(&backend.name));
    out.key("weight", backend.weight);
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
