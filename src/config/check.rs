//! The grammar of the file: which table has which keys, and what must hold between them. Each function reads one
//! table into its part of the model; the defaults come from the model's constructors.
//!
//! After a mistake a value is left at some placeholder. None is ever seen: one mistake is enough for no [`Config`].

use super::document::{self, Once, Table};
use super::error::Errors;
use super::model::{Config, Forwarded, Listener, Log, Mode, Process, SlowClient, Upstream};
use super::networks::Networks;
use super::route::route;
use super::tls::listener_tls;
use super::upstream::upstream;
use super::{address, admin, networks, quantity, value, words, workers};
use crate::ring::Keepalive;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

// Bounds far above any use that is meant, so that a generated file gone wrong says so.
const LISTENERS_MAX: usize = 1024;
const ADDRESSES_MAX: usize = 256;
const UPSTREAMS_MAX: usize = 1024;
const ROUTES_MAX: usize = 1024;
const RESOLVERS_MAX: usize = 8;
const NETWORKS_MAX: usize = 1024;

/// listen(2) takes an int; nobody's somaxconn is larger than this.
const BACKLOG_MAX: u32 = 1 << 20;
/// The socket option takes an int.
const NOTSENT_LOWAT_MAX: u32 = 1 << 30;
/// More than any socket holds.
const UNSENT_MAX: u32 = 1 << 30;
/// MAX_TCP_KEEPCNT of the kernel.
const KEEPALIVE_COUNT_MAX: u32 = 127;
/// From twice the ClientHellos and heads that programs send without being asked for much (about 500 bytes), to the 64 KiB
/// of a worker's buffers that a relaying half holds at most: a client that only begins costs no more than one that reads.
const PEEK_BYTES: RangeInclusive<u32> = 1 << 10..=64 << 10;

/// Checks the text of a configuration file.
pub(super) fn parse(text: &str, file_name: &str) -> Result<Config, Errors> {
    document::read(text, file_name, config)
}

fn config(mut root: Table<'_>) -> Config {
    let process = root.table("process").map_or_else(Process::default, process);
    let log = root.table("log").map_or_else(Log::default, log);
    let admin = root.table("admin").map(admin::admin);
    let mut names = Once::new();
    let upstreams: Vec<Upstream> = root
        .tables("upstream", UPSTREAMS_MAX)
        .into_iter()
        .map(|table| upstream(table, &mut names))
        .collect();
    let mut unique = Unique {
        names: Once::new(),
        addresses: Once::new(),
    };
    let listeners = root
        .tables("listener", LISTENERS_MAX)
        .into_iter()
        .map(|table| listener(table, &upstreams, &mut unique))
        .collect();
    root.finish();
    Config {
        process,
        log,
        admin,
        listeners,
        upstreams,
    }
}

fn process(mut table: Table<'_>) -> Process {
    let mut process = Process::default();
    table.set("workers", &mut process.workers, workers::workers);
    table.set(
        "max_connections",
        &mut process.max_connections,
        value::connections,
    );
    table.set("spin", &mut process.spin, quantity::spin);
    table.set(
        "drain_delay",
        &mut process.drain_delay,
        quantity::duration_or_zero,
    );
    table.set(
        "drain_over",
        &mut process.drain_over,
        quantity::duration_or_zero,
    );
    table.set(
        "drain_deadline",
        &mut process.drain_deadline,
        quantity::duration_or_zero,
    );
    process.resolvers = resolvers(&mut table);
    table.finish();
    process
}

fn resolvers(table: &mut Table<'_>) -> Vec<SocketAddr> {
    let found = table.list("resolvers", RESOLVERS_MAX, address::resolver);
    found.into_iter().map(|(_, server)| server).collect()
}

fn log(mut table: Table<'_>) -> Log {
    let mut log = Log::default();
    table.set("level", &mut log.level, |v| words::LEVELS.of(v));
    table.set("format", &mut log.format, |v| words::FORMATS.of(v));
    table.set("access", &mut log.access, value::access);
    table.set("still_open", &mut log.still_open, quantity::still_open);
    table.finish();
    log
}

/// What no two listeners may share.
struct Unique {
    names: Once<String>,
    addresses: Once<SocketAddr>,
}

fn listener(mut table: Table<'_>, upstreams: &[Upstream], unique: &mut Unique) -> Listener {
    let name = unique_name(&mut table, &mut unique.names);
    let listen = listen_addresses(&mut table, &mut unique.addresses);
    let routed_only = table.has("route") && !table.has("upstream");
    let upstream = (!routed_only).then(|| upstream_name(&mut table, upstreams));
    let mut listener = Listener::new(name, listen, upstream.unwrap_or_default());
    listener.upstream = upstream;
    first_bytes(&mut table, &mut listener);
    listener.tls = listener_tls(&mut table, &listener);
    let routes = table.tables_if_any("route", ROUTES_MAX).into_iter();
    listener.routes = routes
        .map(|inner| route(inner, &listener, upstreams))
        .collect();
    sockets(&mut table, &mut listener);
    admission(&mut table, &mut listener);
    table.finish();
    listener
}

/// What is read before a backend is chosen, and what is made of it.
fn first_bytes(table: &mut Table<'_>, listener: &mut Listener) {
    table.set("mode", &mut listener.mode, |v| words::MODES.of(v));
    table.set("peek_max_bytes", &mut listener.peek_max_bytes, |v| {
        quantity::size(v, PEEK_BYTES)
    });
    table.set(
        "peek_timeout",
        &mut listener.peek_timeout,
        quantity::timeout,
    );
    table.set("proxy_protocol", &mut listener.proxy_protocol, |v| {
        words::ACCEPT_PROXY.of(v)
    });
    listener.proxy_protocol_from = networks(table, "proxy_protocol_from");
    table.set("forwarded", &mut listener.forwarded, |v| {
        words::FORWARDED.of(v)
    });
    if listener.forwarded == Forwarded::Append && listener.mode != Mode::Http {
        let message = "needs a request head; write mode = \"http\" too, or remove it";
        table.fault("forwarded", message.to_owned());
    }
}

/// Who is let in.
fn admission(table: &mut Table<'_>, listener: &mut Listener) {
    listener.allow = networks(table, "allow");
    listener.deny = networks(table, "deny");
    table.set(
        "max_connections",
        &mut listener.max_connections,
        value::connections,
    );
    table.set(
        "max_connections_per_ip",
        &mut listener.max_connections_per_ip,
        value::connections,
    );
    table.set(
        "connect_rate_per_ip",
        &mut listener.connect_rate_per_ip,
        quantity::rate,
    );
}

/// How bytes move, and what the sockets are told.
fn sockets(table: &mut Table<'_>, listener: &mut Listener) {
    table.set("relay", &mut listener.relay, |v| words::RELAYS.of(v));
    table.set("backlog", &mut listener.backlog, |v| {
        value::integer(v, 1..=BACKLOG_MAX)
    });
    table.set("incoming_cpu", &mut listener.incoming_cpu, value::flag);
    table.set("nodelay", &mut listener.nodelay, value::flag);
    table.set(
        "idle_timeout",
        &mut listener.idle_timeout,
        quantity::timeout,
    );
    table.set(
        "half_close_timeout",
        &mut listener.half_close_timeout,
        quantity::timeout,
    );
    table.set("max_age", &mut listener.max_age, quantity::duration_or_zero);
    table.set(
        "user_timeout",
        &mut listener.user_timeout,
        quantity::user_timeout,
    );
    if let Some(inner) = table.table("keepalive") {
        keepalive(inner, &mut listener.keepalive);
    }
    let notsent_lowat = &mut listener.notsent_lowat;
    table.set("notsent_lowat", notsent_lowat, |v| {
        quantity::size(v, 0..=NOTSENT_LOWAT_MAX)
    });
    if let Some(inner) = table.table("slow_client") {
        slow_client(inner, &mut listener.slow_client);
    }
}

/// A list of networks, perhaps empty.
pub(super) fn networks(table: &mut Table<'_>, key: &'static str) -> Networks {
    let found = table.list(key, NETWORKS_MAX, networks::network);
    found.into_iter().map(|(_, network)| network).collect()
}

/// The place of the upstream that `upstream` names.
pub(super) fn upstream_name(table: &mut Table<'_>, upstreams: &[Upstream]) -> usize {
    let found = table.required("upstream", "the name of an [[upstream]]", |v| {
        let name = value::text(v)?;
        let found = upstreams.iter().position(|upstream| upstream.name == name);
        found.ok_or_else(|| unknown_upstream(name, upstreams))
    });
    found.unwrap_or_default()
}

fn keepalive(mut table: Table<'_>, keepalive: &mut Keepalive) {
    table.set("idle", &mut keepalive.idle, quantity::keepalive_time);
    table.set(
        "interval",
        &mut keepalive.interval,
        quantity::keepalive_time,
    );
    table.set("count", &mut keepalive.count, |v| {
        value::integer(v, 1..=KEEPALIVE_COUNT_MAX)
    });
    table.finish();
}

fn slow_client(mut table: Table<'_>, slow: &mut SlowClient) {
    table.set("unsent", &mut slow.unsent, |v| {
        quantity::size(v, 0..=UNSENT_MAX)
    });
    table.set("for", &mut slow.patience, quantity::timeout);
    table.finish();
}

/// A name that none of `names` is.
pub(super) fn unique_name(table: &mut Table<'_>, names: &mut Once<String>) -> String {
    let name = table.required("name", "one, such as name = \"feed\"", value::name);
    let name = name.unwrap_or_default();
    if !name.is_empty()
        && let Some(first) = names.repeats(name.clone(), &table.path_of("name"))
    {
        table.fault(
            "name",
            format!("\"{name}\" is also {first}; give one of them another name"),
        );
    }
    name
}

fn listen_addresses(table: &mut Table<'_>, seen: &mut Once<SocketAddr>) -> Vec<SocketAddr> {
    let example = "an address, such as listen = \"0.0.0.0:9000\", or a list of them";
    let found = table.one_or_more("listen", example, ADDRESSES_MAX, address::listen_address);
    for (spot, address) in &found {
        // Port 0 is another port each time.
        if address.port() != 0
            && let Some(first) = seen.repeats(*address, spot.path())
        {
            table.fault_at(
                spot,
                format!("\"{address}\" is also {first}; remove one of them"),
            );
        }
    }
    found.into_iter().map(|(_, address)| address).collect()
}

fn unknown_upstream(name: &str, upstreams: &[Upstream]) -> String {
    let known = upstreams
        .iter()
        .map(|u| u.name.as_str())
        .filter(|name| !name.is_empty());
    let fix = match value::nearest(name, known) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None => "write the name of an [[upstream]]".to_owned(),
    };
    format!("{} is the name of no upstream; {fix}", value::quoted(name))
}
